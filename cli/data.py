"""``evaluator data sample``, ``evaluator data corrupt`` and ``evaluator data perturb``."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from .command_help import Command, command_group
from .options import CORRUPTIONS, PERTURBATIONS, SEVERITIES, option, takes_options

app = command_group(
    "Create sample photos, corrupted images and perturbed videos. Reports mark numbers of "
    "generated data.",
    "evaluator data sample photos",
)

Target = Annotated[Path, typer.Argument(metavar="DIR", help="Folder for the result.")]
Source = Annotated[
    Path, typer.Argument(metavar="SOURCE", help="Folder of clean photos, in class folders.")
]


class CorruptionOptions:
    """Options of ``data corrupt``."""

    corruptions: list[str] | None = CORRUPTIONS
    severities: list[str] | None = SEVERITIES


class PerturbationOptions:
    """Options of ``data perturb``."""

    perturbations: list[str] | None = PERTURBATIONS


class GenerationOptions:
    """Options of commands that make images of photos."""

    seed: int = option(
        "Data",
        "Seed of the noise. The same seed gives the same bytes.",
        default=0,
        metavar="N",
        min=0,
    )
    limit: int | None = option(
        "Data", "Number of photos to use, evenly spaced over all of them.", metavar="N", min=1
    )
    workers: int | None = option(
        "Engine", "Number of processes. Default: one per core.", metavar="N", min=1
    )


@app.command(cls=Command, epilog="evaluator data sample photos")
def sample(folder: Target) -> None:
    """Write twenty labelled photos into class folders."""
    from ..evaluate.generate.photos import sample_photos

    _print_made(sample_photos(folder), "photos", folder, "imagenet")


@app.command(cls=Command, epilog="evaluator data corrupt photos photos-c --corruptions fog,snow")
@takes_options(CorruptionOptions, GenerationOptions)
def corrupt(source: Source, folder: Target, **options: Any) -> None:
    """Make corrupted photos as in ImageNet-C, marked as generated."""
    from ..evaluate.generate.corruptions import corrupt_photos

    count = _generate(corrupt_photos, source, folder, options)
    _print_made(count, "corrupted photos", folder, "imagenet-c")


@app.command(cls=Command, epilog="evaluator data perturb photos photos-p --perturbations tilt")
@takes_options(PerturbationOptions, GenerationOptions)
def perturb(source: Source, folder: Target, **options: Any) -> None:
    """Make perturbed videos as in ImageNet-P, marked as generated."""
    from ..evaluate.generate.perturbations import perturb_photos

    count = _generate(perturb_photos, source, folder, options)
    _print_made(count, "perturbed sequences", folder, "imagenet-p")


def _generate(make: Callable[..., int], source: Path, folder: Path, options: dict[str, Any]) -> int:
    """Make images and return their number. Options that are not given are left to ``make``."""
    from .console import progress

    given = {name: value for name, value in options.items() if value is not None}
    with progress() as display:
        return make(source, folder, progress=display, **given)


def _print_made(count: int, noun: str, folder: Path, benchmark: str) -> None:
    print(
        f"{count} {noun} in {folder}. Score them with: evaluator score MODEL {benchmark} "
        f"--data {folder}"
    )
