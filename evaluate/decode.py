"""Decoding images to pixels, bit for bit as Pillow and torchvision do.

    Image.open -> convert("RGB") -> Resize(short side) -> CenterCrop

torchvision's own classes would cost three seconds to import and a copy of each image; a test
compares with them. Stored stimuli (ImageNet-C) are neither resized nor padded: resizing them is a
known source of wrong numbers (RobustBench/robustbench#59).
"""

import io
import math
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from ..contracts import Item, Preprocessing
from ..errors import ImageError, printable, reason_of
from . import jpeg

Pixels = npt.NDArray[np.uint8]

MAX_PIXELS = 89_478_485
"""Larger images are taken for decompression bombs: Pillow's own bound, 1 GiB / 4 / 3."""

FORMATS = ("JPEG", "PNG", "PPM", "BMP", "TIFF", "WEBP", "GIF")
"""Formats that are opened. Pillow knows more, and passes some of them (EPS) to other programs."""

_MAX_SCRATCH_BYTES = 16 * 2**20
_threads = threading.local()

_BITS_OF_MODE = {"I": 32, "F": 32, "I;16": 16, "I;16L": 16, "I;16B": 16, "I;16N": 16}
_TIFF_BITS_PER_SAMPLE = 258

# Pillow warns of large images, which are refused below, and of damaged EXIF blocks, which are not
# used. Not inside the functions, since all threads share the list of filters.
warnings.filterwarnings("ignore", module="PIL")


def photo_pixels(
    data: bytes, location: str, preprocessing: Preprocessing, out: Pixels | None = None
) -> Pixels:
    """A photo, resized and cropped: (S, S, 3) uint8.

    Args:
        data: The encoded file.
        location: Name of the file in errors.
        preprocessing: Short side, crop and filter.
        out: Array for the pixels; a new one if ``None``.

    Raises:
        ImageError: If the bytes are not an 8-bit image that Pillow can decode completely.
    """
    image = resized_photo(data, location, preprocessing)
    crop = preprocessing.crop_px
    width, height = image.size
    # torchvision's CenterCrop rounds half to even, and so does round().
    left, top = round((width - crop) / 2), round((height - crop) / 2)
    pixels = np.empty((crop, crop, 3), np.uint8) if out is None else out
    pixels[...] = np.asarray(image.crop((left, top, left + crop, top + crop)))
    return pixels


def resized_photo(data: bytes, location: str, preprocessing: Preprocessing) -> Image.Image:
    """A photo in RGB after its short side was resized and before it is cropped.

    Raises:
        ImageError: If the bytes are not an 8-bit image that Pillow can decode completely.
    """
    with _refusals(data, location):
        return _resized(_Encoded(data, location).image(), preprocessing, location)


def stimulus_pixels(data: bytes, location: str, side_px: int, out: Pixels | None = None) -> Pixels:
    """A stored stimulus, unchanged: (S, S, 3) uint8, in ``out`` if that is given.

    Raises:
        ImageError: If the bytes are not an image, or not of the size that the benchmark has.
    """
    with _refusals(data, location):
        image = _Encoded(data, location)
        refuse_size(image.size, side_px, location)
        return image.pixels(out)


def refuse_size(size: tuple[int, int], side_px: int, location: str) -> None:
    """Refuse a stored stimulus whose width and height are not the benchmark's.

    Raises:
        ImageError: If one of them is not ``side_px``.
    """
    if size != (side_px, side_px):
        raise ImageError(
            f"{location} is {size[0]}x{size[1]}, expected {side_px}x{side_px}: stored stimuli are "
            "never resized or padded. Are these the benchmark's original data?"
        )


def damaged(location: str, reason: str) -> ImageError:
    """The error for a file whose content cannot be decoded."""
    return ImageError(
        f"{location} cannot be decoded: {reason}. The file is damaged or truncated; restore it."
    )


def decode_photo(
    data: bytes, item: Item, preprocessing: Preprocessing, frames: Sequence[Pixels]
) -> None:
    """A photo as a benchmark's item of one frame: see ``photo_pixels``."""
    photo_pixels(data, printable(item.location), preprocessing, *frames)


def decode_stimulus(
    data: bytes, item: Item, preprocessing: Preprocessing, frames: Sequence[Pixels]
) -> None:
    """A stored stimulus as a benchmark's item of one frame: see ``stimulus_pixels``."""
    stimulus_pixels(data, printable(item.location), preprocessing.crop_px, *frames)


class _Encoded:
    """An encoded file whose header has been read, and whose size and depth have been checked.

    Attributes:
        size: Width and height.
    """

    def __init__(self, data: bytes, location: str) -> None:
        self._data = data
        self._image: Image.Image | None = None
        size = jpeg.plain_size(data)
        if size is None:
            self._image = Image.open(io.BytesIO(data), formats=FORMATS)
            size = self._image.size
        self.size = size
        _refuse_large(size, location)
        if self._image is not None:
            _refuse_deep(self._image, location)

    def pixels(self, out: Pixels | None) -> Pixels:
        """The whole image (H, W, 3), in ``out`` if that is given."""
        width, height = self.size
        pixels = np.empty((height, width, 3), np.uint8) if out is None else out
        if not self._decode_fast(pixels):
            pixels[...] = np.asarray(self._decode_with_pillow())
        return pixels

    def image(self) -> Image.Image:
        """The whole image, as an RGB image of Pillow."""
        pixels = _scratch(self.size)
        if self._decode_fast(pixels):
            return Image.fromarray(pixels)
        return self._decode_with_pillow()

    def _decode_fast(self, pixels: Pixels) -> bool:
        supported = self._image is None or jpeg.supports(self._image, self._data)
        return supported and jpeg.decode_into(pixels, self._data)

    def _decode_with_pillow(self) -> Image.Image:
        image = self._image or Image.open(io.BytesIO(self._data), formats=FORMATS)
        assert image.size == self.size
        if image.mode == "P" and isinstance(image.info.get("transparency"), bytes):
            # convert() drops it too, but with a warning.
            del image.info["transparency"]
        return image.convert("RGB")


def _scratch(size: tuple[int, int]) -> Pixels:
    """A buffer for a photo that this thread reuses, since new memory costs page faults."""
    width, height = size
    count = width * height * 3
    buffer: Pixels = getattr(_threads, "scratch", np.empty(0, np.uint8))
    if len(buffer) < count:
        buffer = np.empty(count, np.uint8)
        if count <= _MAX_SCRATCH_BYTES:
            _threads.scratch = buffer
    return buffer[:count].reshape(height, width, 3)


@contextmanager
def _refusals(data: bytes, location: str) -> Iterator[None]:
    """Turn whatever Pillow raises into an error that names the file."""
    try:
        yield
    except (ImageError, MemoryError):
        raise
    # A warning only if the filter above was reset, as test runners do.
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise _too_large("it", location) from error
    except UnidentifiedImageError as error:
        raise ImageError(
            f"{location} is not an image that Pillow can identify ({len(data)} bytes). "
            f"Expected one of {', '.join(FORMATS)}; restore or remove it."
        ) from error
    except Exception as error:  # damaged bytes make Pillow's decoders raise many types
        raise damaged(location, reason_of(error)) from error


def _refuse_deep(image: Image.Image, location: str) -> None:
    """Refuse more than 8 bits a channel, which Pillow silently clips or truncates."""
    bits = max(_BITS_OF_MODE.get(image.mode, 8), _stored_bits(image))
    if bits > 8:
        raise ImageError(
            f"{location} has {bits} bits a channel (mode {image.mode}), which would be clipped. "
            "Expected 8 bits a channel; convert the file first."
        )


def _stored_bits(image: Image.Image) -> int:
    """Bits a channel in the file, which the mode does not say: RGB may have 16."""
    tags: Any = getattr(image, "tag_v2", None)
    depths = tags.get(_TIFF_BITS_PER_SAMPLE, 8) if tags is not None else 8
    depths = depths if isinstance(depths, tuple) else (depths,)
    bits = max((depth for depth in depths if depth in (16, 32, 64)), default=8)
    tiles: Any = getattr(image, "tile", ())
    for codec, _, _, arguments in tiles:
        first, *rest = arguments if isinstance(arguments, tuple) else (arguments,)
        raw_16_bits = isinstance(first, str) and ";16" in first
        ppm_16_bits = codec.startswith("ppm") and any(isinstance(n, int) and n > 255 for n in rest)
        bits = 16 if raw_16_bits or ppm_16_bits else bits
    return bits


def _refuse_large(size: tuple[int, int], location: str) -> None:
    width, height = size
    if width * height > MAX_PIXELS:
        raise _too_large(f"{width}x{height}", location)


def _too_large(size: str, location: str) -> ImageError:
    return ImageError(
        f"{location} has more than {MAX_PIXELS / 1e6:.0f} million pixels ({size}, perhaps after "
        "resizing), which looks like a decompression bomb. Expected a photo; remove the file."
    )


def _resized(image: Image.Image, preprocessing: Preprocessing, location: str) -> Image.Image:
    """The whole photo, although only a crop is used: for a part, Pillow rounds differently."""
    width, height = image.size
    short, long = sorted((width, height))
    target = preprocessing.resize_px
    if short == target:
        return image
    other = math.floor(target * long / short)
    size = (target, other) if width <= height else (other, target)
    # An image of 1 x 10,000 pixels becomes too large only here.
    _refuse_large(size, location)
    return image.resize(size, Image.Resampling[preprocessing.interpolation.upper()])
