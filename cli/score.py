"""``evaluator score``."""

from pathlib import Path
from typing import Annotated, Any

import typer

from .config import ConfigOption, configured
from .options import (
    BATCH_SIZE,
    CORRUPTIONS,
    DEVICES,
    ENGINE,
    LABELS,
    ON_ERROR,
    PERTURBATIONS,
    SEVERITIES,
    VERIFY_DATA,
    EngineOptions,
    JsonOption,
    Model,
    option,
    takes_options,
)
from .report import run_and_report


class ScoreOptions:
    """Options of ``score``."""

    data: list[Path] | None = option(
        "Data",
        "Images or videos of the benchmark: a folder, or a tar file, which is read "
        "without unpacking. Repeat the option for several. Default: the place in evaluator.toml.",
        metavar="PATH",
    )
    labels: Path | None = LABELS
    out: Path | None = option(
        "Output", "Folder of the run. Default: runs/<model>/<benchmark>-<hash>.", metavar="DIR"
    )
    engine: str | None = ENGINE
    device: str | None = DEVICES
    batch_size: int | None = BATCH_SIZE
    limit: int | None = option(
        "Data",
        "Images or videos per condition, evenly spaced over all of them. Default: all.",
        metavar="N",
        min=1,
    )
    corruptions: list[str] | None = CORRUPTIONS
    severities: list[str] | None = SEVERITIES
    perturbations: list[str] | None = PERTURBATIONS
    parity: bool = option(
        "Engine", "Score only on an engine that agrees with PyTorch.", default=True
    )
    on_error: str = ON_ERROR
    verify_data: bool = VERIFY_DATA


@takes_options(ScoreOptions, JsonOption, EngineOptions, ConfigOption)
@configured(benchmark="imagenet")
def score(
    model: Model,
    benchmark: Annotated[
        str,
        typer.Argument(
            metavar="BENCHMARK",
            help="One of imagenet, imagenet-c, imagenet-p, cue-conflict and imagenet-a.",
        ),
    ],
    **options: Any,
) -> None:
    """Score a model on a benchmark. Run the same command again to resume."""
    from ..workflow.score import score

    run_and_report(score, model, benchmark, **options)
