"""``evaluator report``."""

from pathlib import Path
from typing import Annotated

import typer

from ..errors import printable
from .options import Json


def report(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Runs, or folders of runs.")],
    markdown: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write the report as Markdown; - is standard output."),
    ] = None,
    published: Annotated[
        bool, typer.Option("--published", help="Show all the paper's models, not only yours.")
    ] = False,
    figures: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Draw figures into this folder, as PNG and SVG."),
    ] = None,
    normalize_by: Annotated[
        Path | None,
        typer.Option(
            metavar="RUN",
            help="Run of imagenet-p, usually of AlexNet, to normalise mT5D and a second mFR by.",
        ),
    ] = None,
    verbose: Annotated[
        bool, typer.Option("--verbose", help="Print every diagnostic of the attacks.")
    ] = False,
    json: Json = None,
) -> None:
    """Show the numbers of runs, beside the published ones."""
    from ..workflow.report.report import report as make_report
    from .console import (
        check_outputs,
        is_stdout,
        print_tables,
        progress,
        say,
        write_json,
        write_text,
    )

    check_outputs(markdown, json)
    if figures is not None:
        from ..workflow.report.figures import check_figures

        check_figures(figures)
    result = make_report(runs, all_published=published, normalize_by=normalize_by)
    if not is_stdout(json) and not is_stdout(markdown):
        print_tables(result.terminal_tables(verbose=verbose))
    if markdown is not None:
        write_text(markdown, result.markdown())
    if json is not None:
        write_json(json, result.document())
    if figures is not None:
        with progress() as bars:
            written = result.write_figures(figures, bars)
        for line in (*written.notes, *(f"Figure: {printable(path)}" for path in written.files)):
            say(line)
