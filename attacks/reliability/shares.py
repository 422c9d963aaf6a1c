"""What a share says of its bound: the verdict that its interval allows.

    below a bound b:   passed  where high <= b,   failed  where low > b,    else undecided
    at least b:        passed  where low >= b,    failed  where high < b,   else undecided

A share of few images has a wide interval that holds its bound, and is undecided: nothing passes
for want of images. Of a bound of 2 %, 0 of 188 says nothing and 0 of 189 passes; 2 of 20 fails.

The interval is Wilson's: ``contracts/intervals.py``.
"""

from typing import Literal

Verdict = Literal["failed", "undecided", "passed"]


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
