"""Which file lies where in a tar: found once, kept beside the tar or in the cache.

A file's name is kept as two: its last two parts, ``<wnid>/<file>``, are the same in every cell of
ImageNet-C, and what stands before them is one of few. So 750,000 names are 50,000 and some.
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
"""Kinds of members: only the bytes of a file are there in one piece."""

SAMPLES = 16
"""Headers that are compared when an index is read, beside the tar's first and last."""

MEMBERS_A_STEP = 10_000
"""Between two words of progress."""

_COLUMNS = ("folder", "name", "offset", "size", "kind")


@dataclass(frozen=True)
class TarIndex:
    """The files of a tar, M of them, sorted by folder and name.

    Attributes:
        folders: What stands before the last two parts of a name: distinct, sorted.
        names: The last two parts: distinct, sorted.
        folder: (M,) int32, positions among ``folders``.
        name: (M,) int32, positions among ``names``.
        offset: (M,) int64, of the first byte.
        size: (M,) int64, in bytes.
        kind: (M,) int8.
        fault: Why the tar ended before its end; empty where it did not.
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
        """The files with this before the last two parts of their names; none if there are none."""
        position = self._position.get(folder)
        if position is None:
            return slice(0, 0)
        return slice(int(self._starts[position]), int(self._starts[position + 1]))

    @cached_property
    def _position(self) -> dict[str, int]:
        return {folder: position for position, folder in enumerate(self.folders)}

    def path_of(self, row: int) -> str:
        """A file's whole name."""
        folder, name = self.folders[self.folder[row]], self.names[self.name[row]]
        return f"{folder}/{name}" if folder else name

    def row_of(self, path: str) -> int | None:
        """The row of a file with this whole name."""
        folder, name = split(path)
        rows, code = self.rows_of(folder), bisect_left(self.names, name)
        if code == len(self.names) or self.names[code] != name:
            return None
        row = rows.start + int(np.searchsorted(self.name[rows], code))
        return row if row < rows.stop and self.name[row] == code else None


def split(path: str) -> tuple[str, str]:
    """What stands before the last two parts of a name, and these; ``.`` and ``/`` apart.

    Example:
        >>> split("./imagenet-c/fog/1/n01440764/x.JPEG"), split("/x.JPEG")
        (('imagenet-c/fog/1', 'n01440764/x.JPEG'), ('', 'x.JPEG'))
    """
    parts = [part for part in path.split("/") if part not in ("", ".")]
    return "/".join(parts[:-2]), "/".join(parts[-2:])


def index_of(tar: OpenTar, progress: Progress) -> TarIndex:
    """The index of a tar: the one that is kept if it is of this very tar, else a new one.

    Raises:
        InputError: If it is no tar, cannot be read, or changes meanwhile.
    """
    places = [tar.path.with_name(tar.path.name + SUFFIX), cache_folder(INDEXES) / _name(tar)]
    if (kept := _kept(tar, places, progress)) is not None:
        return kept

    def waiting() -> None:
        progress.note(f"Another process makes the index of {printable(tar.path)}; waiting for it.")

    with ExitStack() as stack:
        try:
            stack.enter_context(locked(index_lock(places[-1]), waiting=waiting))
        except OutputError:  # the index is made twice then, which does no harm
            pass
        else:
            if (kept := _kept(tar, places, None)) is not None:
                return kept
            for place in places:
                with suppress(OSError):
                    remove_leftovers(place)
        index = _built(tar, progress)
        _keep(index, tar, places, progress)
    return index


def index_lock(index: Path) -> Path:
    """What is locked while an index is made: by its path in the cache, wherever it will lie.

    Not the tar's own place, where a user does not want a lock to lie.
    """
    return cache_folder(LOCKS) / index.name


def fault_error(tar: OpenTar, index: TarIndex) -> InputError:
    """What a tar that is not whole is refused with."""
    return InputError(
        f"{printable(tar.path)} is damaged or truncated: {index.fault}. Fetch or copy it again; "
        "--on-error skip scores what is there."
    )


def files_in(index: TarIndex, folder: str) -> Iterator[int]:
    """The rows of the files that lie in just this folder."""
    above, _, own = folder.rpartition("/")
    rows = index.rows_of(above if folder else "")
    for row in range(rows.start, rows.stop):
        parent, _, _ = index.names[index.name[row]].rpartition("/")
        if parent == own:
            yield row


def _name(tar: OpenTar) -> str:
    """Of what is kept elsewhere for a tar."""
    return hashlib.sha256(str(tar.path.absolute()).encode("utf-8", "surrogateescape")).hexdigest()[
        :32
    ]


@dataclass(frozen=True)
class _Found:
    """Members as they come."""

    folders: dict[str, int] = field(default_factory=dict)
    names: dict[str, int] = field(default_factory=dict)
    folder: "array[int]" = field(default_factory=lambda: array("i"))
    name: "array[int]" = field(default_factory=lambda: array("i"))
    offset: "array[int]" = field(default_factory=lambda: array("q"))
    size: "array[int]" = field(default_factory=lambda: array("q"))
    kind: "array[int]" = field(default_factory=lambda: array("b"))
    links: dict[int, tuple[int, int]] = field(default_factory=dict)

    def add(self, header: tarfile.TarInfo) -> bool:
        """Whether this is a member to keep: a folder is not, its files say it."""
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
        """Give hard links the bytes of what they lead to: a member before them."""
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


def _built(tar: OpenTar, progress: Progress) -> TarIndex:
    found = _Found()
    step, total = f"index of {tar.path.name}", tar.size // 2**20
    if tar.size > 2**30:
        progress.note(f"Making the index of {printable(tar.path)}, once.")

    def see(header: tarfile.TarInfo, at: int) -> None:
        if found.add(header) and len(found.kind) % MEMBERS_A_STEP == 0:
            progress.advance(step, min(at // 2**20, total - 1), total, "MiB")

    fault = walk(tar, see)
    tar.refuse_changed()
    if len(found.kind) >= MEMBERS_A_STEP:
        progress.advance(step, total, total, "MiB")
    if found.links:
        found.resolve_links()
    return _sorted(found, fault)


def _sorted(found: _Found, fault: str) -> TarIndex:
    """The index; of several members with one name the last counts, as when they are unpacked."""
    folders, folder = _ranked(found.folders, found.folder)
    names, name = _ranked(found.names, found.name)
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
        offset=np.array(found.offset, np.int64)[order],
        size=np.array(found.size, np.int64)[order],
        kind=np.array(found.kind, np.int8)[order],
        fault=fault,
    )


def _ranked(
    words: dict[str, int], positions: "array[int]"
) -> tuple[list[str], npt.NDArray[np.int32]]:
    """Words in their order, and positions among them instead of those in order of appearance."""
    ordered = sorted(words)
    rank = np.empty(len(ordered), np.int32)
    rank[[words[word] for word in ordered]] = np.arange(len(ordered), dtype=np.int32)
    return ordered, rank[np.array(positions, np.int32)]


def _keep(index: TarIndex, tar: OpenTar, places: list[Path], progress: Progress) -> None:
    """Write the index where that is possible, beside the tar if it can be."""
    header, payload = _header(tar, index.fault, _sampled_sha256(tar, index)), _payload(index)
    data = _sealed(header, payload)
    for place in places:
        try:
            atomic_write_bytes(place, data)
        except OutputError:
            continue
        return
    progress.note(
        f"The index of {printable(tar.path)} cannot be kept, and is made again next time."
    )


def _kept(tar: OpenTar, places: list[Path], progress: Progress | None) -> TarIndex | None:
    for place in places:
        try:
            data = place.read_bytes()
        except (OSError, ValueError):
            continue
        index = _index_from_bytes(data, tar)
        if index is not None:
            return index
        if progress is not None:
            progress.note(
                f"{printable(place)} is of another state of {printable(tar.path.name)}, or "
                "damaged; the index is made again."
            )
    return None


def _header(tar: OpenTar, fault: str, sampled: str) -> dict[str, Any]:
    """What an index is of."""
    state = {"size": tar.size, "mtime_ns": tar.mtime_ns, "sampled_sha256": sampled}
    return {"format": FORMAT, "fault": fault, **state}


def _sampled_sha256(tar: OpenTar, index: TarIndex) -> str:
    """SHA-256 over some of a tar's headers: another tar can have the same size and time."""
    places, n = [0], len(index.offset)
    if n:
        rows = [*np.linspace(0, n - 1, min(n, SAMPLES)).astype(int), index.offset.argmax()]
        places += [int(offset) - BLOCK_BYTES for offset in index.offset[rows]]
    return hashlib.sha256(b"".join(tar.read(place, BLOCK_BYTES) for place in places)).hexdigest()


def _sealed(header: dict[str, Any], payload: bytes) -> bytes:
    """A line of JSON with a digest over all the rest, then the rest."""
    line = json.dumps(header, sort_keys=True)
    digest = hashlib.sha256(line.encode() + payload).hexdigest()
    return json.dumps({**header, "sha256": digest}, sort_keys=True).encode() + b"\n" + payload


def _index_from_bytes(data: bytes, tar: OpenTar) -> TarIndex | None:
    """The index, if it is whole and of this tar."""
    line, _, payload = data.partition(b"\n")
    try:
        said = json.loads(line)
        fault, sampled = str(said["fault"]), str(said["sampled_sha256"])
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
