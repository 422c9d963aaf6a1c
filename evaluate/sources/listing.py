"""Reading folders and files from disk, with errors that name them."""

import errno
import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path

from ...errors import InputError, UnreadError, printable, reason_of, unreadable

_OF_ONE_FILE = frozenset(
    (errno.ENOENT, errno.EIO, errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EISDIR, errno.ELOOP)
)
"""Errors of a single file; a stale handle or too many open files are errors of the system."""

_LEFT_BY_SYSTEMS = frozenset(("thumbs.db", "desktop.ini", "@eadir", "__macosx", "$recycle.bin"))

Entry = os.DirEntry[str]


def is_ignored(name: str) -> bool:
    """Whether a file or folder is hidden, or one that systems leave in every folder."""
    return name.startswith(".") or name.lower() in _LEFT_BY_SYSTEMS


def entries_of(folder: Path) -> Iterator[Entry]:
    """The entries of a folder, without hidden ones and those that systems leave behind.

    Raises:
        InputError: If it cannot be read.
    """
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if not is_ignored(entry.name):
                    yield entry
    except OSError as error:
        raise unreadable(folder, error) from error


def is_folder(path: Path) -> bool:
    """Whether a path is a folder.

    Raises:
        InputError: If the system does not answer, for example for lack of permission.
    """
    try:
        return stat.S_ISDIR(os.stat(path).st_mode)
    except (FileNotFoundError, NotADirectoryError, ValueError):  # a name with a zero byte
        return False
    except OSError as error:
        if os.path.islink(path):
            return False  # a link to itself leads nowhere, like one to nothing
        raise unreadable(path, error) from error


def folders_among(entries: Iterable[Entry]) -> list[str]:
    """The names of the folders among these entries, sorted.

    Raises:
        InputError: If the system does not say what one of them is.
    """
    return sorted(
        entry.name
        for entry in entries
        # The first question costs no system call; only a link needs the second.
        if (is_folder(Path(entry.path)) if entry.is_symlink() else entry.is_dir())
    )


def read_file(location: str) -> bytes:
    """The bytes of a file.

    Raises:
        UnreadError: If it cannot be read.
        InputError: If the error is not one of this file alone.
    """
    try:
        with open(location, "rb") as file:
            return file.read()
    except OSError as error:
        kind = UnreadError if error.errno in _OF_ONE_FILE else InputError
        raise kind(
            f"{printable(location)} cannot be read: {reason_of(error)}. "
            "The data must not change while they are scored."
        ) from error


def refuse_gone(folder: Path) -> None:
    """Refuse a folder that has vanished, after one of its files could not be read.

    Raises:
        InputError: If it cannot be listed, or is empty, like the folder of a disk that is not
            mounted any more.
    """
    try:
        if next(entries_of(folder), None) is not None:
            return
        reason = f"{printable(folder)} is empty now"
    except InputError as error:
        reason = str(error).rstrip(".")
    raise data_gone(reason)


def data_gone(reason: str) -> InputError:
    """The error for data of which nothing can be read any more."""
    return InputError(
        f"The data are gone: {reason}. Restore them and repeat the command; finished work is kept."
    )
