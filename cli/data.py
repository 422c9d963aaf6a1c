"""``evaluator data sample``, ``evaluator data corrupt`` and ``evaluator data perturb``."""

from pathlib import Path
from typing import Annotated

import typer

from .command_help import DATA, ENGINE, Command, Group, option
from .options import Corruptions, Perturbations, Severities, parse_numbers, parse_words

app = typer.Typer(
    cls=Group,
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Create sample photos, corrupted images and perturbed videos. Reports mark numbers of "
    "generated data.",
    epilog="evaluator data sample photos",
)

Target = Annotated[Path, typer.Argument(metavar="DIR", help="Folder for the result.")]
Source = Annotated[
    Path,
    typer.Argument(metavar="SOURCE", help="Folder of clean photos, in class folders."),
]
Seed = Annotated[
    int,
    option(DATA, "Seed of the noise. The same seed gives the same bytes.", metavar="N", min=0),
]
Limit = Annotated[
    int | None,
    option(DATA, "Number of photos to use, evenly spaced over all of them.", metavar="N", min=1),
]
Workers = Annotated[
    int | None,
    option(ENGINE, "Number of processes. Default: one per core.", metavar="N", min=1),
]


@app.command(cls=Command, epilog="evaluator data sample photos")
def sample(folder: Target) -> None:
    """Write twenty labelled photos into class folders."""
    from ..workflow.data import sample_photos

    count = sample_photos(folder)
    print(
        f"{count} photos in {folder}. Score them with: evaluator score MODEL imagenet "
        f"--data {folder}"
    )


@app.command(
    cls=Command,
    epilog="evaluator data corrupt photos photos-c --corruptions fog,snow",
)
def corrupt(
    source: Source,
    folder: Target,
    corruptions: Corruptions = None,
    severities: Severities = None,
    seed: Seed = 0,
    limit: Limit = None,
    workers: Workers = None,
) -> None:
    """Make corrupted photos as in ImageNet-C, marked as generated."""
    from ..evaluate.layouts import CORRUPTIONS, SEVERITIES
    from ..workflow.data import corrupt_photos
    from .console import progress

    with progress() as display:
        count = corrupt_photos(
            source,
            folder,
            corruptions=parse_words(corruptions, "--corruptions") or CORRUPTIONS,
            severities=parse_numbers(severities, "--severities") or SEVERITIES,
            seed=seed,
            limit=limit,
            workers=workers,
            progress=display,
        )
    print(
        f"{count} corrupted photos in {folder}. Score them with: evaluator score MODEL "
        f"imagenet-c --data {folder}"
    )


@app.command(cls=Command, epilog="evaluator data perturb photos photos-p --perturbations tilt")
def perturb(
    source: Source,
    folder: Target,
    perturbations: Perturbations = None,
    seed: Seed = 0,
    limit: Limit = None,
    workers: Workers = None,
) -> None:
    """Make perturbed videos as in ImageNet-P, marked as generated."""
    from ..evaluate.generate.sequences import PERTURBATIONS
    from ..workflow.data import perturb_photos
    from .console import progress

    with progress() as display:
        count = perturb_photos(
            source,
            folder,
            perturbations=parse_words(perturbations, "--perturbations") or tuple(PERTURBATIONS),
            seed=seed,
            limit=limit,
            workers=workers,
            progress=display,
        )
    print(
        f"{count} perturbed sequences in {folder}. Score them with: evaluator score MODEL "
        f"imagenet-p --data {folder}"
    )
