"""Images in class folders: ``DIR/<wnid>/<file>``, or ``DIR/<corruption>/<severity>/<wnid>/<file>``.

The layout of torchvision's ImageFolder, but a label is the class of the folder's WordNet id and
never the folder's position: on a partial tree the position gives an error of 100 %.
"""

import json
import os
import stat
import sys
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

Entry = os.DirEntry[str]


class FolderSource:
    """Class folders on disk, one set of them for each condition.

    The folder of a condition is looked for in the root, and one level below it: the original
    archives unpack to ``noise/``, ``blur/`` and so on.
    """

    def __init__(self, root: Path, conditions: Sequence[Condition]) -> None:
        if not is_folder(root):
            raise InputError(f"{shown(root)} is no folder. Give the folder that holds the images.")
        self._root = root
        self._published = conditions
        self._folders = dict(self._located())

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
            # Interned: the same id stands in every condition.
            Item(sys.intern(f"{wnid.name}/{image.name}"), class_index()[wnid.name], image.path)
            for wnid in _class_folders(folder)
            for image in _entries(Path(wnid.path))
            if _check_image(image)
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
        """The content of ``generated.json``, where the data were made by ``evaluator data``.

        It stands at the root of what was made, which may be the folder that was given, one above
        it, or one below: a part of a generated tree is generated as well.

        Raises:
            InputError: If such a file cannot be read, or conditions were made in different ways.
        """
        marks = {mark_above(folder) for folder in self._folders.values() or (self._root,)}
        contents = [read_mark(mark) if mark is not None else None for mark in marks]
        if any(content != contents[0] for content in contents):
            names = " and ".join(sorted(shown(mark) for mark in marks if mark is not None))
            raise InputError(
                f"{shown(self._root)} mixes data that were made in different ways, or generated "
                f"and original data: see {names}. Score each tree in a run of its own."
            )
        return contents[0]

    def _located(self) -> Iterator[tuple[Condition, Path]]:
        below = [Path(entry.path) for entry in _entries(self._root) if is_folder(Path(entry.path))]
        for condition in self._published:
            relative = Path(*(str(value) for _, value in condition.values))
            roots = [self._root, *below] if condition.values else [self._root]
            there = [root / relative for root in roots if is_folder(root / relative)]
            if len(there) > 1:
                raise InputError(
                    f"{condition} is there twice: {shown(there[0])} and {shown(there[1])}. "
                    "Leave one of them."
                )
            if there:
                yield condition, there[0]


def photos_in(root: Path) -> list[Item]:
    """The photos of a folder, sorted by id: in class folders, or flat and then without labels.

    Raises:
        InputError: If there are none, or something else is among them.
    """
    if is_folder(root):
        entries = list(_entries(root))
        images = list(filter(_named_like_an_image, entries))
        if images and not any(is_folder(Path(entry.path)) for entry in entries):
            flat = [Item(entry.name, None, entry.path) for entry in images if _check_image(entry)]
            return sorted(flat, key=lambda item: item.id)
    return FolderSource(root, [Condition()]).items(Condition())


def shared_items(
    source: FolderSource, conditions: Sequence[Condition]
) -> dict[Condition, list[Item]]:
    """The items of each condition, which must have the same ids.

    Raises:
        InputError: If a condition lacks ids that others have: which, how many, which first.
    """
    items = {condition: source.items(condition) for condition in conditions}
    everything = {item.id for found in items.values() for item in found}
    for condition, found in items.items():
        if len(found) < len(everything):
            lacking = min(everything - {item.id for item in found})
            holder = next(c for c in conditions if any(i.id == lacking for i in items[c]))
            raise InputError(
                f"The condition {condition} lacks {len(everything) - len(found)} of "
                f"{len(everything)} images, first {shown(lacking)}, which {holder} has. All "
                "conditions must hold the same images: complete the tree, or name the conditions "
                "to score with --corruptions and --severities."
            )
    return items


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


def mark_above(folder: Path) -> Path | None:
    """The ``generated.json`` of the tree that a folder belongs to, if it has one.

    It is looked for in the folder and two levels above it: a cell is ``<corruption>/<severity>``.
    """
    for start in dict.fromkeys((folder.absolute(), folder.resolve())):
        for place in (start, *start.parents[:2]):
            if os.path.lexists(place / GENERATED):
                return place / GENERATED
    return None


def read_mark(path: Path) -> Mapping[str, Any]:
    """The content of a ``generated.json``.

    Raises:
        InputError: If it cannot be read or is no JSON object.
    """
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(
            f"{shown(path)} cannot be read: {reason_of(error)}. It says how the data were made; "
            "make the tree again."
        ) from error
    if not isinstance(content, dict):
        raise InputError(f"{shown(path)} is no JSON object. Make the tree again.")
    return content


def is_folder(path: Path) -> bool:
    """Whether a folder is there.

    Raises:
        InputError: If that cannot be found out, for lack of permission say.
    """
    try:
        return stat.S_ISDIR(os.stat(path).st_mode)
    except (FileNotFoundError, NotADirectoryError, ValueError):  # a name with a zero byte
        return False
    except OSError as error:
        if os.path.islink(path):
            return False  # a link to itself leads nowhere, like one to nothing
        raise InputError(f"{shown(path)} cannot be read: {reason_of(error)}.") from error


def _class_folders(folder: Path) -> Iterator[Entry]:
    """The class folders. Lists, licences and checksums may lie beside them, images may not."""
    for entry in _entries(folder):
        if not is_folder(Path(entry.path)):
            _refuse_beside_classes(entry)
        elif entry.name in class_index():
            yield entry
        else:
            inside = any(child.name in class_index() for child in _entries(Path(entry.path)))
            advice = f"Did you mean {shown(entry.path)}?" if inside else "Rename or remove it."
            raise InputError(
                f"{shown(entry.path)} is no ImageNet class: expected a WordNet id such as "
                f"n01440764. {advice}"
            )


def _refuse_beside_classes(entry: Entry) -> None:
    if not os.path.exists(entry.path):
        raise _link_to_nothing(entry)
    if _named_like_an_image(entry):
        raise InputError(
            f"{shown(entry.path)} lies beside the class folders, so its class is not known. "
            "Expected <wnid>/<file>; move it into its class folder or remove it."
        )


def _check_image(entry: Entry) -> bool:
    """True, or the reason why this cannot be scored as an image."""
    if not _is_utf8(entry.name):
        raise InputError(
            f"{shown(entry.path)} has a name that is not UTF-8, so it cannot be recorded. "
            "Rename the file."
        )
    # The first question costs no system call, and there are millions of files.
    if not entry.is_file(follow_symlinks=False) and not os.path.isfile(entry.path):
        if not os.path.exists(entry.path):
            raise _link_to_nothing(entry)
        raise InputError(f"{shown(entry.path)} is no file, expected an image. Remove it.")
    if not _named_like_an_image(entry):
        raise InputError(
            f"{shown(entry.path)} is no image by its name, expected one of "
            f"{' '.join(sorted(IMAGE_SUFFIXES))}. Remove it from the class folder."
        )
    return True


def _link_to_nothing(entry: Entry) -> InputError:
    return InputError(
        f"{shown(entry.path)} is a link to nothing, expected a file. Restore or remove it."
    )


def _named_like_an_image(entry: Entry) -> bool:
    return os.path.splitext(entry.name)[1].lower() in IMAGE_SUFFIXES


def _entries(folder: Path) -> Iterator[Entry]:
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
