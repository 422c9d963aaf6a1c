"""Top-k error.

    error = 1 - correct / n

Its interval: ``contracts/intervals.py``.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from ...errors import InputError


def top_k_correct(
    ranked: npt.NDArray[np.integer[Any]], labels: npt.NDArray[np.integer[Any]], k: int
) -> npt.NDArray[np.bool_]:
    """Whether the label is among the first k classes.

    Args:
        ranked: Class indices, likeliest first: (N, at least k).
        labels: Class indices: (N,).
        k: Number of classes that count.

    Returns:
        (N,) booleans.

    Example:
        >>> top_k_correct(np.array([[3, 1], [1, 3]]), np.array([3, 3]), k=1)
        array([ True, False])
    """
    return np.asarray((ranked[:, :k] == labels[:, None]).any(axis=1))


def accuracy(correct: npt.NDArray[np.bool_]) -> float:
    """The fraction that is right.

    Raises:
        InputError: If there are no images: 0 of 0 is not an accuracy of zero.

    Example:
        >>> accuracy(np.array([True, True, True, False]))
        0.75
    """
    if correct.size == 0:
        raise InputError("An error rate needs at least one image, got none.")
    return int(np.count_nonzero(correct)) / correct.size


def error_rate(correct: npt.NDArray[np.bool_]) -> float:
    """The fraction that is wrong.

    Raises:
        InputError: If there are no images: 0 of 0 is not an error of zero.

    Example:
        >>> error_rate(np.array([True, True, True, False]))
        0.25
    """
    return 1 - accuracy(correct)
