"""The verdict of a limit on a number, given its 95 % interval.

    pass        the whole interval meets the limit
    fail        the whole interval breaks it
    undecided   the limit lies inside the interval: more images would decide

A number without an interval is undecided, since images that do not vary say nothing of how sure it
is. Two kinds are exceptions: metrics of calibration, which never have an interval and are decided
by their value, and a difference of 0 where both models are right on the same images. There the
share p of images on which they differ is bounded by (1 - p)^n = 0.025, for n images.

Source of the bound: Clopper and Pearson, Biometrika 1934, with no success in n trials.
"""

from typing import Literal

from ...contracts import Difference, Score

Verdict = Literal["pass", "fail", "undecided"]

VERDICTS: tuple[Verdict, ...] = ("pass", "undecided", "fail")
"""From the best to the worst."""

WITHOUT_INTERVAL = ("rms_calibration_error", "ece", "aurra")
"""Metrics that never have an interval."""


def worst(verdicts: list[Verdict]) -> Verdict:
    """The worst of some verdicts.

    Example:
        >>> worst(["pass", "fail", "undecided"])
        'fail'
    """
    return max(verdicts, key=VERDICTS.index)


def verdict_of(low: float, high: float, minimum: float | None, maximum: float | None) -> Verdict:
    """The verdict on an interval.

    Args:
        low: Lower end of the interval.
        high: Upper end.
        minimum: Smallest value that is allowed; `None` if any is.
        maximum: Largest value that is allowed, likewise.

    Example:
        >>> [verdict_of(0.1, 0.2, None, limit) for limit in (0.2, 0.15, 0.05)]
        ['pass', 'undecided', 'fail']
    """
    if (maximum is None or high <= maximum) and (minimum is None or low >= minimum):
        return "pass"
    if (maximum is not None and low > maximum) or (minimum is not None and high < minimum):
        return "fail"
    return "undecided"


def interval_of(number: Score | Difference) -> tuple[float, float] | None:
    """The interval that decides about a number with a value; `None` if there is none."""
    if number.low is not None and number.high is not None:
        return number.low, number.high
    if number.metric in WITHOUT_INTERVAL and isinstance(number, Score) and number.value is not None:
        return number.value, number.value
    if isinstance(number, Difference) and number.only_a_right == number.only_b_right == 0:
        bound = unseen_share(number.n - number.skipped)
        return -bound, bound
    return None


def unseen_share(n: int) -> float:
    """The upper end of the 95 % interval of a share of which n images show none.

    Example:
        >>> round(unseen_share(20), 4), round(unseen_share(50_000), 6)
        (0.1684, 7.4e-05)
    """
    return float(1 - 0.025 ** (1 / n)) if n > 0 else 1.0
