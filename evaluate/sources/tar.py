"""Items in a tar file, read in place: ``.../<corruption>/<severity>/<wnid>/<file>``.

A condition is found at any depth, whatever precedes it in the names. The rules are in
``layout_rules``: what is refused in a folder is refused in a tar as well.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ...contracts import Condition, DatasetLayout, Extent, Item, Progress
from ...errors import ImageError, InputError, UnreadError, printable
from ..layouts import IMAGES_IN_CLASS_FOLDERS, SEVERITY_FOLDERS
from . import layout_rules as rules
from .generated_marker import GENERATED, LEVELS_ABOVE, Content, marker_from_bytes, read_marker
from .items import IdPool, Ids, Items, refuse_missing
from .labels import Labels, labelled, refuse_needless
from .tar_headers import OpenTar
from .tar_index import FILE, LINK, SPARSE, fault_error, files_in, index_of

_ITEM, _IGNORED, _UNKNOWN_CLASS, _NO_ITEM = range(4)
"""Kinds of files below a condition's folder, judging by the last two parts of their names."""

_PACK_AGAIN = "Pack the class folders again."
_PACK_WITHOUT = "Pack the class folders again without it."


@dataclass(frozen=True, eq=False)
class Members:
    """Items that are members of a tar, all below one folder of it.

    Attributes:
        tar: Path of the tar.
        folder: Folder inside the tar.
        offset: Position of each item's first byte.
        size: Size of each item in bytes.
        paths: Path below the folder of each item whose id is not that path.
    """

    tar: str
    folder: str
    offset: npt.NDArray[np.int64]
    size: npt.NDArray[np.int64]
    paths: Mapping[str, str] = field(default_factory=dict)

    def location(self, id: str) -> str:
        """``noise.tar: gaussian_noise/1/n01440764/x.JPEG``."""
        path = self.paths.get(id, id)
        return f"{self.tar}: {self.folder}/{path}" if self.folder else f"{self.tar}: {path}"

    def extent(self, row: int) -> Extent:
        """Where the bytes are."""
        return Extent(self.tar, int(self.offset[row]), int(self.size[row]))


class TarSource:
    """Class folders in a tar, one set of them for each condition that it holds.

    Args:
        path: The tar.
        conditions: The conditions of the benchmark.
        progress: Progress callback.
        pool: Ids that sources share.
        labels: The user's list of labels for images without class folders; if ``None``, a list is
            looked for next to the tar.
        layout: Layout of the items in the folder of a condition.
        damaged_ok: Whether to take what a truncated or damaged tar still holds.
    """

    def __init__(
        self,
        path: Path,
        conditions: Sequence[Condition],
        *,
        progress: Progress,
        pool: IdPool | None = None,
        labels: Labels | None = None,
        layout: DatasetLayout = IMAGES_IN_CLASS_FOLDERS,
        damaged_ok: bool = False,
    ) -> None:
        self._tar = OpenTar(path)
        self._index = index_of(self._tar, progress)
        if self._index.fault:
            if not damaged_ok:
                raise fault_error(self._tar, self._index)
            progress.note(f"{printable(path)} is damaged or truncated: {self._index.fault}.")
        self._pool = pool or IdPool()
        self._labels = labels
        self._layout = layout
        self._latest_ids: tuple[npt.NDArray[np.int32], Ids] | None = None
        self._folders = {
            condition: folder
            for condition in conditions
            if (folder := self._folder_of(condition)) is not None
        }

    @property
    def path(self) -> str:
        """Path of the tar, as the extents of items have it."""
        return str(self._tar.path)

    def conditions(self) -> list[Condition]:
        """The benchmark's conditions that are in the tar, in the benchmark's order."""
        return list(self._folders)

    def where(self, condition: Condition) -> str:
        """The folder of a condition, for messages."""
        return self._where(self._folders[condition])

    def items(self, condition: Condition) -> Items:
        """The items of one condition, sorted by id.

        Raises:
            InputError: If something among them cannot be an item, or there is none at all.
        """
        folder, frames = self._folders[condition], self._layout.frames(condition)
        if not condition.values and folder in self._flat_folders:
            return self._flat_items(folder, frames)
        refuse_needless(self._labels, self._where(folder))
        if self._layout.id_includes_dir:
            return self._class_items(folder, frames)
        return self._named_items(folder, frames)

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

        That file lies in the folder of the condition or at most two above it, or next to the tar.
        ``None``, under the path of the tar, if a condition has no such file.

        Raises:
            InputError: If such a file cannot be read.
        """
        return dict(self._marker_of(folder) for folder in self._folders.values())

    def _marker_of(self, folder: str) -> tuple[str, Content | None]:
        parts = folder.split("/") if folder else []
        for depth in range(len(parts), max(-1, len(parts) - LEVELS_ABOVE - 1), -1):
            path = "/".join((*parts[:depth], GENERATED))
            if (row := self._index.row_of(path)) is not None:
                data = self._tar.read(int(self._index.offset[row]), int(self._index.size[row]))
                return self._where(path), marker_from_bytes(data, self._where(path))
        path_next_to_tar = self._tar.path.with_name(GENERATED)
        if path_next_to_tar.is_file():
            return printable(path_next_to_tar), read_marker(path_next_to_tar)
        return printable(self._tar.path), None

    # ------------------------------------------------------------------ items of a condition

    def _class_items(self, folder: str, frames: int) -> Items:
        self._refuse_strays(folder)
        index = self._index
        rows = np.arange(*index.rows_of(folder).indices(len(index.name)))
        rows = rows[self._kinds_of_names[index.name[rows]] != _IGNORED]
        kinds = self._kinds_of_names[index.name[rows]]
        wrong = rows[(kinds != _ITEM) | (index.kind[rows] != FILE)]
        if wrong.size:
            raise self._wrong_member(int(wrong[0]), folder)
        if not rows.size:
            raise rules.no_items(self._where(folder), self._layout)
        place = Members(self.path, folder, index.offset[rows], index.size[rows])
        return Items(self._ids(index.name[rows]), place, layout=self._layout, frames=frames)

    def _flat_items(self, folder: str, frames: int) -> Items:
        rows = {
            name: row
            for row, name in self._files(folder)
            if self._layout.is_item(name) and not rules.is_ignored(name)
        }
        self._check_files(rows.values())
        paths = labelled(rows, self._labels, self._tar.path.parent, self._where(folder))
        return self._items_at(folder, rows, paths, frames)

    def _named_items(self, folder: str, frames: int) -> Items:
        """The items whose names say everything, whether they lie in class folders or not.

        One with a wrong name among them is refused; elsewhere in the tar other images may lie.
        """
        index, layout, below = self._index, self._layout, f"{folder}/" if folder else ""
        folders = [folder, *(below + name for name in layout.folders())]
        members = [(row, index.path_of(row)) for name in folders for row in files_in(index, name)]
        rows = {
            path.removeprefix(below): row
            for row, path in members + self._named
            if path.startswith(below) and layout.is_item(path) and not _has_ignored_part(path)
        }
        self._check_files(rows.values())
        paths = rules.paths_by_id(layout, rows, lambda path: self._where(below + path))
        if not paths:
            raise rules.no_items(self._where(folder), layout)
        return self._items_at(folder, rows, paths, frames)

    def _items_at(
        self, folder: str, rows: Mapping[str, int], paths: Mapping[str, str], frames: int
    ) -> Items:
        """Items from the row of each path below the folder, and the path of each id."""
        order = [rows[path] for path in paths.values()]
        offset, size = self._index.offset[order], self._index.size[order]
        place = Members(self.path, folder, offset, size, paths)
        return Items(self._pool.shared(list(paths)), place, layout=self._layout, frames=frames)

    def _ids(self, names: npt.NDArray[np.int32]) -> Ids:
        """The names as ids, which the conditions of a tar mostly share."""
        if self._latest_ids is None or not np.array_equal(self._latest_ids[0], names):
            ids = [self._index.names[name] for name in names]
            self._latest_ids = names, self._pool.shared(ids)
        return self._latest_ids[1]

    # ------------------------------------------------------------------ folders of conditions

    def _folder_of(self, condition: Condition) -> str | None:
        """The folder of a condition; ``None`` if the tar does not hold it."""
        if ending := rules.condition_folders(condition):
            folders = dict.fromkeys(self._folders_with_ending(ending))
        else:
            folders = dict.fromkeys(self._clean_folders()) or self._flat_folders
        folder = next(iter(folders), None)
        if not ending and folder is not None and _last_part(folder) in SEVERITY_FOLDERS:
            raise InputError(
                f"{self._where(folder)} holds class folders. {rules.PART_OF_IMAGENET_C}"
            )
        if len(folders) > 1:
            first, second = (self._where(folder) for folder in list(folders)[:2])
            raise rules.duplicate(condition, first, second)
        return folder

    def _folders_with_ending(self, ending: list[str]) -> Iterator[str]:
        """The folders whose last parts are these, with files two levels below or deeper."""
        for parts in self._folder_parts:
            for end in range(len(ending), len(parts) + 1):
                if parts[end - len(ending) : end] == ending:
                    yield "/".join(parts[:end])
                    break

    def _clean_folders(self) -> Iterator[str]:
        """The folders that hold items or class folders."""
        if self._layout.id_includes_dir:
            yield from self._folders_of_classes()
            return
        for _, path in self._named:
            folder = path.rpartition("/")[0]
            in_class = _last_part(folder) in self._layout.folders()
            yield folder.rpartition("/")[0] if in_class else folder

    def _folders_of_classes(self) -> Iterator[str]:
        index, classes = self._index, self._layout.folders()
        in_class = np.array([name.partition("/")[0] in classes for name in index.names], bool)
        positions = np.unique(index.folder[in_class[index.name]]) if len(in_class) else ()
        folders = (index.folders[position] for position in positions)
        return (folder for folder in folders if not _has_ignored_part(folder))

    @cached_property
    def _flat_folders(self) -> dict[str, None]:
        """The folders in which validation images lie, if there are no class folders."""
        if not self._layout.listed or next(self._folders_of_classes(), None) is not None:
            return {}
        members = self._members(
            lambda name: rules.shows_flat_images(name, self._layout, self._labels)
        )
        folders = dict.fromkeys(path.rpartition("/")[0] for _, path in members)
        return {folder: None for folder in folders if not _has_ignored_part(folder)}

    @cached_property
    def _named(self) -> list[tuple[int, str]]:
        """The rows and paths of files whose names are those of items and say everything.

        Beside stimuli, a tar may hold other images.
        """

        def is_named(name: str) -> bool:
            if not self._layout.is_item(name) or self._layout.attributes is None:
                return False
            try:
                self._layout.attributes(name)
            except InputError:
                return False
            return True

        return [(row, path) for row, path in self._members(is_named) if not _has_ignored_part(path)]

    def _members(self, matches: Callable[[str], bool]) -> Iterator[tuple[int, str]]:
        """The rows and paths of the files with a matching name."""
        index = self._index
        is_match = np.fromiter(
            (matches(_last_part(n)) for n in index.names), bool, len(index.names)
        )
        for row in np.flatnonzero(is_match[index.name]).tolist():
            yield row, index.path_of(row)

    @cached_property
    def _folder_parts(self) -> list[list[str]]:
        return [f.split("/") for f in self._index.folders if f and not _has_ignored_part(f)]

    # ------------------------------------------------------------------ what cannot be an item

    @cached_property
    def _kinds_of_names(self) -> npt.NDArray[np.int8]:
        """Kind of each of the index's names below a condition's folder."""
        names = self._index.names
        return np.fromiter(map(self._kind_of_name, names), np.int8, len(names))

    def _kind_of_name(self, name: str) -> int:
        folder, slash, file = name.partition("/")
        if folder == "..":
            return _UNKNOWN_CLASS
        if not slash or rules.is_ignored(folder) or rules.is_ignored(file):
            return _IGNORED  # files outside of class folders are checked by _refuse_strays
        if folder not in self._layout.folders():
            return _UNKNOWN_CLASS
        return _ITEM if rules.is_utf8(file) and self._layout.is_item(file) else _NO_ITEM

    def _refuse_strays(self, folder: str) -> None:
        """Refuse items outside the class folders, and files in folders below them."""
        if ".." in folder.split("/"):
            raise InputError(
                f"{self._where(folder)} leads out of the tar. Pack it again without '..'."
            )
        for row, name in self._files(folder):
            if name in self._layout.folders():
                self._check_files([row])
            if self._layout.is_item(name) and not rules.is_ignored(name):
                location = self._where(self._index.path_of(row))
                raise rules.outside_class_folders(location, self._layout, _PACK_AGAIN)
        below = f"{folder}/" if folder else ""
        for other in self._index.folders:
            if other != folder and other.startswith(below) and not _has_ignored_part(other):
                self._refuse_below(other, other.removeprefix(below).split("/")[0], below)

    def _refuse_below(self, folder: str, first: str, above: str) -> None:
        names = self._index.name[self._index.rows_of(folder)]
        if all(_has_ignored_part(self._index.names[name]) for name in names):
            return
        if first not in self._layout.folders():
            raise self._unknown_class(above + first)
        raise InputError(
            f"{self._where(folder)} holds folders among the {self._layout.noun}s, expected "
            f"<wnid>/<file>. {_PACK_AGAIN}"
        )

    def _wrong_member(self, row: int, folder: str) -> InputError:
        """Why a member below a condition's folder cannot be scored."""
        name = self._index.names[self._index.name[row]]
        if self._kind_of_name(name) == _UNKNOWN_CLASS:
            wnid = name.partition("/")[0]
            return self._unknown_class(f"{folder}/{wnid}" if folder else wnid)
        self._check_files([row])
        return rules.wrong_suffix(
            self._where(self._index.path_of(row)), self._layout, _PACK_WITHOUT
        )

    def _check_files(self, rows: Iterable[int]) -> None:
        """Refuse members whose bytes are not in one piece, or whose names cannot be recorded."""
        for row in rows:
            path, kind = self._index.path_of(row), self._index.kind[row]
            if not rules.is_utf8(path):
                raise rules.not_utf8(self._where(path), "Rename the file and pack it again.")
            if kind == LINK:
                raise InputError(
                    f"{self._where(path)} is a link to something that is not in the tar before it. "
                    "Pack the files themselves (`tar --dereference`)."
                )
            if kind == SPARSE:
                raise InputError(
                    f"{self._where(path)} is stored as a sparse file. Pack it again without "
                    "`tar --sparse`."
                )
            if kind != FILE:
                raise rules.not_a_file(self._where(path), self._layout, "Pack it again without it.")

    def _unknown_class(self, path: str) -> InputError:
        below = (f for f in self._folders_of_classes() if f"{f}/".startswith(f"{path}/"))
        is_cell = _last_part(next(below, "")) in SEVERITY_FOLDERS
        remedy = rules.PART_OF_IMAGENET_C if is_cell else _PACK_WITHOUT
        return rules.unknown_class_folder(self._where(path), self._layout, remedy)

    def _files(self, folder: str) -> Iterator[tuple[int, str]]:
        """The rows and names of the files that lie in a folder itself."""
        for row in files_in(self._index, folder):
            yield row, _last_part(self._index.path_of(row))

    def _where(self, path: str) -> str:
        return printable(f"{self._tar.path}: {path}" if path else self._tar.path)


def _last_part(path: str) -> str:
    return path.rpartition("/")[2]


def _has_ignored_part(path: str) -> bool:
    return any(part != ".." and rules.is_ignored(part) for part in path.split("/"))
