"""Top-k error and its interval.

    error = 1 - correct / n
    Wilson: (p + z^2/2n +- z sqrt(p (1 - p)/n + z^2/4n^2)) / (1 + z^2/n),   z = 1.96 for 95 %

Source of the interval: Wilson, "Probable Inference, the Law of Succession, and Statistical
Inference", JASA 1927. Unlike the normal interval it stays inside [0, 1] and has a width at 0 and 1.
"""

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from ...errors import InputError

Z_95 = 1.959963984540054
"""The 97.5 % quantile of the standard normal distribution."""


def top_k_correct(
    ranked: npt.NDArray[np.integer[Any]], labels: npt.NDArray[np.integer[Any]], k: int
) -> npt.NDArray[np.bool_]:
    """Whether the label is among the first k classes.

    Args:
        ranked: Class indices, likeliest first: (N, at least k).
        labels: Class indices: (N,).
        k: How many classes count.

    Returns:
        (N,) booleans.

    Example:
        >>> top_k_correct(np.array([[3, 1], [1, 3]]), np.array([3, 3]), k=1)
        array([ True, False])
    """
    return np.asarray((ranked[:, :k] == labels[:, None]).any(axis=1))


def error_rate(correct: npt.NDArray[np.bool_]) -> float:
    """The fraction that is wrong.

    Raises:
        InputError: If nothing was scored: 0 of 0 is no error of zero.

    Example:
        >>> error_rate(np.array([True, True, True, False]))
        0.25
    """
    if correct.size == 0:
        raise InputError("An error rate needs at least one image, got none.")
    return 1 - int(np.count_nonzero(correct)) / correct.size


def wilson_interval(rate: float, n: int) -> tuple[float, float]:
    """The 95 % interval of a rate that was measured on n images.

    Args:
        rate: Fraction in [0, 1].
        n: Number of images, at least 1.

    Example:
        >>> [round(end, 4) for end in wilson_interval(0.1, 20)]
        [0.0279, 0.301]
    """
    if n < 1 or not 0 <= rate <= 1:
        raise InputError(f"An interval needs a rate in [0, 1] and n >= 1, got {rate} and {n}.")
    z2 = Z_95**2
    centre = rate + z2 / (2 * n)
    margin = Z_95 * math.sqrt(rate * (1 - rate) / n + z2 / (4 * n * n))
    scale = 1 + z2 / n
    # At 0 and 1 the ends are exact; rounding would leave 1e-17 of either sign.
    low = 0.0 if rate == 0 else (centre - margin) / scale
    high = 1.0 if rate == 1 else (centre + margin) / scale
    return low, high
