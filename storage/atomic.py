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


def make_folder(folder: Path) -> None:
    """Make a folder and its parents.

    Raises:
        OutputError: If a folder cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _cannot_write(folder, reason_of(error)) from error


def check_place(path: Path) -> None:
    """Check that a file can be written, before the work whose result it will hold.

    Nothing is created. A disk that fills up meanwhile is noticed when the file is written.

    Raises:
        OutputError: If the path is a folder, or a folder above it cannot be written.
    """
    try:
        if _is_special(path):
            writable = os.access(path, os.W_OK)
        else:
            target = Path(os.path.realpath(path))
            above = next(folder for folder in target.parents if os.path.lexists(folder))
            if target.is_dir() or not above.is_dir():
                raise _cannot_write(path, "a folder or a file is in the way")
            writable = os.access(above, os.W_OK | os.X_OK)
    except OSError as error:
        raise _cannot_write(path, reason_of(error)) from error
    if not writable:
        raise _cannot_write(path, "Permission denied")


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
        _flush(temporary)
        temporary.replace(target)


def atomic_write_bytes(path: Path, data: bytes) -> None:
    """Write a file atomically; write to a pipe or a device directly.

    Raises:
        OutputError: If the file cannot be written.
    """
    try:
        if _is_special(path):
            path.write_bytes(data)
            return
    except OSError as error:
        raise _cannot_write(path, reason_of(error)) from error
    with atomic_write(path) as temporary:
        temporary.write_bytes(data)


def write_if_absent(path: Path, data: bytes) -> None:
    """Write a file unless it exists: of several processes, only the first one writes it.

    Raises:
        OutputError: If the file cannot be written.
    """
    with _temporary_beside(path) as (temporary, target):
        temporary.write_bytes(data)
        _flush(temporary)
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
    make_folder(folder.parent)
    temporary = _temporary_path(folder)
    try:
        temporary.mkdir()
        yield temporary
        for file in temporary.iterdir():
            _flush(file)
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()  # Windows cannot rename onto an empty folder, POSIX can
        try:
            temporary.rename(folder)
        except OSError:
            if not folder.is_dir():
                raise
    except OSError as error:
        raise _cannot_write(folder, reason_of(error)) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def remove_leftovers(path: Path) -> None:
    """Remove the leftovers of killed processes that were writing a file or folder.

    The caller holds its lock, so no other process is writing it.
    """
    for leftover in path.parent.glob(f".{glob.escape(path.name)}.*.tmp"):
        if leftover.is_dir():
            shutil.rmtree(leftover, ignore_errors=True)
        else:
            leftover.unlink(missing_ok=True)


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
    """A temporary path, removed at the end, and the file that ``path`` leads to."""
    target = Path(os.path.realpath(path))
    make_folder(target.parent)
    temporary = _temporary_path(target)
    try:
        yield temporary, target
    except OSError as error:
        raise _cannot_write(path, reason_of(error)) from error
    finally:
        with suppress(OSError):  # it would hide the error that matters
            temporary.unlink()


def _temporary_path(path: Path) -> Path:
    return path.with_name(f".{path.name}.{uuid.uuid4().hex[:8]}.tmp")


def _is_special(path: Path) -> bool:
    """Whether the path exists and is neither a file nor a folder: a pipe, a device."""
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return False
    return not stat.S_ISREG(mode) and not stat.S_ISDIR(mode)


def _flush(file: Path) -> None:
    """Put the bytes on the disk before the rename, which alone may survive a power cut."""
    with file.open("rb+") as opened:
        os.fsync(opened.fileno())


def _cannot_write(path: Path, reason: str) -> OutputError:
    return OutputError(
        f"{printable(path)} cannot be written: {reason}. "
        "Choose a writable folder on a disk with free space."
    )
