"""Resizing and cropping, bit for bit as Pillow and torchvision do, and little more than is kept.

Pillow resizes an 8-bit image in two passes, first every row to the new width, then every column to
the new height, and rounds to 8 bits in between. So the passes may be asked for one by one, and
columns that the crop drops need not go through the second.

A pass can also be told to give a part of its result only, by the ``box`` in the input from which
that part comes. Each weight is computed from the box, which is kept in float32, so that weights are
usually off by their last digits. Along a side whose new length is a power of two, every number that
Pillow computes on the way is a multiple of a power of two that fits its type: nothing is rounded,
and the weights are those of the whole.
"""

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from ..contracts import Interpolation

Pixels = npt.NDArray[np.uint8]

_FILTERS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}
_REACH = 3
"""Of the wider filter, bicubic, in pixels of whichever side is the coarser; and one to spare."""

_FLOAT32_BITS = 24


class _Side(NamedTuple):
    """Width or height: how long it is, how long it becomes, and which part of that is kept."""

    old: int
    new: int
    first: int
    kept: int

    @property
    def has_exact_box(self) -> bool:
        """Whether the part can be asked for alone; see above."""
        power_of_two = self.new & (self.new - 1) == 0
        return power_of_two and self.first >= 0 and self.old * self.new < 2**_FLOAT32_BITS

    @property
    def box(self) -> tuple[float, float]:
        """Where in the old side the part comes from."""
        return self._old(self.first), self._old(self.first + self.kept)

    @property
    def needed(self) -> tuple[int, int]:
        """A part of the old side that holds everything which the filter looks at."""
        if not self.has_exact_box:
            return 0, self.old
        low, high = self.box
        reach = math.ceil(_REACH * max(1.0, self.old / self.new))
        return max(0, math.floor(low) - reach), min(self.old, math.ceil(high) + reach)

    def _old(self, position: int) -> float:
        return position * self.old / self.new


def resized_size(size: tuple[int, int], short_px: int) -> tuple[int, int]:
    """Width and height once the shorter one is ``short_px``, as torchvision's Resize has them."""
    width, height = size
    short, long = sorted(size)
    other = short_px if short == long else math.floor(short_px * long / short)
    return (short_px, other) if width <= height else (other, short_px)


def resized_crop(
    pixels: Pixels, size: tuple[int, int], crop_px: int, interpolation: Interpolation
) -> Pixels:
    """The centre of a resized image: (S, S, 3) uint8.

    Args:
        pixels: All of the image (H, W, 3).
        size: Width and height to which it is resized; neither is below the crop.
        crop_px: The side S of what is kept.
        interpolation: The filter.
    """
    height, width, _ = pixels.shape
    # torchvision's CenterCrop rounds half to even, and so does round().
    across = _Side(width, size[0], round((size[0] - crop_px) / 2), crop_px)
    down = _Side(height, size[1], round((size[1] - crop_px) / 2), crop_px)
    first, last = down.needed
    image = Image.fromarray(pixels[first:last])
    image = _across(image, across, _FILTERS[interpolation])
    image = _down(image, down, first, _FILTERS[interpolation])
    return np.asarray(image)


def _across(image: Image.Image, side: _Side, how: Image.Resampling) -> Image.Image:
    if side.has_exact_box:
        left, right = side.box
        return image.resize((side.kept, image.height), how, (left, 0, right, image.height))
    if side.new != side.old:
        image = image.resize((side.new, image.height), how)
    return image.crop((side.first, 0, side.first + side.kept, image.height))


def _down(image: Image.Image, side: _Side, first: int, how: Image.Resampling) -> Image.Image:
    """The same for the height, of an image that begins at the row ``first``."""
    if side.has_exact_box:
        top, bottom = side.box
        return image.resize(
            (image.width, side.kept), how, (0, top - first, image.width, bottom - first)
        )
    if side.new != side.old:
        image = image.resize((image.width, side.new), how)
    return image.crop((0, side.first, image.width, side.first + side.kept))
