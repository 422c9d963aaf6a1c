"""The interval of a number that is a mean over images, and of numbers linear in several errors.

    V    =  sum over conditions c of w_c E_c,    E_c = sum_i r_ic e_ic / n_c
    s_i  =  V + sum over c of w_c (N / n_c) r_ic (e_ic - E_c)
    V +- z sqrt(sum_i (s_i - V)^2 / (N - 1) / N)

e_ic is the score of image i under condition c, for example 1 if it is classified wrong. r_ic is 1
if it was scored there, and n_c is the number of scored images; the N images are the same in all
conditions. If none was skipped, s_i is just sum_c w_c e_ic, one score per image, and V their mean:
images are independent, the conditions of one image need not be. If some were skipped, s_i
linearises the ratios E_c, so that the interval is that of V itself.

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
        scores: Score of each image: (N,).
        bounds: Smallest and largest possible mean; the interval is clipped to them.

    Returns:
        Both ends. `None` for fewer than two scores and for scores that are all equal: they do not
        show how scores vary, and an interval of width zero would claim certainty.

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
    """One score per image, whose mean is the weighted sum of the conditions' means.

    Args:
        values: Score of each image under each condition, for example whether it is classified
            wrong: (conditions, N).
        scored: Whether each image was scored, not skipped: (conditions, N).
        weights: Weight of each condition's mean: (conditions,).

    Returns:
        (N,) scores.

    Raises:
        InputError: If no image of a condition was scored.

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
    for row, row_scored, n, weight in zip(values, scored, counts, weights, strict=True):
        image_scores = np.where(row_scored, row, 0.0)
        mean = image_scores.sum() / n
        value += weight * mean
        scores += weight * (images / n) * (image_scores - mean * row_scored)
    return scores + value


def weighted_bounds(weights: Floats) -> Bounds:
    """The smallest and the largest possible weighted sum of error rates.

    Example:
        >>> weighted_bounds(np.array([0.5, 0.5, -0.25]))
        (-0.25, 1.0)
    """
    return float(weights[weights < 0].sum()), float(weights[weights > 0].sum())
