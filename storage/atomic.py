"""Files and folders that appear whole or not at all.

Each is written under a temporary name in the folder where it will stand, and renamed into place:
a rename inside one folder is atomic on every file system that the tool supports. A link is followed
first, so that it still leads where it led; a pipe or a device is never renamed onto.
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
        OutputError: If that is not possible.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _cannot_write(folder, reason_of(error)) from error


def check_place(path: Path) -> None:
    """Find out, before the work whose result it will hold, that a file can be written here.

    Nothing is made. What fills up or is taken away meanwhile is noticed when it is written.

    Raises:
        OutputError: If a folder stands there, or it lies where nothing can be written.
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
        raise _cannot_write(path, "that is not permitted")


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Give a temporary path to write; rename it to ``path`` when the block ends well.

    Raises:
        OutputError: If the file cannot be written, or is no regular file. What stood at ``path``
            is still there then.
    """
    with _temporary_beside(path) as (temporary, target):
        if _is_special(path):
            raise OutputError(f"{printable(path)} is no regular file. Choose another place.")
        yield temporary
        _flush(temporary)
        temporary.replace(target)


def atomic_write_bytes(path: Path, data: bytes) -> None:
    """Write a file so that it is there whole or not at all; to a pipe or a device, write plainly.

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
    """Write a file unless it is there: of several processes, the first one's stays.

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
        except OSError:  # a file system without links: the window is small, but it is there
            if not target.exists():
                temporary.replace(target)


@contextmanager
def atomic_folder(folder: Path) -> Iterator[Path]:
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
        raise _cannot_write(folder, reason_of(error)) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def remove_leftovers(path: Path) -> None:
    """Remove what killed processes had half written of a file or folder, whose lock is held."""
    for leftover in path.parent.glob(f".{glob.escape(path.name)}.*.tmp"):
        if leftover.is_dir():
            shutil.rmtree(leftover, ignore_errors=True)
        else:
            leftover.unlink(missing_ok=True)


def target_of_temporary(name: str) -> str | None:
    """What is written under this temporary name; none if it is no such name.

    Example:
        >>> target_of_temporary(".model.plan.0123abcd.tmp"), target_of_temporary("model.plan")
        ('model.plan', None)
    """
    found = _TEMPORARY.fullmatch(name)
    return found["name"] if found else None


def remove(path: Path) -> None:
    """Remove a file, or a folder with all that is in it; of a link, the link.

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
    """A name for a temporary file, gone at the end, beside the file that ``path`` leads to."""
    target = Path(os.path.realpath(path))
    make_folder(target.parent)
    temporary = target.parent / f".{target.name}.{uuid.uuid4().hex[:8]}.tmp"
    try:
        yield temporary, target
    except OSError as error:
        raise _cannot_write(path, reason_of(error)) from error
    finally:
        with suppress(OSError):  # it would hide the error that matters
            temporary.unlink()


def _is_special(path: Path) -> bool:
    """Whether something is there that is neither a file nor a folder: a pipe, a device."""
    try:
        mode = path.stat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return False
    return not stat.S_ISREG(mode) and not stat.S_ISDIR(mode)


def _flush(file: Path) -> None:
    """Put the bytes on the disk before the name is there: a rename outlives a power cut."""
    with file.open("rb+") as opened:
        os.fsync(opened.fileno())


def _cannot_write(path: Path, reason: str) -> OutputError:
    return OutputError(
        f"{printable(path)} cannot be written: {reason}. "
        "Choose a place that can be written and has room."
    )
