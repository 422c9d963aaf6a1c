"""Files of maximizing images: a document, arrays, and grids of the images.

Each file is written atomically, the document last: if it exists, all files are complete.
"""

import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ...attacks.maximizing.maximizing import NEVER, Maximized, MaximizingSettings
from ...attacks.maximizing.penultimate import Bounds
from ...attacks.maximizing.similarity import Likeness, Likenesses
from ...contracts import (
    ADDED_LATER,
    Device,
    EngineSpec,
    ModelSpec,
    NetworkFingerprint,
    Preprocessing,
    epsilon_text,
)
from ...errors import printable
from ...reporting.figures.image_grid import Cell, Grid, png_of
from ...storage.atomic import atomic_write_bytes
from ...storage.documents import sealed, write_document
from .initial_images import Start

DOCUMENT, ARRAYS, GRID, LAST_GRID = "maximized.json", "maximized.npz", "maximized.png", "last.png"
MOST_UNITS = 60
"""Largest number of units in a grid; the arrays contain all units."""


@dataclass(frozen=True)
class MaximizingKey:
    """Identity of maximizing images.

    Attributes:
        engine: Engine, with architecture and weights.
        preprocessing: Preprocessing of the model.
        layer: Name of the last layer, whose inputs are the units.
        width: Number of its inputs.
        settings: Settings of the method.
        units: Maximized units.
        starts: SHA-256 of each start.
        fingerprint: Fingerprint of the network; ``None`` if it is known by its hash.
    """

    engine: EngineSpec
    preprocessing: Preprocessing
    layer: str
    width: int
    settings: MaximizingSettings
    units: tuple[int, ...]
    starts: tuple[str, ...]
    fingerprint: NetworkFingerprint | None = field(default=None, metadata=ADDED_LATER)


@dataclass(frozen=True)
class MaximizedImage:
    """Numbers of one of the images; the start is step 0.

    Attributes:
        start: Name of the start.
        unit: Maximized unit.
        reached: Whether an iterate met the criterion.
        first_step: Step of the first iterate that met it; ``None`` if none did.
        step: Step of the iterate that is the image.
        linf: Largest change from the start.
        probability: Probability of the unit in the image, under a softmax over all units.
        activation_at_start: Activation of the unit in the start.
        activation: Activation of the unit in the image.
        last_activation: Activation of the unit in the last iterate.
        dead_steps: Number of steps whose whole gradient was zero.
        to_start: Similarity of image and start.
    """

    start: str
    unit: int
    reached: bool
    first_step: int | None
    step: int
    linf: float
    probability: float
    activation_at_start: float
    activation: float
    last_activation: float
    dead_steps: int
    to_start: Likeness


@dataclass(frozen=True)
class Circumstances:
    """Provenance of images.

    Attributes:
        host: Name of the machine.
        device: Device that computed.
        versions: Versions of Python and of packages.
        batch_size: Largest number of images in a batch; smaller ones are used if memory is short.
        started: Start of the work; UTC, ISO 8601.
        command: Command line of the process.
        self_check: Self-check of the network: ``passed``, ``failed`` with what failed, or ``not
            checked``; ``None`` from versions without it.
    """

    host: str
    device: Device
    versions: Mapping[str, str]
    batch_size: int
    started: str
    command: str
    self_check: str | None = field(default=None, metadata=ADDED_LATER)


@dataclass(frozen=True)
class MaximizedDocument:
    """Content of ``maximized.json``.

    Attributes:
        key: Identity of the images.
        model: Model, for people.
        weights_sha256: SHA-256 over the tensors of the model.
        starts: Images that were started from.
        bounds: Bounds of the units; ``None`` if no activation function sets them.
        impossible: Why no image can meet the criterion; ``None`` if the bounds allow it.
        images: Images of each start and unit, the units of the first start first.
        across_units: Similarity of the images of different units, for each start.
        across_starts: Similarity of the images from different starts, for each unit.
        circumstances: Provenance; several entries if the command was resumed.
        schema: Version of the format.
        seal: SHA-256 over all other fields, so that an edit by hand is noticed.
    """

    key: MaximizingKey
    model: ModelSpec
    weights_sha256: str
    starts: tuple[Start, ...]
    bounds: Bounds | None
    impossible: str | None
    images: tuple[MaximizedImage, ...]
    across_units: tuple[Likeness, ...]
    across_starts: tuple[Likeness, ...]
    circumstances: tuple[Circumstances, ...]
    schema: int = 1
    seal: str = ""


def image_rows(
    table: Maximized, starts: Sequence[Start], units: Sequence[int], similarity: Likenesses
) -> Iterator[MaximizedImage]:
    """The entries of all images in the document, from their table of results."""
    for k, start in enumerate(starts):
        for u, unit in enumerate(units):
            trace, step = table.traces[k, u], int(table.image_step[k, u])
            first = int(table.first_step[k, u])
            yield MaximizedImage(
                start=start.name,
                unit=unit,
                reached=bool(table.reached[k, u]),
                first_step=None if first == NEVER else first,
                step=step,
                linf=float(table.linf[k, u]),
                probability=float(table.probability[k, u]),
                activation_at_start=float(trace[0]),
                activation=float(trace[step]),
                last_activation=float(trace[-1]),
                dead_steps=int(table.dead_steps[k, u]),
                to_start=similarity.to_start[k][u],
            )


def write_results(
    folder: Path, document: MaximizedDocument, table: Maximized, starts: npt.NDArray[np.float32]
) -> MaximizedDocument:
    """Write all files; return the document with its seal.

    Raises:
        OutputError: If a file cannot be written.
    """
    document = sealed(document)
    archive = io.BytesIO()
    np.savez(
        archive,
        images=table.images,
        last=table.last,
        traces=table.traces,
        units=np.array(document.key.units),
        starts=starts,
        start_names=np.array([start.name for start in document.starts]),
    )
    atomic_write_bytes(folder / ARRAYS, archive.getvalue())
    grids = ((GRID, table.images, _image_caption), (LAST_GRID, table.last, _last_caption))
    for name, images, caption in grids:
        captions = [caption(row) for row in document.images]
        grid = _grid(document, _title(document, name), starts, images, captions)
        atomic_write_bytes(folder / name, png_of(grid))
    write_document(folder / DOCUMENT, document)
    return document


def _grid(
    document: MaximizedDocument,
    title: tuple[str, ...],
    starts: npt.NDArray[np.float32],
    images: npt.NDArray[np.floating],
    captions: Sequence[tuple[str, ...]],
) -> Grid:
    units = document.key.units[:MOST_UNITS]
    total = len(document.key.units)
    starting_cells = (
        Cell(_pixels(image), (printable(start.name),))
        for start, image in zip(document.starts, starts, strict=True)
    )
    return Grid(
        title=title,
        header=("start", *(f"unit {unit}" for unit in units)),
        rows=tuple(
            (
                cell,
                *(Cell(_pixels(images[k, u]), captions[k * total + u]) for u in range(len(units))),
            )
            for k, cell in enumerate(starting_cells)
        ),
    )


def _pixels(image: npt.NDArray[np.floating]) -> npt.NDArray[np.uint8]:
    """(3, S, S) in [0, 1] as (S, S, 3) uint8."""
    pixels: npt.NDArray[np.uint8] = np.rint(image.transpose(1, 2, 0) * 255).astype(np.uint8)
    return pixels


def _title(document: MaximizedDocument, name: str) -> tuple[str, ...]:
    model, settings, width = document.model, document.key.settings, document.key.width
    bound = f"epsilon {epsilon_text(settings.epsilon)}" if settings.epsilon < 1 else "no bound"
    goal = f"p > {criterion(settings)} under a softmax over the {width:,} units"
    content = {
        GRID: f"The iterate closest to its start (L-infinity) with {goal}; else the greatest p.",
        LAST_GRID: "The last iterate.",
    }[name]
    lines = [
        f"{model.name} ({model.weights}): images that maximize units before {document.key.layer}",
        f"{content} {settings.steps:,} steps of {epsilon_text(settings.step_size)}, {bound}.",
    ]
    if document.impossible is not None:
        lines.append(f"It cannot be reached: {document.impossible}.")
    omitted = len(document.key.units) - MOST_UNITS
    if omitted > 0:
        lines.append(f"{omitted:,} more units are in {ARRAYS}.")
    return tuple(lines)


def _image_caption(image: MaximizedImage) -> tuple[str, ...]:
    step_text = (
        f"step {image.step:,}"
        if image.reached
        else f"not reached: {_probability_text(image.probability)}"
    )
    return (
        f"{step_text}, L-inf {image.linf:.2f}",
        f"activation {image.activation_at_start:.3g} -> {image.activation:.3g}",
    )


def _probability_text(probability: float) -> str:
    """A probability as text that shows how far it is from 1.

    Example:
        >>> _probability_text(0.2398), _probability_text(1 - 4e-6)
        ('p = 0.24', 'p = 1 - 4e-06')
    """
    near = probability > 0.99
    return f"p = 1 - {1 - probability:.1g}" if near else f"p = {probability:.2g}"


def _last_caption(image: MaximizedImage) -> tuple[str, ...]:
    return (f"activation {image.activation_at_start:.3g} -> {image.last_activation:.3g}",)


def criterion(settings: MaximizingSettings) -> str:
    """The probability that an image must exceed, as text.

    Example:
        >>> criterion(MaximizingSettings())
        '1 - 1e-6'
    """
    return f"1 - {1 - settings.probability:.2g}".replace("e-0", "e-")
