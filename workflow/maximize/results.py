"""What is written of maximizing images: a document, arrays, and grids to look at.

Each file appears whole or not at all, the document last: where it is, all is there.
"""

import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ...attacks.maximizing.maximizing import NEVER, Maximized, MaximizingSettings
from ...attacks.maximizing.penultimate import Bounds
from ...attacks.maximizing.similarity import Likeness, Likenesses
from ...contracts import Device, EngineSpec, ModelSpec, Preprocessing
from ...errors import printable
from ...reporting.figures.image_grid import Cell, Grid, png_of
from ...storage.atomic import atomic_write_bytes
from ...storage.documents import sealed, write_document
from .initial_images import Start

DOCUMENT, ARRAYS, GRID, LAST_GRID = "maximized.json", "maximized.npz", "maximized.png", "last.png"
MOST_UNITS = 60
"""In a grid; the arrays hold all of them."""


@dataclass(frozen=True)
class MaximizingKey:
    """What maximizing images *are*: with another key they are others.

    Attributes:
        engine: What computes: architecture and weights.
        preprocessing: Of the model.
        layer: The last one, whose inputs are the units.
        width: How many units it has.
        settings: How they were maximized.
        units: Which.
        starts: SHA-256 of the images that were begun at.
    """

    engine: EngineSpec
    preprocessing: Preprocessing
    layer: str
    width: int
    settings: MaximizingSettings
    units: tuple[int, ...]
    starts: tuple[str, ...]


@dataclass(frozen=True)
class MaximizedImage:
    """One of the images; steps count from the start, which is 0.

    Attributes:
        start: The name of its start.
        unit: Which was maximized.
        reached: Whether an iterate passed the criterion.
        first_step: The first one that did; none where none did.
        step: Which iterate the image is.
        linf: The largest change from the start.
        probability: Of the unit in the image, under a softmax over all.
        activation_at_start: Of the unit in the start.
        activation: In the image.
        last_activation: In the last iterate.
        dead_steps: Steps whose whole gradient was zero.
        to_start: How alike image and start are.
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
    """Under which images were made.

    Attributes:
        host: The machine's name.
        device: What computed.
        versions: Packages and Python.
        batch_size: Images at a time, where there was memory for them.
        started: UTC, ISO 8601.
        command: What was run.
    """

    host: str
    device: Device
    versions: Mapping[str, str]
    batch_size: int
    started: str
    command: str


@dataclass(frozen=True)
class MaximizedDocument:
    """``maximized.json``.

    Attributes:
        key: What the images are.
        model: The model, for people.
        weights_sha256: Over its tensors.
        starts: What was begun at.
        bounds: Of the units, where an activation sets them.
        impossible: Why no image can pass, where the bounds say so.
        images: One for each start and unit, the units of the first start first.
        across_units: How alike the images of different units are, for each start.
        across_starts: How alike those from different starts are, for each unit.
        circumstances: Under which they were made; several where a command continued another.
        schema: Version of the format.
        seal: SHA-256 over all the above, so that an edit by hand is noticed.
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
    found: Maximized, starts: Sequence[Start], units: Sequence[int], alike: Likenesses
) -> Iterator[MaximizedImage]:
    """The images, as they stand in the document."""
    for k, start in enumerate(starts):
        for u, unit in enumerate(units):
            trace, step = found.traces[k, u], int(found.image_step[k, u])
            first = int(found.first_step[k, u])
            yield MaximizedImage(
                start=start.name,
                unit=unit,
                reached=bool(found.reached[k, u]),
                first_step=None if first == NEVER else first,
                step=step,
                linf=float(found.linf[k, u]),
                probability=float(found.probability[k, u]),
                activation_at_start=float(trace[0]),
                activation=float(trace[step]),
                last_activation=float(trace[-1]),
                dead_steps=int(found.dead_steps[k, u]),
                to_start=alike.to_start[k][u],
            )


def write_results(
    folder: Path, document: MaximizedDocument, found: Maximized, starts: npt.NDArray[np.float32]
) -> MaximizedDocument:
    """Write everything; returns the document with its seal.

    Raises:
        OutputError: If it cannot be written.
    """
    document = sealed(document)
    atomic_write_bytes(folder / ARRAYS, _archive(document, found, starts))
    for name, images, of in ((GRID, found.images, _of_image), (LAST_GRID, found.last, _of_last)):
        cells = [of(row) for row in document.images]
        grid = _grid(document, _title(document, name), starts, images, cells)
        atomic_write_bytes(folder / name, png_of(grid))
    write_document(folder / DOCUMENT, document)
    return document


def _archive(
    document: MaximizedDocument, found: Maximized, starts: npt.NDArray[np.float32]
) -> bytes:
    written = io.BytesIO()
    np.savez(
        written,
        images=found.images,
        last=found.last,
        traces=found.traces,
        units=np.array(document.key.units),
        starts=starts,
        start_names=np.array([start.name for start in document.starts]),
    )
    return written.getvalue()


def _grid(
    document: MaximizedDocument,
    title: tuple[str, ...],
    starts: npt.NDArray[np.float32],
    images: npt.NDArray[np.floating],
    lines: Sequence[tuple[str, ...]],
) -> Grid:
    units = document.key.units[:MOST_UNITS]
    every = len(document.key.units)
    return Grid(
        title=title,
        first="start",
        header=tuple(f"unit {unit}" for unit in units),
        starts=tuple(
            Cell(_pixels(image), (printable(start.name),))
            for start, image in zip(document.starts, starts, strict=True)
        ),
        cells=tuple(
            tuple(Cell(_pixels(images[k, u]), lines[k * every + u]) for u in range(len(units)))
            for k in range(len(starts))
        ),
    )


def _pixels(image: npt.NDArray[np.floating]) -> npt.NDArray[np.uint8]:
    """(3, S, S) in [0, 1] as (S, S, 3) uint8."""
    pixels: npt.NDArray[np.uint8] = np.rint(image.transpose(1, 2, 0) * 255).astype(np.uint8)
    return pixels


def _title(document: MaximizedDocument, name: str) -> tuple[str, ...]:
    model, settings, width = document.model, document.key.settings, document.key.width
    bound = f"epsilon {in_pixels(settings.epsilon)}" if settings.epsilon < 1 else "no bound"
    goal = f"p > {criterion(settings)} under a softmax over the {width:,} units"
    what = {
        GRID: f"The iterate closest to its start (L-infinity) with {goal}; else the greatest p.",
        LAST_GRID: "The last iterate.",
    }[name]
    lines = [
        f"{model.name} ({model.weights}): images that maximize units before {document.key.layer}",
        f"{what} {settings.steps:,} steps of {in_pixels(settings.step_size)}, {bound}.",
    ]
    if document.impossible is not None:
        lines.append(f"It cannot be reached: {document.impossible}.")
    hidden = len(document.key.units) - MOST_UNITS
    if hidden > 0:
        lines.append(f"{hidden:,} more units are in {ARRAYS}.")
    return tuple(lines)


def _of_image(image: MaximizedImage) -> tuple[str, ...]:
    how = f"step {image.step:,}" if image.reached else f"not reached: {_p(image.probability)}"
    return (
        f"{how}, L-inf {image.linf:.2f}",
        f"activation {image.activation_at_start:.3g} -> {image.activation:.3g}",
    )


def _p(probability: float) -> str:
    """A probability, told apart from 1 however near it is.

    Example:
        >>> _p(0.2398), _p(1 - 4e-6)
        ('p = 0.24', 'p = 1 - 4e-06')
    """
    near = probability > 0.99
    return f"p = 1 - {1 - probability:.1g}" if near else f"p = {probability:.2g}"


def _of_last(image: MaximizedImage) -> tuple[str, ...]:
    return (f"activation {image.activation_at_start:.3g} -> {image.last_activation:.3g}",)


def in_pixels(value: float) -> str:
    """A length in pixel units as a person would write it.

    Example:
        >>> in_pixels(1 / 255), in_pixels(8 / 255), in_pixels(0.01), in_pixels(4.0)
        ('1/255', '8/255', '0.01', '4')
    """
    levels = round(value * 255)
    return f"{levels}/255" if 0 < levels < 255 and value == levels / 255 else f"{value:g}"


def criterion(settings: MaximizingSettings) -> str:
    """The probability that is asked for, in words.

    Example:
        >>> criterion(MaximizingSettings())
        '1 - 1e-6'
    """
    return f"1 - {1 - settings.probability:.2g}".replace("e-0", "e-")
