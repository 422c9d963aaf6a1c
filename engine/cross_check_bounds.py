"""Bounds on how far two engines that passed parity may differ, on a photo and over many photos.

Let ``a`` be the reference's logits of a photo, ``a + E`` one engine's and ``a + E'`` the other's.
Where the first prefers class i and the other class j, the first engine's margin is

    m = (a + E)_i - (a + E)_j  <=  (E_i - E_j) + (E'_j - E'_i)  <=  sqrt(2) (|E| + |E'|)

since ``(a + E')_i <= (a + E')_j``. Parity bounds ``|E|`` by ``worst_image |S|``, with S the signal
of the photo, so a larger margin cannot come from engines within their bounds: the two saw other
weights, other pixels or another order of classes. The bound assumes that all error lies in two
classes, so it is tight in float32 and loose in half precision. There the number of photos that
differ is a better test: parity measured the fraction that agrees, with an interval.
"""

import math
from collections.abc import Sequence

from .tolerances import Tolerance

CHANCE = 1e-3
"""Significance level of ``too_many``; low, since the test runs after every shard."""


def allowed_margin(tolerances: Sequence[Tolerance], signal: float) -> float:
    """Largest margin of another class that the bounds of parity allow, in logits.

    Args:
        tolerances: Bounds of each of the two engines that is not the reference itself.
        signal: ``|S|`` of the photo: logits of the reference less their mean over photos.

    Example:
        >>> round(allowed_margin([Tolerance(1e-4, 1e-3, 1e-3)], signal=50), 4)
        0.0707
    """
    return math.sqrt(2) * sum(bounds.worst_image for bounds in tolerances) * signal


def too_many(differing: int, compared: int, agreement_low: float) -> bool:
    """Whether this number of differences contradicts the agreement that parity measured.

    Args:
        differing: Number of photos with another class.
        compared: Number of all photos.
        agreement_low: Lower end of the interval of parity's agreement.

    Returns:
        Whether as many differences have a probability below ``CHANCE`` even at that end.

    Example:
        >>> [too_many(n, 8, 0.963) for n in (0, 3, 4)]
        [False, False, True]
    """
    from scipy.special import bdtrc

    if not differing:
        return False
    return float(bdtrc(differing - 1, compared, 1 - agreement_low)) < CHANCE
