"""JPEG files decoded by simplejpeg, wherever that is bit for bit what Pillow gives.

Both carry libjpeg-turbo, and simplejpeg wastes less around it. It is used for a file only when all
of this holds, and Pillow decodes every other one:

* Pillow has read the header, and calls it a JPEG of one or three channels: neither CMYK, whose
  conversion differs, nor several pictures.
* libjpeg reads the same size from it, and a colour space and a subsampling that are common.
* It is coded by Huffman, baseline or progressive: not every Pillow has the other kinds.
* libjpeg has nothing to remark, not even what it could recover from.
* On this machine both gave the same pixels for the files of ``_agrees``: another build of Pillow
  may carry another libjpeg, or one without the processor's vector instructions.
"""

import importlib.metadata
import io
from collections.abc import Iterator
from functools import cache
from hashlib import shake_128
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

Pixels = npt.NDArray[np.uint8]

_COLOUR_SPACES = {"L": ("Gray",), "RGB": ("YCbCr", "RGB")}
_SUBSAMPLINGS = ("444", "422", "420", "Gray")
_HUFFMAN = frozenset((0xC0, 0xC1, 0xC2))
_SKIPPED = frozenset((0xC4, 0xDB, 0xDD, 0xFE, *range(0xE0, 0xF0)))  # tables, comments, applications


def decoder_versions() -> dict[str, str]:
    """The package that decodes JPEG files in place of Pillow, if one does here."""
    return {} if _simplejpeg() is None else {"simplejpeg": importlib.metadata.version("simplejpeg")}


def serves(image: Image.Image, data: bytes) -> bool:
    """Whether ``decode_into`` may be tried on a file of which Pillow has read the header."""
    module = _simplejpeg()
    if module is None or image.format != "JPEG" or image.mode not in _COLOUR_SPACES:
        return False
    try:
        height, width, colours, subsampling = module.decode_jpeg_header(data)
    except (ValueError, KeyError):  # the second is of colour spaces without a name
        return False
    return (
        (width, height) == image.size
        and colours in _COLOUR_SPACES[image.mode]
        and subsampling in _SUBSAMPLINGS
        and _is_huffman(data)
    )


def decode_into(pixels: Pixels, data: bytes) -> bool:
    """Decode a file that is served into pixels (H, W, 3), contiguous; whether that went well.

    Where it did not, Pillow must say what to think of the file, and ``pixels`` hold nothing.
    """
    try:
        # The decoder leaks where its buffer is too small; `serves` has compared the sizes.
        _simplejpeg().decode_jpeg(data, "RGB", buffer=pixels, strict=True)
    except ValueError:
        return False
    return True


def _is_huffman(data: bytes) -> bool:
    """Whether the frame is so coded, in a header that two parsers have read."""
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF and data[at + 1] in _SKIPPED:
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return data[at : at + 1] == b"\xff" and data[at + 1] in _HUFFMAN


@cache
def _simplejpeg() -> Any:
    """The module, where it is installed and agrees with Pillow."""
    try:
        import simplejpeg
    except ImportError:
        return None
    return simplejpeg if all(_agrees(simplejpeg, data) for data in _samples()) else None


def _agrees(module: Any, data: bytes) -> bool:
    try:
        pixels = module.decode_jpeg(data, "RGB", strict=True)
    except ValueError:
        return False
    return np.array_equal(pixels, np.asarray(Image.open(io.BytesIO(data)).convert("RGB")))


def _samples() -> Iterator[bytes]:
    """Small files in which the builds of libjpeg that are about would differ."""
    noise = np.frombuffer(shake_128(b"noise").digest(59 * 45 * 3), np.uint8).reshape(45, 59, 3)
    image = Image.fromarray(noise)
    for subsampling in (0, 1, 2):
        yield _encoded(image, subsampling=subsampling, quality=60)
    yield _encoded(image.convert("L"))
    yield _encoded(image, keep_rgb=True)
    # What stands far outside 0 to 255 is cut off differently without vector instructions.
    yield _with_coarsest_tables(_encoded(image, quality=90))
    whole = _encoded(image, progressive=True)
    yield whole
    # A last scan that never came is smoothed over, without a remark, and versions differ in how.
    yield whole[: whole.rindex(b"\xff\xda")] + b"\xff\xd9"


def _encoded(image: Image.Image, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, "JPEG", **options)
    return file.getvalue()


def _with_coarsest_tables(data: bytes) -> bytes:
    """The same file with every quantisation step at 255."""
    coarse, at = bytearray(data), data.find(b"\xff\xdb")
    while at >= 0:
        coarse[at + 5 : at + 5 + 64] = b"\xff" * 64
        at = data.find(b"\xff\xdb", at + 69)
    return bytes(coarse)
