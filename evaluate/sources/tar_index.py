"""The index of a tar: the position of each file, stored next to the tar or in the cache.

A file's path is stored in two pieces: its last two parts, ``<wnid>/<file>``, are the same in every
cell of ImageNet-C, and few different paths precede them. So 750,000 paths need little more than
50,000 strings.
"""

import hashlib
import json
import tarfile
from array import array
from bisect import bisect_left
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ...contracts import Progress
from ...errors import InputError, OutputError, printable
from ...storage.atomic import atomic_write_bytes, remove_leftovers
from ...storage.cache import cache_folder
from ...storage.lock import locked
from .tar_headers import BLOCK_BYTES, OpenTar, walk

if TYPE_CHECKING:
    import pyarrow as pa

FORMAT = 2
SUFFIX = ".index"
INDEXES = "indexes"
LOCKS = "locks"

FILE, LINK, SPARSE, OTHER = range(4)
"""Kinds of members: only the bytes of a file are stored in one piece."""

SAMPLES = 16
"""Headers that are compared when an index is read, besides the tar's first and last."""

MEMBERS_PER_STEP = 10_000
"""Members between two progress reports."""

_COLUMNS = ("folder", "name", "offset", "size", "kind")


@dataclass(frozen=True)
class TarIndex:
    """The files of a tar, M of them, sorted by folder and name.

    Attributes:
        folders: Paths without their last two parts: distinct, sorted.
        names: Last two parts of paths: distinct, sorted.
        folder: (M,) int32, positions among ``folders``.
        name: (M,) int32, positions among ``names``.
        offset: (M,) int64, positions of the first bytes.
        size: (M,) int64, sizes in bytes.
        kind: (M,) int8, ``FILE`` and so on.
        fault: Why reading stopped before the end of the tar; empty if it did not.
    """

    folders: list[str]
    names: list[str]
    folder: npt.NDArray[np.int32]
    name: npt.NDArray[np.int32]
    offset: npt.NDArray[np.int64]
    size: npt.NDArray[np.int64]
    kind: npt.NDArray[np.int8]
    fault: str

    @cached_property
    def _starts(self) -> npt.NDArray[np.int64]:
        return np.searchsorted(self.folder, np.arange(len(self.folders) + 1))

    def rows_of(self, folder: str) -> slice:
        """The rows of the files with this path before the last two parts of theirs."""
        position = self._position.get(folder)
        if position is None:
            return slice(0, 0)
        return slice(int(self._starts[position]), int(self._starts[position + 1]))

    @cached_property
    def _position(self) -> dict[str, int]:
        return {folder: position for position, folder in enumerate(self.folders)}

    def path_of(self, row: int) -> str:
        """A file's path."""
        folder, name = self.folders[self.folder[row]], self.names[self.name[row]]
        return f"{folder}/{name}" if folder else name

    def row_of(self, path: str) -> int | None:
        """The row of the file with this path; ``None`` if there is none."""
        folder, name = split(path)
        rows, code = self.rows_of(folder), bisect_left(self.names, name)
        if code == len(self.names) or self.names[code] != name:
            return None
        row = rows.start + int(np.searchsorted(self.name[rows], code))
        return row if row < rows.stop and self.name[row] == code else None


def split(path: str) -> tuple[str, str]:
    """A path without its last two parts, and these parts; empty parts and ``.`` are dropped.

    Example:
        >>> split("./imagenet-c/fog/1/n01440764/x.JPEG"), split("/x.JPEG")
        (('imagenet-c/fog/1', 'n01440764/x.JPEG'), ('', 'x.JPEG'))
    """
    parts = [part for part in path.split("/") if part not in ("", ".")]
    return "/".join(parts[:-2]), "/".join(parts[-2:])


def index_of(tar: OpenTar, progress: Progress) -> TarIndex:
    """The index of a tar: the stored one if it belongs to this tar, otherwise a new one.

    Raises:
        InputError: If it is not a tar, cannot be read, or changes meanwhile.
    """
    key = hashlib.sha256(str(tar.path.absolute()).encode("utf-8", "surrogateescape")).hexdigest()
    paths = [tar.path.with_name(tar.path.name + SUFFIX), cache_folder(INDEXES) / key[:32]]
    if (stored := _stored_index(tar, paths, progress)) is not None:
        return stored

    def waiting() -> None:
        progress.note(f"Another process builds the index of {printable(tar.path)}; waiting for it.")

    with ExitStack() as stack:
        try:
            stack.enter_context(locked(index_lock(paths[-1]), waiting=waiting))
        except OutputError:  # two processes may then build the index, which does no harm
            pass
        else:
            if (stored := _stored_index(tar, paths, None)) is not None:
                return stored
            for path in paths:
                with suppress(OSError):
                    remove_leftovers(path)
        index = _build_index(tar, progress)
        _store_index(index, tar, paths, progress)
    return index


def index_lock(index: Path) -> Path:
    """The lock that is held while an index is built, by the index's path in the cache.

    It is never next to the tar, since users do not want a lock among their data.
    """
    return cache_folder(LOCKS) / index.name


def fault_error(tar: OpenTar, index: TarIndex) -> InputError:
    """The error for a damaged or truncated tar."""
    return InputError(
        f"{printable(tar.path)} is damaged or truncated: {index.fault}. Download or copy it again; "
        "--on-error skip scores what it still holds."
    )


def files_in(index: TarIndex, folder: str) -> Iterator[int]:
    """The rows of the files that lie in this folder itself."""
    above, _, own = folder.rpartition("/")
    rows = index.rows_of(above if folder else "")
    for row in range(rows.start, rows.stop):
        parent, _, _ = index.names[index.name[row]].rpartition("/")
        if parent == own:
            yield row


@dataclass(frozen=True)
class _Members:
    """Members in the order of the tar."""

    folders: dict[str, int] = field(default_factory=dict)
    names: dict[str, int] = field(default_factory=dict)
    folder: "array[int]" = field(default_factory=lambda: array("i"))
    name: "array[int]" = field(default_factory=lambda: array("i"))
    offset: "array[int]" = field(default_factory=lambda: array("q"))
    size: "array[int]" = field(default_factory=lambda: array("q"))
    kind: "array[int]" = field(default_factory=lambda: array("b"))
    links: dict[int, tuple[int, int]] = field(default_factory=dict)

    def add(self, header: tarfile.TarInfo) -> bool:
        """Add a member unless it is a folder; returns whether it was added."""
        if header.isdir():
            return False
        folder, name = self._key(header.name)
        if header.islnk():
            self.links[len(self.kind)] = self._key(header.linkname)
        self.folder.append(folder)
        self.name.append(name)
        self.offset.append(header.offset_data)
        self.size.append(header.size)
        self.kind.append(_kind(header))
        return True

    def _key(self, path: str) -> tuple[int, int]:
        folder, name = split(path)
        return (
            self.folders.setdefault(folder, len(self.folders)),
            self.names.setdefault(name, len(self.names)),
        )

    def resolve_links(self) -> None:
        """Give hard links the bytes of their target, which is a member before them."""
        latest: dict[tuple[int, int], int] = {}
        for row, key in enumerate(zip(self.folder, self.name, strict=True)):
            target = latest.get(self.links.get(row, (-1, -1)))
            if target is not None and self.kind[target] == FILE:
                self.kind[row], self.size[row] = FILE, self.size[target]
                self.offset[row] = self.offset[target]
            latest[key] = row


def _kind(header: tarfile.TarInfo) -> int:
    if header.issparse():
        return SPARSE
    if header.isreg():
        return FILE
    return LINK if header.issym() or header.islnk() else OTHER


def _build_index(tar: OpenTar, progress: Progress) -> TarIndex:
    members = _Members()
    step, total = f"index of {tar.path.name}", tar.size // 2**20
    if tar.size > 2**30:
        progress.note(f"Building the index of {printable(tar.path)}; this happens once.")

    def add(header: tarfile.TarInfo, at: int) -> None:
        if members.add(header) and len(members.kind) % MEMBERS_PER_STEP == 0:
            progress.advance(step, min(at // 2**20, total - 1), total, "MiB")

    fault = walk(tar, add)
    tar.refuse_changed()
    if len(members.kind) >= MEMBERS_PER_STEP:
        progress.advance(step, total, total, "MiB")
    members.resolve_links()
    return _sorted_index(members, fault)


def _sorted_index(members: _Members, fault: str) -> TarIndex:
    """The index; of several members with one path the last counts, as when they are unpacked."""
    folders, folder = _ranked(members.folders, members.folder)
    names, name = _ranked(members.names, members.name)
    order = np.lexsort((np.arange(len(name)), name, folder))
    folder, name = folder[order], name[order]
    last = np.ones(len(order), bool)
    last[:-1] = (folder[1:] != folder[:-1]) | (name[1:] != name[:-1])
    order = order[last]
    return TarIndex(
        folders=folders,
        names=names,
        folder=folder[last],
        name=name[last],
        offset=np.array(members.offset, np.int64)[order],
        size=np.array(members.size, np.int64)[order],
        kind=np.array(members.kind, np.int8)[order],
        fault=fault,
    )


def _ranked(
    words: dict[str, int], positions: "array[int]"
) -> tuple[list[str], npt.NDArray[np.int32]]:
    """The sorted words, and the positions among them for positions in order of appearance."""
    ordered = sorted(words)
    rank = np.empty(len(ordered), np.int32)
    rank[[words[word] for word in ordered]] = np.arange(len(ordered), dtype=np.int32)
    return ordered, rank[np.array(positions, np.int32)]


def _store_index(index: TarIndex, tar: OpenTar, paths: list[Path], progress: Progress) -> None:
    """Write the index to the first of the paths that can be written."""
    header, payload = _header(tar, index.fault, _sampled_sha256(tar, index)), _payload(index)
    data = _sealed(header, payload)
    for path in paths:
        try:
            atomic_write_bytes(path, data)
        except OutputError:
            continue
        return
    progress.note(
        f"The index of {printable(tar.path)} cannot be written, so it is built again next time."
    )


def _stored_index(tar: OpenTar, paths: list[Path], progress: Progress | None) -> TarIndex | None:
    for path in paths:
        try:
            data = path.read_bytes()
        except (OSError, ValueError):
            continue
        index = _index_from_bytes(data, tar)
        if index is not None:
            return index
        if progress is not None:
            progress.note(
                f"{printable(path)} is outdated or damaged; the index of "
                f"{printable(tar.path.name)} is built again."
            )
    return None


def _header(tar: OpenTar, fault: str, sampled: str) -> dict[str, Any]:
    """The header of an index, which identifies its tar."""
    state = {"size": tar.size, "mtime_ns": tar.mtime_ns, "sampled_sha256": sampled}
    return {"format": FORMAT, "fault": fault, **state}


def _sampled_sha256(tar: OpenTar, index: TarIndex) -> str:
    """SHA-256 over some of a tar's headers, since another tar can have the same size and time."""
    positions, n = [0], len(index.offset)
    if n:
        rows = [*np.linspace(0, n - 1, min(n, SAMPLES)).astype(int), index.offset.argmax()]
        positions += [int(offset) - BLOCK_BYTES for offset in index.offset[rows]]
    return hashlib.sha256(
        b"".join(tar.read(position, BLOCK_BYTES) for position in positions)
    ).hexdigest()


def _sealed(header: dict[str, Any], payload: bytes) -> bytes:
    """A line of JSON with a digest over the header and the payload, then the payload."""
    line = json.dumps(header, sort_keys=True)
    digest = hashlib.sha256(line.encode() + payload).hexdigest()
    return json.dumps({**header, "sha256": digest}, sort_keys=True).encode() + b"\n" + payload


def _index_from_bytes(data: bytes, tar: OpenTar) -> TarIndex | None:
    """The index, if it is complete and belongs to this tar."""
    line, _, payload = data.partition(b"\n")
    try:
        header = json.loads(line)
        fault, sampled = str(header["fault"]), str(header["sampled_sha256"])
    except (ValueError, LookupError, TypeError, RecursionError):
        return None
    if data != _sealed(_header(tar, fault, sampled), payload):
        return None
    index = _index_from_payload(payload, fault)
    return index if _sampled_sha256(tar, index) == sampled else None


def _payload(index: TarIndex) -> bytes:
    """Parquet: a row for each file, its two names from dictionaries."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = [
        pa.DictionaryArray.from_arrays(pa.array(codes), pa.array(map(_encoded, words), pa.binary()))
        for codes, words in ((index.folder, index.folders), (index.name, index.names))
    ]
    columns += [pa.array(values) for values in (index.offset, index.size, index.kind)]
    sink = pa.BufferOutputStream()
    pq.write_table(
        pa.Table.from_arrays(columns, _COLUMNS),
        sink,
        compression="zstd",
        row_group_size=max(1, len(index.name)),
        dictionary_pagesize_limit=2**30,
        use_dictionary=list(_COLUMNS[:2]),
    )
    return sink.getvalue().to_pybytes()  # type: ignore[no-any-return]


def _index_from_payload(payload: bytes, fault: str) -> TarIndex:
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pq.read_table(pa.BufferReader(payload))
    folders, folder = _words(table["folder"])
    names, name = _words(table["name"])
    offset, size, kind = (table[column].to_numpy() for column in _COLUMNS[2:])
    return TarIndex(folders, names, folder, name, offset, size, kind, fault)


def _words(column: "pa.ChunkedArray") -> tuple[list[str], npt.NDArray[np.int32]]:
    array = column.combine_chunks()
    words = [word.decode("utf-8", "surrogateescape") for word in array.dictionary.to_pylist()]
    return words, array.indices.to_numpy()


def _encoded(word: str) -> bytes:
    return word.encode("utf-8", "surrogateescape")
