"""The images that maximizing begins at: photos as the model sees them, and the paper's noise."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ...attacks.maximizing.paper_random_state import drawn_noise
from ...contracts import Item, Preprocessing, Progress
from ...errors import InputError, printable
from ...evaluate.benchmarks.imagenet import IMAGENET
from ...evaluate.decode import photo_pixels
from ...evaluate.generate.photos import sample_photos
from ...evaluate.sources.folder import photos_in
from ...evaluate.sources.items import read_item_file
from ...evaluate.sources.labels import is_numbered, labels_beside
from ...evaluate.sources.listing import entries_of, is_folder, read_file
from ...evaluate.sources.open_source import open_source

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


@dataclass(frozen=True)
class FirstPhotos:
    """Where the photos are of which the first ones are begun at.

    Attributes:
        places: Folders and tars; or one folder of any photos.
        labels: A list of the classes of photos that are not in class folders.
    """

    places: Sequence[Path]
    labels: Path | None = None


@dataclass(frozen=True)
class _Place:
    """A start before it is decoded: the bytes of a photo, or none for noise."""

    name: str
    location: str = ""
    data: bytes | None = None


def read_starts(
    asked: Sequence[str | Path] | None,
    first: FirstPhotos | None,
    preprocessing: Preprocessing,
    progress: Progress,
) -> tuple[tuple[Start, ...], npt.NDArray[np.float32]]:
    """The starts, and their images (K, 3, S, S) in [0, 1].

    Args:
        asked: Photos, or ``noise``; none for two photos and noise.
        first: Where the two photos are the first ones; without it, the sample photos.
        preprocessing: Of the model.
        progress: Is told of the index of a tar, which is made once.

    Raises:
        InputError: If a photo cannot be read or decoded, or a start is named twice.
    """
    if asked is not None and first is not None:
        raise InputError(
            f"--data {', '.join(map(printable, first.places))} is for the photos that are taken "
            "where no --start is named. Leave one of them out."
        )
    places = [_asked(str(place)) for place in asked] if asked else _first_places(first, progress)
    images = [_image(place, preprocessing) for place in places]
    starts = tuple(
        Start(
            name=place.name,
            sha256=hashlib.sha256(image.tobytes()).hexdigest(),
            location=place.location,
        )
        for place, image in zip(places, images, strict=True)
    )
    for number, start in enumerate(starts):
        if start.sha256 in [other.sha256 for other in starts[:number]]:
            raise InputError(
                f"The start {printable(start.location or start.name)} is there twice. Name each "
                "start once."
            )
    return starts, np.stack(images)


def _asked(place: str) -> _Place:
    if place == NOISE:
        return _Place(NOISE)
    path = Path(place).expanduser()
    if not path.is_file():
        raise InputError(
            f"--start {printable(place)} is no file. Expected a photo, or the word {NOISE}."
        )
    return _Place(path.name, str(path.absolute()), read_file(str(path)))


def _first_places(first: FirstPhotos | None, progress: Progress) -> list[_Place]:
    """As in the paper: the first two photos of the sorted class folders, and noise."""
    if first is None:
        samples = [photo.path for photo in sample_photos()[:PHOTOS]]
        return [*(_asked(str(path)) for path in samples), _Place(NOISE)]
    items, read = _photos(first, progress)
    found = [items[number] for number in range(min(PHOTOS, len(items)))]
    return [*(_Place(Path(i.id).name, _where(i), read(i)) for i in found), _Place(NOISE)]


def _photos(
    first: FirstPhotos, progress: Progress
) -> tuple[Sequence[Item], Callable[[Item], bytes]]:
    """The photos, sorted, and what reads one; those without classes are sorted by their names."""
    if first.labels is None and len(first.places) == 1 and _have_no_classes(first.places[0]):
        return photos_in(first.places[0]), read_item_file
    source = open_source(
        first.places,
        IMAGENET.conditions,
        progress=progress,
        layout=IMAGENET.tree,
        labels=first.labels,
    )
    if not source.conditions():
        raise InputError(
            f"{', '.join(map(printable, first.places))} holds no images. Expected photos in class "
            f"folders, such as {IMAGENET.tree.example}, or a tar of them."
        )
    return source.items(IMAGENET.conditions[0]), source.read


def _have_no_classes(place: Path) -> bool:
    """Whether photos lie in a folder itself and nothing says what they show."""
    if not is_folder(place):
        return False
    names = [entry.name for entry in entries_of(place) if IMAGENET.tree.is_item(entry.name)]
    listed = any(map(is_numbered, names)) and labels_beside(place) is not None
    return bool(names) and not listed


def _where(item: Item) -> str:
    return item.location if item.extent else str(Path(item.location).absolute())


def _image(place: _Place, preprocessing: Preprocessing) -> npt.NDArray[np.float32]:
    if place.data is None:
        return drawn_noise(preprocessing.crop_px)
    pixels = photo_pixels(place.data, printable(place.location), preprocessing)
    return pixels.transpose(2, 0, 1).astype(np.float32) / np.float32(255)
