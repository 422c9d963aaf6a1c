"""A cache of the SHA-256 of large files, valid while their size, inode and times are unchanged.

Hashing the 3.3 GB of a large model takes three seconds, every time. A stamp in ``CACHE/stamps``
records the size, inode and times that a file had when it was hashed; while all of them are equal,
the hash is reused. Among them is the time of the last change to the inode (``ctime``): unlike that
of the last change to the content, it cannot be set back. vfat, exFAT and sshfs have no such time
and show another: there, an edit that keeps the size and sets the time back is not noticed.

A file that is changed twice within one tick of its file system's clock looks the same after the
second change. So a file that was written only just now gets no stamp and is hashed again next time;
Git calls such files racy. Each stamp is a file of its own, written atomically, so that processes
need no lock.

Stamps are sealed although they can be made again: a model's identity is made from these hashes, and
nothing else would notice a damaged one.
"""

import os
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ..errors import EvaluatorError, InputError, printable, unreadable
from .cache import cache_folder
from .digest import file_sha256
from .documents import document_sha256, read_sealed, sealed, write_document

STAMPS = "stamps"

SMALL_BYTES = 4 * 2**20
"""Below this size, hashing is as fast as reading the stamp."""

RACY_SECONDS = 10.0
"""More than the tick of any file system, and a margin for a server whose clock is behind."""


@dataclass(frozen=True)
class Stamp:
    """State that a file had when it was hashed.

    Attributes:
        path: Absolute path of the file.
        state: Size, device, inode, and the times of the last changes to content and inode in ns.
        sha256: SHA-256 of the file.
        seal: SHA-256 over all the above.
    """

    path: str
    state: tuple[int, int, int, int, int]
    sha256: str
    seal: str = ""


def remembered_sha256(path: Path) -> str:
    """SHA-256 of a file, which is read only if it may have changed since it was last hashed.

    Raises:
        InputError: If the file cannot be read.
    """
    before = _stat(path)
    # Every time that Windows keeps can be set back.
    if before.st_size < SMALL_BYTES or sys.platform == "win32":
        return file_sha256(path)
    absolute = os.path.abspath(path)
    stamp_path = cache_folder(STAMPS) / f"{document_sha256(os.fsencode(absolute).hex())[:32]}.json"
    try:
        stamp = read_sealed(stamp_path, Stamp)
        if (stamp.path, stamp.state) == (printable(absolute), _state(before)):
            return stamp.sha256
    except InputError:  # missing or damaged
        pass
    start = time.time()
    sha256 = file_sha256(path)
    last_change = max(before.st_mtime, before.st_ctime)
    if _state(_stat(path)) == _state(before) and start - last_change > RACY_SECONDS:
        with suppress(EvaluatorError):  # a cache that cannot be written costs only time
            write_document(stamp_path, sealed(Stamp(printable(absolute), _state(before), sha256)))
    return sha256


def _stat(path: Path) -> os.stat_result:
    try:
        with path.open("rb") as file:  # NFS may show the state of a minute ago until it is opened
            return os.fstat(file.fileno())
    except OSError as error:
        raise unreadable(path, error) from error


def _state(stat: os.stat_result) -> tuple[int, int, int, int, int]:
    return stat.st_size, stat.st_dev, stat.st_ino, stat.st_mtime_ns, stat.st_ctime_ns
