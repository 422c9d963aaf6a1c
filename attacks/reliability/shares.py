"""The verdict on a share: where its interval lies relative to a bound.

    below a bound b:   passed  if high <= b,   failed  if low > b,    else undecided
    at least b:        passed  if low >= b,    failed  if high < b,   else undecided

A share of few images has a wide interval that contains its bound, and is undecided: nothing passes
for lack of images. At a bound of 2 %, 0 of 188 is undecided, 0 of 189 passes, and 2 of 20 fails.

The interval is Wilson's: ``contracts/intervals.py``.
"""

from typing import Literal

Verdict = Literal["failed", "undecided", "passed"]


def verdict_of(low: float, high: float, bound: float, *, at_least: bool = False) -> Verdict:
    """Verdict on an interval that lies on one side of a bound.

    Args:
        low: Lower end of the interval.
        high: Upper end of the interval.
        bound: The bound, which passes itself.
        at_least: Whether values above the bound pass, not those below.

    Example:
        >>> verdict_of(0.0, 0.02, 0.02), verdict_of(0.0, 0.03, 0.02), verdict_of(0.021, 0.3, 0.02)
        ('passed', 'undecided', 'failed')
    """
    if at_least:
        return "passed" if low >= bound else "failed" if high < bound else "undecided"
    return "passed" if high <= bound else "failed" if low > bound else "undecided"
