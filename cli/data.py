"""``evaluator data sample``, ``evaluator data corrupt`` and ``evaluator data perturb``."""

from pathlib import Path
from typing import Annotated

import typer

from .options import Corruptions, Perturbations, Severities, numbers_of, words_of

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Make data to try the tool on. Numbers from generated data are marked.",
)

Target = Annotated[Path, typer.Argument(metavar="DIR", help="Where the tree will stand.")]
Source = Annotated[Path, typer.Argument(metavar="SOURCE", help="Clean photos in class folders.")]
Seed = Annotated[int, typer.Option(min=0, help="The same seed makes the same bytes.")]
Limit = Annotated[int | None, typer.Option(min=1, help="So many photos, evenly spaced.")]
Workers = Annotated[int | None, typer.Option(min=1, help="Processes. Default: one a core.")]


@app.command()
def sample(folder: Target) -> None:
    """Write twenty labelled photos as an ImageNet-style tree."""
    from ..workflow.data import sample_photos

    count = sample_photos(folder)
    print(
        f"{count} photos in {folder}. Score them with: evaluator score MODEL imagenet "
        f"--data {folder}"
    )


@app.command()
def corrupt(
    source: Source,
    folder: Target,
    corruptions: Corruptions = None,
    severities: Severities = None,
    seed: Seed = 0,
    limit: Limit = None,
    workers: Workers = None,
) -> None:
    """Write an ImageNet-C-style tree of clean photos, marked as generated."""
    from ..evaluate.layouts import CORRUPTIONS, SEVERITIES
    from ..workflow.data import corrupt_photos
    from .console import progress

    with progress() as display:
        count = corrupt_photos(
            source,
            folder,
            corruptions=words_of(corruptions, "--corruptions") or CORRUPTIONS,
            severities=numbers_of(severities, "--severities") or SEVERITIES,
            seed=seed,
            limit=limit,
            workers=workers,
            progress=display,
        )
    print(
        f"{count} corrupted photos in {folder}. Score them with: evaluator score MODEL "
        f"imagenet-c --data {folder}"
    )


@app.command()
def perturb(
    source: Source,
    folder: Target,
    perturbations: Perturbations = None,
    seed: Seed = 0,
    limit: Limit = None,
    workers: Workers = None,
) -> None:
    """Write ImageNet-P-style videos of clean photos, marked as generated."""
    from ..evaluate.generate.sequences import PERTURBATIONS
    from ..workflow.data import perturb_photos
    from .console import progress

    with progress() as display:
        count = perturb_photos(
            source,
            folder,
            perturbations=words_of(perturbations, "--perturbations") or tuple(PERTURBATIONS),
            seed=seed,
            limit=limit,
            workers=workers,
            progress=display,
        )
    print(
        f"{count} perturbed sequences in {folder}. Score them with: evaluator score MODEL "
        f"imagenet-p --data {folder}"
    )
