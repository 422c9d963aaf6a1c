"""The folder of maximizing images while they are made: what a killed command goes on with.

    DIR/maximizing.json       what is being made: the key; written first
    DIR/part-000-001062.npz   what came of one start and unit, and under which circumstances

All of it goes when ``maximized.json`` is there.
"""

import io
import re
from collections.abc import Iterator
from dataclasses import dataclass, fields
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

BEGUN = "maximizing.json"
_PART = re.compile(r"part-(\d{3,})-(\d{6,})\.npz")
_OURS = {BEGUN, DOCUMENT, ARRAYS, GRID, LAST_GRID}


@dataclass(frozen=True)
class Begun:
    """``maximizing.json``.

    Attributes:
        key: What is being made.
        schema: Version of the format.
        seal: SHA-256 over all the above.
    """

    key: MaximizingKey
    schema: int = 1
    seal: str = ""


def check_folder(folder: Path) -> None:
    """Refuse a folder for the results that holds something else.

    Raises:
        OutputError: If it does, or nothing can be written there.
    """
    check_place(folder / DOCUMENT)
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        if not _is_ours(target_of_temporary(path.name) or path.name):
            raise OutputError(
                f"{printable(path)} is there and is no part of maximizing images. Give a new or an "
                "empty folder."
            )


def _is_ours(name: str) -> bool:
    return name in _OURS or _PART.fullmatch(name) is not None


def made_before(folder: Path, key: MaximizingKey) -> MaximizedDocument | None:
    """What was finished in the folder, if anything was.

    Raises:
        RunMismatchError: If other images were begun or finished there.
        InputError: If its document was edited.
    """
    if (folder / DOCUMENT).is_file():
        document = read_sealed(folder / DOCUMENT, MaximizedDocument)
        _refuse_other(folder, document.key, key)
        remove_parts(folder)
        return document
    if (folder / BEGUN).is_file():
        _refuse_other(folder, read_sealed(folder / BEGUN, Begun).key, key)
    elif folder.is_dir() and any(_is_ours(path.name) for path in folder.iterdir()):
        raise OutputError(
            f"{printable(folder)} has lost the {BEGUN} or {DOCUMENT} that said what its files are. "
            "Give a new or an empty folder."
        )
    return None


def _refuse_other(folder: Path, there: MaximizingKey, here: MaximizingKey) -> None:
    if there != here:
        raise RunMismatchError(
            f"{printable(folder)} holds other maximizing images: "
            f"{next(document_differences(there, here))}. Give another folder."
        )


def begin(folder: Path, key: MaximizingKey) -> None:
    """Say what the folder is for.

    Raises:
        OutputError: If it cannot be written.
    """
    write_document(folder / BEGUN, sealed(Begun(key)))


def write_part(folder: Path, pair: Pair, row: Maximized, made: Circumstances) -> None:
    """Write what came of one start and unit.

    Raises:
        OutputError: If it cannot be written.
    """
    written = io.BytesIO()
    columns = {field.name: getattr(row, field.name) for field in fields(row)}
    circumstances = np.frombuffer(canonical_bytes(made), np.uint8)
    np.savez(written, allow_pickle=False, circumstances=circumstances, **columns)
    atomic_write_bytes(folder / _name(pair), written.getvalue())


def read_part(folder: Path, pair: Pair) -> tuple[Maximized, Circumstances] | None:
    """What came of one start and unit, if that is there.

    Raises:
        InputError: If its file is damaged.
    """
    path = folder / _name(pair)
    if not path.is_file():
        return None
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as file:
            row = Maximized(**{field.name: file[field.name] for field in fields(Maximized)})
            made = file["circumstances"].tobytes()
    except Exception as error:  # numpy and zipfile raise what they like on damaged bytes
        raise InputError(
            f"{printable(path)} is damaged: {reason_of(error)}. Remove it to have it made again."
        ) from error
    return row, document_from_bytes(made, Circumstances, printable(path))


def _name(pair: Pair) -> str:
    start, unit = pair
    return f"part-{start:03d}-{unit:06d}.npz"


def remove_parts(folder: Path) -> None:
    """Remove what nobody needs any more, and what killed commands had half written.

    Raises:
        OutputError: If it cannot be removed.
    """
    for path in _needless(folder):
        remove(path)


def _needless(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        target = target_of_temporary(path.name)
        if path.name == BEGUN or _PART.fullmatch(path.name) or (target and _is_ours(target)):
            yield path
