"""``evaluator report``."""

from pathlib import Path
from typing import Annotated

import typer

from .options import Json


def report(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Runs, or folders of runs.")],
    markdown: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the tables as Markdown.")
    ] = None,
    published: Annotated[
        bool, typer.Option("--published", help="Show all the paper's models, not only yours.")
    ] = False,
    json: Json = None,
) -> None:
    """Show what runs add up to, beside the published numbers."""
    from ..storage.atomic import write_whole
    from ..workflow.report import report as make_report
    from .console import print_tables, write_json

    result = make_report(runs, all_published=published)
    if markdown is not None:
        write_whole(markdown, result.markdown().encode())
    if json is not None:
        write_json(json, result.document())
    if json is None or str(json) != "-":
        print_tables(result.tables())
