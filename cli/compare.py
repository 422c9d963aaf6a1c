"""``evaluator compare``."""

from pathlib import Path
from typing import Annotated

import typer

from .options import Json

Runs = "A run, or a folder with the runs of one model."


def compare(
    a: Annotated[Path, typer.Argument(metavar="A", help=Runs)],
    b: Annotated[Path, typer.Argument(metavar="B", help=Runs)],
    markdown: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Write the comparison as Markdown; - is standard output."
        ),
    ] = None,
    json: Json = None,
) -> None:
    """Show by how much model B is worse or better than A on the same images, with intervals."""
    from ..reporting.notes_at_end import notes_at_end
    from ..workflow.report.compare import compare as make_comparison
    from .console import check_outputs, is_stdout, print_tables, write_json, write_text

    check_outputs(markdown, json)
    result = make_comparison(a, b)
    if not is_stdout(json) and not is_stdout(markdown):
        print_tables(notes_at_end(result.tables()))
    if markdown is not None:
        write_text(markdown, result.markdown())
    if json is not None:
        write_json(json, result.document())
