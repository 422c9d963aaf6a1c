"""Similarity of images: correlation of their pixels, and structural similarity (SSIM).

    SSIM = mean of ((2 m_a m_b + C1)(2 s_ab + C2)) / ((m_a^2 + m_b^2 + C1)(s_a^2 + s_b^2 + C2))

with means m, variances s^2 and covariances s_ab under a Gaussian window of 11x11 and a standard
deviation of 1.5 pixels, C1 = 0.01^2, C2 = 0.03^2 for images in [0, 1]; over the windows that lie
inside the image, then over the three channels (its authors used one channel, of grey).

Images that are made from one start share its content. The correlation of their changes, image -
start, shows whether different units need the same change.

Source: Wang, Bovik, Sheikh & Simoncelli, "Image quality assessment: from error visibility to
structural similarity", IEEE Transactions on Image Processing, 2004.
"""

import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

_DEVIATION_PX, _RADIUS_PX = 1.5, 5
_C1, _C2 = 0.01**2, 0.03**2

Array = npt.NDArray[np.floating]


@dataclass(frozen=True)
class Likeness:
    """Similarity of two images, or its mean over pairs; ``None`` for numbers that are undefined.

    Attributes:
        ssim: Structural similarity, -1 to 1; ``None`` for images below 11 px.
        correlation: Correlation of all pixels and channels; ``None`` if an image has one colour.
        change_correlation: Correlation of the changes; ``None`` also for an image and its start.
        pairs: Number of pairs.
    """

    ssim: float | None
    correlation: float | None
    change_correlation: float | None
    pairs: int = 1


@dataclass(frozen=True)
class Likenesses:
    """Similarities of the maximizing images of K starts and U units.

    Attributes:
        across_units: Mean over the pairs of units, for each start.
        across_starts: Mean over the pairs of starts, for each unit.
        to_start: Similarity of each image with its start, for each start and unit.
    """

    across_units: tuple[Likeness, ...]
    across_starts: tuple[Likeness, ...]
    to_start: tuple[tuple[Likeness, ...], ...]


def ssim(image: Array, other: Array) -> float | None:
    """Structural similarity of two images (3, S, S) in [0, 1]; ``None`` below 11 px.

    Example:
        >>> grey = np.full((3, 16, 16), 0.5)
        >>> ssim(grey, grey), round(ssim(grey, grey + 0.25), 4)  # (2 x .375 + C1) / (.8125 + C1)
        (1.0, 0.9231)
    """
    return _ssim(_Image(image), _Image(other))


def correlation(image: Array, other: Array) -> float | None:
    """Pearson's correlation of two arrays; ``None`` if one is constant.

    Example:
        >>> ramp = np.arange(6.0)
        >>> round(correlation(ramp, 3 - 2 * ramp), 9), correlation(ramp, np.ones(6))
        (-1.0, None)
    """
    a = image.astype(np.float64).ravel()
    b = other.astype(np.float64).ravel()
    a, b = a - a.mean(), b - b.mean()
    scale = np.sqrt((a @ a) * (b @ b))
    return float(np.clip((a @ b) / scale, -1, 1)) if scale > 1e-12 * len(a) else None


def likenesses(
    images: Array, starts: Array, advance: Callable[[int], None] = lambda _: None
) -> Likenesses:
    """Similarities of images across units, across starts and to their starts.

    Args:
        images: (K, U, 3, S, S) in [0, 1].
        starts: (K, 3, S, S).
        advance: Function that is called with the number of pairs done, of ``pair_count(K, U)``.
    """
    rows = [
        [_Image(image, image - start) for image in row]
        for start, row in zip(starts, images, strict=True)
    ]
    first = [_Image(start) for start in starts]
    done = itertools.count(1)

    def compare(image: _Image, other: _Image) -> Likeness:
        likeness = _likeness(image, other)
        advance(next(done))
        return likeness

    def across(group: Iterable[_Image]) -> Likeness:
        return _mean([compare(*pair) for pair in itertools.combinations(group, 2)])

    return Likenesses(
        across_units=tuple(across(row) for row in rows),
        across_starts=tuple(across(column) for column in zip(*rows, strict=True)),
        to_start=tuple(
            tuple(compare(image, start) for image in row)
            for start, row in zip(first, rows, strict=True)
        ),
    )


def pair_count(starts: int, units: int) -> int:
    """Number of pairs of images that are compared.

    Example:
        >>> pair_count(3, 6)  # 3 x 15 across units, 6 x 3 across starts, 18 to the start
        81
    """
    return starts * units * (units - 1) // 2 + units * starts * (starts - 1) // 2 + starts * units


class _Image:
    """An image, with values that each of its pairs needs."""

    def __init__(self, image: Array, change: Array | None = None) -> None:
        self.image = image.astype(np.float64)
        self.change = change

    @cached_property
    def mean(self) -> npt.NDArray[np.float64]:
        return _windowed(self.image)

    @cached_property
    def variance(self) -> npt.NDArray[np.float64]:
        return _windowed(self.image**2) - self.mean**2


def _windowed(image: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The weighted mean of each window that lies inside: (3, S - 10, S - 10)."""
    from scipy.ndimage import correlate1d

    offsets = np.arange(-_RADIUS_PX, _RADIUS_PX + 1)
    weights = np.exp(-0.5 * (offsets / _DEVIATION_PX) ** 2)
    weights /= weights.sum()
    smooth = correlate1d(correlate1d(image, weights, axis=1), weights, axis=2)
    inside = slice(_RADIUS_PX, -_RADIUS_PX)
    result: npt.NDArray[np.float64] = smooth[:, inside, inside]
    return result


def _ssim(a: _Image, b: _Image) -> float | None:
    if min(a.image.shape[1:]) < 2 * _RADIUS_PX + 1:
        return None
    covariance = _windowed(a.image * b.image) - a.mean * b.mean
    numerator = (2 * a.mean * b.mean + _C1) * (2 * covariance + _C2)
    scale = (a.mean**2 + b.mean**2 + _C1) * (a.variance + b.variance + _C2)
    return float((numerator / scale).mean())


def _likeness(a: _Image, b: _Image) -> Likeness:
    changes = None
    if a.change is not None and b.change is not None:
        changes = correlation(a.change, b.change)
    return Likeness(_ssim(a, b), correlation(a.image, b.image), changes)


def _mean(pairs: Sequence[Likeness]) -> Likeness:
    """Mean over pairs; ``None`` for numbers that are undefined for a pair."""

    def mean(name: str) -> float | None:
        values = [getattr(pair, name) for pair in pairs]
        return sum(values) / len(values) if values and None not in values else None

    return Likeness(mean("ssim"), mean("correlation"), mean("change_correlation"), len(pairs))
