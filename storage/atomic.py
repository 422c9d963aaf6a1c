"""Files and folders that appear whole or not at all.

Each is written under a temporary name in the folder where it will stand, and renamed into place:
a rename inside one folder is atomic on every file system that the tool supports.
"""

import errno
import glob
import os
import re
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import OutputError, reason_of, shown

_TEMPORARY = re.compile(r"\.(?P<name>.+)\.[0-9a-f]{8}\.tmp")


def make_folder(folder: Path) -> None:
    """Make a folder and its parents.

    Raises:
        OutputError: If that is not possible.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _cannot_write(folder, error) from error


def check_writable(path: Path) -> None:
    """Find out whether a file can be written, before the work that makes it.

    Raises:
        OutputError: If it cannot. Nothing is left behind.
    """
    if path.is_dir():
        raise _cannot_write(path, IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR)))
    folder = next(parent for parent in path.absolute().parents if parent.exists())
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise _cannot_write(path, error) from error


def target_of_temporary(name: str) -> str | None:
    """What is written under this temporary name; none if it is no such name.

    Example:
        >>> target_of_temporary(".model.plan.0123abcd.tmp"), target_of_temporary("model.plan")
        ('model.plan', None)
    """
    found = _TEMPORARY.fullmatch(name)
    return found["name"] if found else None


def remove(path: Path) -> None:
    """Remove a file, or a folder with all that is in it.

    Raises:
        OutputError: If it cannot be removed.
    """
    try:
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    except FileNotFoundError:
        pass
    except OSError as error:
        raise OutputError(f"{shown(path)} cannot be removed: {reason_of(error)}.") from error


@contextmanager
def file_written_whole(path: Path) -> Iterator[Path]:
    """Give a temporary path to write; rename it to ``path`` when the block ends well.

    Raises:
        OutputError: If the file cannot be written. What stood at ``path`` is still there then.
    """
    make_folder(path.parent)
    temporary = path.parent / f".{path.name}.{uuid.uuid4().hex[:8]}.tmp"
    try:
        yield temporary
        _flush(temporary)
        temporary.replace(path)
    except OSError as error:
        raise _cannot_write(path, error) from error
    finally:
        temporary.unlink(missing_ok=True)


def write_whole(path: Path, data: bytes) -> None:
    """Write a file so that it is there whole or not at all."""
    with file_written_whole(path) as temporary:
        temporary.write_bytes(data)


def write_first(path: Path, data: bytes) -> None:
    """Write a file unless it is there: of several processes, the first one's stays.

    Raises:
        OutputError: If the file cannot be written.
    """
    make_folder(path.parent)
    temporary = path.parent / f".{path.name}.{uuid.uuid4().hex[:8]}.tmp"
    try:
        temporary.write_bytes(data)
        _flush(temporary)
        try:
            os.link(temporary, path)  # a link, unlike a rename, does not replace
        except FileExistsError:
            pass
        except OSError:  # a file system without links: the window is small, but it is there
            if not path.exists():
                temporary.replace(path)
    except OSError as error:
        raise _cannot_write(path, error) from error
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def folder_written_whole(folder: Path) -> Iterator[Path]:
    """Give an empty temporary folder to fill; rename it to ``folder`` when the block ends well.

    If another process published ``folder`` meanwhile, theirs stays and ours is thrown away.

    Raises:
        OutputError: If the folder cannot be written.
    """
    make_folder(folder.parent)
    temporary = folder.parent / f".{folder.name}.{uuid.uuid4().hex[:8]}.tmp"
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
        raise _cannot_write(folder, error) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def remove_leftovers(path: Path) -> None:
    """Remove what killed processes had half written of a file or folder, whose lock is held."""
    for leftover in path.parent.glob(f".{glob.escape(path.name)}.*.tmp"):
        if leftover.is_dir():
            shutil.rmtree(leftover, ignore_errors=True)
        else:
            leftover.unlink(missing_ok=True)


def _flush(file: Path) -> None:
    """Put the bytes on the disk before the name is there: a rename outlives a power cut."""
    with file.open("rb+") as opened:
        os.fsync(opened.fileno())


def _cannot_write(path: Path, error: OSError) -> OutputError:
    return OutputError(
        f"{shown(path)} cannot be written: {reason_of(error)}. "
        "Choose a place that can be written and has room."
    )
