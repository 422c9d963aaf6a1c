"""``evaluator report``, and the report after a command that makes runs."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import printable
from .options import JsonOption, option, takes_options

if TYPE_CHECKING:
    from ..contracts import Run


class ReportOptions:
    """Options of ``report``."""

    markdown: Path | None = option(
        "Options", "Write the report as Markdown; - is standard output.", metavar="FILE"
    )
    html: Path | None = option(
        "Options",
        "Write the report as one HTML page; - is standard output. Folders of maximizing images "
        "among RUN... or inside them are shown.",
        metavar="FILE",
    )
    latex: Path | None = option(
        "Options",
        "Write the tables as LaTeX with booktabs, for an article; - is standard output.",
        metavar="FILE",
    )
    csv: Path | None = option(
        "Options",
        "Write each table as CSV into this folder, and every number into scores.csv.",
        metavar="DIR",
    )
    all_published: bool = option(
        "Options", "Show all the paper's models, not only yours.", "--published", default=False
    )
    figures: Path | None = option(
        "Options", "Draw figures into this folder, as PNG and SVG.", metavar="DIR"
    )
    normalize_by: Path | None = option(
        "Options",
        "Run of imagenet-p, usually of AlexNet, to normalise mT5D and a second mFR by.",
        metavar="RUN",
    )
    verbose: bool = option(
        "Options", "Print every diagnostic of the attacks.", "--verbose", default=False
    )


@takes_options(ReportOptions, JsonOption)
def report(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Runs, or folders of runs.")],
    markdown: Path | None,
    html: Path | None,
    latex: Path | None,
    csv: Path | None,
    figures: Path | None,
    verbose: bool,
    json: Path | None,
    **options: Any,
) -> None:
    """Show the numbers of runs, beside the published ones."""
    from ..workflow.report.report import check_csv
    from ..workflow.report.report import report as make_report
    from .console import check_outputs, progress, say, show

    check_outputs(markdown, html, latex, json)
    if csv is not None:
        check_csv(csv)
    if figures is not None:
        from ..workflow.report.figures import check_figures

        check_figures(figures)
    page = None
    if html is None:
        result = make_report(runs, **options)
    else:
        from ..workflow.report.maximized import split_folders

        run_folders, maximized = split_folders(runs)
        result = make_report(run_folders, **options)
        with progress() as bars:
            page = result.html(maximized, bars)
    tables = result.terminal_tables(verbose=verbose)
    texts = ((markdown, result.markdown()), (html, page), (latex, result.latex()))
    show(tables, *texts, (json, result.document()))
    if csv is not None:
        say(f"CSV: {len(result.write_csv(csv))} files in {printable(csv)}")
    if figures is not None:
        with progress() as bars:
            written = result.write_figures(figures, bars)
        for line in (*written.notes, *(f"Figure: {printable(path)}" for path in written.files)):
            say(line)


def run_and_report(
    job: "Callable[..., Run | tuple[Run, ...]]",
    *arguments: str | list[str],
    json: Path | None,
    **options: Any,
) -> None:
    """Do a job that makes runs, then report on them.

    Args:
        job: Function of the Python API that returns a run or several.
        arguments: Its positional arguments.
        json: File for the report, ``-`` for standard output.
        options: Its keywords, without ``progress``.
    """
    from .console import check_outputs, progress, show

    check_outputs(json)
    with progress() as display:
        result = job(*arguments, progress=display, **options)
        from ..workflow.report.report import report as make_report  # the job need not wait for it

        runs = result if isinstance(result, tuple) else (result,)
        contents = make_report([run.folder for run in runs])
        for run in runs:
            display.note(f"Run: {run.folder}")
    show(contents.terminal_tables(), (json, contents.document()))
