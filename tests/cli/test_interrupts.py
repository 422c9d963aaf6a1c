"""Interrupts before a command works, and those that a library turns into another error."""

import os
import signal
import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals are POSIX")

LINE = (
    "Interrupted. Finished work is kept; continue with the same command: evaluator score 'a model'"
)

WHILE_IMPORTING = """
import importlib.abc, os, signal, sys
class Finder(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name == "{module}":
            os.kill(os.getpid(), signal.{number})
sys.meta_path.insert(0, Finder())
from evaluator.__main__ import main
main()
"""

INSTEAD_OF_A_COMMAND = """
import os, signal, sys
from evaluator import cli
from evaluator.errors import InputError
def app(**options):
    try:
        os.kill(os.getpid(), signal.SIGINT)
        signal.pause()
    except KeyboardInterrupt as error:
        raise {error} from error
cli.app = app
cli.main()
"""

INSIDE_A_COMMAND = """
import importlib, os, signal, sys
from evaluator import cli
from evaluator.errors import InputError
def interrupted(*_, **__):
    try:
        os.kill(os.getpid(), signal.SIGINT)
        signal.pause()
    except KeyboardInterrupt as error:
        raise {error} from error
module = importlib.import_module("evaluator.{module}")
module.{function} = interrupted
cli.main()
"""


def lines_of(program: str, *words: str) -> list[str]:
    """Lines on standard error of a program that must end as an interrupted command does."""
    start = f"import sys; sys.argv = ['evaluator', *{list(words)!r}]\n"
    done = subprocess.run(
        [sys.executable, "-c", start + program],
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    assert done.returncode == 130, done.stderr
    assert done.stdout == ""
    return done.stderr.splitlines()


@pytest.mark.parametrize("number", ["SIGINT", "SIGTERM"])
@pytest.mark.parametrize("module", ["evaluator.cli", "typer", "evaluator.cli.score"])
def test_an_interrupt_while_modules_are_imported_is_one_line(module: str, number: str) -> None:
    program = WHILE_IMPORTING.format(module=module, number=number)
    assert lines_of(program, "score", "a model") == [LINE]


@pytest.mark.parametrize(
    "error",
    ["error", "ImportError('initialization failed')", "SystemExit(1)", "InputError('wrong')"],
)
def test_an_interrupt_that_became_another_error_is_one_line(error: str) -> None:
    program = INSTEAD_OF_A_COMMAND.format(error=error)
    assert lines_of(program, "score", "a model") == [LINE]


@pytest.mark.parametrize(
    ("module", "function"),
    [("exporter.factories", "is_factory"), ("workflow.report.report", "report")],
)
def test_an_interrupt_is_one_line_while_words_are_read_and_while_a_command_works(
    module: str, function: str
) -> None:
    words = ["report", "runs"] if function == "report" else ["parity", "a model"]
    for error in ("error", "InputError('wrong')"):
        program = INSIDE_A_COMMAND.format(module=module, function=function, error=error)
        (line,) = lines_of(program, *words)
        assert line.startswith("Interrupted. Finished work is kept; continue with the same")
