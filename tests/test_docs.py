"""The documentation: complete, within its limits, and true of commands, files and links."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main

import evaluator
from evaluator.cli import app

ROOT = Path(evaluator.__file__).parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
TEXT = "\n".join(page.read_text() for page in PAGES)
WIDTH = 120


def commands(command: Any, *words: str) -> Iterator[tuple[tuple[str, ...], Any]]:
    if words:
        yield words, command
    for name, child in getattr(command, "commands", {}).items():
        yield from commands(child, *words, name)


ROOT_COMMAND = typer.main.get_command(app)
COMMANDS = dict(commands(ROOT_COMMAND))


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_a_command_and_its_options_are_documented(words: tuple[str, ...]) -> None:
    assert f"evaluator {' '.join(words)}" in TEXT
    options = {name for parameter in COMMANDS[words].params for name in parameter.opts}
    flags = {name for name in options if name.startswith("--")}
    assert not {name for name in flags if not re.search(rf"{name}(?![\w-])", TEXT)}


@pytest.mark.parametrize(("page", "lines"), [("README.md", 160), ("docs/architecture.md", 200)])
def test_a_page_that_is_read_first_is_short(page: str, lines: int) -> None:
    text = (ROOT / page).read_text().splitlines()
    assert len(text) <= lines
    assert not [line for line in text if len(line) > WIDTH]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\((?!https?:)([^)#\s]+)", page.read_text())
    assert not [link for link in links if not (page.parent / link).exists()]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_of_the_package_that_are_named_exist(page: Path) -> None:
    packages = "|".join(sorted(path.name for path in ROOT.iterdir() if path.is_dir()))
    names = re.findall(rf"`((?:{packages})/[\w/.-]*)`", page.read_text())
    assert not [name for name in names if not (ROOT / name).exists()]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_of_examples_can_be_typed(page: Path) -> None:
    for line in re.findall(r"^\$ evaluator (.*)", page.read_text(), re.MULTILINE):
        words = shlex.split(line, comments=True)
        command: Any = ROOT_COMMAND
        while words and words[0] in getattr(command, "commands", {}):
            command = command.commands[words.pop(0)]
        command.make_context("evaluator", words)  # raises where an option or argument is wrong
