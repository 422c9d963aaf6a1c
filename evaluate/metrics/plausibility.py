"""Whether a count of right answers is possible for a model of a known accuracy."""

import math

LARGEST_PROBABILITY = 1e-4
"""Counts that chance gives less often than this are reported."""


def too_few_right(right: int, n: int, accuracy: float) -> bool:
    """Whether a model of this accuracy gives so few right answers almost never.

    The bound is Chernoff's: P(X <= right) <= exp(-n KL(right / n || accuracy)), for a binomial X.

    Args:
        right: Number of right answers.
        n: Number of answers.
        accuracy: Expected fraction of right answers, above 0 and below 1.

    Example:
        >>> too_few_right(12, 20, 0.75), too_few_right(4, 20, 0.75)
        (False, True)
    """
    if right >= n * accuracy:
        return False
    share = right / n
    divergence = (1 - share) * math.log((1 - share) / (1 - accuracy))
    if right:
        divergence += share * math.log(share / accuracy)
    return n * divergence > -math.log(LARGEST_PROBABILITY)
