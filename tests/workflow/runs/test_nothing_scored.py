"""A command that scored not a single image fails, whatever it was told to skip."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import evaluator
from evaluator.contracts import NullProgress, Run
from evaluator.errors import InputError
from evaluator.tests import whitebox_runs
from evaluator.tests.command_line import error_of, run
from evaluator.tests.small import small_row
from evaluator.tests.small_bundle import small_bundle
from evaluator.tests.tiny_tree import tiny_tree

COUNT = 5


def damage(paths: list[Path]) -> None:
    for path in paths:
        path.unlink()  # a hard link: the others stay as they are
        path.write_bytes(b"no image")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return tiny_tree(tmp_path / "tree", COUNT)


@pytest.fixture
def score(tmp_path: Path) -> Callable[..., Run]:
    bundle = str(small_bundle(tmp_path / "bundle").folder)

    def scored(data: Path, benchmark: str = "imagenet", **options: Any) -> Run:
        fixed: dict[str, Any] = {"engine": "onnxruntime", "device": "cpu", "parity": False}
        return evaluator.score(
            bundle, benchmark, data, out=tmp_path / "run", on_error="skip", **fixed, **options
        )

    return scored


def test_a_run_without_a_scored_image_fails(tree: Path, score: Callable[..., Run]) -> None:
    damage(list(tree.rglob("*.JPEG")))
    for _ in range(2):  # also when the run exists
        with pytest.raises(InputError, match="No image was scored: all 5 were skipped") as raised:
            score(tree)
        assert "photo-00000.JPEG is not an image" in str(raised.value)
        assert "remove" in str(raised.value)
        assert ".parquet" in str(raised.value)


def test_a_single_image_is_enough(tree: Path, score: Callable[..., Run]) -> None:
    damage(sorted(tree.rglob("*.JPEG"))[1:])
    heard = NullProgress()
    score(tree, progress=heard)
    assert any("4 images were skipped" in note for note in heard.notes)


def test_the_command_ends_with_one_line(tree: Path, tmp_path: Path) -> None:
    damage(list(tree.rglob("*.JPEG")))
    bundle = small_bundle(tmp_path / "bundle")
    words = ["--on-error", "skip", "--no-parity", "--engine", "onnxruntime"]
    done = run("score", bundle.folder, "imagenet", "--data", tree, *words, cwd=tmp_path)
    assert "No image was scored" in error_of(done)
    assert done.stdout == ""


def test_an_attack_without_an_image_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    network = whitebox_runs.network_of(small_row(monkeypatch))
    data = whitebox_runs.labelled_tree(network, whitebox_runs.images_seen(), tmp_path / "tree")
    for path in data.rglob("*.jpg"):
        path.write_bytes(b"no image")
    with pytest.raises(InputError, match="No image was scored"):
        whitebox_runs.attack(data, tmp_path / "run", on_error="skip")
