"""What a share says of its bound: the verdict that its interval allows.

    Wilson: (p + z^2/2n +- z sqrt(p (1 - p)/n + z^2/4n^2)) / (1 + z^2/n),   z = 1.96 for 95 %

    below a bound b:   passed  where high <= b,   failed  where low > b,    else undecided
    at least b:        passed  where low >= b,    failed  where high < b,   else undecided

A share of few images has a wide interval that holds its bound, and is undecided: nothing passes
for want of images. Of a bound of 2 %, 0 of 188 says nothing and 0 of 189 passes; 2 of 20 fails.

Source of the interval: Wilson, "Probable Inference, the Law of Succession, and Statistical
Inference", JASA 1927.
"""

import math
from typing import Literal

from ...errors import InputError

Verdict = Literal["failed", "undecided", "passed"]

Z_95 = 1.959963984540054
"""The 97.5 % quantile of the standard normal distribution."""


def wilson_interval(count: int, n: int) -> tuple[float, float]:
    """The 95 % interval of a share of ``count`` in ``n``.

    Raises:
        InputError: If the share is not one of at least one.

    Example:
        >>> [round(end, 4) for end in wilson_interval(2, 20)]
        [0.0279, 0.301]
    """
    if n < 1 or not 0 <= count <= n:
        raise InputError(f"A share needs 0 <= count <= n and n >= 1, got {count} of {n}.")
    rate, z2 = count / n, Z_95**2
    centre = rate + z2 / (2 * n)
    margin = Z_95 * math.sqrt(rate * (1 - rate) / n + z2 / (4 * n * n))
    scale = 1 + z2 / n
    # At 0 and 1 the ends are exact; rounding would leave 1e-17 of either sign.
    low = 0.0 if count == 0 else (centre - margin) / scale
    high = 1.0 if count == n else (centre + margin) / scale
    return low, high


def verdict_of(low: float, high: float, bound: float, *, at_least: bool = False) -> Verdict:
    """On which side of its bound an interval lies, if on one.

    Args:
        low: Its lower end.
        high: Its upper end.
        bound: Belongs to the side that passes.
        at_least: Whether what passes lies above the bound, not below.

    Example:
        >>> verdict_of(0.0, 0.02, 0.02), verdict_of(0.0, 0.03, 0.02), verdict_of(0.021, 0.3, 0.02)
        ('passed', 'undecided', 'failed')
    """
    if at_least:
        return "passed" if low >= bound else "failed" if high < bound else "undecided"
    return "passed" if high <= bound else "failed" if low > bound else "undecided"
