"""Corruption error on ImageNet-C.

    mean error    = mean over corruptions c and severities s of E(c, s)
    CE_c          = sum_s E(c, s) / sum_s E_AlexNet(c, s)                            s = 1..5
    mCE           = mean of CE_c
    relative CE_c = sum_s (E(c, s) - E_clean) / sum_s (E_AlexNet(c, s) - E_clean,AlexNet)
    relative mCE  = mean of relative CE_c: a mean of ratios, not a ratio of means

Source: Hendrycks & Dietterich, "Benchmarking Neural Network Robustness to Common Corruptions and
Perturbations", ICLR 2019. The baselines are arguments; they are in ``benchmarks/imagenet_c.py``.
A mean over only some of the corruptions is never returned.

With the baseline's errors fixed, each of these is linear in the errors of the cells and the clean
error. ``Weights`` are the coefficients, from which intervals are computed.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ...errors import InputError

Errors = Mapping[str, npt.NDArray[np.float64]]
SEVERITIES = 5


@dataclass(frozen=True)
class Weights:
    """A number as a weighted sum of errors.

    Attributes:
        cells: Weight of the error of each of the five cells of a corruption, by corruption.
        clean: Weight of the clean error.
    """

    cells: Mapping[str, float]
    clean: float = 0.0


def mean_error(errors: Errors, baseline: Mapping[str, float]) -> float:
    """The unnormalised mean corruption error: the mean over all cells.

    Args:
        errors: Top-1 error of each corruption, shape (5,), one entry per severity; fractions.
        baseline: Mapping whose keys are the required corruptions.

    Raises:
        InputError: If a corruption is missing or misshapen.
    """
    _check(errors, baseline)
    return float(np.mean([errors[name].mean() for name in baseline]))


def corruption_error(errors: npt.NDArray[np.float64], baseline: float) -> float:
    """CE of one corruption, as a fraction of the baseline's.

    Args:
        errors: Top-1 error at each severity: (5,), fractions.
        baseline: The baseline's top-1 error, averaged over the severities.

    Example:
        >>> corruption_error(np.full(5, 0.25), baseline=0.5)
        0.5
    """
    _check({"it": errors}, {"it": baseline})
    return float(errors.mean() / baseline)


def mce(errors: Errors, baseline: Mapping[str, float]) -> float:
    """Mean corruption error, relative to a baseline model.

    Args:
        errors: Top-1 error of each corruption: shape (5,), one entry per severity; fractions.
        baseline: Top-1 error of the baseline, averaged over the severities; fractions.

    Returns:
        mCE as a fraction: 1.0 is as bad as the baseline. Papers print it times 100.

    Raises:
        InputError: If a corruption of ``baseline`` is missing or is not shaped (5,).

    Example:
        >>> round(mce({"fog": np.full(5, 0.2), "snow": np.full(5, 0.8)},
        ...           {"fog": 0.4, "snow": 0.8}), 6)
        0.75
    """
    _check(errors, baseline)
    return float(np.mean([corruption_error(errors[c], mean) for c, mean in baseline.items()]))


def relative_corruption_error(
    errors: npt.NDArray[np.float64], clean_error: float, *, baseline: float, baseline_clean: float
) -> float:
    """Relative CE of one corruption: its increase of the error, relative to the baseline's.

    Args:
        errors: Top-1 error at each severity: (5,), fractions.
        clean_error: Top-1 error of the same model on the clean images.
        baseline: The baseline's top-1 error, averaged over the severities.
        baseline_clean: The baseline's top-1 error on the clean images.

    Returns:
        A fraction; negative if corruption helps.

    Example:
        >>> relative_corruption_error(np.full(5, 0.5), 0.25, baseline=0.75, baseline_clean=0.25)
        0.5
    """
    _check({"it": errors}, {"it": baseline})
    return float((errors.mean() - clean_error) / (baseline - baseline_clean))


def relative_mce(
    errors: Errors, clean_error: float, *, baseline: Mapping[str, float], baseline_clean: float
) -> float:
    """Relative mCE: the mean of relative CE.

    Args:
        errors: As for ``mce``.
        clean_error: Top-1 error of the same model on the clean images.
        baseline: As for ``mce``.
        baseline_clean: The baseline's top-1 error on the clean images.

    Returns:
        A fraction; negative if corruption helps.

    Raises:
        InputError: As for ``mce``.
    """
    _check(errors, baseline)
    ratios = [
        relative_corruption_error(
            errors[corruption], clean_error, baseline=mean, baseline_clean=baseline_clean
        )
        for corruption, mean in baseline.items()
    ]
    return float(np.mean(ratios))


def mean_error_weights(baseline: Mapping[str, float]) -> Weights:
    """The weight of each error in the mean error.

    Example:
        >>> mean_error_weights({"fog": 0.8, "snow": 0.5}).cells
        {'fog': 0.1, 'snow': 0.1}
    """
    return Weights(dict.fromkeys(baseline, 1 / (SEVERITIES * len(baseline))))


def mce_weights(baseline: Mapping[str, float]) -> Weights:
    """The weight of each error in mCE; for a single corruption, in its CE.

    Example:
        >>> mce_weights({"fog": 0.8, "snow": 0.5}).cells
        {'fog': 0.125, 'snow': 0.2}
    """
    count = SEVERITIES * len(baseline)
    return Weights({corruption: 1 / (count * mean) for corruption, mean in baseline.items()})


def relative_mce_weights(baseline: Mapping[str, float], baseline_clean: float) -> Weights:
    """The weight of each error in relative mCE; for a single corruption, in its relative CE."""
    cells = mce_weights({name: mean - baseline_clean for name, mean in baseline.items()}).cells
    return Weights(cells, -SEVERITIES * sum(cells.values()))


def _check(errors: Errors, baseline: Mapping[str, float]) -> None:
    missing = [name for name in baseline if name not in errors]
    if missing:
        raise InputError(
            f"A mean over {len(baseline)} corruptions needs all of them, but {len(missing)} are "
            f"missing: {', '.join(missing)}."
        )
    for name in baseline:
        if errors[name].shape != (SEVERITIES,) or not np.isfinite(errors[name]).all():
            raise InputError(
                f"{name} has errors {errors[name].tolist()}, expected 5 numbers, one per severity."
            )
