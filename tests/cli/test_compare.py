"""``evaluator compare`` from the command line."""

import json
from pathlib import Path

from evaluator.contracts import Condition
from evaluator.tests.command_line import run
from evaluator.tests.written_runs import write_run


def test_two_runs_make_tables_a_document_and_markdown(tmp_path: Path) -> None:
    a = write_run(tmp_path / "a", conditions=(Condition(),))
    b = write_run(tmp_path / "b", conditions=(Condition(),), model="alexnet", right=2)
    done = run("compare", a, b, "--json", tmp_path / "c.json", "--markdown", tmp_path / "c.md")
    assert (done.returncode, done.stderr) == (0, "")
    assert "a difference below zero: B is better" in done.stdout
    document = json.loads((tmp_path / "c.json").read_text())
    assert [d["metric"] for d in document["differences"]] == ["top1_error", "top5_error"]
    assert (tmp_path / "c.md").read_text().startswith("# Robustness comparison")


def test_what_cannot_be_compared_is_one_line(tmp_path: Path) -> None:
    a = write_run(tmp_path / "a", conditions=(Condition(),))
    done = run("compare", a, a)
    assert done.returncode == 1
    assert done.stderr == f"error: A and B are the same run, {a}. Give two.\n"
