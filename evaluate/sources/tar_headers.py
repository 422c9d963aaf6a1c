"""The headers of a tar file, one after the other, without reading what lies between them.

``tarfile`` of the standard library reads each header. It ends without a word where a header is
damaged, though, so where it ended is looked at: behind the last member stand blocks of zeros.
"""

import errno
import os
import stat
import tarfile
import threading
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import IO, cast

from ...errors import InputError, UnreadError, printable, reason_of

BLOCK_BYTES = 512
HEADER_BYTES = 4096
"""Read at once: a header, and what extends it."""

LONGEST_HEADER_BYTES = 2**20
"""Of what extends a header: a name is shorter, and a damaged length could be the whole file's."""

FARTHEST = 2**62
"""What a place in a file can be."""

MOST_PADDING_BYTES = 2**20
"""A tar is filled up with zeros to a whole record, 10,240 bytes unless asked for otherwise."""

_COMPRESSED = {
    b"\x1f\x8b": "gunzip",
    b"BZh": "bunzip2",
    b"\xfd7zXZ\0": "unxz",
    b"\x28\xb5\x2f\xfd": "unzstd",
    b"PK\x03\x04": "unzip",
}
"""The first bytes of what must be unpacked, and what does that."""

_DAMAGED = (
    tarfile.TarError,
    ValueError,
    OverflowError,
    RecursionError,
    MemoryError,
    IndexError,
    KeyError,
)
"""What ``tarfile`` raises at damaged headers, whatever it documents."""


class OpenTar:
    """A tar file that stays open: several threads read from it at once, each where it wants.

    Attributes:
        path: As it was given.
        size: In bytes, when it was opened.
        mtime_ns: Likewise.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            if not stat.S_ISREG(os.stat(path).st_mode):  # a pipe would wait for a writer
                raise InputError(f"{printable(path)} is not a regular file, expected a tar file.")
            self._descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        except (OSError, ValueError) as error:
            missing = isinstance(error, FileNotFoundError)
            what = "does not exist" if missing else f"cannot be read: {reason_of(error)}"
            raise InputError(
                f"{printable(path)} {what}. Give folders or tar files that hold the images."
            ) from error
        weakref.finalize(self, os.close, self._descriptor)
        self.size, self.mtime_ns = self._state()
        self._lock = threading.Lock()
        self._refuse_compressed()

    def read(self, offset: int, size: int) -> bytes:
        """Bytes from a place on; fewer where the file ends.

        Raises:
            UnreadError: If they cannot be read, though other bytes can.
            InputError: If nothing can be read any more.
        """
        parts = []
        try:
            while size > 0 and (part := self._read_once(offset, size)):
                parts.append(part)
                offset, size = offset + len(part), size - len(part)
        except OSError as error:
            if error.errno == errno.EIO and self._is_there(offset):
                why = f"{printable(self.path)} cannot be read: {reason_of(error)}."
                raise UnreadError(why) from error
            raise self._gone(error) from error
        return b"".join(parts)

    def refuse_changed(self) -> None:
        """Name a tar that was written to since it was opened: nothing in it is where it was.

        Raises:
            InputError: If it was, or if nothing can be read any more.
        """
        try:
            size, mtime_ns = self._state()
        except OSError as error:
            raise self._gone(error) from error
        if (size, mtime_ns) != (self.size, self.mtime_ns):
            changed = (
                f"from {self.size:,} to {size:,} bytes" if size != self.size else "in its time"
            )
            raise InputError(
                f"{printable(self.path)} changed while it was read, {changed}. Start again once "
                "nothing writes to it any more."
            )

    def _state(self) -> tuple[int, int]:
        state = os.fstat(self._descriptor)
        return state.st_size, state.st_mtime_ns

    def _is_there(self, bad: int) -> bool:
        """Whether bytes can be read far from a bad place; near the start, memory would answer."""
        try:
            return bool(self._read_once((bad + self.size // 2) % max(1, self.size), 1))
        except OSError:
            return False

    def _gone(self, error: OSError) -> InputError:
        return InputError(
            f"The data are gone: {printable(self.path)} cannot be read: {reason_of(error)}. "
            "Restore them and repeat the command; finished work is kept."
        )

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
                    f"{printable(self.path)} is compressed, so an image cannot be read from its "
                    f"middle. Unpack it once with `{unpack} {printable(self.path)}`, and give the "
                    "tar or the folder that it becomes."
                )


def walk(tar: OpenTar, see: Callable[[tarfile.TarInfo, int], None]) -> str:
    """Show each header to ``see``, with the byte up to which the tar was read.

    Returns:
        What is wrong with the tar, where it ended before its end; empty where nothing is. All
        that was shown is whole, but perhaps the last.

    Raises:
        InputError: If it is no tar at all, or cannot be read.
    """
    headers, at, last = _Headers(tar), 0, ""
    try:
        # Names that are not UTF-8 are kept, and refused where they would be recorded.
        archive = tarfile.TarFile(
            fileobj=cast(IO[bytes], headers), encoding="utf-8", errors="surrogateescape"
        )
        kept: list[tarfile.TarInfo] = archive.members  # type: ignore[attr-defined]
        while (header := archive.next()) is not None:
            kept.clear()  # it would keep all of them
            if not 0 <= header.size <= FARTHEST or archive.offset <= at:
                return _damaged(at)
            at, last = archive.offset, header.name
            see(header, at)
            there = tar.size - header.offset_data
            if header.isreg() and not header.issparse() and there < header.size:
                return (
                    f"it ends inside {printable(last)}, of which {max(0, there):,} of "
                    f"{header.size:,} bytes are there"
                )
    except _DAMAGED:
        if at == 0:
            return _no_tar(tar)
        return _damaged(at) if at < tar.size else _fault_of_end(tar, at)
    return _fault_of_end(tar, archive.offset)


def _no_tar(tar: OpenTar) -> str:
    start = tar.read(0, BLOCK_BYTES)
    if len(start) == BLOCK_BYTES and not any(start):
        return _fault_of_end(tar, 0)  # an archive of nothing
    what = "is empty" if tar.size == 0 else "is not a tar file: it does not start with a tar header"
    raise InputError(f"{printable(tar.path)} {what}. Give a tar file or a folder; fetch it again.")


def _fault_of_end(tar: OpenTar, at: int) -> str:
    """What is wrong with a tar whose headers end here: zeros should follow, and only they."""
    padding = tar.read(at, MOST_PADDING_BYTES + 1)
    if len(padding) < BLOCK_BYTES:
        inside = "inside a header" if any(padding) else "without the two blocks that end an archive"
        return f"it ends {inside}, at byte {tar.size:,}"
    if any(padding[:BLOCK_BYTES]):
        return _damaged(at)
    if padding.strip(b"\0"):
        return f"after the end of the archive at byte {at:,} more data follow"
    if len(padding) > MOST_PADDING_BYTES:
        return f"it is filled with zeros from byte {at:,} on"
    return ""


def _damaged(at: int) -> str:
    return f"no header is where one should be, at byte {at:,}"


class _Headers:
    """What ``tarfile`` reads headers from: little, and never far."""

    def __init__(self, tar: OpenTar) -> None:
        self._tar, self._at = tar, 0
        self._buffer, self._start = b"", 0

    def read(self, size: int) -> bytes:
        if not 0 <= size <= LONGEST_HEADER_BYTES:
            raise tarfile.ReadError("a header that cannot be")
        start = self._at - self._start
        if not 0 <= start <= len(self._buffer) - size:
            self._buffer = self._tar.read(self._at, max(size, HEADER_BYTES))
            self._start, start = self._at, 0
        part = self._buffer[start : start + size]
        self._at += len(part)
        return part

    def seek(self, position: int) -> None:
        if not 0 <= position <= FARTHEST:
            raise tarfile.ReadError("a place that cannot be")
        self._at = position

    def tell(self) -> int:
        return self._at
