"""Items in folders: ``DIR/<wnid>/<file>``, or ``DIR/<corruption>/<severity>/<wnid>/<file>``.

The benchmark's ``DatasetLayout`` says what folders and files are called, and whether there are
class folders at all; the rules are in ``layout_rules``. ImageNet's validation images may be flat,
``DIR/ILSVRC2012_val_00000001.JPEG``: see ``labels``.
"""

import os
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from pathlib import Path

from ...contracts import Condition, Item
from ...errors import InputError, printable
from ..layouts import SEVERITY_FOLDERS
from . import layout_rules
from .generated_marker import Content, common_marker, marker_above, read_marker
from .items import Items, Place, read_item_file
from .labels import CLASS_SUFFIX, FlatImages, decoded_classes
from .layout_rules import LayoutRules, class_file
from .listing import Entry, entries_of, folders_among, is_folder, read_file


class FolderSource:
    """Class folders on disk, one set of them for each condition.

    The folder of a condition may lie at any depth below the root: the original archives unpack to
    ``noise/``, ``blur/`` and so on.

    Args:
        root: The folder that the user gave.
        conditions: The conditions of the benchmark.
        rules: The layout of the items in the folder of a condition; if ``None``, images in class
            folders.

    Attributes:
        path: The folder.
    """

    def __init__(
        self, root: Path, conditions: Sequence[Condition], rules: LayoutRules | None = None
    ) -> None:
        if not is_folder(root):
            raise InputError(
                f"{printable(root)} is not a folder. Give the folder that holds the images."
            )
        self.path = root
        self._rules = rules or LayoutRules()
        self._folders = _condition_folders(root, conditions, self._rules)

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
        folder, layout = self._folders[condition], self._rules.layout
        images = None if condition.values else self._flat_images(folder)
        ids, paths = self._rules.ids_and_paths(
            images or list(_item_paths(folder, self._rules)), lambda path: printable(folder / path)
        )
        place = Place(os.path.join(folder, ""), paths)
        return Items(ids, place, layout, layout.frames(condition))

    def read(self, item: Item) -> bytes:
        """The bytes of one file.

        Raises:
            ImageError: If it cannot be read.
            InputError: If nothing of its condition can be read any more.
        """
        return read_item_file(item)

    def archives(self) -> Path | None:
        """The first folder below this one that holds archives; ``None`` if there is none."""
        return _holder_of_archives(self.path, self._rules)

    @property
    def index_places(self) -> list[str]:
        """The lists and files whose class indices gave labels, of the items read so far."""
        return sorted(self._rules.index_places)

    def markers(self) -> dict[str, Content | None]:
        """The content of the ``generated.json`` that belongs to each condition, by its path.

        ``None``, under the path of the root, if a condition has no such file.

        Raises:
            InputError: If such a file cannot be read.
        """
        folders = self._folders.values() or (self.path,)
        paths = {marker_above(folder, self.path) for folder in folders}
        return {
            printable(path or self.path): read_marker(path) if path is not None else None
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
        return common_marker(self.markers(), printable(self.path))

    def _flat_images(self, folder: Path) -> FlatImages | None:
        """The images that are not in class folders; ``None`` if there are none, or class folders.

        They lie in the folder itself or, if the user's list has their classes, in numbered folders.
        """
        rules, layout = self._rules, self._rules.layout
        if not layout.listed:
            return None
        entries = list(entries_of(folder))
        numbered = folders_among(e for e in entries if rules.may_be_numbered(e.name))
        flat = numbered or any(rules.shows_flat_images(entry.name) for entry in entries)
        if not flat or any(entry.name in layout.folders() for entry in entries):
            return None
        paths = list(_image_names(entries, rules))
        for parent in numbered:
            names = _image_names(entries_of(folder / parent), rules)
            paths += [f"{parent}/{name}" for name in names]
        class_files = {entry.name for entry in entries if entry.name.endswith(CLASS_SUFFIX)}
        content = {
            path: read_file(str(folder / class_file(path)))
            for path in paths
            if class_file(path) in class_files
        }
        return FlatImages(paths, folder, decoded_classes(content)) if paths else None


def photos_in(root: Path) -> Sequence[Item]:
    """The photos of a folder, sorted by id: in class folders, or flat and then without labels.

    Raises:
        InputError: If there are none, or something else is among them.
    """
    rules = LayoutRules()
    has_folders = not is_folder(root) or _folders_in(root)
    if names := [] if has_folders else sorted(_image_names(entries_of(root), rules)):
        return [Item(name, None, os.path.join(root, name)) for name in names]
    return FolderSource(root, [Condition()]).items(Condition())


def _condition_folders(
    root: Path, conditions: Sequence[Condition], rules: LayoutRules
) -> dict[Condition, Path]:
    """The folder of each condition that the root holds; folders of other items are reported."""
    if not any(condition.values for condition in conditions):
        return dict.fromkeys(conditions, root)
    by_names = {tuple(layout_rules.condition_folders(c)): c for c in conditions}
    (depth,) = {len(names) for names in by_names}
    candidates: dict[Condition, dict[str, list[str]]] = {c: {} for c in conditions}
    unread: list[str] = []
    for folder, children in _walk(root, rules):
        condition = by_names.get(folder.relative_to(root).parts[-depth:])
        holds_classes = not rules.layout.folders().keys().isdisjoint(children)
        if condition is not None:
            candidates[condition][str(folder)] = list(children)
            children.clear()
        elif holds_classes and folder != root:
            unread.append(folder.relative_to(root).as_posix())
    rules.note_unread(printable(root), unread)
    folders = layout_rules.chosen_folders(candidates, printable)
    return {condition: Path(folder) for condition, folder in folders.items()}


def _walk(root: Path, rules: LayoutRules) -> Iterator[tuple[Path, list[str]]]:
    """The folders from the root on, without class folders, each with the names of its folders.

    The caller may remove names, into which the walk then does not go.
    """
    folders = deque([root])
    while folders:
        folder = folders.popleft()
        try:
            names = folders_among(entries_of(folder))
        except InputError as error:
            if folder == root:
                raise
            rules.note(f"Not read: {error}")
            continue
        yield folder, names
        inner = (folder / name for name in names if name not in rules.layout.folders())
        folders += [path for path in inner if not _leads_back(path, root)]


def _leads_back(path: Path, root: Path) -> bool:
    """Whether a path is a link to a folder that it lies in."""
    if not path.is_symlink():
        return False
    target = os.path.realpath(path)
    above = (parent for parent in path.parents if parent.is_relative_to(root))
    return any(Path(os.path.realpath(parent)).is_relative_to(target) for parent in above)


def _item_paths(folder: Path, rules: LayoutRules) -> Iterator[str]:
    """The paths of the items below a condition's folder, each checked."""
    classes, has_outside = rules.layout.folders(), False
    for entry in entries_of(folder):
        if is_folder(Path(entry.path)):
            if entry.name not in classes:
                rules.refuse(_unknown_folder(entry, rules))
                continue
            for name in _checked_names(entries_of(Path(entry.path)), rules):
                yield f"{entry.name}/{name}"
        elif rules.layout.id_includes_dir:
            # Lists, licences and checksums may lie next to the class folders, images may not.
            _refuse_broken_link(entry, rules)
            if rules.layout.is_item(entry.name) and not has_outside:
                has_outside = True  # of thousands, the first says enough
                rules.refuse(_outside(entry, folder, rules))
        elif rules.layout.is_item(entry.name):
            yield from _checked_names([entry], rules)


def _outside(entry: Entry, folder: Path, rules: LayoutRules) -> InputError:
    """The error for an item beside class folders, or without any."""
    has_classes = any(path.name in rules.layout.folders() for path in _folders_in(folder))
    if rules.layout.listed and not has_classes:
        return rules.without_class_folders(printable(entry.path))
    remedy = "Move it into its class folder or remove it."
    return rules.outside_class_folders(printable(entry.path), remedy)


def _unknown_folder(entry: Entry, rules: LayoutRules) -> InputError:
    """The error for a folder next to the class folders; it may hold the class folders itself."""
    folder = _holder_of_classes(Path(entry.path), rules, levels=2)
    holds_items = any(rules.layout.is_item(inner.name) for inner in entries_of(Path(entry.path)))
    if rules.layout.listed and layout_rules.is_number(entry.name) and holds_items:
        return rules.numbered_folders(printable(Path(entry.path).parent))
    if folder is None:
        folder = _holder_of_archives(Path(entry.path), rules)
    if folder is None:
        holder = "class folders" if rules.layout.id_includes_dir else f"{rules.layout.noun}s"
        remedy = f"Move it elsewhere, or give the folder that holds the {holder}."
    elif folder.name in SEVERITY_FOLDERS:
        remedy = layout_rules.PART_OF_IMAGENET_C
    else:
        remedy = f"Did you mean {printable(folder)}?"
    return rules.unknown_class_folder(printable(entry.path), remedy)


def _holder_of_classes(folder: Path, rules: LayoutRules, levels: int) -> Path | None:
    """The first folder with a class folder: this one, or one at most some levels below."""
    below = _folders_in(folder)
    if any(child.name in rules.layout.folders() for child in below):
        return folder
    holders = (_holder_of_classes(child, rules, levels - 1) for child in below if levels)
    return next((holder for holder in holders if holder is not None), None)


def _holder_of_archives(root: Path, rules: LayoutRules) -> Path | None:
    """The first folder with an archive: this one, or one at any level below."""
    for folder, _ in _walk(root, rules):
        if any(entry.name.lower().endswith(layout_rules.ARCHIVES) for entry in entries_of(folder)):
            return folder
    return None


def _image_names(entries: Iterable[Entry], rules: LayoutRules) -> Iterator[str]:
    """The names of the items among these entries, after each was checked."""
    return _checked_names((e for e in entries if rules.layout.is_item(e.name)), rules)


def _checked_names(entries: Iterable[Entry], rules: LayoutRules) -> Iterator[str]:
    """The names of items, after each was checked."""
    for entry in entries:
        if not layout_rules.is_utf8(entry.name):
            rules.refuse(layout_rules.not_utf8(printable(entry.path), "Rename the file."))
            continue
        # The first question costs no system call, and there are millions of files.
        if not entry.is_file(follow_symlinks=False) and not os.path.isfile(entry.path):
            if not _refuse_broken_link(entry, rules):
                rules.refuse(rules.not_a_file(printable(entry.path), "Remove it."))
            continue
        if not rules.layout.is_item(entry.name):
            remedy = "Remove it from the class folder."
            rules.refuse(rules.wrong_suffix(printable(entry.path), remedy))
            continue
        yield entry.name


def _refuse_broken_link(entry: Entry, rules: LayoutRules) -> bool:
    """Refuse a broken link; returns whether it is one."""
    is_broken = not os.path.exists(entry.path)
    if is_broken:
        where = printable(entry.path)
        rules.refuse(
            InputError(f"{where} is a broken link, expected a file. Restore or remove it.")
        )
    return is_broken


def _folders_in(folder: Path) -> list[Path]:
    return [folder / name for name in folders_among(entries_of(folder))]
