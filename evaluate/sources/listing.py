"""Folders and files as they are found: what counts as an image, what is passed over."""

import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from ...errors import InputError, UnreadError, printable, reason_of
from ..layouts import IMAGE_SUFFIXES

_LEFT_BY_SYSTEMS = frozenset(("thumbs.db", "desktop.ini", "@eadir", "__macosx", "$recycle.bin"))

PART_OF_IMAGENET_C = "It looks like a part of ImageNet-C, which is scored as `imagenet-c`."

_OF_ONE_FILE = frozenset(
    (errno.ENOENT, errno.EIO, errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EISDIR, errno.ELOOP)
)
"""What can be wrong with a single file; a stale handle or too many open files is never that."""

Entry = os.DirEntry[str]


def entries_of(folder: Path) -> Iterator[Entry]:
    """What a folder holds, less hidden files and what other systems leave behind.

    Raises:
        InputError: If it cannot be read.
    """
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if not is_left_behind(entry.name):
                    yield entry
    except OSError as error:
        raise InputError(f"{printable(folder)} cannot be read: {reason_of(error)}.") from error


def is_folder(path: Path) -> bool:
    """Whether a folder is there.

    Raises:
        InputError: If that cannot be found out, for lack of permission say.
    """
    try:
        return stat.S_ISDIR(os.stat(path).st_mode)
    except (FileNotFoundError, NotADirectoryError, ValueError):  # a name with a zero byte
        return False
    except OSError as error:
        if os.path.islink(path):
            return False  # a link to itself leads nowhere, like one to nothing
        raise InputError(f"{printable(path)} cannot be read: {reason_of(error)}.") from error


def is_left_behind(name: str) -> bool:
    """Whether a name is hidden, or one that a system leaves in every folder."""
    return name.startswith(".") or name.lower() in _LEFT_BY_SYSTEMS


def is_image_name(name: str) -> bool:
    """Whether a file is an image, by its name."""
    return os.path.splitext(name)[1].lower() in IMAGE_SUFFIXES


def is_utf8(name: str) -> bool:
    """Whether a name can be recorded."""
    try:
        name.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def read_file(location: str) -> bytes:
    """The bytes of a file.

    Raises:
        UnreadError: If it cannot be read.
        InputError: If that is not the fault of this one file.
    """
    try:
        with open(location, "rb") as file:
            return file.read()
    except OSError as error:
        kind = UnreadError if error.errno in _OF_ONE_FILE else InputError
        raise kind(
            f"{printable(location)} cannot be read: {reason_of(error)}. "
            "The tree must not change while it is scored."
        ) from error


def refuse_gone(folder: Path) -> None:
    """Tell a folder whose files cannot be read from one with a bad file: a disk may be gone.

    Raises:
        InputError: If it cannot be listed, or is empty, as where nothing is mounted any more.
    """
    try:
        if next(entries_of(folder), None) is not None:
            return
        what = f"{printable(folder)} is empty now"
    except InputError as error:
        what = str(error).rstrip(".")
    raise InputError(
        f"The data are gone: {what}. Bring them back and repeat the command; what is finished is "
        "kept."
    )
