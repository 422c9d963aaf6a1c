"""Items in a tar file, read in place: ``.../<corruption>/<severity>/<wnid>/<file>``.

A condition is found at any depth, whatever precedes it in the names. The rules are in
``layout_rules``: what is refused in a folder is refused in a tar as well.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path, PurePosixPath
from posixpath import basename

import numpy as np
import numpy.typing as npt

from ...contracts import Condition, Item, Progress
from ...errors import ImageError, InputError, UnreadError, printable
from ..layouts import SEVERITY_FOLDERS
from . import layout_rules
from .generated_marker import GENERATED, Content, marker_beside, marker_from_bytes
from .items import Items, Place, refuse_missing
from .labels import CLASS_SUFFIX, FlatImages, decoded_classes
from .layout_rules import LayoutRules
from .listing import is_ignored
from .tar_headers import OpenTar
from .tar_index import FILE, LINK, SPARSE, index_of

_PACK_WITHOUT = "Pack the class folders again without it."


class TarSource:
    """Class folders in a tar, one set of them for each condition that it holds.

    Args:
        path: The tar.
        conditions: The conditions of the benchmark.
        progress: Progress callback.
        rules: The layout of the items in the folder of a condition.
        damaged_ok: Whether to take what a truncated or damaged tar still holds.

    Attributes:
        path: Path of the tar, as the extents of items have it.
    """

    def __init__(
        self,
        path: Path,
        conditions: Sequence[Condition],
        *,
        progress: Progress,
        rules: LayoutRules,
        damaged_ok: bool,
    ) -> None:
        self.path = str(path)
        self._tar = OpenTar(path)
        self._index = index_of(self._tar, progress)
        if self._index.fault:
            damage = f"{printable(path)} is damaged or truncated: {self._index.fault}."
            if damaged_ok:
                progress.note(damage)
            else:
                rules.refuse(
                    InputError(
                        f"{damage} Download or copy it again; --on-error skip scores what it still "
                        "holds."
                    )
                )
        self._rules = rules
        self._layout = rules.layout
        self._is_clean = not any(condition.values for condition in conditions)
        self._folders = self._condition_folders(conditions)

    def conditions(self) -> list[Condition]:
        """The benchmark's conditions that are in the tar, in the benchmark's order."""
        return list(self._folders)

    @property
    def is_shard(self) -> bool:
        """Whether other tars may hold more images of the same condition, as webdataset's do."""
        return bool(self._flat_folders and self._class_rows)

    def where(self, condition: Condition) -> str:
        """The folder of a condition, for messages."""
        return self._where(self._folders[condition])

    def items(self, condition: Condition) -> Items:
        """The items of one condition, sorted by id.

        Raises:
            InputError: If something among them cannot be an item, or there is none at all.
        """
        folder, index = self._folders[condition], self._index
        below = f"{folder}/" if folder else ""
        is_flat = not condition.values and folder in self._flat_folders
        if is_flat:
            images = self._images(folder, self._is_flat)
        elif self._layout.id_includes_dir:
            images = self._images_in_classes(folder)
        else:
            images = self._images(folder, self._is_named)
        ids, paths = self._rules.ids_and_paths(
            self._flat_images(folder, images) if is_flat else images,
            lambda path: self._where(below + path if path else folder),
        )
        rows = [images[path] for path in paths.values() or ids]
        place = Place(
            f"{self.path}: {below}", paths, self.path, index.offset[rows], index.size[rows]
        )
        return Items(ids, place, self._layout, self._layout.frames(condition))

    def read(self, item: Item) -> bytes:
        """The bytes of one member.

        Raises:
            ImageError: If it is missing, or the tar ends before it does, or it cannot be read.
            InputError: If the tar changed since it was opened, when every item may be another, or
                cannot be read any more.
        """
        refuse_missing(item)
        assert item.extent is not None
        try:
            data = self._tar.read(item.extent.offset, item.extent.size)
        except UnreadError as error:
            raise UnreadError(f"{printable(item.location)} cannot be read: {error}") from error
        self._tar.refuse_changed()
        if len(data) < item.extent.size:
            raise ImageError(
                f"{printable(item.location)} is cut off: the tar is truncated, and only "
                f"{len(data):,} of {item.extent.size:,} bytes are present."
            )
        return data

    def markers(self) -> dict[str, Content | None]:
        """The content of the ``generated.json`` that belongs to each condition, by its path.

        That file lies in the folder of the condition or above it, or next to the tar.
        ``None``, under the path of the tar, if a condition has no such file.

        Raises:
            InputError: If such a file cannot be read.
        """
        rows = {self._index.path_of(row): row for row in self._named(lambda n: n == GENERATED)}
        return dict(self._marker_of(folder, rows) for folder in self._folders.values())

    def _marker_of(self, folder: str, rows: Mapping[str, int]) -> tuple[str, Content | None]:
        """The path and content of a folder's marker, from the rows of all markers in the tar."""
        place = PurePosixPath(folder)
        for above in (place, *place.parents):
            if (row := rows.get(str(above / GENERATED))) is not None:
                name = self._where(self._index.path_of(row))
                return name, marker_from_bytes(self._content(row), name)
        return marker_beside(self._tar.path)

    def unknown_classes(self) -> InputError | None:
        """Why clean images in the tar are not items; ``None`` if it holds no such images."""
        is_clean = self._layout.listed and self._is_clean
        rows = self._named(self._layout.is_item) if is_clean else []
        if not rows:
            return None
        path = self._index.path_of(rows[0])
        above, _, folder = path.rpartition("/")[0].rpartition("/")
        if layout_rules.is_number(folder):
            return self._rules.numbered_folders(self._where(above))
        return self._rules.without_class_folders(self._where(path))

    # ------------------------------------------------------------------ items of a condition

    def _flat_images(self, folder: str, images: Mapping[str, int]) -> FlatImages:
        """Images without class folders, with the classes that are stored with them."""
        below = f"{folder}/" if folder else ""
        rows = {self._index.path_of(row): row for row in self._class_rows}
        files = {path: rows.get(below + layout_rules.class_file(path)) for path in images}
        content = {path: self._content(row) for path, row in files.items() if row is not None}
        return FlatImages(list(images), self._tar.path.parent, decoded_classes(content))

    @cached_property
    def _class_rows(self) -> list[int]:
        """The rows of files that hold the class of an image."""
        return self._named(lambda name: name.endswith(CLASS_SUFFIX))

    def _content(self, row: int) -> bytes:
        """The bytes of a small file."""
        return self._tar.read(int(self._index.offset[row]), int(self._index.size[row]))

    def _is_flat(self, path: str) -> bool:
        """Whether a path below a folder of flat images is that of one of them."""
        folder, _, _ = path.rpartition("/")
        return not folder or self._rules.may_be_numbered(folder)

    def _images_in_classes(self, folder: str) -> dict[str, int]:
        """The row of each image in a class folder, by its path below the condition's folder.

        Whatever else is below that folder is refused or ignored.
        """
        index = self._index
        if ".." in folder.split("/"):
            raise InputError(
                f"{self._where(folder)} leads out of the tar. Pack it again without '..'."
            )
        rows = index.rows_below(folder)
        in_folder = np.array([other == folder for other in index.folders], bool)
        usable = self._are_in_classes[index.name[rows]] & in_folder[index.folder[rows]]
        usable &= index.kind[rows] == FILE
        self._refuse_each(rows[~usable], folder)
        rows = rows[usable]
        names = map(index.names.__getitem__, index.name[rows].tolist())
        return dict(zip(names, rows.tolist(), strict=True))

    @cached_property
    def _are_in_classes(self) -> npt.NDArray[np.bool_]:
        """Whether each of the index's names is that of an item in a class folder."""

        def is_in_class(name: str) -> bool:
            folder, _, file = name.partition("/")
            is_image = self._layout.is_item(file) and not is_ignored(file)
            return folder in self._layout.folders() and is_image and layout_rules.is_utf8(file)

        names = self._index.names
        return np.fromiter(map(is_in_class, names), bool, len(names))

    def _images(self, folder: str, matches: Callable[[str], bool]) -> dict[str, int]:
        """The row of each image below a folder with a matching path, by its path below it."""
        index, images = self._index, {}
        for row in index.rows_below(folder):
            path = index.path_of(row)
            path_below = path.removeprefix(f"{folder}/")
            if self._layout.is_item(path) and not _has_ignored_part(path) and matches(path_below):
                if (error := self._fault_of_file(row)) is not None:
                    self._rules.refuse(error)
                else:
                    images[path_below] = row
        return images

    def _is_named(self, path: str) -> bool:
        """Whether an image counts in a layout whose file names say everything.

        One with a wrong name counts, and is refused later, if it lies among the items; elsewhere in
        the tar other images may lie.
        """
        folder, _, name = path.rpartition("/")
        return folder in ("", *self._layout.folders()) or self._states_attributes(name)

    # ------------------------------------------------------------------ folders of conditions

    def _condition_folders(self, conditions: Sequence[Condition]) -> dict[Condition, str]:
        """The folder of each condition in the tar; folders of other items are reported."""
        if self._is_clean:
            folder = self._clean_folder()
            return {} if folder is None else dict.fromkeys(conditions, folder)
        endings = {c: "/".join(layout_rules.condition_folders(c)) for c in conditions}
        candidates = {c: self._folders_with_ending(ending) for c, ending in endings.items()}
        folders = layout_rules.chosen_folders(candidates, self._where)
        used = {folder for names in candidates.values() for folder in names}
        others = (
            f for f in self._folders_of_classes() if used.isdisjoint((f, f.rpartition("/")[0]))
        )
        self._rules.note_unread(printable(self.path), others)
        return folders

    def _clean_folder(self) -> str | None:
        """The folder of clean items; ``None`` if the tar holds none."""
        folders = list(dict.fromkeys(self._clean_folders()) or self._flat_folders)
        if folders and basename(folders[0]) in SEVERITY_FOLDERS:
            raise InputError(
                f"{self._where(folders[0])} holds class folders. {layout_rules.PART_OF_IMAGENET_C}"
            )
        if len(folders) > 1:
            first, second = map(self._where, folders[:2])
            raise layout_rules.duplicate(Condition(), first, second)
        return next(iter(folders), None)

    def _folders_with_ending(self, ending: str) -> dict[str, set[str]]:
        """The folders whose last parts are these, with the names of folders in them.

        They have files two levels below, where the name is empty, or deeper.
        """
        children: dict[str, set[str]] = {}
        for folder in self._index.folders:
            above, separator, below = f"/{folder}/".partition(f"/{ending}/")
            if separator and not _has_ignored_part(folder):
                name = f"{above}/{ending}".removeprefix("/")
                children.setdefault(name, set()).add(below.partition("/")[0])
        return children

    def _clean_folders(self) -> Iterator[str]:
        """The folders that hold items or class folders."""
        if self._layout.id_includes_dir:
            yield from self._folders_of_classes()
            return
        for row in self._named(self._states_attributes):
            folder = self._index.path_of(row).rpartition("/")[0]
            in_class = basename(folder) in self._layout.folders()
            yield folder.rpartition("/")[0] if in_class else folder

    def _folders_of_classes(self) -> Iterator[str]:
        index, classes = self._index, self._layout.folders()
        in_class = np.array([name.partition("/")[0] in classes for name in index.names], bool)
        positions = np.unique(index.folder[in_class[index.name]])
        folders = (index.folders[position] for position in positions)
        return (folder for folder in folders if not _has_ignored_part(folder))

    @cached_property
    def _flat_folders(self) -> dict[str, None]:
        """The folders in which validation images lie, if there are no class folders."""
        if not self._layout.listed or next(self._folders_of_classes(), None) is not None:
            return {}
        rows = self._named(self._rules.shows_flat_images)
        folders = (self._index.path_of(row).rpartition("/")[0] for row in rows)
        return dict.fromkeys(
            f.rpartition("/")[0] if self._rules.may_be_numbered(basename(f)) else f for f in folders
        )

    def _states_attributes(self, name: str) -> bool:
        """Whether a file's name is that of an item and says everything."""
        if not self._layout.is_item(name) or self._layout.attributes is None:
            return False
        try:
            self._layout.attributes(name)
        except InputError:
            return False
        return True

    def _named(self, matches: Callable[[str], bool]) -> list[int]:
        """The rows of the files with a matching name; beside items, a tar may hold others."""
        index = self._index
        is_match = np.array([matches(basename(name)) for name in index.names], bool)
        rows = np.flatnonzero(is_match[index.name]).tolist()
        return [row for row in rows if not _has_ignored_part(index.path_of(row))]

    # ------------------------------------------------------------------ what cannot be an item

    def _refuse_each(self, rows: npt.NDArray[np.int64], folder: str) -> None:
        """Refuse files below a condition's folder; where errors are collected, one a class."""
        below = f"{folder}/" if folder else ""
        refused: set[str] = set()
        for row in rows:
            place = self._index.path_of(row).removeprefix(below).partition("/")[0]
            if place in refused:
                continue
            count = len(self._rules.problems or ())
            if count == layout_rules.MAX_PROBLEMS:
                return
            self._refuse(row, folder)
            if len(self._rules.problems or ()) > count:
                refused.add(place)

    def _refuse(self, row: int, folder: str) -> None:
        """Refuse a file below a condition's folder that cannot be an item, unless it is ignored."""
        path, layout = self._index.path_of(row), self._layout
        first, *others = path.removeprefix(f"{folder}/").split("/")
        class_folder = f"{folder}/{first}" if folder else first
        is_class = first in layout.folders()
        if _has_ignored_part(path):
            return
        if others and not is_class:
            inside = (
                f for f in self._folders_of_classes() if f"{f}/".startswith(f"{class_folder}/")
            )
            is_cell = basename(next(inside, "")) in SEVERITY_FOLDERS
            remedy = layout_rules.PART_OF_IMAGENET_C if is_cell else _PACK_WITHOUT
            self._rules.refuse(self._rules.unknown_class_folder(self._where(class_folder), remedy))
        elif len(others) > 1:
            self._rules.refuse(
                InputError(
                    f"{self._where(class_folder)} holds folders among the {layout.noun}s, expected "
                    "<wnid>/<file>. Pack the class folders again."
                )
            )
        elif is_class and (error := self._fault_of_file(row)) is not None:
            self._rules.refuse(error)
        elif others:
            self._rules.refuse(self._rules.wrong_suffix(self._where(path), _PACK_WITHOUT))
        elif layout.is_item(first):
            remedy = "Pack the class folders again."
            self._rules.refuse(self._rules.outside_class_folders(self._where(path), remedy))

    def _fault_of_file(self, row: int) -> InputError | None:
        """The error for a member whose bytes are not in one piece, or that cannot be recorded."""
        path, kind = self._index.path_of(row), self._index.kind[row]
        where = self._where(path)
        if not layout_rules.is_utf8(path):
            return layout_rules.not_utf8(where, "Rename the file and pack it again.")
        if kind == LINK:
            return InputError(
                f"{where} is a link to something that is not in the tar before it. "
                "Pack the files themselves (`tar --dereference`)."
            )
        if kind == SPARSE:
            return InputError(
                f"{where} is stored as a sparse file. Pack it again without `tar --sparse`."
            )
        if kind != FILE:
            return self._rules.not_a_file(where, "Pack it again without it.")
        return None

    def _where(self, path: str) -> str:
        return printable(f"{self._tar.path}: {path}" if path else self._tar.path)


def _has_ignored_part(path: str) -> bool:
    return any(part != ".." and is_ignored(part) for part in path.split("/"))
