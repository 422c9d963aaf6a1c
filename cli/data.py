"""``evaluator data sample`` and ``evaluator data corrupt``."""

from pathlib import Path
from typing import Annotated

import typer

from .options import Corruptions, Severities, numbers_of, words_of

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Make data to try the tool on. Numbers from generated data are marked.",
)

Target = Annotated[Path, typer.Argument(metavar="DIR", help="Where the tree will stand.")]


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
    source: Annotated[
        Path, typer.Argument(metavar="SOURCE", help="Clean photos in class folders.")
    ],
    folder: Target,
    corruptions: Corruptions = None,
    severities: Severities = None,
    seed: Annotated[int, typer.Option(min=0, help="The same seed makes the same bytes.")] = 0,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes. Default: one a core.")
    ] = None,
) -> None:
    """Write an ImageNet-C-style tree of clean photos, marked as generated."""
    from ..evaluate.benchmarks.imagenet_c import CORRUPTIONS, SEVERITIES
    from ..workflow.data import corrupt_photos
    from .console import progress

    with progress() as shown:
        count = corrupt_photos(
            source,
            folder,
            corruptions=words_of(corruptions, "--corruptions") or CORRUPTIONS,
            severities=numbers_of(severities, "--severities") or SEVERITIES,
            seed=seed,
            workers=workers,
            progress=shown,
        )
    print(
        f"{count} corrupted photos in {folder}. Score them with: evaluator score MODEL "
        f"imagenet-c --data {folder}"
    )
