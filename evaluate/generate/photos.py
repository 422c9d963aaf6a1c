"""Twenty labelled photos from ImageNet's classes that come with the package foolbox.

They are found without importing foolbox. A name contains the class: ``imagenet_<n>_<index>.jpg``.
Source: https://github.com/bethgelab/foolbox, folder ``foolbox/data``, MIT.
"""

import importlib.util
from dataclasses import dataclass
from pathlib import Path

from ...errors import OutputError, UnavailableError, printable
from ...storage.atomic import atomic_write_bytes
from ..classes import wnids


@dataclass(frozen=True)
class SamplePhoto:
    """A labelled photo.

    Attributes:
        id: ``<wnid>/<file>``.
        label: Class index.
        path: Path of the file.
    """

    id: str
    label: int
    path: Path


def shipped_photos() -> tuple[SamplePhoto, ...]:
    """The twenty photos, in order of their ids.

    Raises:
        UnavailableError: If foolbox is not installed or lacks them.
    """
    spec = importlib.util.find_spec("foolbox")
    folders = (spec.submodule_search_locations if spec is not None else None) or []
    files = [file for folder in folders for file in Path(folder, "data").glob("imagenet_*.jpg")]
    if not files:
        raise UnavailableError(
            "The sample photos come with the package foolbox, which is missing or incomplete. "
            "Reinstall it with `pip install --force-reinstall foolbox`, or give --data."
        )
    photos = []
    for file in files:
        label = int(file.stem.rsplit("_", 1)[1])
        photos.append(SamplePhoto(f"{wnids()[label]}/{file.stem}.JPEG", label, file))
    return tuple(sorted(photos, key=lambda photo: photo.id))


def sample_photos(folder: str | Path) -> int:
    """Write the twenty photos, unchanged, into class folders; returns how many.

    Raises:
        OutputError: If the folder cannot be written, or holds something else.
    """
    folder, photos = Path(folder), shipped_photos()
    paths = {folder / photo.id for photo in photos}
    others = (path for path in folder.rglob("*") if not path.is_dir() and path not in paths)
    # A call that was killed at once may have left a photo under its temporary name.
    other = next((path for path in others if not path.name.startswith(".imagenet_")), None)
    if other is not None:
        raise OutputError(
            f"{printable(other)} is not a sample photo. Give a new or an empty folder."
        )
    for photo in photos:
        atomic_write_bytes(folder / photo.id, photo.path.read_bytes())
    return len(photos)
