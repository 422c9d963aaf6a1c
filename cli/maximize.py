"""``evaluator maximize``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Unpack

from ..workflow.models.options import NetworkOptions
from .command_help import DATA, MODEL, OPTIMISATION, OUTPUT, option
from .options import (
    BatchSize,
    Device,
    Labels,
    Model,
    parse_fraction,
    parse_numbers,
    takes_model_options,
)

if TYPE_CHECKING:
    from ..attacks.maximizing.similarity import Likeness
    from ..reporting.table import Table
    from ..workflow.maximize.results import MaximizedDocument


@takes_model_options(NetworkOptions)
def maximize(
    model: Model,
    out: Annotated[
        Path,
        option(
            OUTPUT,
            "New folder for the grids of images, the arrays and maximized.json.",
            metavar="DIR",
        ),
    ],
    units: Annotated[
        list[str] | None,
        option(
            MODEL,
            "Units of the penultimate layer. Default: the six units of the paper, for a layer of "
            "2048 units; for another layer, units that are drawn in the same way.",
            metavar="A,B,...",
        ),
    ] = None,
    start: Annotated[
        list[str] | None,
        option(
            DATA,
            "Initial image: a photo, or noise. May be repeated. Default: two photos and the "
            "paper's noise.",
            metavar="PHOTO|noise",
        ),
    ] = None,
    data: Annotated[
        list[Path] | None,
        option(
            DATA,
            "Folder or tar file whose first two photos are initial images. Repeat the option "
            "for several. Default: the sample photos.",
            metavar="PATH",
        ),
    ] = None,
    labels: Labels = None,
    steps: Annotated[
        int,
        option(OPTIMISATION, "Number of steps, all of which are made.", metavar="N", min=1),
    ] = 500,
    step_size: Annotated[
        str,
        option(OPTIMISATION, "Step size, for pixels in [0, 1].", metavar="SIZE"),
    ] = "1/255",
    epsilon: Annotated[
        str,
        option(
            OPTIMISATION,
            "Largest change of a pixel in [0, 1]. From 1 on, the change is unlimited.",
            metavar="SIZE",
        ),
    ] = "4",
    device: Device = None,
    batch_size: BatchSize = None,
    **options: Unpack[NetworkOptions],
) -> None:
    """Make images that maximize units of the penultimate layer.

    Figures 2 and 3 of the paper show such images. Run the same command again to resume.
    """
    from ..workflow.maximize.maximize import maximize as make
    from .console import print_tables, progress

    with progress() as display:
        result = make(
            model,
            out=out,
            units=parse_numbers(units, "--units"),
            starts=start or None,
            data=data or None,
            labels=labels,
            steps=steps,
            step_size=parse_fraction(step_size, "--step-size"),
            epsilon=parse_fraction(epsilon, "--epsilon"),
            device=device,
            batch_size=batch_size,
            progress=display,
            **options,
        )
        if not result.created:
            display.note("The same images were made before; the existing files are used.")
        display.note(f"Grids, arrays and maximized.json: {result.folder}")
    print_tables([_images_table(result.document), _likeness_table(result.document)])


def _images_table(document: "MaximizedDocument") -> "Table":
    from ..reporting.table import Table
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


def _likeness_table(document: "MaximizedDocument") -> "Table":
    from ..reporting.table import Table

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
