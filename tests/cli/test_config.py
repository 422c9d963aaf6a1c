"""What commands take from ``evaluator.toml``, and that the command line wins."""

from pathlib import Path
from typing import Any

import pytest

from evaluator.tests.command_line import error_of, run
from evaluator.workflow.models.options import ModelOptions

TEXT = """
[data]
imagenet = "val"
imagenet-c = ["noise.tar", "blur.tar"]
labels = "val.txt"

[models.mine]
model = "resnet50"
weights = "mine.pt"

[models.described]
model = "resnet50"
description = "net.toml"
"""

JOBS = {
    "score": "evaluator.workflow.score.score",
    "whitebox": "evaluator.workflow.attack.whitebox.attack_whitebox",
    "transfer": "evaluator.workflow.attack.transfer.attack.attack_transfer",
}


@pytest.fixture
def calls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, dict[str, Any]]]:
    """The arguments of each job that a command would do."""
    made: list[tuple[Any, dict[str, Any]]] = []
    monkeypatch.chdir(tmp_path)
    (tmp_path / "evaluator.toml").write_text(TEXT)

    def job(*arguments: Any, **options: Any) -> Any:
        made.append((arguments, options))
        return ()

    for name in JOBS.values():
        monkeypatch.setattr(name, job)
    return made


def test_score_takes_model_and_data(calls: list[tuple[Any, dict[str, Any]]]) -> None:
    run("score", "mine", "imagenet")
    run("score", "mine", "imagenet-c")
    run("score", "mine", "imagenet", "--data", "other", "--weights", "other.pt")
    named, corrupted, given = calls
    assert named[0] == ("resnet50", "imagenet")
    assert named[1]["weights"] == "mine.pt"
    assert named[1]["data"] == [Path("val")]
    assert named[1]["labels"] == Path("val.txt")
    assert corrupted[1]["data"] == [Path("noise.tar"), Path("blur.tar")]
    assert corrupted[1]["labels"] is None
    assert given[1]["weights"] == "other.pt"
    assert given[1]["data"] == [Path("other")]
    assert given[1]["labels"] is None


def test_attacks_take_them_too(calls: list[tuple[Any, dict[str, Any]]]) -> None:
    run("attack", "whitebox", "mine")
    run("attack", "transfer", "mine", "alexnet", "--source", "mine")
    whitebox, transfer = calls
    assert whitebox[0] == ("resnet50",)
    assert (whitebox[1]["weights"], whitebox[1]["data"]) == ("mine.pt", [Path("val")])
    assert transfer[0] == ([ModelOptions("resnet50", weights="mine.pt"), "alexnet"],)
    assert (transfer[1]["source"], transfer[1]["source_weights"]) == ("resnet50", "mine.pt")


def test_a_source_has_weights_and_crop_only(calls: list[tuple[Any, dict[str, Any]]]) -> None:
    result = run("attack", "transfer", "alexnet", "--source", "described")
    assert "described has description in evaluator.toml" in error_of(result)
    assert not calls


def test_without_a_place_the_data_are_missing(calls: list[tuple[Any, dict[str, Any]]]) -> None:
    result = run("score", "mine", "imagenet-p")
    assert result.returncode == 2
    assert "Missing option '--data'" in result.stderr
    assert not calls
    Path("evaluator.toml").unlink()
    assert "Missing option '--data'" in run("attack", "whitebox", "resnet50").stderr
