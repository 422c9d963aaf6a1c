"""From the bytes of an image to pixels, bit for bit as Pillow and torchvision have them.

    Image.open -> convert("RGB") -> Resize(short side) -> CenterCrop

torchvision's own classes would cost three seconds to import and a copy of each image; a test
compares with them. Stored stimuli (ImageNet-C) are neither resized nor padded: resizing them is
the best known way to a wrong number (RobustBench/robustbench#59).
"""

import io
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from ..contracts import Preprocessing
from ..errors import ImageError, reason_of
from . import jpeg
from .resize import resized_crop, resized_size

Pixels = npt.NDArray[np.uint8]

MAX_PIXELS = 89_478_485
"""More is taken for an attack on memory: Pillow's own bound, 1 GiB / 4 / 3."""

FORMATS = ("JPEG", "PNG", "PPM", "BMP", "TIFF", "WEBP", "GIF")
"""What is opened. Pillow knows more, and hands some of them (EPS) to other programs."""

_MOST_SCRATCH_BYTES = 16 * 2**20
_threads = threading.local()

_BITS_OF_MODE = {"I": 32, "F": 32, "I;16": 16, "I;16L": 16, "I;16B": 16, "I;16N": 16}
_TIFF_BITS_PER_SAMPLE = 258

# Pillow warns of large images, which are refused below, and of damaged EXIF blocks, which play no
# part. Not inside the functions: the lists of warnings are shared by all threads.
warnings.filterwarnings("ignore", module="PIL")


def photo_pixels(
    data: bytes, location: str, preprocessing: Preprocessing, out: Pixels | None = None
) -> Pixels:
    """A photo, resized and cropped: (S, S, 3) uint8.

    Args:
        data: The encoded file.
        location: What an error calls it.
        preprocessing: Short side, crop and filter.
        out: Where the pixels are put, instead of a new array.

    Raises:
        ImageError: If the bytes are no 8-bit image that Pillow can decode whole.
    """
    with _refusals(data, location):
        image = _opened(data, location)
        size = resized_size(image.size, preprocessing.resize_px)
        # One pixel wide and very tall is a bomb that only goes off here.
        _refuse_large(size, location)
        pixels = _decoded(image, data, _scratch(image.size))
        cropped = resized_crop(pixels, size, preprocessing.crop_px, preprocessing.interpolation)
    return _put(cropped, out)


def stimulus_pixels(data: bytes, location: str, side_px: int, out: Pixels | None = None) -> Pixels:
    """A stored stimulus exactly as it is: (S, S, 3) uint8, in ``out`` if that is given.

    Raises:
        ImageError: If the bytes are no image, or its size is not the one that the benchmark has.
    """
    with _refusals(data, location):
        image = _opened(data, location)
        if image.size != (side_px, side_px):
            width, height = image.size
            raise ImageError(
                f"{location} is {width}x{height}, expected {side_px}x{side_px}: stored stimuli "
                "are never resized or padded. Is this the benchmark's own tree?"
            )
        return _decoded(image, data, out)


def _opened(data: bytes, location: str) -> Image.Image:
    """The header, in which nothing speaks against decoding the rest."""
    image = Image.open(io.BytesIO(data), formats=FORMATS)
    _refuse_large(image.size, location)
    _refuse_deep(image, location)
    return image


def _decoded(image: Image.Image, data: bytes, out: Pixels | None) -> Pixels:
    """All pixels of an image (H, W, 3)."""
    if jpeg.serves(image, data):
        width, height = image.size
        pixels = np.empty((height, width, 3), np.uint8) if out is None else out
        if jpeg.decode_into(pixels, data):
            return pixels
    if image.mode == "P" and isinstance(image.info.get("transparency"), bytes):
        # convert() drops it too, but with a warning.
        del image.info["transparency"]
    return _put(np.asarray(image.convert("RGB")), out)


def _put(pixels: Pixels, out: Pixels | None) -> Pixels:
    if out is None:
        return pixels
    out[...] = pixels
    return out


def _scratch(size: tuple[int, int]) -> Pixels | None:
    """Room for a photo that this thread uses again and again: new memory comes page by page."""
    width, height = size
    need = width * height * 3
    if need > _MOST_SCRATCH_BYTES:
        return None
    if len(getattr(_threads, "scratch", b"")) < need:
        _threads.scratch = np.empty(need, np.uint8)
    found: Pixels = _threads.scratch[:need].reshape(height, width, 3)
    return found


@contextmanager
def _refusals(data: bytes, location: str) -> Iterator[None]:
    """Whatever Pillow raises, as one line that names the file."""
    try:
        yield
    except (ImageError, MemoryError):
        raise
    # A warning only where the filter above was taken back, as test runners do.
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise _too_large("it", location) from error
    except UnidentifiedImageError as error:
        raise ImageError(
            f"{location} is no image that Pillow knows ({len(data)} bytes). "
            f"Expected one of {', '.join(FORMATS)}; restore or remove it."
        ) from error
    except Exception as error:  # Pillow's decoders raise what they like on damaged bytes
        raise ImageError(
            f"{location} cannot be decoded: {reason_of(error)}. "
            "The file is damaged or truncated; restore it."
        ) from error


def _refuse_deep(image: Image.Image, location: str) -> None:
    """Refuse more than 8 bits a channel: Pillow clips some and cuts others down without a word."""
    bits = max(_BITS_OF_MODE.get(image.mode, 8), _stored_bits(image))
    if bits > 8:
        raise ImageError(
            f"{location} has {bits} bits a channel (mode {image.mode}), which would be clipped. "
            "Expected 8 bits a channel; convert the file first."
        )


def _stored_bits(image: Image.Image) -> int:
    """The bits a channel as the file has them, which the mode does not say: RGB may be 16 bits."""
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
