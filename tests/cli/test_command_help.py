"""Help: options in groups, and an example at the end of each that is a command of this program."""

import re
import shlex
from collections.abc import Iterator
from typing import Any

import pytest
import typer.main

from evaluator.cli import app
from evaluator.cli.options import GROUPS
from evaluator.tests.command_line import run


def commands(command: Any, *words: str) -> Iterator[tuple[tuple[str, ...], Any]]:
    yield words, command
    for name, child in getattr(command, "commands", {}).items():
        yield from commands(child, *words, name)


COMMANDS = dict(commands(typer.main.get_command(app)))


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_help_ends_with_an_example_that_can_be_typed(words: tuple[str, ...]) -> None:
    *_, heading, example = run(*words, "--help").stdout.splitlines()
    assert heading == "Example:"
    assert re.match(f"evaluator{'' if not words else ' '}{' '.join(words)}( |$)", example.strip())
    typed = shlex.split(example)[1:]
    command = COMMANDS[()]
    while typed and typed[0] in getattr(command, "commands", {}):
        command = command.commands[typed.pop(0)]
    command.make_context("evaluator", typed)  # raises where an option or argument is wrong


def test_options_stand_in_groups_in_one_order() -> None:
    headings = re.findall(r"^(\w+):$", run("attack", "transfer", "--help").stdout, re.MULTILINE)
    assert headings == ["Arguments", "Model", "Data", "Attack", "Engine", "Output", "Options",
                        "Example"]  # fmt: skip


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_each_option_is_explained_in_its_group(words: tuple[str, ...]) -> None:
    for parameter in COMMANDS[words].params:
        assert parameter.help.endswith("."), parameter.name
        assert parameter.rich_help_panel in (None, *GROUPS)


@pytest.mark.parametrize(
    ("typed", "completed"), [("evaluator att", "attack"), ("evaluator score --sev", "--severities")]
)
def test_a_shell_completes_commands_and_options(
    typed: str, completed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "--install-completion" in run("--help").stdout
    monkeypatch.setenv("_EVALUATOR_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", typed)
    monkeypatch.setenv("COMP_CWORD", str(typed.count(" ")))
    assert run().stdout.split() == [completed]


def test_without_arguments_the_first_steps_are_shown() -> None:
    result = run()
    assert result.returncode == 0
    for line in re.findall(r"^  evaluator (.*?)(?:   .*)?$", result.stdout, re.MULTILINE):
        words = line.split()
        command: Any = typer.main.get_command(app)
        while words and words[0] in getattr(command, "commands", {}):
            command = command.commands[words.pop(0)]
        command.make_context("evaluator", words)  # raises where an option or argument is wrong
