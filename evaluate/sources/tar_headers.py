"""Reading the headers of a tar file, one after the other, without the content between them.

``tarfile`` of the standard library reads each header. At a damaged header it stops silently, so the
position where it stopped is checked: after the last member there must be blocks of zeros.
"""

import errno
import os
import shlex
import stat
import tarfile
import threading
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import IO, cast

from ...errors import InputError, UnreadError, printable, reason_of, unreadable
from .listing import data_gone

BLOCK_BYTES = 512
HEADER_BYTES = 4096
"""Bytes that are read at once: a header and its extensions."""

LONGEST_HEADER_BYTES = 2**20
"""Longest extension of a header: names are shorter, but a damaged length can be anything."""

FARTHEST = 2**62
"""Largest possible position in a file."""

MAX_PADDING_BYTES = 2**20
"""A tar ends with zeros up to a whole record, by default 10,240 bytes."""

_COMPRESSED = {
    b"\x1f\x8b": "gunzip",
    b"BZh": "bunzip2",
    b"\xfd7zXZ\0": "unxz",
    b"\x28\xb5\x2f\xfd": "unzstd",
    b"PK\x03\x04": "unzip",
}
"""The first bytes of compressed files, and the command that unpacks each."""

_DAMAGED = (tarfile.TarError, ValueError, LookupError, OverflowError, RecursionError, MemoryError)
"""Errors that ``tarfile`` raises at damaged headers, beyond those that it documents."""


class OpenTar:
    """A tar file that stays open, from which several threads may read at once.

    Attributes:
        path: Path as it was given.
        size: Size in bytes when it was opened.
        mtime_ns: Time of modification when it was opened.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            if not stat.S_ISREG(os.stat(path).st_mode):  # a pipe would wait for a writer
                raise InputError(f"{printable(path)} is not a regular file, expected a tar file.")
            self._descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        except (OSError, ValueError) as error:
            missing = isinstance(error, FileNotFoundError)
            reason = "does not exist" if missing else f"cannot be read: {reason_of(error)}"
            raise InputError(
                f"{printable(path)} {reason}. Give folders or tar files that hold the images."
            ) from error
        weakref.finalize(self, os.close, self._descriptor)
        self.size, self.mtime_ns = self._state()
        self._lock = threading.Lock()
        self._refuse_compressed()

    def read(self, offset: int, size: int) -> bytes:
        """Bytes from a position on; fewer if the file ends.

        Raises:
            UnreadError: If these bytes cannot be read, but others can.
            InputError: If nothing can be read any more.
        """
        parts = []
        try:
            while size > 0 and (part := self._read_once(offset, size)):
                parts.append(part)
                offset, size = offset + len(part), size - len(part)
        except OSError as error:
            if error.errno == errno.EIO and self._is_readable_elsewhere(offset):
                raise UnreadError(str(unreadable(self.path, error))) from error
            raise self._gone(error) from error
        return b"".join(parts)

    def refuse_changed(self) -> None:
        """Refuse a tar that was written to since it was opened: the index is then wrong.

        Raises:
            InputError: If it was, or if it cannot be read any more.
        """
        try:
            size, mtime_ns = self._state()
        except OSError as error:
            raise self._gone(error) from error
        if (size, mtime_ns) != (self.size, self.mtime_ns):
            change = f"from {self.size:,} to {size:,} bytes" if size != self.size else "in its time"
            raise InputError(
                f"{printable(self.path)} changed while it was read, {change}. Start again when "
                "nothing writes to it any more."
            )

    def _state(self) -> tuple[int, int]:
        state = os.fstat(self._descriptor)
        return state.st_size, state.st_mtime_ns

    def _is_readable_elsewhere(self, bad: int) -> bool:
        """Whether bytes far from a bad position can be read; those at the start may be cached."""
        try:
            return bool(self._read_once((bad + self.size // 2) % max(1, self.size), 1))
        except OSError:
            return False

    def _gone(self, error: OSError) -> InputError:
        return data_gone(f"{printable(self.path)} cannot be read: {reason_of(error)}")

    def _read_once(self, offset: int, size: int) -> bytes:
        if hasattr(os, "pread"):
            return os.pread(self._descriptor, size, offset)
        with self._lock:  # Windows
            os.lseek(self._descriptor, offset, os.SEEK_SET)
            return os.read(self._descriptor, size)

    def _refuse_compressed(self) -> None:
        first = self.read(0, 8)
        for magic, unpack in _COMPRESSED.items():
            if first.startswith(magic):
                raise InputError(
                    f"{printable(self.path)} is compressed, so single images cannot be read from "
                    f"it. Unpack it once with `{unpack} {shlex.quote(printable(self.path))}`, and "
                    "give the resulting tar or folder."
                )


def walk(tar: OpenTar, visit: Callable[[tarfile.TarInfo, int], None]) -> str:
    """Call ``visit`` with each header and the position up to which the tar was read.

    Returns:
        Why reading stopped before the end of the tar; empty if it did not. All members that were
        visited are complete, except perhaps the last.

    Raises:
        InputError: If it is not a tar at all, or cannot be read.
    """
    headers, at, last = _Headers(tar), 0, ""
    try:
        # Names that are not UTF-8 are read here, and refused if they would be recorded.
        archive = tarfile.TarFile(
            fileobj=cast(IO[bytes], headers), encoding="utf-8", errors="surrogateescape"
        )
        members: list[tarfile.TarInfo] = archive.members  # type: ignore[attr-defined]
        while (header := archive.next()) is not None:
            members.clear()  # otherwise all of them stay in memory
            if not 0 <= header.size <= FARTHEST or archive.offset <= at:
                return _damaged(at)
            at, last = archive.offset, header.name
            visit(header, at)
            present = tar.size - header.offset_data
            if header.isreg() and not header.issparse() and present < header.size:
                return (
                    f"it ends inside {printable(last)}, of which {max(0, present):,} of "
                    f"{header.size:,} bytes are present"
                )
    except _DAMAGED:
        if at == 0:
            return _fault_of_start(tar)
        return _damaged(at) if at < tar.size else _fault_of_end(tar, at)
    return _fault_of_end(tar, archive.offset)


def _fault_of_start(tar: OpenTar) -> str:
    start = tar.read(0, BLOCK_BYTES)
    if len(start) == BLOCK_BYTES and not any(start):
        return _fault_of_end(tar, 0)  # an empty archive
    reason = (
        "is empty" if tar.size == 0 else "is not a tar file: it does not start with a tar header"
    )
    raise InputError(
        f"{printable(tar.path)} {reason}. Give a tar file or a folder, or download it again."
    )


def _fault_of_end(tar: OpenTar, at: int) -> str:
    """What is wrong with a tar whose headers end here; only zeros should follow."""
    padding = tar.read(at, MAX_PADDING_BYTES + 1)
    if len(padding) < BLOCK_BYTES:
        inside = "inside a header" if any(padding) else "without the two blocks that end an archive"
        return f"it ends {inside}, at byte {tar.size:,}"
    if any(padding[:BLOCK_BYTES]):
        return _damaged(at)
    if padding.strip(b"\0"):
        return f"more data follow after the end of the archive at byte {at:,}"
    if len(padding) > MAX_PADDING_BYTES:
        return f"it is filled with zeros from byte {at:,} on"
    return ""


def _damaged(at: int) -> str:
    return f"no header where one is expected, at byte {at:,}"


class _Headers:
    """A file for ``tarfile`` with only what it needs to read headers, bounded in size."""

    def __init__(self, tar: OpenTar) -> None:
        self._tar, self._at = tar, 0
        self._buffer, self._start = b"", 0

    def read(self, size: int) -> bytes:
        if not 0 <= size <= LONGEST_HEADER_BYTES:
            raise tarfile.ReadError("an impossible header size")
        start = self._at - self._start
        if not 0 <= start <= len(self._buffer) - size:
            self._buffer = self._tar.read(self._at, max(size, HEADER_BYTES))
            self._start, start = self._at, 0
        part = self._buffer[start : start + size]
        self._at += len(part)
        return part

    def seek(self, position: int) -> None:
        if not 0 <= position <= FARTHEST:
            raise tarfile.ReadError("an impossible position")
        self._at = position

    def tell(self) -> int:
        return self._at
