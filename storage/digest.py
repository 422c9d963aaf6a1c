"""SHA-256 of files."""

import hashlib
from pathlib import Path

from ..errors import unreadable


def file_sha256(path: Path) -> str:
    """SHA-256 over the bytes of a file.

    Raises:
        InputError: If the file cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise unreadable(path, error) from error
