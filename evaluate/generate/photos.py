"""Twenty labelled photos from ImageNet's classes that come with the package foolbox.

They are found without importing foolbox. Their names say their class: ``imagenet_<n>_<index>.jpg``.
Source: https://github.com/bethgelab/foolbox, folder ``foolbox/data``, MIT.
"""

import importlib.util
from dataclasses import dataclass
from pathlib import Path

from ...errors import OutputError, UnavailableError, printable
from ...storage.atomic import atomic_write_bytes
from ..classes import wnids


@dataclass(frozen=True)
class Photo:
    """A labelled photo.

    Attributes:
        id: ``<wnid>/<file>``.
        label: Class index.
        path: The file.
    """

    id: str
    label: int
    path: Path


def sample_photos() -> tuple[Photo, ...]:
    """The twenty photos, in order of their ids.

    Raises:
        UnavailableError: If foolbox is not installed or lacks them.
    """
    found = importlib.util.find_spec("foolbox")
    places = (found.submodule_search_locations if found is not None else None) or []
    files = [file for place in places for file in Path(place, "data").glob("imagenet_*.jpg")]
    if not files:
        raise UnavailableError(
            "The sample photos come with the package foolbox, which is not installed whole. "
            "Reinstall it with `pip install --force-reinstall foolbox`, or give --data."
        )
    photos = []
    for file in files:
        label = int(file.stem.rsplit("_", 1)[1])
        photos.append(Photo(f"{wnids()[label]}/{file.stem}.JPEG", label, file))
    return tuple(sorted(photos, key=lambda photo: photo.id))


def write_sample(folder: Path) -> int:
    """Write the photos, unchanged, as an ImageNet-style tree; returns how many.

    Raises:
        OutputError: If the folder cannot be written, or holds something else.
    """
    photos = sample_photos()
    wanted = {folder / photo.id for photo in photos}
    others = (path for path in folder.rglob("*") if not path.is_dir() and path not in wanted)
    # A call that was killed at once may have left a photo under its temporary name.
    other = next((path for path in others if not path.name.startswith(".imagenet_")), None)
    if other is not None:
        raise OutputError(
            f"{printable(other)} is there and is no sample photo. Give a new or an empty folder."
        )
    for photo in photos:
        atomic_write_bytes(folder / photo.id, photo.path.read_bytes())
    return len(photos)
