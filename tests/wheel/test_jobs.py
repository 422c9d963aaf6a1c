"""The main jobs in small, by the installed wheel: photos, export, score, attack, report."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import evaluator

MODEL = "torchvision:squeezenet1_1"
RANDOM: dict[str, Any] = {"weights": "random"}


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data") / "imagenet"
    assert evaluator.sample_photos(folder) == 20
    two = folder.parent / "two"
    for photo in sorted(folder.rglob("*.JPEG"))[:2]:
        shutil.copytree(photo.parent, two / photo.parent.name, dirs_exist_ok=True)
    return two


@pytest.fixture(scope="module")
def runs(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An exported network's runs on clean and corrupted photos, and under attack."""
    folder = tmp_path_factory.mktemp("runs")
    exported = evaluator.export_model(MODEL, **RANDOM)
    assert exported.parity.passed
    corrupted = photos.parent / "imagenet-c"
    evaluator.corrupt_photos(photos, corrupted, corruptions=["fog"], severities=[1], workers=1)
    options = {**RANDOM, "engine": "onnxruntime", "device": "cpu"}
    evaluator.score(MODEL, "imagenet", photos, out=folder / "clean", **options)
    evaluator.score(MODEL, "imagenet-c", corrupted, out=folder / "c", **options)
    evaluator.attack_whitebox(
        MODEL, photos, out=folder / "attack", epsilons=(0.01,), steps=(2,), device="cpu",
        traced=1, **RANDOM,
    )  # fmt: skip
    return folder


def test_the_runs_are_reported_with_figures(runs: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    words = ["report", runs, "--markdown", "report.md", "--json", "report.json"]
    done = command(*words, "--figures", "figures", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    scores = json.loads((tmp_path / "report.json").read_text())["scores"]
    assert {score["benchmark"] for score in scores} >= {"imagenet", "imagenet-c", "whitebox"}
    assert (tmp_path / "report.md").read_text().startswith("# ")
    assert list((tmp_path / "figures").iterdir())


@pytest.mark.parametrize(
    "words",
    [
        [], ["models"], ["export"], ["parity"], ["compile"], ["bench"], ["score"], ["maximize"],
        ["report"], ["compare"], ["attack"], ["attack", "whitebox"], ["attack", "transfer"],
        ["data"], ["data", "sample"], ["data", "corrupt"], ["data", "perturb"], ["cache"],
        ["cache", "list"], ["cache", "prune"],
    ],
    ids=" ".join,
)  # fmt: skip
def test_a_command_has_help(words: list[str], tmp_path: Path) -> None:
    done = command(*words, "--help", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "Usage:" in done.stdout


def test_the_models_are_listed(tmp_path: Path) -> None:
    done = command("models", "--json", "-", cwd=tmp_path)
    assert "efficientnet_lite0" in {row["name"] for row in json.loads(done.stdout)["models"]}


def command(*words: object, cwd: Path) -> "subprocess.CompletedProcess[str]":
    line = [sys.executable, "-m", "evaluator", *map(str, words)]
    return subprocess.run(line, capture_output=True, text=True, cwd=cwd, check=False)
