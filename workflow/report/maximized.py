"""Maximizing images in a report: finding their folders, and showing some of them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ...errors import InputError, printable, reason_of
from ...records.run import MANIFEST
from ...reporting.html.contents import MOST_MAXIMIZED, Gallery, Picture, RunFacts
from ...reporting.table import Table
from ...storage.documents import read_sealed
from ..maximize.results import ARRAYS, DOCUMENT, MaximizedDocument, MaximizedImage
from .run_facts import maximized_facts
from .thumbnails import jpeg


def split_folders(folders: Sequence[Path]) -> tuple[list[Path], list[Path]]:
    """The folders with runs, and those of maximizing images, in or below all these folders.

    A folder is one with runs unless it holds maximizing images only.

    Raises:
        InputError: If all folders hold maximizing images only.
    """
    runs: list[Path] = []
    maximized: dict[Path, Path] = {}
    for folder in folders:
        documents = sorted(path.parent for path in folder.rglob(DOCUMENT))
        for path in documents:
            maximized.setdefault(path.resolve(), path)
        if not documents or next(folder.rglob(MANIFEST), None) is not None:
            runs.append(folder)
    if not runs:
        raise InputError(
            f"{', '.join(map(printable, folders))} holds maximizing images and no run. Give at "
            "least one run beside it: a page is about the numbers of runs."
        )
    return runs, list(maximized.values())


def maximized_galleries(folders: Sequence[Path]) -> tuple[list[Gallery], list[RunFacts]]:
    """Some maximizing images of each folder, the same number of each, and their provenance.

    Raises:
        InputError: If a file is damaged.
    """
    galleries, facts = [], []
    for folder in folders:
        document = read_sealed(folder / DOCUMENT, MaximizedDocument)
        galleries.append(_gallery(folder, document, max(1, MOST_MAXIMIZED // len(folders))))
        facts.append(maximized_facts(str(folder), document))
    return galleries[:MOST_MAXIMIZED], facts


def _gallery(folder: Path, document: MaximizedDocument, most: int) -> Gallery:
    try:
        with np.load(folder / ARRAYS, allow_pickle=False) as arrays:
            images = arrays["images"]
    except Exception as error:  # numpy and zipfile raise many types for damaged files
        raise InputError(
            f"{printable(folder / ARRAYS)} cannot be read: {reason_of(error)}. Repeat the command "
            "that made the images."
        ) from error
    units = len(document.key.units)
    per_start = max(1, most // len(document.starts))
    shown = [
        (row, images[position // units, position % units])
        for position, row in enumerate(document.images)
        if position % units < per_start
    ][:most]
    name = f"{document.model.name} ({document.model.weights})"
    pictures = tuple(
        Picture(
            *jpeg([_pixels(image)]),
            f"Maximizes {_words(row)}",
            (f"unit {row.unit}", f"from {printable(row.start)}", _step(row)),
        )
        for row, image in shown
    )
    omitted = len(document.images) - len(pictures)
    note = f"{omitted:,} more images are in {printable(folder / ARRAYS)}." if omitted else ""
    return Gallery(printable(name), _table(name, document), pictures, note, (str(folder),))


def _pixels(image: npt.NDArray[np.floating[Any]]) -> npt.NDArray[np.uint8]:
    """(3, S, S) in [0, 1] as (S, S, 3) uint8."""
    pixels: npt.NDArray[np.uint8] = np.rint(image.transpose(1, 2, 0) * 255).astype(np.uint8)
    return pixels


def _words(row: MaximizedImage) -> str:
    return f"unit {row.unit}, from {printable(row.start)}"


def _step(row: MaximizedImage) -> str:
    return f"step {row.step:,}" if row.reached else f"not reached, p = {row.probability:.2g}"


def _table(name: str, document: MaximizedDocument) -> Table:
    rows = tuple(
        (
            printable(row.start), str(row.unit), "yes" if row.reached else "no", f"{row.step:,}",
            f"{row.linf:.3f}", f"{row.activation_at_start:.2f}", f"{row.activation:.2f}",
            _number(row.to_start.ssim),
        )
        for row in document.images
    )  # fmt: skip
    across = [
        f"units, from {printable(start.name)}: {_number(likeness.ssim)}"
        for start, likeness in zip(document.starts, document.across_units, strict=True)
        if likeness.pairs
    ]
    notes = [f"similarity (SSIM) of the images of different {text}" for text in across]
    if document.impossible is not None:
        notes.append(f"no image can reach the goal: {document.impossible}")
    header = (
        "start", "unit", "reached", "image at step", "L-inf", "at start", "in image",
        "SSIM to start",
    )  # fmt: skip
    title = f"Maximizing images of {printable(name)}"
    return Table(title, header, rows, tuple(notes), words=(0, 1, 2))


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
