"""The interval of a share, which both metrics and the assessment of attacks need.

    Wilson: (p + z^2/2n +- z sqrt(p (1 - p)/n + z^2/4n^2)) / (1 + z^2/n),   z = 1.96 for 95 %

Source: Wilson, "Probable Inference, the Law of Succession, and Statistical Inference", JASA 1927.
Unlike the normal interval it stays inside [0, 1] and has a width at 0 and 1. It is here because
``evaluate/`` and ``attacks/`` do not import each other.
"""

import math

from ..errors import InputError

Z_95 = 1.959963984540054
"""The 97.5 % quantile of the standard normal distribution."""


def wilson_interval(rate: float, n: int) -> tuple[float, float]:
    """The 95 % interval of a rate measured on n images.

    Args:
        rate: Fraction in [0, 1].
        n: Number of images, at least 1.

    Raises:
        InputError: If the rate is outside [0, 1], or n is below 1.

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
