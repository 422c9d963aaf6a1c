"""What a command says and takes when it resolves the model that a user names."""

from pathlib import Path
from typing import Any

import pytest

from evaluator.contracts import NullProgress
from evaluator.errors import InputError
from evaluator.tests.command_line import error_of, run
from evaluator.tests.ready_graphs import description
from evaluator.tests.small_bundle import small_bundle
from evaluator.workflow.models.options import ModelOptions
from evaluator.workflow.models.resolve import resolve_model


def notes_of(model: str, **options: Any) -> list[str]:
    progress = NullProgress()
    resolve_model(ModelOptions(model, weights="random", **options), progress)
    return progress.notes


def test_a_choice_of_preprocessing_is_a_note(tmp_path: Path) -> None:
    (note,) = notes_of("timm:resnet10t")
    assert note.startswith("timm:resnet10t.c3_in1k: Images are prepared at crop 176 px of a short")
    (note,) = notes_of("timm:resnet10t", test_size=True)
    assert "at the test size that timm publishes" in note
    (note,) = notes_of("resnet50")
    assert "prepared as for torchvision's IMAGENET1K_V1" in note
    path = description(tmp_path / "d.toml", 'channels = "bgr"\n# normalized')
    (note,) = notes_of("alexnet", description=path)
    assert "Images are prepared as d.toml says" in note
    assert notes_of("alexnet") == []


def test_a_bundle_is_prepared_as_it_was_made(tmp_path: Path) -> None:
    folder = small_bundle(tmp_path / "bundle").folder
    assert resolve_model(ModelOptions(str(folder))).spec.prepared.text == ""
    with pytest.raises(InputError, match="--crop-px, --test-size, --description and --classes"):
        resolve_model(ModelOptions(str(folder), test_size=True))


def test_the_command_line_says_it_too(three_photos: Path, tmp_path: Path) -> None:
    words = ("score", "timm:resnet10t", "imagenet", "--weights", "random", "--data", three_photos)
    here = ("--limit", "1", "--engine", "torch", "--device", "cpu", "--out", tmp_path / "run")
    done = run(*words, *here, "--test-size", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    for text in (done.stderr, done.stdout):
        assert "at the test size that timm publishes for timm's resnet10t.c3_in1k" in text
    refused = run("score", "alexnet", *words[2:], "--weights", "random", "--test-size")
    assert "--test-size is for weights of timm" in error_of(refused)
