"""The command line: one module a command. It parses, prints and exits; jobs are in ``workflow``.

Nothing heavy is imported before a command runs, so that ``evaluator --help`` answers at once.
"""

import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from ..errors import EvaluatorError
from ..system.malloc import share_one_arena
from . import (
    attack,
    bench,
    cache,
    compare,
    compile,
    data,
    export,
    maximize,
    models,
    parity,
    report,
    score,
)
from .console import checked_stdout, say
from .interrupts import INTERRUPTED, leave, say_interrupted, watch_interrupts


class _Commands(TyperGroup):
    """Turns what a user can act on into one line and an exit code; bugs keep their traceback."""

    def main(self, *args: Any, **options: Any) -> Any:
        try:
            with checked_stdout():
                return super().main(*args, **options)
        except EvaluatorError as error:
            say(f"error: {error}")
            sys.exit(error.exit_code)

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt as error:
            say_interrupted()
            raise typer.Exit(INTERRUPTED) from error


app = typer.Typer(
    cls=_Commands,
    name="evaluator",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Robustness of image classifiers, in numbers that can be compared with the literature.",
)
app.command("models")(models.models)
app.command("export")(export.export)
app.command("parity")(parity.parity)
app.command("compile")(compile.compile_)
app.command("bench")(bench.bench)
app.command("score")(score.score)
app.command("maximize")(maximize.maximize)
app.command("report")(report.report)
app.command("compare")(compare.compare)
app.add_typer(attack.app, name="attack")
app.add_typer(data.app, name="data")
app.add_typer(cache.app, name="cache")


def _version(asked: bool) -> None:
    if asked:
        import importlib.metadata

        print(f"evaluator {importlib.metadata.version('evaluator')}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    pass


def main() -> None:
    """Run the command line."""
    share_one_arena()  # before the thread that draws progress takes one of its own
    watch_interrupts()
    try:
        app()
    except SystemExit as end:
        if end.code:
            # Threads may still compute, or libraries begin some: Python's own end aborts on them.
            leave(end.code if isinstance(end.code, int) else 1)
        raise
