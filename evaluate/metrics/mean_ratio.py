"""The mean over conditions of a model's number relative to a baseline's, and its interval.

    V    =  mean over conditions c of A_c / B_c

If the baseline's numbers B_c are constants, V is linear in the model's A_c, and an image's score in
V is a weighted sum of its scores in the conditions (``mean_interval.py``). If both were measured,
on the same images, the ratios are linearised at their values (the delta method):

    s_i  =  V + mean over c of (d_ic - (A_c / B_c) e_ic) / B_c
    d_ic =  (N / n_c) r_ic (a_ic - A_c)
    e_ic =  (N / m_c) q_ic (b_ic - B_c)

a_ic is the model's score of image i under condition c, r_ic is 1 if the image was scored there, and
n_c is the number of scored images; b_ic, q_ic and m_c are the baseline's. There is one score per
image over all conditions and both models, so that variation that they share cancels.

Source: Cochran, "Sampling Techniques", 3rd edition, 1977, chapter 6, for the ratio; it agrees with
a bootstrap over images, with which the tests compare it.
"""

from collections.abc import Mapping

import numpy as np

from ...errors import InputError
from .mean_interval import Floats, Scored, weighted_scores


def mean_ratio(values: Mapping[str, float], baseline: Mapping[str, float]) -> float:
    """The mean of the ratios, never a ratio of means: mCE, mFR and mT5D are such means.

    Args:
        values: Number of the model in each condition.
        baseline: Number of the baseline; its keys are the required conditions.

    Returns:
        A fraction: 1.0 is as bad as the baseline. Papers print it times 100.

    Raises:
        InputError: If a condition is missing, or the baseline's number is not above zero.

    Example:
        >>> mean_ratio({"a": 1.0, "b": 1.0}, {"a": 1.0, "b": 4.0})
        0.625
    """
    missing = [name for name in baseline if name not in values]
    if missing or not baseline:
        raise InputError(
            f"A mean over {len(baseline)} conditions needs all of them, but {len(missing)} are "
            f"missing: {', '.join(missing)}."
        )
    if zero := [name for name, value in baseline.items() if not value > 0]:
        raise InputError(f"The baseline is not above zero for {', '.join(zero)}.")
    return float(np.mean([values[name] / base for name, base in baseline.items()]))


def mean_ratio_weights(baseline: Floats) -> Floats:
    """The weight of each condition's number if the baseline's are constants: (conditions,).

    Example:
        >>> mean_ratio_weights(np.array([0.25, 0.5])).tolist()
        [2.0, 1.0]
    """
    return 1 / (baseline.size * baseline)


def measured_ratio_scores(
    values: Floats, scored: Scored, baseline: Floats, baseline_scored: Scored
) -> Floats:
    """One score per image, whose mean is the mean ratio of two measured models.

    Args:
        values: Score of each image with the model: (conditions, N).
        scored: Whether each image was scored, not skipped: (conditions, N).
        baseline: Score of each image with the baseline: (conditions, N).
        baseline_scored: Whether each image was scored with the baseline: (conditions, N).

    Returns:
        (N,) scores. Their spread is that of the linearised ratio.

    Raises:
        InputError: If no image of a condition was scored, or the baseline's number is zero.

    Example:
        >>> there = np.ones((1, 2), bool)
        >>> measured_ratio_scores(np.array([[0.0, 1.0]]), there, np.array([[1.0, 1.0]]), there)
        array([0., 1.])
    """
    ours, theirs = _means(values, scored), _means(baseline, baseline_scored)
    if not (theirs > 0).all():
        raise InputError("The baseline is not above zero in every condition.")
    weights = mean_ratio_weights(theirs)
    ratio = ours / theirs
    our_scores = weighted_scores(values, scored, weights)
    # The model's scores alone already have the mean V; the baseline's only add spread around it.
    their_scores = weighted_scores(baseline, baseline_scored, weights * ratio)
    return our_scores - (their_scores - float(weights @ ours))


def _means(values: Floats, scored: Scored) -> Floats:
    counts = scored.sum(axis=1)
    if (counts == 0).any():
        raise InputError("A mean needs at least one image in each condition, got none.")
    return np.array(np.where(scored, values, 0.0).sum(axis=1) / counts)
