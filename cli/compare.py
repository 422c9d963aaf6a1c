"""``evaluator compare``."""

from pathlib import Path
from typing import Annotated

import typer

from .options import JsonOption, option, takes_options

Runs = "A run, or a folder with the runs of one model."


class CompareOptions:
    """Options of ``compare``."""

    markdown: Path | None = option(
        "Options", "Write the comparison as Markdown; - is standard output.", metavar="FILE"
    )


@takes_options(CompareOptions, JsonOption)
def compare(
    a: Annotated[Path, typer.Argument(metavar="A", help=Runs)],
    b: Annotated[Path, typer.Argument(metavar="B", help=Runs)],
    markdown: Path | None,
    json: Path | None,
) -> None:
    """Show by how much model B is worse or better than A on the same images, with intervals."""
    from ..reporting.notes_at_end import notes_at_end
    from ..workflow.report.compare import compare as make_comparison
    from .console import check_outputs, show

    check_outputs(markdown, json)
    result = make_comparison(a, b)
    tables = notes_at_end(result.tables())
    show(tables, (markdown, result.markdown()), (json, result.document()))
