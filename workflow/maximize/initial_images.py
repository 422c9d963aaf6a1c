"""Images that maximizing starts from: photos as the model sees them, and the paper's noise."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ...attacks.maximizing.paper_random_state import drawn_noise
from ...contracts import Item, Preprocessing, Progress, images_from_pixels
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
"""Number of photos of --data, or of the sample photos, if --start is not given."""


@dataclass(frozen=True)
class Start:
    """An image to start from.

    Attributes:
        name: ``noise``, or the file name of the photo.
        sha256: SHA-256 over the pixels, (3, S, S) float32.
        location: Location of the photo. Reported, but not part of the identity.
    """

    name: str
    sha256: str
    location: str = ""


@dataclass(frozen=True)
class FirstPhotos:
    """Data set of which the first photos are used as starts.

    Attributes:
        places: Folders and tar files; or one folder of photos without classes.
        labels: List of the classes of photos that are not in class folders.
    """

    places: Sequence[Path]
    labels: Path | None = None


@dataclass(frozen=True)
class _EncodedStart:
    """A start before it is decoded.

    Attributes:
        name: ``noise``, or the file name of the photo.
        location: Location of the photo; empty for noise.
        data: Content of the photo's file; ``None`` for noise.
    """

    name: str
    location: str = ""
    data: bytes | None = None


def read_starts(
    photos: Sequence[str | Path] | None,
    first: FirstPhotos | None,
    preprocessing: Preprocessing,
    progress: Progress,
) -> tuple[tuple[Start, ...], npt.NDArray[np.float32]]:
    """The starts, and their images (K, 3, S, S) in [0, 1].

    Args:
        photos: Paths of photos, or ``noise``; ``None`` for two photos and noise.
        first: Data set whose first two photos are used; if not given, the sample photos.
        preprocessing: Preprocessing of the model.
        progress: Progress callback.

    Raises:
        InputError: If a photo cannot be read or decoded, or a start is given twice.
    """
    if photos is not None and first is not None:
        raise InputError(
            f"--data {', '.join(map(printable, first.places))} cannot be combined with --start. "
            "Omit one of them."
        )
    encoded = [_read(str(photo)) for photo in photos] if photos else _default(first, progress)
    images = [_image(start, preprocessing) for start in encoded]
    starts = tuple(
        Start(
            name=start.name,
            sha256=hashlib.sha256(image.tobytes()).hexdigest(),
            location=start.location,
        )
        for start, image in zip(encoded, images, strict=True)
    )
    for number, start in enumerate(starts):
        if start.sha256 in [other.sha256 for other in starts[:number]]:
            raise InputError(
                f"The start {printable(start.location or start.name)} is given twice. Give each "
                "start once."
            )
    return starts, np.stack(images)


def _read(photo: str) -> _EncodedStart:
    if photo == NOISE:
        return _EncodedStart(NOISE)
    path = Path(photo).expanduser()
    if not path.is_file():
        raise InputError(
            f"--start {printable(photo)} is not a file. Expected a photo, or the word {NOISE}."
        )
    return _EncodedStart(path.name, str(path.absolute()), read_file(str(path)))


def _default(first: FirstPhotos | None, progress: Progress) -> list[_EncodedStart]:
    """The starts of the paper: the first two photos of the sorted class folders, and noise."""
    if first is None:
        photos = [_read(str(photo.path)) for photo in sample_photos()[:PHOTOS]]
    else:
        items, read = _photos(first, progress)
        chosen = [items[number] for number in range(min(PHOTOS, len(items)))]
        photos = [_EncodedStart(Path(i.id).name, _location(i), read(i)) for i in chosen]
    return [*photos, _EncodedStart(NOISE)]


def _photos(
    first: FirstPhotos, progress: Progress
) -> tuple[Sequence[Item], Callable[[Item], bytes]]:
    """The sorted photos and a function that reads one; without classes, sorted by name."""
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
            f"{', '.join(map(printable, first.places))} contains no images. Expected photos in "
            f"class folders, such as {IMAGENET.tree.example}, or a tar of them."
        )
    return source.items(IMAGENET.conditions[0]), source.read


def _have_no_classes(place: Path) -> bool:
    """Whether photos lie directly in a folder that has no list of their classes."""
    if not is_folder(place):
        return False
    names = [entry.name for entry in entries_of(place) if IMAGENET.tree.is_item(entry.name)]
    listed = any(map(is_numbered, names)) and labels_beside(place) is not None
    return bool(names) and not listed


def _location(item: Item) -> str:
    return item.location if item.extent else str(Path(item.location).absolute())


def _image(start: _EncodedStart, preprocessing: Preprocessing) -> npt.NDArray[np.float32]:
    if start.data is None:
        return drawn_noise(preprocessing.crop_px)
    pixels = photo_pixels(start.data, printable(start.location), preprocessing)
    return images_from_pixels(pixels)
