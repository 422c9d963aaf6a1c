"""Images in class folders: ``DIR/<wnid>/<file>``, or ``DIR/<corruption>/<severity>/<wnid>/<file>``.

The layout of torchvision's ImageFolder, but a label is the class of the folder's WordNet id and
never the folder's position: on a partial tree the position gives an error of 100 %.
"""

import json
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from ...contracts import Condition, Item
from ...errors import InputError, reason_of, shown
from ..classes import class_index

GENERATED = "generated.json"
IMAGE_SUFFIXES = frozenset(
    (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")
)
"""Those of torchvision's ImageFolder."""

_LEFT_BY_SYSTEMS = frozenset(("thumbs.db", "desktop.ini", "@eadir", "__macosx", "$recycle.bin"))


class FolderSource:
    """Class folders on disk, one set of them for each condition.

    The folder of a condition is looked for in the root, and one level below it: the original
    archives unpack to ``noise/``, ``blur/`` and so on.
    """

    def __init__(self, root: Path, conditions: Sequence[Condition]) -> None:
        if not root.is_dir():
            raise InputError(
                f"--data {shown(root)} is no folder. Give the folder that holds the images."
            )
        self._root = root
        self._published = conditions
        self._folders = dict(self._locate())

    def conditions(self) -> list[Condition]:
        """Those of the benchmark's conditions that have a folder, in the benchmark's order."""
        return list(self._folders)

    def items(self, condition: Condition) -> list[Item]:
        """The images of one condition, sorted by id.

        Raises:
            InputError: If a folder holds something that cannot be an image, or no image at all.
        """
        folder = self._folders[condition]
        found = [
            item
            for wnid in _class_folders(folder)
            for item in _images(folder / wnid.name, class_index()[wnid.name])
        ]
        if not found:
            raise InputError(
                f"{shown(folder)} holds no images. Expected <wnid>/<file>, such as "
                "n01440764/ILSVRC2012_val_00000293.JPEG."
            )
        return sorted(found, key=lambda item: item.id)

    def read(self, item: Item) -> bytes:
        """The bytes of one file.

        Raises:
            InputError: If it cannot be read.
        """
        return read_file(item.location)

    @cached_property
    def generated(self) -> Mapping[str, Any] | None:
        """The content of ``generated.json``, where the tree was made by ``evaluator data``.

        Raises:
            InputError: If the file is no JSON object.
        """
        path = self._root / GENERATED
        if not path.exists():
            return None
        try:
            content = json.loads(path.read_bytes())
        except (OSError, ValueError) as error:
            raise InputError(f"{shown(path)} cannot be read: {reason_of(error)}.") from error
        if not isinstance(content, dict):
            raise InputError(f"{shown(path)} is no JSON object. Make the tree again.")
        return content

    def _locate(self) -> Iterator[tuple[Condition, Path]]:
        for condition in self._published:
            relative = Path(*(str(value) for _, value in condition.values))
            places = [self._root / relative]
            if condition.values and not places[0].is_dir():
                places += [child / relative for child in self._subfolders]
            there = [place for place in places if place.is_dir()]
            if len(there) > 1:
                raise InputError(
                    f"{condition} is there twice: {shown(there[0])} and {shown(there[1])}. "
                    "Leave one of them."
                )
            if there:
                yield condition, there[0]

    @cached_property
    def _subfolders(self) -> list[Path]:
        return [entry for entry in sorted(self._root.iterdir()) if entry.is_dir()]


def read_file(location: str) -> bytes:
    """The bytes of a file.

    Raises:
        InputError: If it cannot be read.
    """
    try:
        with open(location, "rb") as file:
            return file.read()
    except OSError as error:
        raise InputError(
            f"{shown(location)} cannot be read: {reason_of(error)}. "
            "The tree must not change while it is scored."
        ) from error


def _class_folders(folder: Path) -> Iterator["os.DirEntry[str]"]:
    """The class folders. Lists, licences and checksums may lie beside them, images may not."""
    for entry in _entries(folder):
        if not entry.is_dir():
            _refuse_beside_classes(entry)
            continue
        if entry.name not in class_index():
            inside = f" Did you mean --data {shown(entry.path)}?" if _has_classes(entry) else ""
            raise InputError(
                f"{shown(entry.path)} is no ImageNet class: expected a WordNet id such as "
                f"n01440764.{inside or ' Rename or remove it.'}"
            )
        yield entry


def _refuse_beside_classes(entry: "os.DirEntry[str]") -> None:
    if entry.is_symlink() and not os.path.exists(entry.path):
        raise InputError(f"{shown(entry.path)} is a link to nothing. Restore or remove it.")
    if os.path.splitext(entry.name)[1].lower() in IMAGE_SUFFIXES:
        raise InputError(
            f"{shown(entry.path)} lies beside the class folders, so its class is not known. "
            "Expected <wnid>/<file>; move it into its class folder or remove it."
        )


def _has_classes(folder: "os.DirEntry[str]") -> bool:
    return any(entry.name in class_index() for entry in _entries(Path(folder.path)))


def _images(folder: Path, label: int) -> Iterator[Item]:
    for entry in _entries(folder):
        name = f"{folder.name}/{entry.name}"
        if not _is_utf8(name):
            raise InputError(
                f"{shown(entry.path)} has a name that is not UTF-8, so it cannot be recorded. "
                "Rename the file."
            )
        if not entry.is_file():
            kind = "a link to nothing" if entry.is_symlink() else "no file"
            raise InputError(
                f"{shown(entry.path)} is {kind}, expected an image. Restore or remove it."
            )
        suffix = os.path.splitext(entry.name)[1].lower()
        if suffix not in IMAGE_SUFFIXES:
            raise InputError(
                f"{shown(entry.path)} is no image by its name, expected one of "
                f"{' '.join(sorted(IMAGE_SUFFIXES))}. Remove it from the class folder."
            )
        yield Item(id=name, label=label, location=entry.path)


def _entries(folder: Path) -> Iterator["os.DirEntry[str]"]:
    """What a folder holds, less hidden files and what other systems leave behind."""
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                hidden = entry.name.startswith(".") or entry.name.lower() in _LEFT_BY_SYSTEMS
                if not hidden:
                    yield entry
    except OSError as error:
        raise InputError(f"{shown(folder)} cannot be read: {reason_of(error)}.") from error


def _is_utf8(name: str) -> bool:
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def photos_in(root: Path) -> list[Item]:
    """The photos of a folder, sorted by id: in class folders, or flat and then without labels.

    Raises:
        InputError: If there are none.
    """
    source = FolderSource(root, [Condition()])
    entries = list(_entries(root))
    flat = [entry for entry in entries if os.path.splitext(entry.name)[1].lower() in IMAGE_SUFFIXES]
    if flat and not any(entry.is_dir() for entry in entries):
        return sorted((Item(e.name, None, e.path) for e in flat), key=lambda item: item.id)
    return source.items(Condition())


def shared_items(
    source: FolderSource, conditions: Sequence[Condition]
) -> dict[Condition, list[Item]]:
    """The items of each condition, which must have the same ids.

    Raises:
        InputError: If a condition lacks ids that others have: which, how many, which first.
    """
    items = {condition: source.items(condition) for condition in conditions}
    seen = Counter(item.id for found in items.values() for item in found)
    for condition, found in items.items():
        if len(found) < len(seen):
            lacking = sorted(seen.keys() - {item.id for item in found})
            raise InputError(
                f"The condition {condition} lacks {len(lacking)} of {len(seen)} images that other "
                f"conditions have, first {shown(lacking[0])}. Complete the tree, or name the "
                "conditions to score with --corruptions and --severities."
            )
    return items
