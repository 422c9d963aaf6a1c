"""Decoding JPEG files with simplejpeg, wherever it gives bit for bit what Pillow gives.

Both use libjpeg-turbo, and simplejpeg has less overhead. It decodes a file only if all of this
holds; Pillow decodes every other file:

* Pillow identifies it as a JPEG of one or three channels of 8 bits: neither CMYK, whose conversion
  differs, nor several images. If the header holds only what every encoder writes, the answer of
  Pillow is known, and it is not asked.
* libjpeg reads the same size from it, and a common colour space and subsampling.
* It is Huffman coded, baseline or progressive: not every build of Pillow has the other kinds.
* libjpeg gives no warning, not even one that it could recover from.
* On this machine both gave the same pixels for the files of ``_samples``: another build of Pillow
  may use another libjpeg, or one without the processor's vector instructions.
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

Size = tuple[int, int]

_COLOUR_SPACES = ("Gray", "YCbCr", "RGB")
_SUBSAMPLINGS = ("444", "422", "420", "Gray")

_FRAMES = frozenset((0xC0, 0xC1, 0xC2))  # by Huffman: baseline, extended, progressive
_SCAN = 0xDA
_JFIF = b"\xe0\0\x10JFIF\0"  # with its length, which is fixed without a thumbnail
_PLAIN = frozenset((0xC4, 0xDB, 0xDD, 0xFE))  # tables, comments
_SKIPPED = _PLAIN | frozenset(range(0xE0, 0xF0))  # and application segments


def decoder_versions() -> dict[str, str]:
    """Version of the package that decodes JPEG files instead of Pillow; empty if none does."""
    return {} if _simplejpeg() is None else {"simplejpeg": importlib.metadata.version("simplejpeg")}


def plain_size(data: bytes) -> Size | None:
    """Width and height, if the header is so plain that Pillow's reading of it is known.

    ``None`` unless it holds only JFIF's segment, tables, comments, one frame of one or three
    channels, and a scan.
    """
    size, at = None, 2
    while at + 20 <= len(data) and data[at] == 0xFF:
        marker, length = data[at + 1], data[at + 2] << 8 | data[at + 3]
        if marker == _SCAN:
            return size if data.startswith(b"\xff\xd8") else None
        if marker in _FRAMES and size is None and data[at + 4] == 8 and data[at + 9] in (1, 3):
            size = data[at + 7] << 8 | data[at + 8], data[at + 5] << 8 | data[at + 6]
            if 0 in size:
                return None
        elif marker not in _PLAIN and data[at + 1 : at + 9] != _JFIF:
            return None
        at += 2 + length
    return None


def supports(image: Image.Image, data: bytes) -> bool:
    """Whether ``decode_into`` may decode a file whose header Pillow has read."""
    return image.format == "JPEG" and image.mode in ("L", "RGB") and _is_huffman(data)


def decode_into(pixels: Pixels, data: bytes) -> bool:
    """Decode into contiguous pixels (H, W, 3); returns whether that succeeded.

    After a failure, ``pixels`` are undefined and Pillow must decode the file.

    Args:
        pixels: Array of the size that the header says.
        data: A file that ``plain_size`` or ``supports`` accepts.
    """
    module = _simplejpeg()
    if module is None:
        return False
    try:
        # Compare the size first: simplejpeg refuses a buffer that is too small, but leaks memory.
        height, width, colours, subsampling = module.decode_jpeg_header(data, strict=True)
        is_common = subsampling in _SUBSAMPLINGS and colours in _COLOUR_SPACES
        if (height, width) != pixels.shape[:2] or not is_common:
            return False
        module.decode_jpeg(data, "RGB", buffer=pixels, strict=True)
    except (ValueError, KeyError):  # KeyError for subsamplings without a name
        return False
    return True


def _is_huffman(data: bytes) -> bool:
    """Whether the frame is Huffman coded; two parsers have read the header before."""
    position = 2
    while position + 4 <= len(data) and data[position] == 0xFF and data[position + 1] in _SKIPPED:
        position += 2 + int.from_bytes(data[position + 2 : position + 4], "big")
    return data[position : position + 1] == b"\xff" and data[position + 1] in _FRAMES


@cache
def _simplejpeg() -> Any:
    """The module, if it is installed and agrees with Pillow."""
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
    """Small files that different builds of libjpeg would decode differently."""
    noise = np.frombuffer(shake_128(b"noise").digest(59 * 45 * 3), np.uint8).reshape(45, 59, 3)
    image = Image.fromarray(noise)
    for subsampling in (0, 1, 2):
        yield _encoded(image, subsampling=subsampling, quality=60)
    yield _encoded(image.convert("L"))
    yield _encoded(image, keep_rgb=True)
    # Values far outside 0 to 255 are clipped differently without vector instructions.
    yield _with_coarsest_tables(_encoded(image, quality=90))
    whole = _encoded(image, progressive=True)
    yield whole
    # A missing last scan is smoothed over without a warning, differently between versions.
    yield whole[: whole.rindex(b"\xff\xda")] + b"\xff\xd9"


def _encoded(image: Image.Image, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, "JPEG", **options)
    return file.getvalue()


def _with_coarsest_tables(data: bytes) -> bytes:
    """The same file with every quantisation step at 255."""
    coarse, position = bytearray(data), data.find(b"\xff\xdb")
    while position >= 0:
        coarse[position + 5 : position + 5 + 64] = b"\xff" * 64
        position = data.find(b"\xff\xdb", position + 69)
    return bytes(coarse)
