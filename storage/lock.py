"""Locks between processes.

The operating system holds them (``flock``; on Windows ``msvcrt.locking``), so the lock of a process
that dies, however it dies, is released at once; a lock *file* that was left behind means nothing.
On a shared folder they work between machines if its file system supports that.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import OutputError, printable, reason_of
from .atomic import make_folder


@contextmanager
def locked(path: Path, *, waiting: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Hold the lock of a file or folder that will be made: one process and thread at a time.

    The lock file is ``path`` with ``.lock`` added.

    Args:
        path: File or folder that will be made.
        waiting: Called once if another process holds the lock.

    Raises:
        OutputError: If the folder cannot be written, or its file system has no locks.
    """
    from filelock import FileLock, Timeout

    make_folder(path.parent)
    # Without the fallback to a plain lock file, which would outlive a process that is killed.
    lock = FileLock(path.with_name(path.name + ".lock"), fallback_to_soft=False)
    try:
        try:
            lock.acquire(blocking=False)
        except Timeout:
            waiting()
            lock.acquire()
    except (OSError, NotImplementedError) as error:
        raise OutputError(
            f"{printable(path)} cannot be locked against other processes: {reason_of(error)}. "
            "Choose a writable folder on a file system with locks "
            "(EVALUATOR_CACHE for the cache)."
        ) from error
    try:
        yield
    finally:
        lock.release()
