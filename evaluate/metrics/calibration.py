"""How well a model's confidence fits its accuracy.

    RMS calibration error  =  sqrt(sum over bins b of n_b / n (conf_b - acc_b)^2)
    ECE                    =       sum over bins b of n_b / n |conf_b - acc_b|
    AURRA                  =  mean over k = 1..n of the accuracy on the k surest images

The confidence of an image is the probability of its likeliest class. The RMS error has bins of 100
images each, in the order of their confidence; the last bin also holds the remainder. The ECE has 15
bins of equal width, ((m - 1) / 15, m / 15]. On a finite sample both are above zero even for a
calibrated model, and neither has a simple interval.

AURRA is the area under the curve of accuracy over response rate. Images of equal confidence each
count with their mean accuracy, which is the mean over all their orders; in the published code their
order depends on its sort.

Sources: Guo, Pleiss, Sun & Weinberger, "On Calibration of Modern Neural Networks", ICML 2017 (ECE);
Hendrycks, Mazeika & Dietterich, "Deep Anomaly Detection with Outlier Exposure", ICLR 2019 (RMS), as
in calibration_tools.py of hendrycks/natural-adv-examples, whose sum omits the last bin;
Hendrycks, Zhao, Basart, Steinhardt & Song, "Natural Adversarial Examples", CVPR 2021 (AURRA).
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


def aurra(confidence: Confidence, correct: Correct) -> float:
    """Area under the response rate accuracy curve.

    Args:
        confidence: Probability of the likeliest class: (N,), fractions.
        correct: Whether that class is the label: (N,).

    Raises:
        InputError: If there is no image, or the two arrays differ in shape.

    Example:
        >>> aurra(np.array([0.9, 0.5]), np.array([True, False]))
        0.75
    """
    _check_sizes(confidence, correct)
    _, groups, sizes = np.unique(-confidence, return_inverse=True, return_counts=True)
    rates = np.bincount(groups, correct) / sizes
    right = np.repeat(rates, sizes).cumsum()
    return float(np.mean(right / np.arange(1, right.size + 1)))


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
    _check_sizes(confidence, correct)
    sure = confidence.astype(np.float64)
    if not ((sure >= 0) & (sure <= 1 + 1e-6)).all():
        raise InputError("A calibration error needs confidences in [0, 1].")
    return sure


def _check_sizes(confidence: Confidence, correct: Correct) -> None:
    if confidence.size == 0 or confidence.shape != correct.shape:
        raise InputError(
            "A metric of confidences needs a confidence and a verdict for each image, at least "
            f"one; got {confidence.shape} and {correct.shape}."
        )
