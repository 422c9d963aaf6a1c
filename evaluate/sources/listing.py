"""Folders and files as they are found: what counts as an image, what is passed over."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from ...errors import ImageError, InputError, reason_of, shown

IMAGE_SUFFIXES = frozenset(
    (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")
)
"""Those of torchvision's ImageFolder."""

_LEFT_BY_SYSTEMS = frozenset(("thumbs.db", "desktop.ini", "@eadir", "__macosx", "$recycle.bin"))

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
        raise InputError(f"{shown(folder)} cannot be read: {reason_of(error)}.") from error


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
        raise InputError(f"{shown(path)} cannot be read: {reason_of(error)}.") from error


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
        ImageError: If it cannot be read.
    """
    try:
        with open(location, "rb") as file:
            return file.read()
    except OSError as error:
        raise ImageError(
            f"{shown(location)} cannot be read: {reason_of(error)}. "
            "The tree must not change while it is scored."
        ) from error
