"""The images that maximizing begins at: photos as the model sees them, and the paper's noise."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ..attacks.paper_draw import drawn_noise
from ..contracts import Preprocessing
from ..errors import InputError, shown
from ..evaluate.decode import photo_pixels
from ..evaluate.generate.photos import sample_photos
from ..evaluate.sources.folder import photos_in
from ..evaluate.sources.listing import read_file

NOISE = "noise"
PHOTOS = 2
"""Of --data or of the sample photos, where no start is named."""


@dataclass(frozen=True)
class Start:
    """An image to begin at.

    Attributes:
        name: ``noise``, or the photo's file name.
        sha256: Over its numbers, (3, S, S) float32.
        location: Of a photo. Told, but no part of an identity.
    """

    name: str
    sha256: str
    location: str = ""


def read_starts(
    asked: Sequence[str | Path] | None, data: Path | None, preprocessing: Preprocessing
) -> tuple[tuple[Start, ...], npt.NDArray[np.float32]]:
    """The starts, and their images (K, 3, S, S) in [0, 1].

    Args:
        asked: Photos, or ``noise``; none for two photos and noise.
        data: Where the two photos are the first ones; without it, the sample photos.
        preprocessing: Of the model.

    Raises:
        InputError: If a photo cannot be read or decoded, or a start is named twice.
    """
    if asked is not None and data is not None:
        raise InputError(
            f"--data {shown(data)} is for the photos that are taken where no --start is named. "
            "Leave one of them out."
        )
    places = [str(place) for place in asked] if asked else _default_places(data)
    images = [_image(place, preprocessing) for place in places]
    starts = tuple(
        Start(
            name=place if place == NOISE else Path(place).name,
            sha256=hashlib.sha256(image.tobytes()).hexdigest(),
            location="" if place == NOISE else str(Path(place).expanduser().absolute()),
        )
        for place, image in zip(places, images, strict=True)
    )
    for number, start in enumerate(starts):
        if start.sha256 in [other.sha256 for other in starts[:number]]:
            raise InputError(
                f"The start {shown(places[number])} is there twice. Name each start once."
            )
    return starts, np.stack(images)


def _default_places(data: Path | None) -> list[str]:
    """As in the paper: the first two photos of the sorted class folders, and noise."""
    if data is None:
        photos = [str(photo.path) for photo in sample_photos()[:PHOTOS]]
    else:
        items = photos_in(data)
        photos = [items[number].location for number in range(min(PHOTOS, len(items)))]
    return [*photos, NOISE]


def _image(place: str, preprocessing: Preprocessing) -> npt.NDArray[np.float32]:
    if place == NOISE:
        return drawn_noise(preprocessing.crop_px)
    path = Path(place).expanduser()
    if not path.is_file():
        raise InputError(
            f"--start {shown(place)} is no file. Expected a photo, or the word {NOISE}."
        )
    pixels = photo_pixels(read_file(str(path)), shown(path), preprocessing)
    return pixels.transpose(2, 0, 1).astype(np.float32) / np.float32(255)
