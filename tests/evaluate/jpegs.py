"""JPEG files of every kind, and what Pillow makes of them."""

import base64
import io
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import simplejpeg
from PIL import Image

Pixels = npt.NDArray[np.uint8]

SOI = b"\xff\xd8"
ARITHMETIC = base64.b64decode("""
/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAAUDBAQEAwUEBAQFBQUGBwwIBwcHBw8LCwkMEQ8SEhEPERETFhwXExQaFRERGCEY
Gh0dHx8fExciJCIeJBweHx7/2wBDAQUFBQcGBw4ICA4eFBEUHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4e
Hh4eHh4eHh4eHh4eHh7/yQARCAAJAAkDAREAAhEBAxEB/8wACgAQEAUBEBEF/9oADAMBAAIRAxEAPwD/ANt/zJXu/wAATn+U
CHi8y/aV/wBU+nyvev3sJXJnBdpWRI+z9vFcAACNGjikThzOZrIEpX9a9UJp6VYNN3O4n3Pa3D3f4GLuZ8G2grW855J4Lcqa
J2y0GNtiS6UHuQB7WuMQTLWqBY6cRDMZvwmX/9k=
""")
"""9x9, 4:4:4, coded arithmetically, by libjpeg-turbo 2.1.5: Pillow cannot write that."""

FOUR_BY_TWO = base64.b64decode("""
/9j/4AAQSkZJRgABAQAAAQABAAD/2wBDAAUDBAQEAwUEBAQFBQUGBwwIBwcHBw8LCwkMEQ8SEhEPERETFhwXExQaFRERGCEY
Gh0dHx8fExciJCIeJBweHx7/2wBDAQUFBQcGBw4ICA4eFBEUHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4eHh4e
Hh4eHh4eHh4eHh4eHh7/wAARCAAJAAkDAUIAAhEBAxEB/8QAFwABAQEBAAAAAAAAAAAAAAAAAAYFCP/EACQQAAEDAwEJAAAA
AAAAAAAAAAIAAREDBAYTMkFRY4OUsdLx/8QAFQEBAQAAAAAAAAAAAAAAAAAAAgT/xAAeEQABAwQDAAAAAAAAAAAAAAABAAID
BBESEyExYf/aAAwDAQACEQMRAD8A5px60E7cagBRknkYLe7xLy7O/D4qjS5JduXqiLPxDYuOh4V8iI6Q/m5UElWI3FuPXpX/
2Q==
""")
"""9x9, eight samples of brightness to one of each colour; likewise."""

SIDES = ((1, 1), (7, 13), (8, 8), (16, 16), (17, 31), (225, 223))


def pillow_pixels(data: bytes) -> Pixels:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


def scene(width: int, height: int, seed: int = 0) -> Image.Image:
    """Random coarse colours under fine noise: every frequency has something in it."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (4, 5, 3), np.uint8)).resize((width, height))
    noise = rng.integers(-40, 41, (height, width, 3))
    return Image.fromarray((np.asarray(coarse) + noise).clip(0, 255).astype(np.uint8))


def encoded(image: Image.Image, kind: str = "JPEG", **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def segment(marker: int, content: bytes) -> bytes:
    return bytes((0xFF, marker)) + (len(content) + 2).to_bytes(2, "big") + content


def with_segment(data: bytes, marker: int, content: bytes) -> bytes:
    """The same file with a segment after its first two bytes."""
    assert data[:2] == SOI
    return SOI + segment(marker, content) + data[2:]


def without_jfif(data: bytes) -> bytes:
    assert data[2:4] == b"\xff\xe0"
    return SOI + data[4 + int.from_bytes(data[4:6], "big") :]


def adobe(data: bytes, transform: int) -> bytes:
    """Adobe's marker in place of JFIF's: it says what the channels are."""
    content = b"Adobe\0\x64\0\0\0\0" + bytes((transform,))
    return with_segment(without_jfif(data), 0xEE, content)


def with_component_ids(data: bytes, ids: bytes) -> bytes:
    """Three channels under other names, in the frame and in the scan; without JFIF they count."""
    changed = bytearray(without_jfif(data))
    frame, scan = changed.index(b"\xff\xc0"), changed.index(b"\xff\xda")
    for position, name in enumerate(ids):
        changed[frame + 10 + 3 * position] = name
        changed[scan + 5 + 2 * position] = name
    return bytes(changed)


def with_size(data: bytes, width: int, height: int) -> bytes:
    """A baseline file whose frame says another size than it has."""
    changed, frame = bytearray(data), data.index(b"\xff\xc0")
    changed[frame + 5 : frame + 9] = height.to_bytes(2, "big") + width.to_bytes(2, "big")
    return bytes(changed)


def with_coarsest_tables(data: bytes) -> bytes:
    """Every step of the quantisation at 255: values far outside of 0 to 255."""
    coarse, at = bytearray(data), data.find(b"\xff\xdb")
    while at >= 0:
        coarse[at + 5 : at + 69] = b"\xff" * 64
        at = data.find(b"\xff\xdb", at + 69)
    return bytes(coarse)


def with_exif(image: Image.Image, orientation: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encoded(image, exif=exif)


def by_turbo(image: Image.Image, subsampling: str) -> bytes:
    data = simplejpeg.encode_jpeg(np.asarray(image), 85, "RGB", subsampling)
    assert isinstance(data, bytes)
    return data


FAST: Mapping[str, Callable[[Image.Image], bytes]] = {
    "4:4:4": lambda image: encoded(image, subsampling=0),
    "4:2:2": lambda image: encoded(image, subsampling=1),
    "4:2:0": lambda image: encoded(image, subsampling=2),
    "grey": lambda image: encoded(image.convert("L")),
    "progressive": lambda image: encoded(image, progressive=True),
    "progressive 4:4:4": lambda image: encoded(image, progressive=True, subsampling=0),
    "progressive, grey": lambda image: encoded(image.convert("L"), progressive=True),
    "quality 5": lambda image: encoded(image, quality=5),
    "quality 100": lambda image: encoded(image, quality=100, subsampling=0),
    "optimised": lambda image: encoded(image, optimize=True),
    "restart markers": lambda image: encoded(image, restart_marker_blocks=1),
    "restart markers, progressive": lambda image: encoded(
        image, restart_marker_blocks=2, progressive=True
    ),
    "RGB inside, by Adobe's marker": lambda image: encoded(image, keep_rgb=True),
    "Adobe's marker, transform 0": lambda image: adobe(encoded(image, subsampling=0), 0),
    "Adobe's marker, transform 1": lambda image: adobe(encoded(image), 1),
    "RGB inside, by the channels' names": lambda image: with_component_ids(
        encoded(image, subsampling=0), b"RGB"
    ),
    "without JFIF": lambda image: without_jfif(encoded(image)),
    "channels without a known name": lambda image: with_component_ids(encoded(image), b"\5\6\7"),
    "EXIF orientation": lambda image: with_exif(image, 6),
    "damaged EXIF": lambda image: with_segment(
        encoded(image), 0xE1, b"Exif\0\0MM\0*\0\0\xff\xff\xff"
    ),
    "ICC profile": lambda image: encoded(image, icc_profile=b"no profile, but nobody looks" * 9),
    "comment": lambda image: encoded(image, comment=b"\xff\xd8 \xff\xd9 \xff\xda"),
    "Photoshop's block": lambda image: with_segment(
        encoded(image), 0xED, b"Photoshop 3.0\x008BIM\x04\x0c\0\0\0\0\0\x04\xff\xd8\xff\xd9"
    ),
    "thumbnail with a frame of its own": lambda image: with_segment(
        encoded(image), 0xE2, b"thumbnail\0" + encoded(scene(20, 10, seed=1), progressive=True)
    ),
    "garbage after the end": lambda image: encoded(image) + bytes(range(256)) * 4,
    "a second picture after the end": lambda image: encoded(image) + encoded(scene(9, 9)),
    "a damaged index of several pictures": lambda image: with_segment(
        encoded(image), 0xE2, b"MPF\0MM\0*\0\0\0\x08\0\0"
    ),
    "coarsest tables": lambda image: with_coarsest_tables(encoded(image, quality=90)),
}
"""What simplejpeg decodes."""

SLOW: Mapping[str, Callable[[Image.Image], bytes]] = {
    "4:4:0": lambda image: by_turbo(image, "440"),
    "4:1:1": lambda image: by_turbo(image, "411"),
    "CMYK": lambda image: encoded(image.convert("CMYK")),
    "YCCK": lambda image: encoded(image.convert("CMYK")).replace(
        b"Adobe\0\x64\0\0\0\0\0", b"Adobe\0\x64\0\0\0\0\2"
    ),
    "Adobe's marker, transform 2 of three channels": lambda image: adobe(encoded(image), 2),
    "several pictures": lambda image: encoded(
        image, "MPO", save_all=True, append_images=[scene(40, 40)]
    ),
    "padding between segments": lambda image: SOI + b"\xff\xff" + encoded(image)[2:],
    "without its end": lambda image: encoded(image)[:-2],
    "half of it": lambda image: encoded(image)[: len(encoded(image)) // 2],
    "12 bits": lambda image: encoded(image).replace(b"\xff\xc0\0\x11\x08", b"\xff\xc0\0\x11\x0c"),
}
"""What Pillow decodes or refuses."""
