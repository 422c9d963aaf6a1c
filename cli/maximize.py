"""``evaluator maximize``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Unpack

import typer

from ..workflow.models.options import NetworkOptions
from .command_help import DATA, MODEL, OPTIMISATION, OUTPUT
from .options import BatchSize, Device, Labels, Model, numbers_of, pixel_units, takes_model_options

if TYPE_CHECKING:
    from ..attacks.maximizing.similarity import Likeness
    from ..reporting.table import Table
    from ..workflow.maximize.results import MaximizedDocument


@takes_model_options(NetworkOptions)
def maximize(
    model: Model,
    out: Annotated[
        Path,
        typer.Option(
            metavar="DIR",
            help="New folder for the grids of images, the arrays and maximized.json.",
            rich_help_panel=OUTPUT,
        ),
    ],
    units: Annotated[
        list[str] | None,
        typer.Option(
            metavar="A,B,...",
            help="Units of the penultimate layer. Default: the six units of the paper, which are "
            "1062 and five others of 2048.",
            rich_help_panel=MODEL,
        ),
    ] = None,
    start: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PHOTO|noise",
            help="Initial image: a photo, or noise. May be repeated. Default: two photos and the "
            "paper's noise.",
            rich_help_panel=DATA,
        ),
    ] = None,
    data: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="PATH",
            help="Folder or tar file whose first two photos are initial images. Repeat the option "
            "for several. Default: sample photos.",
            rich_help_panel=DATA,
        ),
    ] = None,
    labels: Labels = None,
    steps: Annotated[
        int,
        typer.Option(
            metavar="N",
            min=1,
            help="Number of steps, all of which are made.",
            rich_help_panel=OPTIMISATION,
        ),
    ] = 500,
    step_size: Annotated[
        str,
        typer.Option(
            metavar="SIZE", help="Step size, for pixels in [0, 1].", rich_help_panel=OPTIMISATION
        ),
    ] = "1/255",
    epsilon: Annotated[
        str,
        typer.Option(
            metavar="SIZE",
            help="Largest change of a pixel in [0, 1]. From 1 on, the change is unlimited.",
            rich_help_panel=OPTIMISATION,
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
            units=numbers_of(units, "--units"),
            starts=start or None,
            data=data or None,
            labels=labels,
            steps=steps,
            step_size=pixel_units(step_size, "--step-size"),
            epsilon=pixel_units(epsilon, "--epsilon"),
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
    return Table("How alike the images are", header, rows, notes)


def _numbers(likeness: "Likeness") -> tuple[str, ...]:
    values = (likeness.ssim, likeness.correlation, likeness.change_correlation)
    return tuple(_number(value) for value in values)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
