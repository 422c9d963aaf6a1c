"""How far a model's confidence is from its accuracy.

    RMS calibration error  =  sqrt(sum over bins b of n_b / n (conf_b - acc_b)^2)
    ECE                    =       sum over bins b of n_b / n |conf_b - acc_b|

The confidence of an image is the probability of its likeliest class. The RMS error has bins of 100
images each, in the order of their confidence; the last bin also holds the remainder. The ECE has 15
bins of equal width, ((m - 1) / 15, m / 15]. On a finite sample both are above zero even for a
calibrated model, and neither has a simple interval.

Sources: Guo, Pleiss, Sun & Weinberger, "On Calibration of Modern Neural Networks", ICML 2017 (ECE);
Hendrycks, Mazeika & Dietterich, "Deep Anomaly Detection with Outlier Exposure", ICLR 2019 (RMS), as
in calibration_tools.py of hendrycks/natural-adv-examples, whose sum omits the last bin.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from ...errors import InputError

IMAGES_A_BIN = 100
EQUAL_BINS = 15

Confidence = npt.NDArray[np.floating[Any]]
Correct = npt.NDArray[np.bool_]


def rms_calibration_error(confidence: Confidence, correct: Correct) -> float:
    """Root mean square calibration error, over bins of 100 images each.

    Args:
        confidence: Probability of the likeliest class: (N,), fractions.
        correct: Whether that class is the label: (N,).

    Raises:
        InputError: If there is no image, or a confidence is outside [0, 1].

    Example:
        >>> rms_calibration_error(np.array([0.5, 0.75]), np.array([True, True]))
        0.375
    """
    gaps, shares = _adaptive_bins(confidence, correct)
    return float(np.sqrt(np.sum(shares * gaps**2)))


def rms_calibration_error_as_published(confidence: Confidence, correct: Correct) -> float:
    """The same as computed by the code behind the published numbers for ImageNet-A.

    The sum omits the last bin, though n includes it: the images of highest confidence, up to 199.

    Args:
        confidence: As for ``rms_calibration_error``.
        correct: As for ``rms_calibration_error``.

    Raises:
        InputError: As for ``rms_calibration_error``.
    """
    gaps, shares = _adaptive_bins(confidence, correct)
    return float(np.sqrt(np.sum(shares[:-1] * gaps[:-1] ** 2)))


def ece(confidence: Confidence, correct: Correct) -> float:
    """Expected calibration error, over 15 bins of equal width.

    Args:
        confidence: As for ``rms_calibration_error``.
        correct: As for ``rms_calibration_error``.

    Raises:
        InputError: As for ``rms_calibration_error``.

    Example:
        >>> ece(np.array([0.5, 0.75]), np.array([True, True]))
        0.375
    """
    sure = _checked(confidence, correct)
    edges = np.linspace(0, 1, EQUAL_BINS + 1)
    bins = np.searchsorted(edges[1:-1], sure, side="left")
    gaps = np.bincount(bins, sure - correct, EQUAL_BINS)
    return float(np.abs(gaps).sum() / sure.size)


def _adaptive_bins(
    confidence: Confidence, correct: Correct
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """The difference conf - acc of each bin, and its share of the images."""
    sure = _checked(confidence, correct)
    order = np.argsort(sure, kind="stable")
    starts = np.arange(max(1, sure.size // IMAGES_A_BIN)) * IMAGES_A_BIN
    sizes = np.diff(np.append(starts, sure.size))
    return np.add.reduceat((sure - correct)[order], starts) / sizes, sizes / sure.size


def _checked(confidence: Confidence, correct: Correct) -> npt.NDArray[np.float64]:
    sure = confidence.astype(np.float64)
    if sure.size == 0 or sure.shape != correct.shape:
        raise InputError(
            f"A calibration error needs a confidence and a verdict for each image, at least one; "
            f"got {sure.shape} and {correct.shape}."
        )
    if not ((sure >= 0) & (sure <= 1 + 1e-6)).all():
        raise InputError("A calibration error needs confidences in [0, 1].")
    return sure
