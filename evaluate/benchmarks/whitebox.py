"""White-box attacks on ImageNet's validation photos.

Source: Orhan, arXiv 1907.07640: every second image of the sorted validation set.
"""

from collections.abc import Sequence

from ...contracts import BENCHMARK_INFO, Attack, Condition

WHITEBOX = Attack(BENCHMARK_INFO["whitebox"], protocol="whitebox-1")


def epsilon_conditions(epsilons: Sequence[float]) -> tuple[Condition, ...]:
    """The condition of each epsilon, in [0, 1] pixel units.

    Example:
        >>> [condition.folder for condition in epsilon_conditions([0.5])]
        ['epsilon=0.5']
    """
    return tuple(Condition((("epsilon", float(epsilon)),)) for epsilon in epsilons)
