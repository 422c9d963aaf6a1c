"""Items in a tar file, read in place: ``.../<corruption>/<severity>/<wnid>/<file>``.

A condition is found at any depth, whatever stands before it in the names. What a folder is refused
for, a tar is refused for as well.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ...contracts import Condition, DatasetLayout, Extent, Item, Progress
from ...errors import ImageError, InputError, UnreadError, printable
from ..layouts import IMAGES_IN_CLASS_FOLDERS, SEVERITY_FOLDERS
from .folder import a_or_an, nothing_there, stray_folder
from .generated_marker import GENERATED, Content, mark_from_bytes, read_mark
from .items import IdPool, Ids, Items, ids_of_names, refuse_missing
from .labels import Labels, is_numbered, labelled, refuse_needless
from .listing import PART_OF_IMAGENET_C, is_left_behind, is_utf8
from .tar_headers import OpenTar
from .tar_index import FILE, LINK, SPARSE, fault_error, files_in, index_of

_ITEM, _PASSED_OVER, _NO_CLASS, _OTHER = range(4)
"""What a name below a condition's folder may be."""


@dataclass(frozen=True, eq=False)
class Members:
    """Items that are members of a tar, all below one folder of it.

    Attributes:
        tar: Its path.
        folder: Inside it.
        offset: Of each item's first byte.
        size: In bytes.
        flat: Whether the items lie in the folder itself, although their ids have folders.
        paths: Of each item below the folder, where its id does not say it.
    """

    tar: str
    folder: str
    offset: npt.NDArray[np.int64]
    size: npt.NDArray[np.int64]
    flat: bool = False
    paths: Mapping[str, str] = field(default_factory=dict)

    def location(self, id: str) -> str:
        """``noise.tar: gaussian_noise/1/n01440764/x.JPEG``."""
        name = id.partition("/")[2] if self.flat else self.paths.get(id, id)
        return f"{self.tar}: {self.folder}/{name}" if self.folder else f"{self.tar}: {name}"

    def extent(self, row: int) -> Extent:
        """Where the bytes are."""
        return Extent(self.tar, int(self.offset[row]), int(self.size[row]))


class TarSource:
    """Class folders in a tar, one set of them for each condition that it holds."""

    def __init__(
        self,
        path: Path,
        conditions: Sequence[Condition],
        *,
        progress: Progress,
        pool: IdPool | None = None,
        labels: Labels | None = None,
        tree: DatasetLayout = IMAGES_IN_CLASS_FOLDERS,
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
        self._tree = tree
        self._known: tuple[npt.NDArray[np.int32], Ids] | None = None
        self._folders = {
            condition: folder
            for condition in conditions
            if (folder := self._folder_of(condition)) is not None
        }

    @property
    def path(self) -> str:
        """Of the tar, as items say it."""
        return str(self._tar.path)

    def conditions(self) -> list[Condition]:
        """Those of the benchmark's conditions that are in the tar, in the benchmark's order."""
        return list(self._folders)

    def where(self, condition: Condition) -> str:
        """The folder of a condition, in words."""
        return self._shown(self._folders[condition])

    def items(self, condition: Condition) -> Items:
        """The images of one condition, sorted by id.

        Raises:
            InputError: If something among them cannot be an image, or there is none at all.
        """
        folder, index = self._folders[condition], self._index
        if not condition.values and folder in self._flat_folders:
            return self._flat_items(folder)
        refuse_needless(self._labels, self._shown(folder))
        if not self._tree.id_includes_dir:
            return self._named_items(folder, self._tree.frames(condition))
        self._refuse_strays(folder)
        rows = np.arange(*index.rows_of(folder).indices(len(index.name)))
        what = self._what_names_are[index.name[rows]]
        rows = rows[what != _PASSED_OVER]
        wrong = rows[(self._what_names_are[index.name[rows]] != _ITEM) | (index.kind[rows] != FILE)]
        if wrong.size:
            raise self._wrong(int(wrong[0]), folder)
        if not rows.size:
            raise nothing_there(self._shown(folder), self._tree)
        place = Members(self.path, folder, index.offset[rows], index.size[rows])
        ids = self._ids(index.name[rows])
        return Items(ids, place, tree=self._tree, frames=self._tree.frames(condition))

    def read(self, item: Item) -> bytes:
        """The bytes of one member.

        Raises:
            ImageError: If it is missing, or the tar ends before it does, or it cannot be read.
            InputError: If the tar changed since it was opened, or cannot be read any more.
        """
        return read_member(self._tar, item)

    def marks(self) -> dict[str, Content | None]:
        """The marks of the trees that the conditions were packed from, by name.

        A mark lies in the tar, in the folder of the condition or at most two above it, or beside
        the tar.

        Raises:
            InputError: If one cannot be read.
        """
        return dict(self._mark_of(folder) for folder in self._folders.values())

    def _mark_of(self, folder: str) -> tuple[str, Content | None]:
        parts = folder.split("/") if folder else []
        for depth in range(len(parts), max(-1, len(parts) - 3), -1):
            path = "/".join((*parts[:depth], GENERATED))
            if (row := self._index.row_of(path)) is not None:
                data = self._tar.read(int(self._index.offset[row]), int(self._index.size[row]))
                return self._shown(path), mark_from_bytes(data, self._shown(path))
        beside = self._tar.path.with_name(GENERATED)
        if beside.is_file():
            return printable(beside), read_mark(beside)
        return printable(self._tar.path), None

    def _flat_items(self, folder: str) -> Items:
        index = self._index
        rows = {
            name: row
            for row in files_in(index, folder)
            if self._tree.is_item(name := index.names[index.name[row]].rpartition("/")[2])
            and not is_left_behind(name)
        }
        for row in rows.values():
            self._refuse_no_file(row)
        ids = labelled(rows, self._labels, self._tar.path.parent, self._shown(folder))
        order = [rows[id.partition("/")[2]] for id in ids]
        place = Members(self.path, folder, index.offset[order], index.size[order], flat=True)
        return Items(self._pool.shared(ids), place, tree=self._tree)

    def _named_items(self, folder: str, frames: int) -> Items:
        """Those whose names say everything, whether they lie in folders or not.

        A misnamed one among them is refused; elsewhere in the tar other pictures may lie.
        """
        index, below = self._index, f"{folder}/" if folder else ""
        places = [folder, *(below + name for name in self._tree.folders())]
        among = [row for place in places for row in files_in(index, place)]
        found = [(row, index.path_of(row)) for row in among] + self._named
        rows = {
            path.removeprefix(below): row
            for row, path in found
            if path.startswith(below) and self._tree.is_item(path) and not _is_passed_over(path)
        }
        for row in rows.values():
            self._refuse_no_file(row)
        paths = ids_of_names(self._tree, rows, lambda path: self._shown(below + path))
        if not paths:
            raise nothing_there(self._shown(folder), self._tree)
        order = [rows[path] for path in paths.values()]
        place = Members(self.path, folder, index.offset[order], index.size[order], paths=paths)
        return Items(self._pool.shared(list(paths)), place, tree=self._tree, frames=frames)

    # ------------------------------------------------------------------ where conditions are

    def _folder_of(self, condition: Condition) -> str | None:
        wanted = [str(value) for _, value in condition.values]
        roots = dict.fromkeys(self._places_of(wanted) if wanted else self._roots())
        roots = roots or dict.fromkeys(() if wanted else self._flat_folders)
        root = next(iter(roots), None)
        if not wanted and root is not None and root.rpartition("/")[2] in SEVERITY_FOLDERS:
            raise InputError(f"{self._shown(root)} holds class folders. {PART_OF_IMAGENET_C}")
        if len(roots) > 1:
            first, second = (self._shown(root) for root in list(roots)[:2])
            raise InputError(
                f"{condition} is there twice: {first} and {second}. Leave one of them."
            )
        return root

    def _places_of(self, wanted: list[str]) -> Iterator[str]:
        """The folders that end like this, with files two levels below or deeper."""
        for parts in self._folder_parts:
            for end in range(len(wanted), len(parts) + 1):
                if parts[end - len(wanted) : end] == wanted:
                    yield "/".join(parts[:end])
                    break

    def _roots(self) -> Iterator[str]:
        """The folders in which items lie, or folders of them."""
        if self._tree.id_includes_dir:
            yield from self._roots_of_folders()
            return
        for _, path in self._named:
            folder = path.rpartition("/")[0]
            above, _, own = folder.rpartition("/")
            yield above if own in self._tree.folders() else folder

    @cached_property
    def _named(self) -> list[tuple[int, str]]:
        """The files whose names can be items' where names say everything: rows and paths."""
        index = self._index
        found = [self._is_named(name.rpartition("/")[2]) for name in index.names]
        rows = np.flatnonzero(np.array(found, bool)[index.name]).tolist() if found else []
        paths = [(row, index.path_of(row)) for row in rows]
        return [(row, path) for row, path in paths if not _is_passed_over(path)]

    def _is_named(self, name: str) -> bool:
        """Whether a file's name is an item's; beside stimuli, a tar may hold other pictures."""
        if not self._tree.is_item(name) or self._tree.attributes is None:
            return False
        try:
            self._tree.attributes(name)
        except InputError:
            return False
        return True

    def _roots_of_folders(self) -> Iterator[str]:
        index, classes = self._index, self._tree.folders()
        in_class = np.array([name.partition("/")[0] in classes for name in index.names], bool)
        has_class = np.unique(index.folder[in_class[index.name]]) if len(in_class) else ()
        for position in has_class:
            folder = index.folders[position]
            if not _is_passed_over(folder):
                yield folder

    @cached_property
    def _flat_folders(self) -> dict[str, None]:
        """Those in which validation images lie, where there are no class folders."""
        if not self._tree.listed or next(self._roots_of_folders(), None) is not None:
            return {}
        index, wanted = self._index, is_numbered if self._labels is None else self._tree.is_item
        found = np.fromiter(map(wanted, index.names), bool, len(index.names))
        paths = map(index.path_of, np.flatnonzero(found[index.name]).tolist())
        folders = dict.fromkeys(path.rpartition("/")[0] for path in paths)
        return {folder: None for folder in folders if not _is_passed_over(folder)}

    @cached_property
    def _folder_parts(self) -> list[list[str]]:
        return [f.split("/") for f in self._index.folders if f and not _is_passed_over(f)]

    # ------------------------------------------------------------------ what cannot be an image

    @cached_property
    def _what_names_are(self) -> npt.NDArray[np.int8]:
        """Of each of the index's names: whether it can be an image's below a condition."""
        names = self._index.names
        return np.fromiter(map(self._what_it_is, names), np.int8, len(names))

    def _refuse_strays(self, folder: str) -> None:
        """Refuse images beside the class folders, and files in folders below those."""
        if ".." in folder.split("/"):
            raise InputError(f"{self._shown(folder)} leads out of the tar. Pack it again.")
        index = self._index
        for row in files_in(index, folder):
            name = index.path_of(row).rpartition("/")[2]
            if name in self._tree.folders():
                self._refuse_no_file(row)
            if self._tree.is_item(name) and not is_left_behind(name):
                raise InputError(
                    f"{self._shown(index.path_of(row))} lies beside the class folders, so its "
                    "class is not known. Expected <wnid>/<file>; pack the class folders again."
                )
        below = f"{folder}/" if folder else ""
        for other in index.folders:
            if other != folder and other.startswith(below) and not _is_passed_over(other):
                self._refuse_below(other, other.removeprefix(below).split("/"), below)

    def _refuse_below(self, folder: str, parts: list[str], above: str) -> None:
        rows = self._index.rows_of(folder)
        names = [self._index.names[name] for name in self._index.name[rows]]
        if all(_is_passed_over(name) for name in names):
            return
        if parts[0] not in self._tree.folders():
            raise self._no_class(above + parts[0])
        raise InputError(
            f"{self._shown(folder)} holds folders among the {self._tree.noun}s, expected "
            "<wnid>/<file>. Pack the class folders again."
        )

    def _wrong(self, row: int, folder: str) -> InputError:
        """Why a member below a condition's folder cannot be scored."""
        name = self._index.names[self._index.name[row]]
        if self._what_it_is(name) == _NO_CLASS:
            wnid = name.partition("/")[0]
            return self._no_class(f"{folder}/{wnid}" if folder else wnid)
        self._refuse_no_file(row)
        return InputError(
            f"{self._shown(self._index.path_of(row))} is no {self._tree.noun} by its name, "
            f"expected one of {' '.join(sorted(self._tree.suffixes))}. Pack the class folders "
            "without it."
        )

    def _refuse_no_file(self, row: int) -> None:
        path, kind = self._shown(self._index.path_of(row)), self._index.kind[row]
        if not is_utf8(self._index.path_of(row)):
            raise InputError(
                f"{path} has a name that is not UTF-8, so it cannot be recorded. Rename the file "
                "and pack it again."
            )
        if kind == LINK:
            raise InputError(
                f"{path} is a link, and what it leads to is not in the tar before it. Pack the "
                "files themselves (`tar --dereference`)."
            )
        if kind == SPARSE:
            raise InputError(f"{path} is stored with holes. Pack it again without `tar --sparse`.")
        if kind != FILE:
            what = a_or_an(self._tree.noun)
            raise InputError(f"{path} is no file, expected {what}. Pack it again without it.")

    def _no_class(self, path: str) -> InputError:
        below = (root for root in self._roots_of_folders() if f"{root}/".startswith(f"{path}/"))
        is_cell = next(below, "").rpartition("/")[2] in SEVERITY_FOLDERS
        advice = PART_OF_IMAGENET_C if is_cell else "Pack the class folders again without it."
        return stray_folder(self._shown(path), self._tree, advice)

    def _what_it_is(self, name: str) -> int:
        """What the last two parts of a name say of a file below a condition's folder."""
        wnid, slash, file = name.partition("/")
        if wnid == "..":
            return _NO_CLASS
        if not slash or is_left_behind(wnid) or is_left_behind(file):
            return _PASSED_OVER  # without a folder it is a stray, which is looked for apart
        if wnid not in self._tree.folders():
            return _NO_CLASS
        return _ITEM if is_utf8(file) and self._tree.is_item(file) else _OTHER

    def _ids(self, names: npt.NDArray[np.int32]) -> Ids:
        """The names as ids, which the conditions of a tar mostly share."""
        if self._known is None or not np.array_equal(self._known[0], names):
            ids = [self._index.names[name] for name in names]
            self._known = names, self._pool.shared(ids)
        return self._known[1]

    def _shown(self, path: str) -> str:
        return printable(f"{self._tar.path}: {path}" if path else self._tar.path)


def read_member(tar: OpenTar, item: Item) -> bytes:
    """The bytes of an item that is in a tar.

    Raises:
        ImageError: If it is missing, the tar ends before it does, or it cannot be read.
        InputError: If the tar changed since it was opened, when every image may be another, or
            cannot be read any more.
    """
    refuse_missing(item)
    assert item.extent is not None
    try:
        data = tar.read(item.extent.offset, item.extent.size)
    except UnreadError as error:
        raise UnreadError(f"{printable(item.location)} cannot be read: {error}") from error
    tar.refuse_changed()
    if len(data) < item.extent.size:
        raise ImageError(
            f"{printable(item.location)} is cut off: the tar is truncated, and {len(data):,} of "
            f"{item.extent.size:,} bytes are there."
        )
    return data


def _is_passed_over(path: str) -> bool:
    return any(part != ".." and is_left_behind(part) for part in path.split("/"))
