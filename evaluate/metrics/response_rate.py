"""AURRA: the area under the curve of accuracy over response rate.

    AURRA  =  mean over k = 1..n of the accuracy on the k images of highest confidence

Images of equal confidence each count with their mean accuracy, which is the mean over all their
orders. In the published code their order depends on its sort.

Source: Hendrycks, Zhao, Basart, Steinhardt & Song, "Natural Adversarial Examples", CVPR 2021, and
calibration_tools.py of hendrycks/natural-adv-examples.
"""

import numpy as np

from ...errors import InputError
from .calibration import Confidence, Correct


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
    if confidence.size == 0 or confidence.shape != correct.shape:
        raise InputError(
            "AURRA needs a confidence and a verdict for each image, at least one; got "
            f"{confidence.shape} and {correct.shape}."
        )
    _, groups, sizes = np.unique(-confidence, return_inverse=True, return_counts=True)
    rates = np.bincount(groups, correct) / sizes
    right = np.repeat(rates, sizes).cumsum()
    return float(np.mean(right / np.arange(1, right.size + 1)))
