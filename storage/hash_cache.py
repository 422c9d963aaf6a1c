"""The SHA-256 of large files, remembered while nothing says that they were written to.

Hashing the 3.3 GB of a large model takes three seconds, every time. A stamp in ``CACHE/stamps``
says what a file's size, inode and times were when it was hashed; while all of them are the same, so
is the hash. The time of the last change to the inode (``ctime``) is among them: unlike that of the
last change to the content, it cannot be set back. vfat, exFAT and sshfs have no such time and show
another: there, an edit that keeps the size and sets the time back is not noticed.

A file that is changed twice within one tick of its file system's clock looks the same after the
second time, so one that was written to only just now gets no stamp: it is hashed again next time.
Git calls such files racy. Each stamp is a file of its own that is written whole, so that processes
need not know of each other.
"""

import os
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ..errors import EvaluatorError, InputError, printable, reason_of
from .cache import cache_folder
from .digest import file_sha256
from .documents import document_sha256, read_sealed, sealed, write_document

ROOM = "stamps"

SMALL_BYTES = 4 * 2**20
"""Below that, hashing is as quick as finding the stamp."""

RACY_SECONDS = 10.0
"""More than the tick of any file system, and some for a server whose clock is behind ours."""


@dataclass(frozen=True)
class Stamp:
    """What a file looked like when it had a hash.

    Attributes:
        path: Absolute.
        state: Size, device, inode, and the times of the last changes to content and inode in ns.
        sha256: Of its bytes.
        seal: SHA-256 over the rest.
    """

    path: str
    state: tuple[int, int, int, int, int]
    sha256: str
    seal: str = ""


def remembered_sha256(path: Path) -> str:
    """SHA-256 over the bytes of a file, which are only read if they may be others than before.

    Raises:
        InputError: If the file cannot be read.
    """
    before = _stat(path)
    # Windows keeps no time that an edit could not set back.
    if before.st_size < SMALL_BYTES or sys.platform == "win32":
        return file_sha256(path)
    absolute = os.path.abspath(path)
    kept = cache_folder(ROOM) / f"{document_sha256(os.fsencode(absolute).hex())[:32]}.json"
    try:
        stamp = read_sealed(kept, Stamp)
        if (stamp.path, stamp.state) == (printable(absolute), _state(before)):
            return stamp.sha256
    except InputError:  # none, or a damaged one
        pass
    began = time.time()
    sha256 = file_sha256(path)
    if _state(_stat(path)) == _state(before) and began - _touched(before) > RACY_SECONDS:
        with suppress(EvaluatorError):  # a cache that cannot be written costs time, no more
            write_document(kept, sealed(Stamp(printable(absolute), _state(before), sha256)))
    return sha256


def _stat(path: Path) -> os.stat_result:
    try:
        with path.open("rb") as file:  # on NFS, what is not opened may look as it did a minute ago
            return os.fstat(file.fileno())
    except OSError as error:
        raise InputError(f"{printable(path)} cannot be read: {reason_of(error)}.") from error


def _state(found: os.stat_result) -> tuple[int, int, int, int, int]:
    times = found.st_mtime_ns, found.st_ctime_ns
    return found.st_size, found.st_dev, found.st_ino, *times


def _touched(found: os.stat_result) -> float:
    return max(found.st_mtime, found.st_ctime)
