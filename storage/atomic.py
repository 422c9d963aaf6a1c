"""Atomic writes: files and folders that appear complete or not at all.

Each is written under a temporary name in its final folder, then renamed: a rename inside one folder
is atomic on every file system that the tool supports. A link is followed first, so it still points
to the same place; a pipe or a device is never replaced.
"""

import glob
import os
import re
import shutil
import stat
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ..errors import OutputError, printable, reason_of

_TEMPORARY = re.compile(r"\.(?P<name>.+)\.[0-9a-f]{8}\.tmp")


@contextmanager
def disk_errors(
    path: Path, advice: str = "Choose a writable folder on a disk with free space."
) -> Iterator[None]:
    """Raise the errors of the file system in a block as ``OutputError``.

    Args:
        path: File or folder that the block writes.
        advice: What to do about an error.
    """
    try:
        yield
    except OSError as error:
        raise OutputError(
            f"{printable(path)} cannot be written: {reason_of(error)}. {advice}"
        ) from error


def make_folder(folder: Path) -> None:
    """Make a folder and its parents.

    Raises:
        OutputError: If a folder cannot be made.
    """
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)


def check_place(path: Path) -> None:
    """Check that a file can be written, before the work whose result it will hold.

    Nothing is created. A disk that fills up meanwhile is noticed when the file is written.

    Raises:
        OutputError: If the path is a folder, or a folder above it cannot be written.
    """
    with disk_errors(path):
        if _is_special(path):
            writable = os.access(path, os.W_OK)
        else:
            target = Path(os.path.realpath(path))
            above = next(folder for folder in target.parents if os.path.lexists(folder))
            if target.is_dir() or not above.is_dir():
                raise FileExistsError("a folder or a file is in the way")
            writable = os.access(above, os.W_OK | os.X_OK)
        if not writable:
            raise PermissionError("Permission denied")


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Yield a temporary path to write; rename it to ``path`` if the block raises nothing.

    Raises:
        OutputError: If the file cannot be written, or ``path`` is a pipe or a device. An existing
            file at ``path`` is kept then.
    """
    with _temporary_beside(path) as (temporary, target):
        if _is_special(path):
            raise OutputError(f"{printable(path)} is not a regular file. Choose another path.")
        yield temporary
        flush(temporary)
        temporary.replace(target)


def atomic_write_bytes(path: Path, data: bytes) -> None:
    """Write a file atomically; write to a pipe or a device directly.

    Raises:
        OutputError: If the file cannot be written.
    """
    with disk_errors(path):
        if _is_special(path):
            path.write_bytes(data)
            return
    with atomic_write(path) as temporary:
        temporary.write_bytes(data)


def write_if_absent(path: Path, data: bytes) -> None:
    """Write a file unless it exists: of several processes, only the first one writes it.

    Raises:
        OutputError: If the file cannot be written.
    """
    with _temporary_beside(path) as (temporary, target):
        temporary.write_bytes(data)
        flush(temporary)
        try:
            os.link(temporary, target)  # a link, unlike a rename, does not replace
        except FileExistsError:
            pass
        except OSError:  # a file system without links: another process may write in between
            if not target.exists():
                temporary.replace(target)


@contextmanager
def atomic_folder(folder: Path) -> Iterator[Path]:
    """Yield an empty temporary folder; rename it to ``folder`` if the block raises nothing.

    If another process has made ``folder`` meanwhile, that one is kept and ours is removed.

    Raises:
        OutputError: If the folder cannot be written.
    """
    with _temporary_beside(folder) as (temporary, target):
        temporary.mkdir()
        yield temporary
        for file in temporary.iterdir():
            flush(file)
        if target.is_dir() and not any(target.iterdir()):
            target.rmdir()  # Windows cannot rename onto an empty folder, POSIX can
        try:
            temporary.rename(target)
        except OSError:
            if not target.is_dir():
                raise


def remove_leftovers(path: Path) -> None:
    """Remove the leftovers of killed processes that were writing a file or folder.

    The caller holds its lock, so no other process is writing it.
    """
    for leftover in path.parent.glob(f".{glob.escape(path.name)}.*.tmp"):
        with suppress(OutputError):
            remove(leftover)


def target_of_temporary(name: str) -> str | None:
    """The name that a temporary file is renamed to; ``None`` if this is not a temporary name.

    Example:
        >>> target_of_temporary(".model.plan.0123abcd.tmp"), target_of_temporary("model.plan")
        ('model.plan', None)
    """
    match = _TEMPORARY.fullmatch(name)
    return match["name"] if match else None


def remove(path: Path) -> None:
    """Remove a file, a folder with its content, or a link but not its target.

    Raises:
        OutputError: If it cannot be removed.
    """
    try:
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    except FileNotFoundError:
        pass
    except OSError as error:
        raise OutputError(f"{printable(path)} cannot be removed: {reason_of(error)}.") from error


@contextmanager
def _temporary_beside(path: Path) -> Iterator[tuple[Path, Path]]:
    """A temporary path, removed at the end, and the file or folder that ``path`` leads to."""
    target = Path(os.path.realpath(path))
    make_folder(target.parent)
    temporary = target.with_name(f".{target.name}.{uuid.uuid4().hex[:8]}.tmp")
    try:
        with disk_errors(path):
            yield temporary, target
    finally:
        with suppress(OutputError):  # it would hide the error that matters
            remove(temporary)


def _is_special(path: Path) -> bool:
    """Whether the path exists and is neither a file nor a folder: a pipe, a device."""
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return False
    return not stat.S_ISREG(mode) and not stat.S_ISDIR(mode)


def flush(file: Path) -> None:
    """Put the bytes on the disk before the rename, which alone may survive a power cut."""
    with file.open("rb+") as opened:
        os.fsync(opened.fileno())
