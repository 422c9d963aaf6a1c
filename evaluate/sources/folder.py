"""Items in folders: ``DIR/<wnid>/<file>``, or ``DIR/<corruption>/<severity>/<wnid>/<file>``.

The benchmark's ``DatasetLayout`` says what folders and files are called, and whether there are
class folders at all; the rules are in ``layout_rules``. ImageNet's validation images may be flat,
``DIR/ILSVRC2012_val_00000001.JPEG``: see ``labels``.
"""

import os
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path

from ...contracts import Condition, DatasetLayout, Item
from ...errors import InputError, printable
from ..layouts import IMAGES_IN_CLASS_FOLDERS, SEVERITY_FOLDERS
from . import layout_rules as rules
from .generated_marker import Content, common_marker, marker_above, read_marker
from .items import IdPool, Items, Place, read_item_file
from .labels import Labels, labelled, refuse_needless
from .listing import Entry, entries_of, is_folder


class FolderSource:
    """Class folders on disk, one set of them for each condition.

    The folder of a condition is looked for in the root, and one level below it: the original
    archives unpack to ``noise/``, ``blur/`` and so on.

    Args:
        root: The folder that the user gave.
        conditions: The conditions of the benchmark.
        pool: Ids that sources share.
        labels: The user's list of labels for images without class folders; if ``None``, a list is
            looked for next to such images.
        layout: Layout of the items in the folder of a condition.
    """

    def __init__(
        self,
        root: Path,
        conditions: Sequence[Condition],
        pool: IdPool | None = None,
        labels: Labels | None = None,
        layout: DatasetLayout = IMAGES_IN_CLASS_FOLDERS,
    ) -> None:
        if not is_folder(root):
            raise InputError(
                f"{printable(root)} is not a folder. Give the folder that holds the images."
            )
        self._root = root
        self._pool = {} if pool is None else pool
        self._labels = labels
        self._layout = layout
        self._folders = dict(_condition_folders(root, conditions))

    def conditions(self) -> list[Condition]:
        """The benchmark's conditions that have a folder, in the benchmark's order."""
        return list(self._folders)

    def where(self, condition: Condition) -> str:
        """The folder of a condition, for messages."""
        return printable(self._folders[condition])

    def items(self, condition: Condition) -> Items:
        """The items of one condition, sorted by id.

        Raises:
            InputError: If a folder holds something that cannot be an item, or no item at all.
        """
        folder, where, layout = self._folders[condition], self.where(condition), self._layout
        paths: dict[str, str] = {}
        if not condition.values and (names := self._flat_images(folder)):
            paths = labelled(names, self._labels, folder, where)
            ids = tuple(paths)
        else:
            refuse_needless(self._labels, where)
            ids = tuple(sorted(_item_paths(folder, layout)))
            if not layout.id_includes_dir:
                paths = rules.paths_by_id(layout, ids, lambda path: printable(folder / path))
                ids = tuple(paths)
        if not ids:
            raise rules.no_items(where, layout)
        place = Place(os.path.join(folder, ""), paths)
        return Items(self._pool.setdefault(ids, ids), place, layout, layout.frames(condition))

    def read(self, item: Item) -> bytes:
        """The bytes of one file.

        Raises:
            ImageError: If it cannot be read.
            InputError: If nothing of its condition can be read any more.
        """
        return read_item_file(item)

    def markers(self) -> dict[str, Content | None]:
        """The content of the ``generated.json`` that belongs to each condition, by its path.

        ``None``, under the path of the root, if a condition has no such file.

        Raises:
            InputError: If such a file cannot be read.
        """
        paths = {marker_above(folder) for folder in self._folders.values() or (self._root,)}
        return {
            printable(path or self._root): read_marker(path) if path is not None else None
            for path in paths
        }

    @cached_property
    def generated(self) -> Content | None:
        """The content of ``generated.json`` if the data were made by ``evaluator data``.

        That file lies at the root of what was made, which may be the folder that was given, one
        above it, or one below: a part of generated data is generated as well.

        Raises:
            InputError: If such a file cannot be read, or conditions were made in different ways.
        """
        return common_marker(self.markers(), printable(self._root))

    def _flat_images(self, folder: Path) -> list[str]:
        """The images that lie in the folder itself; empty if it has class folders."""
        layout = self._layout
        if not layout.listed:
            return []
        entries, classes = list(entries_of(folder)), layout.folders()
        flat = any(rules.shows_flat_images(entry.name, layout, self._labels) for entry in entries)
        if not flat or any(entry.name in classes for entry in entries):
            return []
        return list(_checked_names((e for e in entries if layout.is_item(e.name)), layout))


def photos_in(root: Path) -> Sequence[Item]:
    """The photos of a folder, sorted by id: in class folders, or flat and then without labels.

    Raises:
        InputError: If there are none, or something else is among them.
    """
    layout = IMAGES_IN_CLASS_FOLDERS
    if is_folder(root):
        entries = list(entries_of(root))
        images = [entry for entry in entries if layout.is_item(entry.name)]
        if images and not any(is_folder(Path(entry.path)) for entry in entries):
            names = sorted(_checked_names(images, layout))
            return [Item(name, None, os.path.join(root, name)) for name in names]
    return FolderSource(root, [Condition()]).items(Condition())


def _condition_folders(
    root: Path, conditions: Sequence[Condition]
) -> Iterator[tuple[Condition, Path]]:
    below = [Path(entry.path) for entry in entries_of(root) if is_folder(Path(entry.path))]
    for condition in conditions:
        relative = Path(*rules.condition_folders(condition))
        roots = [root, *below] if condition.values else [root]
        folders = [parent / relative for parent in roots if is_folder(parent / relative)]
        if len(folders) > 1:
            raise rules.duplicate(condition, printable(folders[0]), printable(folders[1]))
        if folders:
            yield condition, folders[0]


def _item_paths(folder: Path, layout: DatasetLayout) -> Iterator[str]:
    """The paths of the items below a condition's folder, each checked."""
    classes = layout.folders()
    for entry in entries_of(folder):
        if is_folder(Path(entry.path)):
            if entry.name not in classes:
                raise _unknown_folder(entry, layout)
            for name in _checked_names(entries_of(Path(entry.path)), layout):
                yield f"{entry.name}/{name}"
        elif layout.id_includes_dir:
            _refuse_beside_classes(entry, layout)
        elif layout.is_item(entry.name):
            yield from _checked_names([entry], layout)


def _refuse_beside_classes(entry: Entry, layout: DatasetLayout) -> None:
    """Lists, licences and checksums may lie next to the class folders, images may not."""
    if not os.path.exists(entry.path):
        raise _broken_link(entry)
    if layout.is_item(entry.name):
        remedy = "Move it into its class folder or remove it."
        raise rules.outside_class_folders(printable(entry.path), layout, remedy)


def _unknown_folder(entry: Entry, layout: DatasetLayout) -> InputError:
    """The error for a folder next to the class folders; it may hold the class folders itself."""
    folder = _holder_of_classes(Path(entry.path), layout, levels=2)
    if folder is None:
        holder = "class folders" if layout.id_includes_dir else f"{layout.noun}s"
        remedy = f"Move it elsewhere, or give the folder that holds the {holder}."
    elif folder.name in SEVERITY_FOLDERS:
        remedy = rules.PART_OF_IMAGENET_C
    else:
        remedy = f"Did you mean {printable(folder)}?"
    return rules.unknown_class_folder(printable(entry.path), layout, remedy)


def _holder_of_classes(folder: Path, layout: DatasetLayout, levels: int) -> Path | None:
    """The first folder with a class folder: this one, or one at most some levels below."""
    below = [entry for entry in entries_of(folder) if is_folder(Path(entry.path))]
    if any(entry.name in layout.folders() for entry in below):
        return folder
    for child in sorted(Path(entry.path) for entry in below) if levels else ():
        if (holder := _holder_of_classes(child, layout, levels - 1)) is not None:
            return holder
    return None


def _checked_names(entries: Iterable[Entry], layout: DatasetLayout) -> Iterator[str]:
    """The names of items, after each was checked."""
    for entry in entries:
        if not rules.is_utf8(entry.name):
            raise rules.not_utf8(printable(entry.path), "Rename the file.")
        # The first question costs no system call, and there are millions of files.
        if not entry.is_file(follow_symlinks=False) and not os.path.isfile(entry.path):
            if not os.path.exists(entry.path):
                raise _broken_link(entry)
            raise rules.not_a_file(printable(entry.path), layout, "Remove it.")
        if not layout.is_item(entry.name):
            remedy = "Remove it from the class folder."
            raise rules.wrong_suffix(printable(entry.path), layout, remedy)
        yield entry.name


def _broken_link(entry: Entry) -> InputError:
    return InputError(
        f"{printable(entry.path)} is a broken link, expected a file. Restore or remove it."
    )
