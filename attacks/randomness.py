"""Random numbers of an attack, from (seed, image, restart) alone.

So a start and a target do not depend on the batch, on the order of the images, on epsilon, or on
whether a run was resumed. A stream is numpy's Philox under a key that is a SHA-256; only its raw
bits are used, which numpy promises to keep, unlike the streams of ``Generator``'s methods.
"""

import hashlib
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


def start_noise(
    seed: int, identity: str, restart: int, shape: tuple[int, ...]
) -> "npt.NDArray[np.float64]":
    """Uniform numbers in [-1, 1) that a start adds to its image, times epsilon."""
    import numpy as np

    size = int(np.prod(shape))
    raw = _bits(seed, "start", identity, restart).random_raw(size)
    unit = (raw >> np.uint64(11)).astype(np.float64) * 2.0**-53
    noise: npt.NDArray[np.float64] = (2 * unit - 1).reshape(shape)
    return noise


def wrong_class(seed: int, identity: str, restart: int, *, label: int, classes: int) -> int:
    """A class that is not the label, uniform over the others.

    Example:
        >>> {wrong_class(0, str(n), 0, label=1, classes=3) for n in range(99)} == {0, 2}
        True
    """
    drawn = int(_bits(seed, "target", identity, restart).random_raw()) % (classes - 1)
    return drawn + (drawn >= label)


def traced_sample(identities: Iterable[str], count: int, seed: int) -> frozenset[str]:
    """``count`` of the images: those whose hashes come first, in whatever order they are given."""
    ranked = sorted(identities, key=lambda identity: _digest(seed, "traced", identity, 0))
    return frozenset(ranked[:count])


def _bits(seed: int, purpose: str, identity: str, restart: int) -> Any:
    import numpy as np

    key = int.from_bytes(_digest(seed, purpose, identity, restart)[:16], "little")
    return np.random.Philox(key=key)


def _digest(seed: int, purpose: str, identity: str, restart: int) -> bytes:
    named = f"{seed}\0{purpose}\0{restart}\0{identity}"
    return hashlib.sha256(named.encode("utf-8", "surrogateescape")).digest()
