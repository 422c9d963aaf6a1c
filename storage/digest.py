"""Checksums of files."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ..errors import unreadable

ChecksumKind = Literal["sha256", "md5"]

TITLES: dict[ChecksumKind, str] = {"sha256": "SHA-256", "md5": "MD5"}

_CHUNK_BYTES = 1 << 20


@dataclass(frozen=True)
class Checksum:
    """A checksum that a file must have.

    Attributes:
        kind: Hash function. MD5 only where nothing else is published.
        digits: Hexadecimal digits, or the first of them.
    """

    kind: ChecksumKind
    digits: str

    def __str__(self) -> str:
        return f"{TITLES[self.kind]} {self.digits}"

    @property
    def title(self) -> str:
        """Name of the hash function."""
        return TITLES[self.kind]

    def of(self, path: Path, report: Callable[[int], None] = lambda size: None) -> str:
        """The same checksum of a file on disk, all digits: see ``file_digest``."""
        return file_digest(path, self.kind, report)


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


def file_digest(
    path: Path, kind: ChecksumKind, report: Callable[[int], None] = lambda size: None
) -> str:
    """A checksum over the bytes of a file, in hexadecimal.

    Args:
        path: Path of the file.
        kind: Hash function.
        report: Called with the number of bytes of each chunk that was read.

    Raises:
        InputError: If the file cannot be read.
    """
    digest = hashlib.new(kind, usedforsecurity=False)
    try:
        with path.open("rb", buffering=0) as file:
            while chunk := file.read(_CHUNK_BYTES):
                digest.update(chunk)
                report(len(chunk))
    except OSError as error:
        raise unreadable(path, error) from error
    return digest.hexdigest()
