"""``evaluator maximize``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Unpack

import typer

from ..workflow.models.options import NetworkOptions
from .options import BatchSize, Device, Labels, Model, numbers_of, pixel_units, takes_model_options

if TYPE_CHECKING:
    from ..attacks.maximizing.similarity import Likeness
    from ..reporting.table import Table
    from ..workflow.maximize.results import MaximizedDocument


@takes_model_options(NetworkOptions)
def maximize(
    model: Model,
    out: Annotated[
        Path, typer.Option(metavar="DIR", help="A new folder for grids, arrays and a document.")
    ],
    units: Annotated[
        list[str] | None,
        typer.Option(
            metavar="A,B,...",
            help="Of the penultimate layer. Default: the paper's, 1062 and five more of 2048.",
        ),
    ] = None,
    start: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PHOTO|noise",
            help="What to begin at; may be repeated. Default: two photos, and the paper's noise.",
        ),
    ] = None,
    data: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="PATH",
            help="Where the two photos are the first ones: a folder, or a tar file; repeat it for "
            "several. Default: sample photos.",
        ),
    ] = None,
    labels: Labels = None,
    steps: Annotated[int, typer.Option(min=1, help="All are made.")] = 500,
    step_size: Annotated[
        str, typer.Option(metavar="NUMBER", help="In [0, 1] pixel units.")
    ] = "1/255",
    epsilon: Annotated[
        str,
        typer.Option(metavar="NUMBER", help="Largest change in [0, 1]; from 1 on there is none."),
    ] = "4",
    device: Device = None,
    batch_size: BatchSize = None,
    **options: Unpack[NetworkOptions],
) -> None:
    """Make images that maximize units before the last layer, as in the paper's Figures 2 and 3."""
    from ..workflow.maximize.maximize import maximize as make
    from .console import print_tables, progress

    with progress() as display:
        made = make(
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
        if not made.created:
            display.note("The same images were made before; they are kept as they are.")
        display.note(f"Grids, arrays and maximized.json: {made.folder}")
    print_tables([_images_table(made.document), _likeness_table(made.document)])


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
        notes.append(f"no image can: {document.impossible}; the images have the greatest p")
    dead = max(image.dead_steps for image in document.images)
    if dead:
        notes.append(f"up to {dead:,} steps moved nothing: their gradient was zero in float32")
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

    found = [
        *(
            (f"units, from {one.name}", alike)
            for one, alike in zip(document.starts, document.across_units, strict=True)
        ),
        *(
            (f"starts, of unit {unit}", alike)
            for unit, alike in zip(document.key.units, document.across_starts, strict=True)
        ),
    ]
    rows = tuple((name, str(alike.pairs), *_numbers(alike)) for name, alike in found if alike.pairs)
    notes = ("means over pairs of images; a change is image - start",)
    header = ("across", "pairs", "SSIM", "correlation", "of changes")
    return Table("How alike the images are", header, rows, notes)


def _numbers(alike: "Likeness") -> tuple[str, ...]:
    return tuple(
        _number(value) for value in (alike.ssim, alike.correlation, alike.change_correlation)
    )


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
