"""Can two engines that parity believes differ this much on a photo, or on so many photos?

Let ``a`` be the reference's logits of a photo, ``a + E`` one engine's and ``a + E'`` the other's.
Where the first prefers class i and the other class j, the first engine's margin is

    m = (a + E)_i - (a + E)_j  <=  (E_i - E_j) + (E'_j - E'_i)  <=  sqrt(2) (|E| + |E'|)

since ``(a + E')_i <= (a + E')_j``. Parity bounds ``|E|`` by ``worst_image |S|``, with S the signal
of the photo, so a larger margin cannot come from engines within their bounds: the two saw other
weights, other pixels or another order of classes. The bound is strict, as if all error lay in two
classes, and so it is sharp in float32 and blunt in half precision. There the number of photos that
differ says more: parity measured on how many the engine agrees, with an interval.
"""

import math
from collections.abc import Sequence

from .tolerances import Tolerance

CHANCE = 1e-3
"""How improbable a number of differences must be. Not less: it is asked after every shard."""


def allowed_margin(tolerances: Sequence[Tolerance], signal: float) -> float:
    """The largest margin of a different class that the bounds of parity leave room for, in logits.

    Args:
        tolerances: Of each of the two that is not the reference itself.
        signal: ``|S|`` of a photo: its reference's logits, less their mean over photos.

    Example:
        >>> round(allowed_margin([Tolerance(1e-4, 1e-3, 1e-3)], signal=50), 4)
        0.0707
    """
    return math.sqrt(2) * sum(bounds.worst_image for bounds in tolerances) * signal


def too_many(differing: int, compared: int, agreement_low: float) -> bool:
    """Whether so many differences contradict the agreement that parity measured.

    Args:
        differing: Photos with another class.
        compared: All of them.
        agreement_low: Lower end of the interval of parity's agreement.

    Returns:
        Whether even at that end so many or more have a probability below ``CHANCE``.

    Example:
        >>> [too_many(n, 8, 0.963) for n in (0, 3, 4)]
        [False, False, True]
    """
    from scipy.special import bdtrc

    if not differing:
        return False
    return float(bdtrc(differing - 1, compared, 1 - agreement_low)) < CHANCE
