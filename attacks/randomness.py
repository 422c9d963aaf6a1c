"""Random numbers of an attack, from (seed, image, restart) alone, or of a probe's query likewise.

So a start and a target do not depend on the batch, on the order of the images, on epsilon, or on
whether a run was resumed. A stream is numpy's Philox under a key that is a SHA-256; only its raw
bits are used, which numpy promises to keep, unlike the streams of ``Generator``'s methods.
"""

import hashlib
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


def start_noise(seed: int, identity: str, restart: int, shape: tuple[int, ...]) -> Floats:
    """Uniform numbers in [-1, 1) that a start adds to its image, times epsilon."""
    return _uniform(seed, "start", identity, restart, shape)


def query_noise(seed: int, identity: str, query: int, shape: tuple[int, ...]) -> Floats:
    """Uniform numbers in [-1, 1) that a query adds to its image, times epsilon."""
    return _uniform(seed, "noise", identity, query, shape)


def stripe_signs(seed: int, identity: str, columns: int) -> Floats:
    """-1 or 1 for each channel and column of the first query of a square attack: (3, columns)."""
    return _signs(_bits(seed, "square", identity, 1).random_raw(3 * columns)).reshape(3, columns)


def square_draw(seed: int, identity: str, query: int, places: int) -> tuple[int, int, Floats]:
    """Place of a later query's square, and the direction of each channel.

    Args:
        seed: Seed of the attack.
        identity: Id of the image.
        query: Number of the query, from 2.
        places: Number of rows that the square may begin at, and of columns.

    Returns:
        First row, first column, and -1 or 1 for each channel: (3,).
    """
    words = _bits(seed, "square", identity, query).random_raw(5)
    return int(words[0]) % places, int(words[1]) % places, _signs(words[2:])


def wrong_class(seed: int, identity: str, restart: int, *, label: int, classes: int) -> int:
    """A class that is not the label, uniform over the others.

    Example:
        >>> {wrong_class(0, str(n), 0, label=1, classes=3) for n in range(99)} == {0, 2}
        True
    """
    drawn = int(_bits(seed, "target", identity, restart).random_raw()) % (classes - 1)
    return drawn + (drawn >= label)


def traced_sample(identities: Iterable[str], count: int, seed: int) -> frozenset[str]:
    """The ``count`` images whose hashes come first, whatever their order."""
    ranked = sorted(identities, key=lambda identity: _digest(seed, "traced", identity, 0))
    return frozenset(ranked[:count])


def _uniform(seed: int, purpose: str, identity: str, number: int, shape: tuple[int, ...]) -> Floats:
    raw = _bits(seed, purpose, identity, number).random_raw(int(np.prod(shape)))
    unit = (raw >> np.uint64(11)).astype(np.float64) * 2.0**-53
    return (2 * unit - 1).reshape(shape)


def _signs(words: npt.NDArray[np.uint64]) -> Floats:
    """1 where a word's highest bit is set, else -1."""
    return np.where(words >> np.uint64(63), 1.0, -1.0)


def _bits(seed: int, purpose: str, identity: str, number: int) -> np.random.Philox:
    return np.random.Philox(
        key=int.from_bytes(_digest(seed, purpose, identity, number)[:16], "little")
    )


def _digest(seed: int, purpose: str, identity: str, number: int) -> bytes:
    text = f"{seed}\0{purpose}\0{number}\0{identity}"
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).digest()
