"""Images in class folders: ``DIR/<wnid>/<file>``, or ``DIR/<corruption>/<severity>/<wnid>/<file>``.

ImageNet's validation images may also be flat, ``DIR/ILSVRC2012_val_00000001.JPEG``: see ``labels``.

The layout of torchvision's ImageFolder, but a label is the class of the folder's WordNet id and
never the folder's position: on a partial tree the position gives an error of 100 %.
"""

import os
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path

from ...contracts import Condition, Item
from ...errors import InputError, shown
from ..classes import class_index
from .items import Files, IdPool, Items, read_item_file
from .labels import Labels, is_numbered, labelled, refuse_needless
from .listing import (
    IMAGE_SUFFIXES,
    PART_OF_IMAGENET_C,
    SEVERITIES,
    Entry,
    entries_of,
    is_folder,
    is_image_name,
    is_utf8,
)
from .marks import Content, mark_above, one_mark, read_mark


class FolderSource:
    """Class folders on disk, one set of them for each condition.

    The folder of a condition is looked for in the root, and one level below it: the original
    archives unpack to ``noise/``, ``blur/`` and so on. ``labels`` is a list that was named for
    images without class folders; without it, one is looked for beside them.
    """

    def __init__(
        self,
        root: Path,
        conditions: Sequence[Condition],
        pool: IdPool | None = None,
        labels: Labels | None = None,
    ) -> None:
        if not is_folder(root):
            raise InputError(f"{shown(root)} is no folder. Give the folder that holds the images.")
        self._root = root
        self._published = conditions
        self._pool = pool or IdPool()
        self._labels = labels
        self._folders = dict(self._located())

    def conditions(self) -> list[Condition]:
        """Those of the benchmark's conditions that have a folder, in the benchmark's order."""
        return list(self._folders)

    def where(self, condition: Condition) -> str:
        """The folder of a condition, in words."""
        return shown(self._folders[condition])

    def items(self, condition: Condition) -> Items:
        """The images of one condition, sorted by id.

        Raises:
            InputError: If a folder holds something that cannot be an image, or no image at all.
        """
        folder = self._folders[condition]
        if not condition.values and (names := self._flat(folder)):
            found = labelled(names, self._labels, folder, shown(folder))
            return Items(self._pool.shared(found), Files(folder, flat=True))
        refuse_needless(self._labels, shown(folder))
        found = [
            f"{wnid.name}/{image.name}"
            for wnid in _class_folders(folder)
            for image in entries_of(Path(wnid.path))
            if _check_image(image)
        ]
        if not found:
            raise InputError(
                f"{shown(folder)} holds no images. Expected <wnid>/<file>, such as "
                "n01440764/ILSVRC2012_val_00000293.JPEG."
            )
        return Items(self._pool.shared(sorted(found)), Files(folder))

    def read(self, item: Item) -> bytes:
        """The bytes of one file.

        Raises:
            ImageError: If it cannot be read.
            InputError: If nothing of its condition can be read any more.
        """
        return read_item_file(item)

    def marks(self) -> dict[str, Content | None]:
        """The marks of the trees that the conditions' folders belong to, by name.

        Raises:
            InputError: If one cannot be read.
        """
        marks = {mark_above(folder) for folder in self._folders.values() or (self._root,)}
        return {
            shown(mark or self._root): read_mark(mark) if mark is not None else None
            for mark in marks
        }

    @cached_property
    def generated(self) -> Content | None:
        """The content of ``generated.json``, where the data were made by ``evaluator data``.

        It stands at the root of what was made, which may be the folder that was given, one above
        it, or one below: a part of a generated tree is generated as well.

        Raises:
            InputError: If such a file cannot be read, or conditions were made in different ways.
        """
        return one_mark(self.marks(), shown(self._root))

    def _flat(self, folder: Path) -> list[str]:
        """The validation images that lie in the folder itself; none where it has class folders."""
        entries = list(entries_of(folder))
        images = [entry for entry in entries if is_image_name(entry.name)]
        known = self._labels is not None or any(is_numbered(image.name) for image in images)
        if not known or any(entry.name in class_index() for entry in entries):
            return []
        return [image.name for image in images if _check_image(image)]

    def _located(self) -> Iterator[tuple[Condition, Path]]:
        below = [
            Path(entry.path) for entry in entries_of(self._root) if is_folder(Path(entry.path))
        ]
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


def photos_in(root: Path) -> Sequence[Item]:
    """The photos of a folder, sorted by id: in class folders, or flat and then without labels.

    Raises:
        InputError: If there are none, or something else is among them.
    """
    if is_folder(root):
        entries = list(entries_of(root))
        images = [entry for entry in entries if is_image_name(entry.name)]
        if images and not any(is_folder(Path(entry.path)) for entry in entries):
            flat = [Item(entry.name, None, entry.path) for entry in images if _check_image(entry)]
            return sorted(flat, key=lambda item: item.id)
    return FolderSource(root, [Condition()]).items(Condition())


def _class_folders(folder: Path) -> Iterator[Entry]:
    """The class folders. Lists, licences and checksums may lie beside them, images may not."""
    for entry in entries_of(folder):
        if not is_folder(Path(entry.path)):
            _refuse_beside_classes(entry)
        elif entry.name in class_index():
            yield entry
        else:
            raise InputError(
                f"{shown(entry.path)} is no ImageNet class: expected a WordNet id such as "
                f"n01440764. {_advice(Path(entry.path))}"
            )


def _advice(folder: Path) -> str:
    """What a folder among the class folders may be instead; it is the user's, and may be dear."""
    holder = _holder_of_classes(folder, levels=2)
    if holder is None:
        return "Move it elsewhere, or give the folder that holds the class folders."
    if holder.name in SEVERITIES:
        return PART_OF_IMAGENET_C
    return f"Did you mean {shown(holder)}?"


def _holder_of_classes(folder: Path, levels: int) -> Path | None:
    """The first folder, here or at most so many levels below, that holds a class folder."""
    below = [entry for entry in entries_of(folder) if is_folder(Path(entry.path))]
    if any(entry.name in class_index() for entry in below):
        return folder
    deeper = sorted(Path(entry.path) for entry in below) if levels else []
    found = (_holder_of_classes(child, levels - 1) for child in deeper)
    return next((holder for holder in found if holder is not None), None)


def _refuse_beside_classes(entry: Entry) -> None:
    if not os.path.exists(entry.path):
        raise _link_to_nothing(entry)
    if is_image_name(entry.name):
        raise InputError(
            f"{shown(entry.path)} lies beside the class folders, so its class is not known. "
            "Expected <wnid>/<file>; move it into its class folder or remove it."
        )


def _check_image(entry: Entry) -> bool:
    """True, or the reason why this cannot be scored as an image."""
    if not is_utf8(entry.name):
        raise InputError(
            f"{shown(entry.path)} has a name that is not UTF-8, so it cannot be recorded. "
            "Rename the file."
        )
    # The first question costs no system call, and there are millions of files.
    if not entry.is_file(follow_symlinks=False) and not os.path.isfile(entry.path):
        if not os.path.exists(entry.path):
            raise _link_to_nothing(entry)
        raise InputError(f"{shown(entry.path)} is no file, expected an image. Remove it.")
    if not is_image_name(entry.name):
        raise InputError(
            f"{shown(entry.path)} is no image by its name, expected one of "
            f"{' '.join(sorted(IMAGE_SUFFIXES))}. Remove it from the class folder."
        )
    return True


def _link_to_nothing(entry: Entry) -> InputError:
    return InputError(
        f"{shown(entry.path)} is a link to nothing, expected a file. Restore or remove it."
    )
