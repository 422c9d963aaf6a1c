"""SHA-256 of files."""

import hashlib
from pathlib import Path

from ..errors import InputError, reason_of, shown


def file_sha256(*paths: Path) -> str:
    """SHA-256 over the bytes of the files, one after the other.

    Raises:
        InputError: If a file cannot be read.
    """
    digest = hashlib.sha256()
    for path in paths:
        try:
            with path.open("rb") as file:
                while block := file.read(1 << 20):
                    digest.update(block)
        except OSError as error:
            raise InputError(f"{shown(path)} cannot be read: {reason_of(error)}.") from error
    return digest.hexdigest()
