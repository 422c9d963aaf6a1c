"""From the bytes of an image to pixels, bit for bit as Pillow and torchvision have them.

    Image.open -> convert("RGB") -> Resize(short side) -> CenterCrop

torchvision's own classes would cost three seconds to import and a copy of each image; a test
compares with them. Stored stimuli (ImageNet-C) are neither resized nor padded: resizing them is
the best known way to a wrong number (RobustBench/robustbench#59).
"""

import io
import math
import warnings
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from ..contracts import Preprocessing
from ..errors import InputError, reason_of

Pixels = npt.NDArray[np.uint8]

MAX_PIXELS = 89_478_485
"""More is taken for an attack on memory: Pillow's own bound, 1 GiB / 4 / 3."""

_FILTERS = {
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
}
_EIGHT_BIT_MODES = frozenset(
    ("1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "LAB", "HSV")
)
# Pillow opens a bomb with a warning before it can be asked for its size. We ask, and refuse.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning, module="PIL")


def photo_pixels(data: bytes, location: str, preprocessing: Preprocessing) -> Pixels:
    """A photo, resized and cropped: (S, S, 3) uint8.

    Args:
        data: The encoded file.
        location: What an error calls it.
        preprocessing: Short side, crop and filter.

    Raises:
        InputError: If the bytes are no 8-bit image that Pillow can decode whole.
    """
    image = _resized(_rgb(data, location), preprocessing)
    crop = preprocessing.crop_px
    width, height = image.size
    # torchvision's CenterCrop rounds half to even, and so does round().
    left, top = round((width - crop) / 2), round((height - crop) / 2)
    return np.asarray(image.crop((left, top, left + crop, top + crop)))


def stimulus_pixels(data: bytes, location: str, side_px: int) -> Pixels:
    """A stored stimulus exactly as it is: (S, S, 3) uint8.

    Raises:
        InputError: If the bytes are no image, or its size is not the one that the benchmark has.
    """
    image = _rgb(data, location)
    if image.size != (side_px, side_px):
        width, height = image.size
        raise InputError(
            f"{location} is {width}x{height}, expected {side_px}x{side_px}: stored stimuli are "
            "never resized or padded. Is this the benchmark's own tree?"
        )
    return np.asarray(image)


def _rgb(data: bytes, location: str) -> Image.Image:
    try:
        image = Image.open(io.BytesIO(data))
        _refuse_unusual(image, data, location)
        if image.mode == "P" and isinstance(image.info.get("transparency"), bytes):
            # convert() drops it too, but with a warning.
            del image.info["transparency"]
        return image.convert("RGB")
    except InputError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise _bomb(location) from error
    except UnidentifiedImageError as error:
        raise InputError(
            f"{location} is no image that Pillow knows ({len(data)} bytes). "
            "Expected a JPEG or PNG; restore or remove it."
        ) from error
    except Exception as error:  # Pillow's decoders raise what they like on damaged bytes
        raise InputError(
            f"{location} cannot be decoded: {reason_of(error)}. "
            "The file is damaged or truncated; restore it."
        ) from error


def _refuse_unusual(image: Image.Image, data: bytes, location: str) -> None:
    if image.width * image.height > MAX_PIXELS:
        raise _bomb(location)
    # Pillow cuts a 16-bit RGB PNG down to 8 bits and still calls its mode RGB.
    depth = data[24] if image.format == "PNG" else _tiff_depth(image)
    if image.mode not in _EIGHT_BIT_MODES or depth > 8:
        raise InputError(
            f"{location} has more than 8 bits a channel (mode {image.mode}, {max(depth, 16)} bits)"
            ": converting would clip it. Expected 8 bits a channel; convert the file first."
        )


def _tiff_depth(image: Image.Image) -> int:
    tags: Any = getattr(image, "tag_v2", None)
    depths = tags.get(258, 8) if tags is not None else 8
    return max(depths) if isinstance(depths, tuple) else int(depths)


def _bomb(location: str) -> InputError:
    return InputError(
        f"{location} has more than {MAX_PIXELS / 1e6:.0f} million pixels, which looks like a "
        "decompression bomb. Expected a photo; remove the file."
    )


def _resized(image: Image.Image, preprocessing: Preprocessing) -> Image.Image:
    width, height = image.size
    short, long = sorted((width, height))
    target = preprocessing.resize_px
    if short == target:
        return image
    other = math.floor(target * long / short)
    size = (target, other) if width <= height else (other, target)
    return image.resize(size, _FILTERS[preprocessing.interpolation])
