"""The interval of a number that is a mean over images, and of numbers linear in several errors.

    V    =  sum over conditions c of w_c E_c,    E_c = sum_i r_ic e_ic / n_c
    s_i  =  V + sum over c of w_c (N / n_c) r_ic (e_ic - E_c)
    V +- z sqrt(sum_i (s_i - V)^2 / (N - 1) / N)

e_ic is what image i scores under condition c: 1 where it is classified wrong, say. r_ic is 1 where
it was scored there, n_c counts these; N images are in all conditions the same. Where none was
skipped, s_i is just sum_c w_c e_ic, one score an image, and V their mean: conditions of one image
may depend on each other as they like, images are independent. Where some were skipped, s_i
linearises the ratios E_c, so that the interval is that of V as it stands.

Source: the standard error of a mean, as in any textbook; its use for ratios: Cochran, "Sampling
Techniques", 3rd edition, 1977, chapter 6.
"""

import math

import numpy as np
import numpy.typing as npt

from ...contracts import Z_95
from ...errors import InputError

Interval = tuple[float, float]
Bounds = tuple[float, float]
Floats = npt.NDArray[np.float64]
Scored = npt.NDArray[np.bool_]


def mean_interval(scores: Floats, bounds: Bounds = (-math.inf, math.inf)) -> Interval | None:
    """The 95 % interval of the mean of independent scores.

    Args:
        scores: One an image: (N,).
        bounds: Between which the mean can lie; the interval is cut there.

    Returns:
        None of fewer than two scores, and of scores that are all equal: they say nothing of how
        scores spread, and an interval without a width would claim that there is no doubt.

    Example:
        >>> low, high = mean_interval(np.array([0.0, 1.0, 1.0, 0.0]))
        >>> round(low, 4), round(high, 4)
        (-0.0658, 1.0658)
        >>> mean_interval(np.array([0.0, 1.0, 1.0, 0.0]), bounds=(0, 1))
        (0.0, 1.0)
    """
    if scores.size < 2 or np.ptp(scores) <= 1e-12 * float(np.abs(scores).max()):
        return None  # equal to rounding
    mean = float(scores.mean())
    margin = Z_95 * float(scores.std(ddof=1)) / math.sqrt(scores.size)
    return float(max(mean - margin, bounds[0])), float(min(mean + margin, bounds[1]))


def weighted_scores(values: Scored | Floats, scored: Scored, weights: Floats) -> Floats:
    """One score an image, whose mean is the weighted sum of the conditions' means.

    Args:
        values: What each image scores under each condition: (conditions, N). Whether it is
            classified wrong, say.
        scored: Whether it was scored there, or else skipped: (conditions, N).
        weights: What the mean of each condition counts: (conditions,).

    Returns:
        (N,) scores.

    Raises:
        InputError: If a condition has no image that was scored.

    Example:
        >>> wrong = np.array([[True, False, False], [True, True, False]])
        >>> weighted_scores(wrong, np.ones((2, 3), bool), np.array([1.0, 2.0])).tolist()
        [3.0, 2.0, 0.0]
    """
    counts = scored.sum(axis=1)
    if counts.size == 0 or (counts == 0).any():
        raise InputError("An error rate needs at least one image in each condition, got none.")
    images = scored.shape[1]
    scores = np.zeros(images)
    value = 0.0
    for one, there, n, weight in zip(values, scored, counts, weights, strict=True):
        found = np.where(there, one, 0.0)
        mean = found.sum() / n
        value += weight * mean
        scores += weight * (images / n) * (found - mean * there)
    return scores + value


def weighted_bounds(weights: Floats) -> Bounds:
    """Between which a weighted sum of error rates can lie.

    Example:
        >>> weighted_bounds(np.array([0.5, 0.5, -0.25]))
        (-0.25, 1.0)
    """
    return float(weights[weights < 0].sum()), float(weights[weights > 0].sum())
