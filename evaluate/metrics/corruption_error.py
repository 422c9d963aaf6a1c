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
error. Intervals are computed from the coefficients, ``cell_weights`` and ``clean_weight``.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ...errors import InputError
from .mean_ratio import mean_ratio

Errors = Mapping[str, npt.NDArray[np.float64]]
SEVERITIES = 5


@dataclass(frozen=True)
class CorruptionError:
    """The mean over corruptions of an error, or of its increase, relative to a baseline's.

    Attributes:
        baseline: What the error of each required corruption is divided by.
        relative: Whether the clean error is subtracted from each error.
    """

    baseline: Mapping[str, float]
    relative: bool = False

    def value(self, errors: Errors, clean_error: float = 0.0) -> float:
        """The value for a model; for a single corruption, its CE or relative CE.

        Args:
            errors: Top-1 error of each corruption: shape (5,), one entry per severity; fractions.
            clean_error: Top-1 error of the same model on the clean images, if it is needed.

        Returns:
            A fraction: 1.0 is as bad as the baseline. Papers print it times 100. A relative one is
            negative if corruption helps.

        Raises:
            InputError: If a corruption of ``baseline`` is missing or is not shaped (5,).
        """
        for name, by_severity in errors.items():
            if by_severity.shape != (SEVERITIES,) or not np.isfinite(by_severity).all():
                raise InputError(
                    f"{name} has errors {by_severity.tolist()}, expected 5 numbers, one per "
                    "severity."
                )
        subtracted = clean_error if self.relative else 0.0
        means = {name: by_severity.mean() - subtracted for name, by_severity in errors.items()}
        return mean_ratio(means, self.baseline)

    @property
    def cell_weights(self) -> Mapping[str, float]:
        """Weight of the error of each of the five cells of a corruption, by corruption."""
        cells = SEVERITIES * len(self.baseline)
        return {name: 1 / (cells * mean) for name, mean in self.baseline.items()}

    @property
    def clean_weight(self) -> float:
        """Weight of the clean error."""
        return -SEVERITIES * sum(self.cell_weights.values()) if self.relative else 0.0


def mean_error(corruptions: Iterable[str]) -> CorruptionError:
    """The unnormalised mean corruption error: the mean over all cells.

    Example:
        >>> mean_error(["fog", "snow"]).cell_weights
        {'fog': 0.1, 'snow': 0.1}
    """
    return CorruptionError(dict.fromkeys(corruptions, 1.0))


def mce(baseline: Mapping[str, float]) -> CorruptionError:
    """Mean corruption error, relative to a baseline model; of a single corruption, its CE.

    Args:
        baseline: Top-1 error of the baseline, averaged over the severities; fractions.

    Example:
        >>> errors = {"fog": np.full(5, 0.2), "snow": np.full(5, 0.8)}
        >>> round(mce({"fog": 0.4, "snow": 0.8}).value(errors), 6)
        0.75
        >>> mce({"fog": 0.8, "snow": 0.5}).cell_weights
        {'fog': 0.125, 'snow': 0.2}
    """
    return CorruptionError(baseline)


def relative_mce(baseline: Mapping[str, float], baseline_clean: float) -> CorruptionError:
    """Relative mCE: the mean of relative CE; of a single corruption, its relative CE.

    Args:
        baseline: As for ``mce``.
        baseline_clean: The baseline's top-1 error on the clean images.

    Example:
        >>> errors = {"fog": np.full(5, 0.5)}
        >>> relative_mce({"fog": 0.75}, 0.25).value(errors, clean_error=0.25)
        0.5
    """
    increases = {name: mean - baseline_clean for name, mean in baseline.items()}
    return CorruptionError(increases, relative=True)
