"""The index of a tar: the position of each file, stored next to the tar or in the cache.

A file's path is stored in two pieces: its last two parts, ``<wnid>/<file>``, are the same in every
cell of ImageNet-C, and few different paths precede them. So 750,000 paths need little more than
50,000 strings.
"""

import hashlib
import sys
import tarfile
from collections.abc import Iterable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ...contracts import Progress
from ...errors import OutputError, printable
from ...storage.atomic import atomic_write_bytes, remove_leftovers
from ...storage.cache import cache_folder
from ...storage.lock import locked
from .tar_headers import BLOCK_BYTES, OpenTar, walk

if TYPE_CHECKING:
    import pyarrow as pa

FORMAT = 3
SUFFIX = ".index"
INDEXES = "indexes"
LOCKS = "locks"

FILE, LINK, SPARSE, OTHER = range(4)
"""Kinds of members: only the bytes of a file are stored in one piece."""

SAMPLES = 16
"""Headers that are compared when an index is read, besides the tar's first and last."""

MEMBERS_PER_STEP = 10_000
"""Members between two progress reports."""

Members = dict[tuple[str, str], tuple[int, int, int]]
"""Offset, size and kind of each member, by its path without the last two parts and these parts."""


@dataclass(frozen=True)
class TarIndex:
    """The files of a tar, M of them, sorted by folder and name.

    Attributes:
        folders: Distinct paths without their last two parts, sorted.
        names: Distinct last two parts of paths.
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

    def path_of(self, row: int) -> str:
        """A file's path."""
        folder, name = self.folders[self.folder[row]], self.names[self.name[row]]
        return f"{folder}/{name}" if folder else name

    def rows_below(self, folder: str) -> npt.NDArray[np.int64]:
        """The rows of the files that lie in a folder or below it; (K,) int64."""
        parent, _, own = folder.rpartition("/")
        rows: list[int] = []
        for position, other in enumerate(self.folders):
            candidates = range(self._starts[position], self._starts[position + 1])
            if not folder or f"{other}/".startswith(f"{folder}/"):
                rows += candidates
            elif other == parent:
                rows += (r for r in candidates if self.names[self.name[r]].startswith(f"{own}/"))
        return np.array(rows, np.int64)

    @cached_property
    def _starts(self) -> list[int]:
        """The first row of each folder, and the number of all rows."""
        starts = np.searchsorted(self.folder, np.arange(len(self.folders) + 1))
        return [int(start) for start in starts]


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

    note = f"Another process builds the index of {printable(tar.path)}; waiting for it."
    with ExitStack() as stack:
        with suppress(OutputError):  # without a lock, two processes may build it: this is harmless
            stack.enter_context(locked(index_lock(paths[-1]), waiting=partial(progress.note, note)))
            if (stored := _stored_index(tar, paths, None)) is not None:
                return stored
            for path in paths:
                with suppress(OSError):
                    remove_leftovers(path)
        table = _build_table(tar, progress)
        _store(table, tar, paths, progress)
    return _index_from_table(table)


def index_lock(index: Path) -> Path:
    """The lock that is held while an index is built, by the index's path in the cache.

    It is never next to the tar, since users do not want a lock among their data.
    """
    return cache_folder(LOCKS) / index.name


def _build_table(tar: OpenTar, progress: Progress) -> "pa.Table":
    """The index as it is stored; ``_index_from_table`` reads it."""
    import pyarrow as pa

    members: Members = {}
    step, total = f"index of {tar.path.name}", tar.size // 2**20
    if tar.size > 2**30:
        progress.note(f"Building the index of {printable(tar.path)}; this happens once.")

    def visit(header: tarfile.TarInfo, at: int) -> None:
        if header.isdir():
            return
        _add(members, header)
        if len(members) % MEMBERS_PER_STEP == 0:
            progress.advance(step, min(at // 2**20, total - 1), total, "MiB")

    fault = walk(tar, visit)
    tar.refuse_changed()
    if len(members) >= MEMBERS_PER_STEP:
        progress.advance(step, total, total, "MiB")
    paths = sorted(members)
    numbers = np.array([members[path] for path in paths], np.int64).reshape(-1, 3)
    columns = {
        "folder": _words_array(folder for folder, _ in paths),
        "name": _words_array(name for _, name in paths),
        "offset": numbers[:, 0],
        "size": numbers[:, 1],
        "kind": numbers[:, 2].astype(np.int8),
    }
    identity = _identity(tar, numbers[:, 0])
    return pa.table(columns, metadata={**identity, b"fault": fault.encode()})


def _add(members: Members, header: tarfile.TarInfo) -> None:
    """Add a member; the last one with a path counts, as when they are unpacked."""
    kind = LINK if header.issym() or header.islnk() else OTHER
    if header.isreg():
        kind = SPARSE if header.issparse() else FILE
    member = header.offset_data, header.size, kind
    if header.islnk():  # a hard link has the bytes of its target, which is a member before it
        target = members.get(split(header.linkname), member)
        member = target if target[-1] == FILE else member
    folder, name = split(header.name)
    members[sys.intern(folder), sys.intern(name)] = member


def _store(table: "pa.Table", tar: OpenTar, paths: list[Path], progress: Progress) -> None:
    """Write an index, after its SHA-256, to the first of the paths that can be written."""
    import pyarrow as pa

    sink = pa.BufferOutputStream()
    options = pa.ipc.IpcWriteOptions(compression="zstd")
    with pa.ipc.new_file(sink, table.schema, options=options) as writer:
        writer.write_table(table)
    content = sink.getvalue().to_pybytes()
    for path in paths:
        with suppress(OutputError):
            atomic_write_bytes(path, hashlib.sha256(content).digest() + content)
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


def _index_from_bytes(data: bytes, tar: OpenTar) -> TarIndex | None:
    """The index, if it is complete and belongs to this tar."""
    import pyarrow as pa

    digest, content = data[:32], data[32:]
    if hashlib.sha256(content).digest() != digest:
        return None
    table = pa.ipc.open_file(content).read_all()
    identity = _identity(tar, table["offset"].to_numpy())
    return _index_from_table(table) if identity.items() <= table.schema.metadata.items() else None


def _identity(tar: OpenTar, offset: npt.NDArray[np.int64]) -> dict[bytes, bytes]:
    """What identifies a tar: another one can have its size and time, so headers are hashed."""
    positions = [0]
    if len(offset):
        rows = np.linspace(0, len(offset) - 1, min(len(offset), SAMPLES)).astype(int)
        positions += [int(at) - BLOCK_BYTES for at in offset[[*rows, offset.argmax()]]]
    headers = b"".join(tar.read(position, BLOCK_BYTES) for position in positions)
    return {
        b"format": b"%d" % FORMAT,
        b"size": b"%d" % tar.size,
        b"mtime_ns": b"%d" % tar.mtime_ns,
        b"sampled_sha256": hashlib.sha256(headers).hexdigest().encode(),
    }


def _index_from_table(table: "pa.Table") -> TarIndex:
    folders, folder = _words(table["folder"])
    names, name = _words(table["name"])
    offset, size, kind = (table[column].to_numpy() for column in ("offset", "size", "kind"))
    fault = table.schema.metadata[b"fault"].decode()
    return TarIndex(folders, names, folder, name, offset, size, kind, fault)


def _words(column: "pa.ChunkedArray") -> tuple[list[str], npt.NDArray[np.int32]]:
    array = column.combine_chunks()
    words = [word.decode("utf-8", "surrogateescape") for word in array.dictionary.to_pylist()]
    return words, array.indices.to_numpy()


def _words_array(words: Iterable[str]) -> "pa.DictionaryArray":
    """Words as positions among the distinct ones; as bytes, since some are not UTF-8."""
    import pyarrow as pa

    positions: dict[str, int] = {}
    indices = [positions.setdefault(word, len(positions)) for word in words]
    distinct = [word.encode("utf-8", "surrogateescape") for word in positions]
    return pa.DictionaryArray.from_arrays(
        pa.array(indices, pa.int32()), pa.array(distinct, pa.binary())
    )
