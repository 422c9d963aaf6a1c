"""``evaluator gate``."""

from pathlib import Path
from typing import Annotated, Any

import typer

from .options import JsonOption, option, takes_options


class GateOptions:
    """Options of ``gate``."""

    rules: Path = option("Options", "TOML file with the rules.", default=..., metavar="FILE.toml")
    baseline: Path | None = option(
        "Options",
        "Run that max_increase and max_decrease are measured against, or a folder with the runs of "
        "one model. Default: the baseline in the rules.",
        metavar="RUN",
    )
    junit: Path | None = option(
        "Output", "Write the verdicts as JUnit XML; - is standard output.", metavar="FILE"
    )


@takes_options(GateOptions, JsonOption)
def gate(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Runs, or folders of runs.")],
    rules: Path,
    junit: Path | None,
    json: Path | None,
    **options: Any,
) -> None:
    """Check rules for a release on the numbers of runs; the exit code is the verdict."""
    from ..workflow.gate.gate import gate as check_rules
    from .console import check_outputs, is_stdout, say, show

    check_outputs(json, junit)
    result = check_rules(runs, rules, **options)
    if not any(is_stdout(path) for path in (json, junit)):
        for line in result.lines():
            print(line)
    show([], (json, result.document()), (junit, result.junit()))
    for note in result.notes:
        say(f"note: {note}")
    raise typer.Exit(result.exit_code)
