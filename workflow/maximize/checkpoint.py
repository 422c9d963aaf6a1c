"""Checkpoint of maximizing images in their folder, from which an interrupted command resumes.

    DIR/maximizing.json       identity of the images that are being made; written first
    DIR/part-000-001062.npz   result of one start and unit, and its provenance

All of them are removed when ``maximized.json`` has been written.
"""

import io
import re
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np

from ...attacks.maximizing.maximizing import Maximized, Pair
from ...errors import InputError, OutputError, RunMismatchError, printable, reason_of
from ...storage.atomic import atomic_write_bytes, check_place, remove, target_of_temporary
from ...storage.documents import (
    canonical_bytes,
    document_differences,
    document_from_bytes,
    read_sealed,
    sealed,
    write_document,
)
from .results import (
    ARRAYS,
    DOCUMENT,
    GRID,
    LAST_GRID,
    Circumstances,
    MaximizedDocument,
    MaximizingKey,
)

CHECKPOINT = "maximizing.json"
_PART = re.compile(r"part-(\d{3,})-(\d{6,})\.npz")
_FILES = {CHECKPOINT, DOCUMENT, ARRAYS, GRID, LAST_GRID}


@dataclass(frozen=True)
class Checkpoint:
    """Content of ``maximizing.json``.

    Attributes:
        key: Identity of the images that are being made.
        schema: Version of the format.
        seal: SHA-256 over all other fields.
    """

    key: MaximizingKey
    schema: int = 1
    seal: str = ""


def check_folder(folder: Path) -> None:
    """Check, before the work, that the results can be written to a folder.

    Raises:
        OutputError: If the folder contains other files or cannot be written.
    """
    check_place(folder / DOCUMENT)
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if not _is_ours(target_of_temporary(path.name) or path.name):
            raise OutputError(
                f"{printable(path)} exists and does not belong to maximizing images. Give a new or "
                "an empty folder."
            )


def _is_ours(name: str) -> bool:
    return name in _FILES or _PART.fullmatch(name) is not None


def finished_document(folder: Path, key: MaximizingKey) -> MaximizedDocument | None:
    """The document of finished images; ``None`` if they are not finished.

    Raises:
        RunMismatchError: If the folder contains finished or unfinished images of another key.
        InputError: If the document was edited.
        OutputError: If the folder has neither document nor checkpoint, but other files of ours.
    """
    document = None
    if (folder / DOCUMENT).is_file():
        document = read_sealed(folder / DOCUMENT, MaximizedDocument)
        existing = document.key
    elif (folder / CHECKPOINT).is_file():
        existing = read_sealed(folder / CHECKPOINT, Checkpoint).key
    elif folder.is_dir() and any(_is_ours(path.name) for path in folder.iterdir()):
        raise OutputError(
            f"{printable(folder)} has neither {CHECKPOINT} nor {DOCUMENT}, so its files cannot be "
            "interpreted. Give a new or an empty folder."
        )
    else:
        return None
    if key.fingerprint is not None and not key.fingerprint.agrees(existing.fingerprint):
        raise RunMismatchError(
            f"{printable(folder)} contains images of another network: this one answers two sample "
            "photos otherwise. Give another folder, or restore its code, configuration and weights."
        )
    if replace(existing, fingerprint=key.fingerprint) != key:
        raise RunMismatchError(
            f"{printable(folder)} contains other maximizing images: "
            f"{next(document_differences(replace(existing, fingerprint=key.fingerprint), key))}. "
            "Give another folder."
        )
    if document is not None:
        remove_parts(folder)
    return document


def write_checkpoint(folder: Path, key: MaximizingKey) -> None:
    """Record which images are made in the folder.

    Raises:
        OutputError: If it cannot be written.
    """
    write_document(folder / CHECKPOINT, sealed(Checkpoint(key)))


def write_part(folder: Path, pair: Pair, row: Maximized, circumstances: Circumstances) -> None:
    """Write the result of one start and unit.

    Raises:
        OutputError: If it cannot be written.
    """
    archive = io.BytesIO()
    document = np.frombuffer(canonical_bytes(circumstances), np.uint8)
    np.savez(archive, allow_pickle=False, circumstances=document, **vars(row))
    atomic_write_bytes(folder / _name(pair), archive.getvalue())


def read_part(folder: Path, pair: Pair) -> tuple[Maximized, Circumstances] | None:
    """Read the result of one start and unit; ``None`` if it is not finished.

    Raises:
        InputError: If its file is damaged.
    """
    path = folder / _name(pair)
    if not path.is_file():
        return None
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as file:
            row = Maximized(**{field.name: file[field.name] for field in fields(Maximized)})
            document = file["circumstances"].tobytes()
    except Exception as error:  # numpy and zipfile raise many types for damaged files
        raise InputError(
            f"{printable(path)} is damaged: {reason_of(error)}. Remove it and run the command "
            "again."
        ) from error
    return row, document_from_bytes(document, Circumstances, printable(path))


def _name(pair: Pair) -> str:
    start, unit = pair
    return f"part-{start:03d}-{unit:06d}.npz"


def remove_parts(folder: Path) -> None:
    """Remove the checkpoint and the leftovers of killed commands.

    Raises:
        OutputError: If a file cannot be removed.
    """
    for path in sorted(folder.iterdir()):
        target = target_of_temporary(path.name)
        if path.name == CHECKPOINT or _PART.fullmatch(path.name) or (target and _is_ours(target)):
            remove(path)
