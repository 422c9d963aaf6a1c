"""AURRA: the area under the curve of accuracy over response rate.

    AURRA  =  mean over k = 1..n of the accuracy on the k images of which a model is surest

Of images with equal confidence none comes first: each counts as right as they are on average, which
is what the mean over all their orders gives. The published code leaves their order to its sort.

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
        correct: Whether it is the label: (N,).

    Raises:
        InputError: If there is no image, or the two are not of the same images.

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
