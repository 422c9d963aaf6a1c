"""``evaluator maximize``."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..reporting.table import Table
from .config import ConfigOption, configured
from .options import (
    BATCH_SIZE,
    DEVICE,
    LABELS,
    Model,
    NetworkOptions,
    option,
    parse_fraction,
    parse_numbers,
    takes_options,
)

if TYPE_CHECKING:
    from ..attacks.maximizing.similarity import Likeness
    from ..workflow.maximize.results import MaximizedDocument


class MaximizeOptions:
    """Options of ``maximize``."""

    out: Path = option(
        "Output",
        "New folder for the grids of images, the arrays and maximized.json.",
        default=...,
        metavar="DIR",
    )
    units: list[str] | None = option(
        "Model",
        "Units of the penultimate layer. Default: the six units of the paper, for a layer of "
        "2048 units; for another layer, units that are drawn in the same way.",
        metavar="A,B,...",
        parse=parse_numbers,
    )
    starts: list[str] | None = option(
        "Data",
        "Initial image: a photo, or noise. May be repeated. Default: two photos and the "
        "paper's noise.",
        "--start",
        metavar="PHOTO|noise",
    )
    data: list[Path] | None = option(
        "Data",
        "Folder or tar file whose first two photos are initial images. Repeat the option "
        "for several. Default: the sample photos.",
        metavar="PATH",
    )
    labels: Path | None = LABELS
    steps: int = option(
        "Optimisation", "Number of steps, all of which are made.", default=500, metavar="N", min=1
    )
    step_size: str = option(
        "Optimisation",
        "Step size, for pixels in [0, 1].",
        default="1/255",
        metavar="SIZE",
        parse=parse_fraction,
    )
    epsilon: str = option(
        "Optimisation",
        "Largest change of a pixel in [0, 1]. From 1 on, the change is unlimited.",
        default="4",
        metavar="SIZE",
        parse=parse_fraction,
    )
    device: str | None = DEVICE
    batch_size: int | None = BATCH_SIZE


@takes_options(MaximizeOptions, NetworkOptions, ConfigOption)
@configured()
def maximize(model: Model, **options: Any) -> None:
    """Make images that maximize units of the penultimate layer.

    Figures 2 and 3 of the paper show such images. Run the same command again to resume.
    """
    from ..workflow.maximize.maximize import maximize as make
    from .console import print_tables, progress

    with progress() as display:
        result = make(model, progress=display, **options)
        if not result.created:
            display.note("The same images were made before; the existing files are used.")
        display.note(f"Grids, arrays and maximized.json: {result.folder}")
    print_tables([_images_table(result.document), _likeness_table(result.document)])


def _images_table(document: "MaximizedDocument") -> Table:
    from ..workflow.maximize.results import criterion

    reached = sum(image.reached for image in document.images)
    rows = tuple(
        (
            image.start,
            str(image.unit),
            "never" if image.first_step is None else f"{image.first_step:,}",
            f"{image.step:,}",
            f"{image.linf:.3f}",
            f"{1 - image.probability:.2g}",
            f"{image.activation_at_start:.2f}",
            f"{image.activation:.2f}",
            f"{image.last_activation:.2f}",
            _number(image.to_start.ssim),
        )
        for image in document.images
    )
    goal = f"p > {criterion(document.key.settings)}"
    notes = [f"{reached} of {len(rows)} reached {goal} under a softmax over all units"]
    if document.impossible is not None:
        notes.append(f"no image can reach it: {document.impossible}; these have the largest p")
    dead = max(image.dead_steps for image in document.images)
    if dead:
        notes.append(f"up to {dead:,} steps changed nothing: their gradient was zero in float32")
    header = (
        "start", "unit", "first", "image at", "L-inf", "1 - p", "at start", "in image", "in last",
        "SSIM",
    )  # fmt: skip
    title = (
        f"{document.model.name} ({document.model.weights}): units before {document.key.layer}, "
        f"{document.key.width:,} of them"
    )
    return Table(title, header, rows, tuple(notes))


def _likeness_table(document: "MaximizedDocument") -> Table:
    similarities = [
        *(
            (f"units, from {start.name}", likeness)
            for start, likeness in zip(document.starts, document.across_units, strict=True)
        ),
        *(
            (f"starts, of unit {unit}", likeness)
            for unit, likeness in zip(document.key.units, document.across_starts, strict=True)
        ),
    ]
    rows = tuple(
        (name, str(likeness.pairs), *_numbers(likeness))
        for name, likeness in similarities
        if likeness.pairs
    )
    notes = ("means over pairs of images; a change is image - start",)
    header = ("across", "pairs", "SSIM", "correlation", "of changes")
    return Table("Similarity of the images", header, rows, notes)


def _numbers(likeness: "Likeness") -> tuple[str, ...]:
    values = (likeness.ssim, likeness.correlation, likeness.change_correlation)
    return tuple(_number(value) for value in values)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
