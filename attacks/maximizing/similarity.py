"""How alike images are: correlation of their pixels, and structural similarity (SSIM).

    SSIM = mean of ((2 m_a m_b + C1)(2 s_ab + C2)) / ((m_a^2 + m_b^2 + C1)(s_a^2 + s_b^2 + C2))

with means m, variances s^2 and covariances s_ab under a Gaussian window of 11x11 and a standard
deviation of 1.5 pixels, C1 = 0.01^2, C2 = 0.03^2 for images in [0, 1]; over the windows that lie
inside the image, then over the three channels (its authors took one channel, of grey).

Images that were made from one start share what is in it. What they do not share by that is the
change, image - start: its correlation says whether different units ask for the same.

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
    """Of two images, or the mean over pairs of them; none where a number is not defined.

    Attributes:
        ssim: -1 to 1; none for images of less than 11 px.
        correlation: Of all pixels and channels; none where an image is of one colour.
        change_correlation: Of what was changed of the starts; none also for start and image.
        pairs: How many pairs there are.
    """

    ssim: float | None
    correlation: float | None
    change_correlation: float | None
    pairs: int = 1


@dataclass(frozen=True)
class Likenesses:
    """Of the maximizing images of K starts and U units.

    Attributes:
        across_units: For each start, over the pairs of units.
        across_starts: For each unit, over the pairs of starts.
        to_start: For each start, and each unit, of the image with its start.
    """

    across_units: tuple[Likeness, ...]
    across_starts: tuple[Likeness, ...]
    to_start: tuple[tuple[Likeness, ...], ...]


def ssim(image: Array, other: Array) -> float | None:
    """Structural similarity of two images (3, S, S) in [0, 1]; none below 11 px.

    Example:
        >>> grey = np.full((3, 16, 16), 0.5)
        >>> ssim(grey, grey), round(ssim(grey, grey + 0.25), 4)  # (2 x .375 + C1) / (.8125 + C1)
        (1.0, 0.9231)
    """
    return _ssim(_Seen(image), _Seen(other))


def correlation(image: Array, other: Array) -> float | None:
    """Pearson's, over all numbers of two arrays; none where one does not vary.

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
    """How alike images are across units, across starts and to their starts.

    Args:
        images: (K, U, 3, S, S) in [0, 1].
        starts: (K, 3, S, S).
        advance: Is told how many pairs are done, of ``pair_count(K, U)``.
    """
    seen = [
        [_Seen(image, image - start) for image in row]
        for start, row in zip(starts, images, strict=True)
    ]
    first = [_Seen(start) for start in starts]
    done = itertools.count(1)

    def alike(one: _Seen, other: _Seen) -> Likeness:
        found = _likeness(one, other)
        advance(next(done))
        return found

    def across(group: Iterable[_Seen]) -> Likeness:
        return _mean([alike(*pair) for pair in itertools.combinations(group, 2)])

    return Likenesses(
        across_units=tuple(across(row) for row in seen),
        across_starts=tuple(across(column) for column in zip(*seen, strict=True)),
        to_start=tuple(
            tuple(alike(one, start) for one in row) for start, row in zip(first, seen, strict=True)
        ),
    )


def pair_count(starts: int, units: int) -> int:
    """How many pairs of images are compared.

    Example:
        >>> pair_count(3, 6)  # 3 x 15 across units, 6 x 3 across starts, 18 to the start
        81
    """
    return starts * units * (units - 1) // 2 + units * starts * (starts - 1) // 2 + starts * units


class _Seen:
    """An image with what is needed of it for each pair that it is in."""

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


def _ssim(one: _Seen, other: _Seen) -> float | None:
    if min(one.image.shape[1:]) < 2 * _RADIUS_PX + 1:
        return None
    covariance = _windowed(one.image * other.image) - one.mean * other.mean
    alike = (2 * one.mean * other.mean + _C1) * (2 * covariance + _C2)
    scale = (one.mean**2 + other.mean**2 + _C1) * (one.variance + other.variance + _C2)
    return float((alike / scale).mean())


def _likeness(one: _Seen, other: _Seen) -> Likeness:
    changes = None
    if one.change is not None and other.change is not None:
        changes = correlation(one.change, other.change)
    return Likeness(_ssim(one, other), correlation(one.image, other.image), changes)


def _mean(found: Sequence[Likeness]) -> Likeness:
    """Over pairs; none where one of them has no number."""

    def of(values: Sequence[float | None]) -> float | None:
        known = [value for value in values if value is not None]
        return sum(known) / len(known) if known and len(known) == len(values) else None

    return Likeness(
        of([pair.ssim for pair in found]),
        of([pair.correlation for pair in found]),
        of([pair.change_correlation for pair in found]),
        len(found),
    )
