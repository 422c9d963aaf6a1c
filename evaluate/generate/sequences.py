"""The ten perturbations of ImageNet-P, from a photo whose short side is 256 px to frames of 224.

    noises, motion blur, snow, brightness       crop 224, then perturb
    zoom blur, translate, rotate, tilt, scale   perturb the whole photo, then crop 224

The second kind would have black borders otherwise; where an image moves further than its margin,
it has them nevertheless, here as in the original. Values are truncated to bytes instead of rounded
wherever the original's libraries do so.

Source: Hendrycks & Dietterich, ICLR 2019; parameters, order and frames are those of its generator,
hendrycks/robustness, ``ImageNet-P/create_p/make_imagenet_p.py``, at difficulty 1. ImageMagick's
motion blur and torchvision's affine transform of that time (0.2: its centre lies half a pixel
beyond the middle) are written out here.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt
from PIL import Image

from ..decode import Pixels
from .trees import PHOTO

CROP_PX = PHOTO.crop_px

Floats = npt.NDArray[np.float64]
Perturb = Callable[[Image.Image, np.random.Generator], Iterator[Pixels]]


@dataclass(frozen=True)
class Perturbation:
    """A perturbation.

    Attributes:
        sequence: Function of the whole photo and a random generator that yields the frames: 41 for
            ``translate``, 31 for the others, (224, 224, 3) uint8.
        grain: Whether its videos are encoded with ``-tune grain``, as those of noise are.
    """

    sequence: Perturb
    grain: bool = False


def _gaussian_noise(photo: Image.Image, random: np.random.Generator) -> Iterator[Pixels]:
    clean = _crop(photo)
    images = clean.astype(np.float32) / np.float32(255)
    yield clean
    for _ in range(30):
        noise = random.standard_normal(images.shape, np.float32)
        yield _bytes(images + np.float32(0.03) * noise)


def _shot_noise(photo: Image.Image, random: np.random.Generator) -> Iterator[Pixels]:
    clean = _crop(photo)
    yield clean
    for _ in range(30):
        yield _bytes(random.poisson(clean / 255 * 300) / 300)


def _motion_blur(photo: Image.Image, random: np.random.Generator) -> Iterator[Pixels]:
    clean = _crop(photo)
    for i in range(31):
        yield motion_blurred(clean, radius=10, sigma=3, degrees=(i - 30) * 4)


def _zoom_blur(photo: Image.Image, random: np.random.Generator) -> Iterator[Pixels]:
    total = np.zeros((CROP_PX, CROP_PX, 3), np.float32)
    for i in range(31):
        zoomed = _crop(_transformed(photo, scale=1 + 0.004 * i))
        total += zoomed.astype(np.float32) / np.float32(255)
        yield _bytes(total / np.float32(i + 1))


def _snow(photo: Image.Image, random: np.random.Generator) -> Iterator[Pixels]:
    images = _crop(photo) / 255
    red, green, blue = np.moveaxis(images.astype(np.float32), -1, 0)  # as OpenCV makes it grey
    grey = 0.299 * red + 0.587 * green + 0.114 * blue
    whitened = 0.85 * images + 0.15 * np.maximum(images, grey[..., None] * 1.5 + 0.5)
    flakes = _snow_layer(random)
    for i in range(31):
        fallen = motion_blurred(flakes, radius=14, sigma=4, degrees=i * 4 - 150) / 255
        yield _bytes(whitened + fallen + np.rot90(fallen, 2))


def _snow_layer(random: np.random.Generator) -> Pixels:
    """Flakes (224, 224, 1), enlarged three times after drawing."""
    from scipy.ndimage import zoom

    layer = random.normal(0.05, 0.3, (CROP_PX, CROP_PX))
    side = math.ceil(CROP_PX / 3)
    first = (CROP_PX - side) // 2
    part = layer[first : first + side, first : first + side]
    large: Floats = zoom(part, 3, order=1)[:CROP_PX, :CROP_PX]
    large[large < 0.5] = 0
    return _bytes(large)[..., None]


def _brightness(photo: Image.Image, random: np.random.Generator) -> Iterator[Pixels]:
    hue, saturation, value = _hsv(_crop(photo) / 255)
    for i in range(31):
        added = np.clip(value + (i - 15) * 2 / 100, 0, 1)
        yield _bytes(_rgb(hue, saturation, added))


def _translate(photo: Image.Image, random: np.random.Generator) -> Iterator[Pixels]:
    for i in range(41):
        yield _crop(_transformed(photo, right_px=i - 20, resample=Image.Resampling.NEAREST))


def _rotate(photo: Image.Image, random: np.random.Generator) -> Iterator[Pixels]:
    for i in range(31):
        yield _crop(_transformed(photo, degrees=i - 15))


def _tilt(photo: Image.Image, random: np.random.Generator) -> Iterator[Pixels]:
    from scipy.ndimage import map_coordinates

    image = np.asarray(photo)
    left, top = _corner(photo)
    y, x = np.mgrid[top : top + CROP_PX, left : left + CROP_PX]
    frame_points = np.stack([x.ravel(), y.ravel(), np.ones(x.size)])
    look_up = partial(map_coordinates, order=1, mode="grid-constant", cval=0, output=np.float64)
    for i in range(31):
        x, y, z = np.linalg.inv(tilt_matrix(photo.size, degrees=i - 15)) @ frame_points
        places = [y / z, x / z]
        channels = [look_up(image[..., c], places) for c in range(3)]
        yield np.rint(np.stack(channels, -1)).astype(np.uint8).reshape(CROP_PX, CROP_PX, 3)


def _scale(photo: Image.Image, random: np.random.Generator) -> Iterator[Pixels]:
    for i in range(31):
        yield _crop(_transformed(photo, scale=(i * 2.5 + 40) / 100))


PERTURBATIONS: Mapping[str, Perturbation] = {
    "gaussian_noise": Perturbation(_gaussian_noise, grain=True),
    "shot_noise": Perturbation(_shot_noise, grain=True),
    "motion_blur": Perturbation(_motion_blur),
    "zoom_blur": Perturbation(_zoom_blur),
    "snow": Perturbation(_snow),
    "brightness": Perturbation(_brightness),
    "translate": Perturbation(_translate),
    "rotate": Perturbation(_rotate),
    "tilt": Perturbation(_tilt),
    "scale": Perturbation(_scale),
}
"""All perturbations, in the order of the paper's table."""


def motion_blurred(pixels: Pixels, *, radius: int, sigma: float, degrees: float) -> Pixels:
    """The result of ImageMagick's ``MotionBlurImage`` for (H, W, C): half a Gaussian, to one side.

    The kernel has 2 radius + 1 weights, starts at the pixel itself, and follows the angle,
    clockwise from the right. Pixels beyond the edge equal the pixel at the edge.
    """
    width = 2 * radius + 1
    weights = np.exp(-(np.arange(width) ** 2) / (2 * sigma**2))
    weights /= weights.sum()
    turn = math.radians(degrees)
    height, breadth = pixels.shape[:2]
    padded = np.pad(pixels, ((width, width), (width, width), (0, 0)), "edge").astype(np.float64)
    total = np.zeros(pixels.shape)
    for step, weight in enumerate(weights):
        right = width + math.ceil(step * math.cos(turn) - 0.5)
        down = width + math.ceil(step * math.sin(turn) - 0.5)
        total += weight * padded[down : down + height, right : right + breadth]
    return np.rint(total).astype(np.uint8)


def tilt_matrix(size: tuple[int, int], *, degrees: float) -> Floats:
    """The plane of a photo turned about both its axes, seen from a focal length away: (3, 3).

    It maps pixels of the photo to pixels of the frame; ``size`` is width and height.
    """
    width, height = size
    focal = math.hypot(width, height)
    cos, sin = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    # The photo stands at a depth of 1, and not of 0, before it is turned.
    placed = np.array([[1, 0, -width / 2], [0, 1, -height / 2], [0, 0, 1]])
    about_x = np.array([[1, 0, 0], [0, cos, -sin], [0, sin, cos]])
    about_y = np.array([[cos, 0, -sin], [0, 1, 0], [sin, 0, cos]])
    moved = about_x @ about_y @ placed + np.array([[0, 0, 0], [0, 0, 0], [0, 0, focal]])
    projected: Floats = np.array([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1]]) @ moved
    return projected


def _transformed(
    photo: Image.Image,
    *,
    degrees: float = 0,
    right_px: int = 0,
    scale: float = 1,
    resample: Image.Resampling = Image.Resampling.BILINEAR,
) -> Image.Image:
    """The photo, turned clockwise, shifted and scaled about its middle; black beyond it."""
    x, y = photo.width / 2 + 0.5, photo.height / 2 + 0.5
    turn = math.radians(degrees)
    cos, sin = math.cos(turn) / scale, math.sin(turn) / scale
    across, down = x + right_px, y
    matrix = (cos, sin, x - cos * across - sin * down, -sin, cos, y + sin * across - cos * down)
    return photo.transform(photo.size, Image.Transform.AFFINE, matrix, resample)


def _corner(photo: Image.Image) -> tuple[int, int]:
    """Left and top of the crop, as torchvision rounds them."""
    return round((photo.width - CROP_PX) / 2), round((photo.height - CROP_PX) / 2)


def _crop(photo: Image.Image) -> Pixels:
    left, top = _corner(photo)
    return np.asarray(photo.crop((left, top, left + CROP_PX, top + CROP_PX)))


def _bytes(images: npt.NDArray[np.floating]) -> Pixels:
    """Pixels from images in [0, 1], truncated and not rounded."""
    pixels: Pixels = (np.clip(images, 0, 1) * 255).astype(np.uint8)
    return pixels


def _hsv(images: Floats) -> tuple[Floats, Floats, Floats]:
    """Hue in [0, 1), saturation and value, each (H, W)."""
    red, green, blue = np.moveaxis(images, -1, 0)
    value = images.max(-1)
    spread = value - images.min(-1)
    some = np.where(spread == 0, 1, spread)
    hue = np.where(red == value, (green - blue) / some, 0.0)
    hue = np.where(green == value, 2 + (blue - red) / some, hue)
    hue = np.where(blue == value, 4 + (red - green) / some, hue)
    saturation = spread / np.where(value == 0, 1, value)
    return np.where(spread == 0, 0.0, hue / 6 % 1), saturation, value


def _rgb(hue: Floats, saturation: Floats, value: Floats) -> Floats:
    """Pixels (H, W, 3) of hue, saturation and value."""
    sector = np.floor(hue * 6)
    fraction = hue * 6 - sector
    low = value * (1 - saturation)
    falling = value * (1 - fraction * saturation)
    rising = value * (1 - (1 - fraction) * saturation)
    orders = (
        (value, rising, low), (falling, value, low), (low, value, rising),
        (low, falling, value), (rising, low, value), (value, low, falling),
    )  # fmt: skip
    sextant = sector.astype(np.int64) % 6
    return np.choose(sextant[..., None], [np.stack(order, -1) for order in orders])
