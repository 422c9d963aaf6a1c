"""Items in folders: ``DIR/<wnid>/<file>``, or ``DIR/<corruption>/<severity>/<wnid>/<file>``.

The benchmark's ``DatasetLayout`` says what folders and files are called, and whether there are
folders at all. ImageNet's validation images may be flat, ``DIR/ILSVRC2012_val_00000001.JPEG``: see
``labels``.
"""

import os
from collections.abc import Collection, Iterator, Sequence
from functools import cached_property
from pathlib import Path

from ...contracts import Condition, DatasetLayout, Item
from ...errors import InputError, printable
from ..layouts import IMAGES_IN_CLASS_FOLDERS, SEVERITY_FOLDERS
from .generated_marker import Content, mark_above, one_mark, read_mark
from .items import Files, IdPool, Items, ids_of_names, read_item_file
from .labels import Labels, is_numbered, labelled, refuse_needless
from .listing import PART_OF_IMAGENET_C, Entry, entries_of, is_folder, is_utf8


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
        tree: DatasetLayout = IMAGES_IN_CLASS_FOLDERS,
    ) -> None:
        if not is_folder(root):
            raise InputError(
                f"{printable(root)} is no folder. Give the folder that holds the images."
            )
        self._root = root
        self._published = conditions
        self._pool = pool or IdPool()
        self._labels = labels
        self._tree = tree
        self._folders = dict(self._located())

    def conditions(self) -> list[Condition]:
        """Those of the benchmark's conditions that have a folder, in the benchmark's order."""
        return list(self._folders)

    def where(self, condition: Condition) -> str:
        """The folder of a condition, in words."""
        return printable(self._folders[condition])

    def items(self, condition: Condition) -> Items:
        """The images of one condition, sorted by id.

        Raises:
            InputError: If a folder holds something that cannot be an image, or no image at all.
        """
        folder, frames = self._folders[condition], self._tree.frames(condition)
        if not condition.values and (names := self._flat(folder)):
            found = labelled(names, self._labels, folder, printable(folder))
            return self._items(found, Files(folder, flat=True), frames)
        refuse_needless(self._labels, printable(folder))
        if not self._tree.id_includes_dir:
            paths = ids_of_names(
                self._tree, self._names(folder), lambda path: printable(folder / path)
            )
            self._refuse_empty(folder, paths)
            return self._items(list(paths), Files(folder, paths=paths), frames)
        found = [
            f"{wnid.name}/{image.name}"
            for wnid in _item_folders(folder, self._tree)
            for image in entries_of(Path(wnid.path))
            if _check_item(image, self._tree)
        ]
        self._refuse_empty(folder, found)
        return self._items(sorted(found), Files(folder), frames)

    def _items(self, ids: Sequence[str], files: Files, frames: int) -> Items:
        return Items(self._pool.shared(ids), files, tree=self._tree, frames=frames)

    def _names(self, folder: Path) -> Iterator[str]:
        """The items in a folder and in those that may lie in it."""
        folders = self._tree.folders()
        for entry in entries_of(folder):
            if is_folder(Path(entry.path)):
                if entry.name not in folders:
                    raise _no_item_folder(entry, self._tree)
                for item in entries_of(Path(entry.path)):
                    if _check_item(item, self._tree):
                        yield f"{entry.name}/{item.name}"
            elif self._tree.is_item(entry.name) and _check_item(entry, self._tree):
                yield entry.name

    def _refuse_empty(self, folder: Path, found: Collection[str]) -> None:
        if not found:
            raise nothing_there(printable(folder), self._tree)

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
            printable(mark or self._root): read_mark(mark) if mark is not None else None
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
        return one_mark(self.marks(), printable(self._root))

    def _flat(self, folder: Path) -> list[str]:
        """The validation images that lie in the folder itself; none where it has class folders."""
        if not self._tree.listed:
            return []
        entries, folders = list(entries_of(folder)), self._tree.folders()
        images = [entry for entry in entries if self._tree.is_item(entry.name)]
        known = self._labels is not None or any(is_numbered(image.name) for image in images)
        if not known or any(entry.name in folders for entry in entries):
            return []
        return [image.name for image in images if _check_item(image, self._tree)]

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
                    f"{condition} is there twice: {printable(there[0])} and {printable(there[1])}. "
                    "Leave one of them."
                )
            if there:
                yield condition, there[0]


def photos_in(root: Path) -> Sequence[Item]:
    """The photos of a folder, sorted by id: in class folders, or flat and then without labels.

    Raises:
        InputError: If there are none, or something else is among them.
    """
    tree = IMAGES_IN_CLASS_FOLDERS
    if is_folder(root):
        entries = list(entries_of(root))
        images = [entry for entry in entries if tree.is_item(entry.name)]
        if images and not any(is_folder(Path(entry.path)) for entry in entries):
            flat = [Item(e.name, None, e.path) for e in images if _check_item(e, tree)]
            return sorted(flat, key=lambda item: item.id)
    return FolderSource(root, [Condition()]).items(Condition())


def nothing_there(where: str, tree: DatasetLayout) -> InputError:
    """What is said of a condition's folder without items."""
    form = "<wnid>/<file>" if tree.id_includes_dir else "files"
    return InputError(f"{where} holds no {tree.noun}s. Expected {form}, such as {tree.example}.")


def _item_folders(folder: Path, tree: DatasetLayout) -> Iterator[Entry]:
    """The class folders. Lists, licences and checksums may lie beside them, images may not."""
    folders = tree.folders()
    for entry in entries_of(folder):
        if not is_folder(Path(entry.path)):
            _refuse_beside_classes(entry, tree)
        elif entry.name in folders:
            yield entry
        else:
            raise _no_item_folder(entry, tree)


def _no_item_folder(entry: Entry, tree: DatasetLayout) -> InputError:
    return stray_folder(printable(entry.path), tree, _advice(Path(entry.path), tree))


def stray_folder(where: str, tree: DatasetLayout, advice: str) -> InputError:
    """What is said of another folder among those of items."""
    return InputError(
        f"{where} is no {tree.class_dir_name}: expected {_folder_example(tree)}. {advice}"
    )


def _folder_example(tree: DatasetLayout) -> str:
    first = next(iter(tree.folders()))
    return f"a WordNet id such as {first}" if tree.id_includes_dir else f"one such as {first}"


def _advice(folder: Path, tree: DatasetLayout) -> str:
    """What a folder among the class folders may be instead; it is the user's, and may be dear."""
    holder = _holder_of_folders(folder, tree, levels=2)
    if holder is None:
        return f"Move it elsewhere, or give the folder that holds the {_folders(tree)}."
    if holder.name in SEVERITY_FOLDERS:
        return PART_OF_IMAGENET_C
    return f"Did you mean {printable(holder)}?"


def _folders(tree: DatasetLayout) -> str:
    return "class folders" if tree.id_includes_dir else f"{tree.noun}s"


def _holder_of_folders(folder: Path, tree: DatasetLayout, levels: int) -> Path | None:
    """The first folder, here or at most so many levels below, that holds a class folder."""
    below = [entry for entry in entries_of(folder) if is_folder(Path(entry.path))]
    if any(entry.name in tree.folders() for entry in below):
        return folder
    deeper = sorted(Path(entry.path) for entry in below) if levels else []
    found = (_holder_of_folders(child, tree, levels - 1) for child in deeper)
    return next((holder for holder in found if holder is not None), None)


def _refuse_beside_classes(entry: Entry, tree: DatasetLayout) -> None:
    if not os.path.exists(entry.path):
        raise _link_to_nothing(entry)
    if tree.is_item(entry.name):
        raise InputError(
            f"{printable(entry.path)} lies beside the class folders, so its class is not known. "
            "Expected <wnid>/<file>; move it into its class folder or remove it."
        )


def _check_item(entry: Entry, tree: DatasetLayout) -> bool:
    """True, or the reason why this cannot be scored."""
    if not is_utf8(entry.name):
        raise InputError(
            f"{printable(entry.path)} has a name that is not UTF-8, so it cannot be recorded. "
            "Rename the file."
        )
    # The first question costs no system call, and there are millions of files.
    if not entry.is_file(follow_symlinks=False) and not os.path.isfile(entry.path):
        if not os.path.exists(entry.path):
            raise _link_to_nothing(entry)
        raise InputError(
            f"{printable(entry.path)} is no file, expected {a_or_an(tree.noun)}. Remove it."
        )
    if not tree.is_item(entry.name):
        raise InputError(
            f"{printable(entry.path)} is no {tree.noun} by its name, expected one of "
            f"{' '.join(sorted(tree.suffixes))}. Remove it from the class folder."
        )
    return True


def a_or_an(noun: str) -> str:
    """A noun with its article.

    Example:
        >>> a_or_an("image"), a_or_an("video")
        ('an image', 'a video')
    """
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


def _link_to_nothing(entry: Entry) -> InputError:
    return InputError(
        f"{printable(entry.path)} is a link to nothing, expected a file. Restore or remove it."
    )
