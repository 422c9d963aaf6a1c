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
from ...evaluate.generate.photos import shipped_photos
from ...evaluate.sources.folder import photos_in
from ...evaluate.sources.items import read_item_file
from ...evaluate.sources.labels import is_numbered, labels_beside
from ...evaluate.sources.listing import entries_of, is_folder, read_file
from ...evaluate.sources.open_source import open_source

NOISE = "noise"
Images = npt.NDArray[np.float32]
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


def read_starts(
    photos: Sequence[str | Path] | None,
    preprocessing: Preprocessing,
    *,
    places: Sequence[Path] | None,
    labels: Path | None,
    progress: Progress,
) -> tuple[tuple[Start, ...], Images]:
    """The starts, and their images (K, 3, S, S) in [0, 1].

    Args:
        photos: Paths of photos, or ``noise``; ``None`` for two photos and noise.
        preprocessing: Preprocessing of the model.
        places: Folders and tar files, or one folder of photos without classes, whose first two
            photos are used; if not given, the sample photos.
        labels: List of the classes of photos in ``places`` that are not in class folders.
        progress: Progress callback.

    Raises:
        InputError: If a photo cannot be read or decoded, or a start is given twice.
    """
    if places is None and labels is not None:
        raise InputError(f"--labels {printable(labels)} requires --data, whose photos it is for.")
    if places is not None and photos is not None:
        raise InputError(
            f"--data {', '.join(map(printable, places))} cannot be combined with --start. "
            "Omit one of them."
        )
    if places is not None:
        items, read = _photos(places, labels, progress)
        chosen = [items[number] for number in range(min(PHOTOS, len(items)))]
        photos_read = [
            _photo(Path(item.id).name, _location(item), read(item), preprocessing)
            for item in chosen
        ]
        pairs = [*photos_read, _start(NOISE, preprocessing)]
    else:
        # The starts of the paper: the first two photos of the sorted class folders, and noise.
        names = photos or [*(photo.path for photo in shipped_photos()[:PHOTOS]), NOISE]
        pairs = [_start(str(name), preprocessing) for name in names]
    starts, images = zip(*pairs, strict=True)
    for number, start in enumerate(starts):
        if start.sha256 in [other.sha256 for other in starts[:number]]:
            raise InputError(
                f"The start {printable(start.location or start.name)} is given twice. Give each "
                "start once."
            )
    return starts, np.stack(images)


def _start(photo: str, preprocessing: Preprocessing) -> tuple[Start, Images]:
    """A start that a user names, and its image: a photo, or noise."""
    if photo == NOISE:
        image = drawn_noise(preprocessing.crop_px)
        return Start(NOISE, hashlib.sha256(image.tobytes()).hexdigest()), image
    path = Path(photo).expanduser()
    if not path.is_file():
        raise InputError(
            f"--start {printable(photo)} is not a file. Expected a photo, or the word {NOISE}."
        )
    return _photo(path.name, str(path.absolute()), read_file(str(path)), preprocessing)


def _photo(
    name: str, location: str, data: bytes, preprocessing: Preprocessing
) -> tuple[Start, Images]:
    """A photo as a start, from the content of its file, and its image."""
    image = images_from_pixels(photo_pixels(data, printable(location), preprocessing))
    return Start(name, hashlib.sha256(image.tobytes()).hexdigest(), location), image


def _photos(
    places: Sequence[Path], labels: Path | None, progress: Progress
) -> tuple[Sequence[Item], Callable[[Item], bytes]]:
    """The sorted photos and a function that reads one; without classes, sorted by name."""
    if labels is None and len(places) == 1 and _have_no_classes(places[0]):
        return photos_in(places[0]), read_item_file
    source = open_source(
        places, IMAGENET.conditions, progress=progress, layout=IMAGENET.layout, labels=labels
    )
    if not source.conditions():
        raise InputError(
            f"{', '.join(map(printable, places))} contains no images. Expected photos in "
            f"class folders, such as {IMAGENET.layout.example}, or a tar of them."
        )
    return source.items(IMAGENET.conditions[0]), source.read


def _have_no_classes(place: Path) -> bool:
    """Whether photos lie directly in a folder that has no list of their classes."""
    if not is_folder(place):
        return False
    names = [entry.name for entry in entries_of(place) if IMAGENET.layout.is_item(entry.name)]
    listed = any(map(is_numbered, names)) and labels_beside(place) is not None
    return bool(names) and not listed


def _location(item: Item) -> str:
    return item.location if item.extent else str(Path(item.location).absolute())
