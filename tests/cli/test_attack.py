"""``evaluator attack`` as a user meets it."""

import json
from pathlib import Path

import pytest

from evaluator.tests.command_line import error_of, run


def test_an_attack_prints_its_numbers_and_whether_they_can_be_believed(
    photos: Path, tmp_path: Path
) -> None:
    words: list[str | Path] = [
        "attack", "whitebox", "efficientnet_lite0", "--data", photos, "--epsilon", "0.002,4/255",
        "--steps", "1,2", "--limit", "2", "--traced", "1", "--out", tmp_path / "run",
    ]  # fmt: skip
    done = run(*words, "--json", tmp_path / "report.json")
    assert done.returncode == 0, done.stderr
    assert "Attacking efficientnet_lite0: 2 images at epsilon 0.002, 4/255, into" in done.stderr
    assert "White-box attack over epsilon: still right, %" in done.stdout
    assert "Is the attack reliable?" in done.stdout
    document = json.loads((tmp_path / "report.json").read_text())
    assert {score["epsilon"] for score in document["scores"]} == {None, 0.002, 4 / 255}
    assert "Undecided: " in done.stdout or "No: " in done.stdout
    verbose = run("report", tmp_path / "run", "--verbose")
    assert "efficientnet_lite0, 2 steps: is the attack reliable?" in verbose.stdout
    again = run(*words)
    assert again.returncode == 0
    assert again.stdout == done.stdout


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--epsilon", "8/0"], "--epsilon takes a number such as 0.01 or 8/255; got '8/0'."),
        (["--epsilon", "2"], "An epsilon of 2 is outside (0, 1]"),
        (["--steps", "ten"], "--steps takes whole numbers"),
        (["--step-size", "small"], "--step-size takes a number"),
        (["--restarts", "0"], "0 restarts: expected at least 1"),
    ],
)
def test_a_wrong_choice_is_one_line(words: list[str], message: str, tmp_path: Path) -> None:
    done = run("attack", "whitebox", "resnet50", "--data", ".", *words, cwd=tmp_path)
    assert message in error_of(done)


def test_scoring_an_attack_says_which_command_attacks(tmp_path: Path) -> None:
    done = run("score", "resnet50", "whitebox", "--data", ".", cwd=tmp_path)
    assert "is an attack, not a benchmark: use `evaluator attack whitebox MODEL`" in error_of(done)
