"""``evaluator data``: fetching and verifying data sets, and making sample and generated data."""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from .command_help import Command, command_group
from .options import (
    CORRUPTIONS,
    PERTURBATIONS,
    SEVERITIES,
    JsonOption,
    option,
    takes_options,
)

INCOMPLETE = 1
"""Exit code for data that are not complete, and for ImageNet, which cannot be fetched."""

app = command_group(
    "Fetch and verify public data sets; create sample photos, corrupted images and perturbed "
    "videos. Reports mark numbers of generated data.",
    "evaluator data fetch imagenet-a --out /data/imagenet-a",
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


class FetchOptions:
    """Options of ``data fetch``."""

    out: Path | None = option(
        "Output", "Folder for the files. Default: a folder NAME here.", metavar="DIR"
    )
    mirror: str | None = option(
        "Data", "Another server that has the files, as URL/NAME/FILE.", metavar="URL"
    )


class VerifyOptions:
    """Options of ``data verify``."""

    benchmark: str | None = option(
        "Data", "Benchmark of the data. Default: recognised from the content.", metavar="NAME"
    )
    labels: Path | None = option(
        "Data", "List of classes, for images that are not in class folders.", metavar="FILE"
    )
    sums: bool = option(
        "Data",
        "Compare archives with their published or pinned checksums, or not.",
        default=True,
    )
    decode: bool = option(
        "Data",
        "Decode every image. Otherwise only the first and last bytes are checked.",
        "--decode",
        default=False,
    )


@app.command(cls=Command, epilog="evaluator data fetch imagenet-c --out /data/imagenet-c")
@takes_options(FetchOptions, JsonOption)
def fetch(
    name: Annotated[
        str | None,
        typer.Argument(metavar="NAME", help="Name of a data set. Without it, all are listed."),
    ] = None,
    *,
    json: Path | None,
    **options: Any,
) -> None:
    """Fetch a public data set, or list them. The same command resumes it."""
    from ..workflow.data.fetch import fetch_data, how_to_get_imagenet, list_data_sets
    from ..workflow.data.table import IMAGENET
    from .console import check_outputs, progress, show
    from .data_tables import data_sets_document, data_sets_table, fetched_document, fetched_table

    check_outputs(json)
    if name is None:
        data_sets = list_data_sets()
        show([data_sets_table(data_sets)], (json, data_sets_document(data_sets)))
        return
    if name == IMAGENET.name:
        print("\n".join(["ImageNet is not fetched.", *how_to_get_imagenet()]))
        raise typer.Exit(INCOMPLETE)
    with progress() as display:
        fetched = fetch_data(name, progress=display, **options)
    show([fetched_table(fetched)], (json, fetched_document(fetched)))


@app.command(cls=Command, epilog="evaluator data verify /data/imagenet-c --json check.json")
@takes_options(VerifyOptions, CorruptionOptions, PerturbationOptions, JsonOption)
def verify(
    path: Annotated[Path, typer.Argument(metavar="PATH", help="Folder or tar file to check.")],
    *,
    json: Path | None,
    **options: Any,
) -> None:
    """Check that data are complete: names, counts, checksums. Exit code 1 if they are not."""
    from ..workflow.data.verify import verify_data
    from .console import check_outputs, progress, show
    from .data_tables import check_table

    check_outputs(json)
    with progress() as display:
        check = verify_data(path, progress=display, **options)
    show([check_table(check)], (json, check.document()))
    if not check.is_complete:
        raise typer.Exit(INCOMPLETE)


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
