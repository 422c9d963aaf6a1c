"""``evaluator gate`` from the command line, and the examples of its page."""

import json
import re
import shlex
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest
import typer.main

import evaluator
from evaluator.cli import app
from evaluator.contracts import Condition
from evaluator.tests.command_line import error_of, run
from evaluator.tests.written_runs import write_run
from evaluator.workflow.gate.rules import read_rules

PAGE = (Path(evaluator.__file__).parent / "docs" / "release-gate.md").read_text()
RULE = "[[rule]]\nmetric = 'top1_error'\nallow_partial = true\nname = '{}'\nmax = {}\n"


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)


def test_lines_files_and_exit_codes(tmp_path: Path) -> None:
    one = write_run(tmp_path / "one", conditions=(Condition(),))
    rules, junit = tmp_path / "rules.toml", tmp_path / "gate.xml"
    for names, code in (("good", 0), ("good open", 4), ("good open <b>bad", 3)):
        limits = zip(names.split(), (0.9, 0.5, 0.1), strict=False)
        rules.write_text("".join(RULE.format(*each) for each in limits))
        done = run("gate", one, "--rules", rules, "--junit", junit, "--json", tmp_path / "g.json")
        assert done.returncode == code
        words = [line.split()[0] for line in done.stdout.splitlines()]
        assert words == ["pass", "undecided", "fail"][: len(words)]
        assert len(words) == len(names.split())
    cases = ET.parse(junit).getroot().iter("testcase")
    kinds = {case.get("name"): [child.tag for child in case] for case in cases}
    assert kinds == {"good": ["system-out"], "open": ["error"], "<b>bad": ["failure"]}
    document = json.loads((tmp_path / "g.json").read_text())
    assert (document["schema"], document["verdict"]) == (1, "fail")
    assert document["rules"][2]["checks"][0]["number"]["value"] == 0.5


def test_a_document_on_standard_output_is_alone_there(tmp_path: Path) -> None:
    one = write_run(tmp_path / "one", conditions=(Condition(),))
    rules = tmp_path / "rules.toml"
    rules.write_text(RULE.format("open", 0.5))
    done = run("gate", one, "--rules", rules, "--json", "-")
    assert (done.returncode, json.loads(done.stdout)["verdict"]) == (4, "undecided")
    done = run("gate", one, "--rules", rules, "--junit", "-")
    assert ET.fromstring(done.stdout.encode())[0].get("errors") == "1"


def test_errors_are_one_line(tmp_path: Path) -> None:
    rules = tmp_path / "rules.toml"
    rules.write_text(RULE.format("a", "nan"))
    line = error_of(run("gate", tmp_path, "--rules", rules))
    assert line == f"{rules}: rule 1: max must be a finite number; got nan."
    rules.write_text(RULE.format("a", "0.1"))
    assert "none is not a folder" in error_of(run("gate", tmp_path / "none", "--rules", rules))
    assert run("gate", tmp_path).returncode == 2


def test_the_rules_of_the_page_are_valid(tmp_path: Path) -> None:
    names = []
    for text in blocks("toml"):
        (tmp_path / "rules.toml").write_text(text)
        names.append([rule.name for rule in read_rules(tmp_path / "rules.toml").rules])
    assert [each[:2] for each in names] == 2 * [["parity", "clean error"]]


def test_the_workflow_of_the_page_is_valid() -> None:
    yaml = pytest.importorskip("yaml")
    (text,) = blocks("yaml")
    workflow = yaml.safe_load(text)
    triggers = workflow[True]  # YAML 1.1 reads `on` as true
    assert set(triggers) == {"pull_request", "workflow_dispatch"}
    (job,) = workflow["jobs"].values()
    assert job["runs-on"]
    assert all(("uses" in step) != ("run" in step) for step in job["steps"])
    commands = [line for step in job["steps"] for line in step.get("run", "").splitlines()]
    root: Any = typer.main.get_command(app)
    parsed = [shlex.split(line)[1:] for line in commands if line.startswith("evaluator ")]
    assert [words[0] for words in parsed] == ["score", "score", "gate"]
    for words in parsed:
        root.commands[words[0]].make_context("evaluator", words[1:])  # raises if it is wrong
