"""``evaluator score``."""

from pathlib import Path
from typing import Annotated, Unpack

import typer

from ..workflow.models.options import GraphOptions
from .command_help import DATA, ENGINE, OUTPUT, option
from .options import (
    BatchSize,
    Corruptions,
    Device,
    Engine,
    Json,
    Labels,
    Model,
    OnError,
    Perturbations,
    Severities,
    VerifyData,
    parse_numbers,
    parse_words,
    takes_model_options,
)


@takes_model_options(GraphOptions)
def score(
    model: Model,
    benchmark: Annotated[
        str,
        typer.Argument(
            metavar="BENCHMARK",
            help="One of imagenet, imagenet-c, imagenet-p, cue-conflict and imagenet-a.",
        ),
    ],
    data: Annotated[
        list[Path],
        option(
            DATA,
            "Images or videos of the benchmark: a folder, or a tar file, which is read "
            "without unpacking. Repeat the option for several.",
            metavar="PATH",
        ),
    ],
    labels: Labels = None,
    out: Annotated[
        Path | None,
        option(
            OUTPUT, "Folder of the run. Default: runs/<model>/<benchmark>-<hash>.", metavar="DIR"
        ),
    ] = None,
    engine: Engine = None,
    device: Device = None,
    batch_size: BatchSize = None,
    limit: Annotated[
        int | None,
        option(
            DATA,
            "Images or videos per condition, evenly spaced over all of them. Default: all.",
            metavar="N",
            min=1,
        ),
    ] = None,
    corruptions: Corruptions = None,
    severities: Severities = None,
    perturbations: Perturbations = None,
    parity: Annotated[
        bool,
        option(ENGINE, "Score only on an engine that agrees with PyTorch."),
    ] = True,
    on_error: OnError = "fail",
    verify_data: VerifyData = False,
    json: Json = None,
    **options: Unpack[GraphOptions],
) -> None:
    """Score a model on a benchmark. Run the same command again to resume."""
    from ..workflow.score import score as score_model
    from .console import check_outputs, is_stdout, print_tables, progress, write_json

    check_outputs(json)
    with progress() as display:
        run = score_model(
            model,
            benchmark,
            data,
            labels=labels,
            out=out,
            engine=engine,
            device=device,
            batch_size=batch_size,
            limit=limit,
            corruptions=parse_words(corruptions, "--corruptions"),
            severities=parse_numbers(severities, "--severities"),
            perturbations=parse_words(perturbations, "--perturbations"),
            parity=parity,
            on_error=on_error,
            verify_data=verify_data,
            progress=display,
            **options,
        )
        from ..workflow.report.report import report  # after scoring, which need not wait for it

        result = report([run.folder])
        display.note(f"Run: {run.folder}")
    if not is_stdout(json):
        print_tables(result.terminal_tables())
    if json is not None:
        write_json(json, result.document())
