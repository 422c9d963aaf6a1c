"""Preprocessing belongs to weights: which one is taken of several, and what is said about it."""

import math
import random
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import timm
import torchvision.models
from timm.data.config import resolve_data_config

from evaluator.contracts import Preprocessing
from evaluator.errors import InputError
from evaluator.exporter import spec as specs
from evaluator.exporter.description import read_description
from evaluator.exporter.spec import identity, model_spec
from evaluator.exporter.zoo.known_files import TIMM_FILES
from evaluator.exporter.zoo.rows import Download, PackageFile
from evaluator.exporter.zoo.table import IMAGENET_224, IMAGENET_V2, MODELS, find_model
from evaluator.exporter.zoo.timm_models import timm_weights

resolve: Any = resolve_data_config

SIZES = [  # training and test size: short side, crop
    ("resnet10t.c3_in1k", (201, 176), (235, 224)),
    ("resnet18.a1_in1k", (235, 224), (288, 288)),
    ("resnet50.tv2_in1k", (201, 176), (232, 224)),
    ("fasternet_s.in1k", (224, 224), (248, 224)),
    ("vit_tiny_patch16_224.augreg_in21k_ft_in1k", (248, 224), (248, 224)),
]


def config_of(name: str) -> dict[str, Any]:
    config: Any = timm.get_pretrained_cfg(name)
    found: dict[str, Any] = config.to_dict()
    return found


def size(preprocessing: Preprocessing) -> tuple[int, int]:
    return preprocessing.resize_px, preprocessing.crop_px


def file_of(
    sha256: str, folder: Path, monkeypatch: pytest.MonkeyPatch, name: str = "mine.pth"
) -> str:
    """A file that is taken for one with this hash."""
    monkeypatch.setattr(specs, "remembered_sha256", lambda path: sha256.ljust(64, "0"))
    (folder / name).touch()
    return str(folder / name)


def described(folder: Path, lines: str = "", resize_px: int = 232) -> Any:
    path = folder / "mine.toml"
    path.write_text(
        f"{lines}\n[preprocessing]\nresize_px = {resize_px}\ncrop_px = 224\n"
        'interpolation = "bilinear"\nmean = [0.485, 0.456, 0.406]\nstd = [0.229, 0.224, 0.225]\n'
    )
    return read_description(path)


# ------------------------------------------------------------------------------- timm's two sizes


@pytest.mark.parametrize(("name", "training", "test"), SIZES)
def test_the_test_size_of_timm_is_taken_if_asked_for_and_told_if_not(
    name: str, training: tuple[int, int], test: tuple[int, int]
) -> None:
    spec = model_spec(f"timm:{name}", weights="random")
    assert size(spec.preprocessing) == training
    tested = model_spec(f"timm:{name}", weights="random", test_size=True)
    assert size(tested.preprocessing) == test
    assert tested.prepared.test_size
    assert spec.trained_crop_px == tested.trained_crop_px == training[1]
    if training == test:
        assert spec.prepared.text == ""
        assert "is that of its training" in tested.prepared.text
        return
    words = f"of its test size, crop {test[1]} px of a short side of {test[0]} px: --test-size"
    assert words in spec.prepared.text
    assert f"at the test size that timm publishes for timm's {name}" in tested.prepared.text
    assert f"short side of {training[0]} px" in tested.prepared.text


def test_timms_test_size_is_what_timm_resolves() -> None:
    names = random.Random(1).sample(timm.list_pretrained(), 40)
    for name in names:
        config = config_of(name)
        expected = resolve(pretrained_cfg=config, use_test_size=True)
        if expected["crop_mode"] != "center" or expected["interpolation"] not in (
            "bilinear", "bicubic"
        ):  # fmt: skip
            continue
        crop_px = expected["input_size"][1]
        found = find_model(f"timm:{name}").preprocessing.at_test_size
        assert size(found) == (int(crop_px / expected["crop_pct"]), crop_px)
        assert found.sizes is None


@pytest.mark.parametrize(("name", "training", "test"), SIZES)
def test_another_crop_has_timms_own_short_side(
    name: str, training: tuple[int, int], test: tuple[int, int]
) -> None:
    config = config_of(name)
    for crop_px in (training[1], test[1], 64, 160, 192, 256, 320, 384):
        spec = model_spec(f"timm:{name}", weights="random", crop_px=crop_px)
        data = resolve(args={"img_size": crop_px}, pretrained_cfg=config)
        expected = math.floor(crop_px / data["crop_pct"])
        if crop_px == test[1] != training[1]:
            expected = test[0]
        assert size(spec.preprocessing) == (expected, crop_px)
        assert spec.preprocessing.sizes is None
        if crop_px not in (training[1], test[1]):
            assert f"short side of {expected} px" in spec.prepared.text


def test_a_test_size_is_refused_where_there_is_none(tmp_path: Path) -> None:
    for name in ("resnet50", "torchvision:resnet50", "efficientnet_lite0"):
        with pytest.raises(InputError, match=r"--test-size is for weights of timm.*has one size"):
            model_spec(name, weights="random", test_size=True)
    (tmp_path / "m.onnx").touch()
    with pytest.raises(InputError, match=r"--test-size is for timm:NAME and sets"):
        model_spec(str(tmp_path / "m.onnx"), test_size=True)
    for options in ({"crop_px": 224}, {"description": described(tmp_path)}):
        with pytest.raises(InputError, match="omit it, or --crop-px and --description"):
            model_spec("timm:resnet10t", weights="random", test_size=True, **options)


# ---------------------------------------------------------------------------------- known files


@pytest.mark.parametrize("name", ["resnet50", "torchvision:resnet50", "timm:resnet50.a1_in1k"])
@pytest.mark.parametrize(
    ("sha256", "resize_px", "words", "top1"),
    [
        ("0676ba61", 256, "torchvision's IMAGENET1K_V1, by its hash", 0.7613),
        ("11ad3fa6", 232, "torchvision's IMAGENET1K_V2, by its hash", 0.80858),
    ],
)
def test_a_file_is_prepared_as_its_publisher_says_whatever_name_it_is_given_to(
    name: str,
    sha256: str,
    resize_px: int,
    words: str,
    top1: float,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    spec = model_spec(name, weights=file_of(sha256, tmp_path, monkeypatch))
    assert spec.preprocessing == replace(IMAGENET_224, resize_px=resize_px)
    assert words in spec.prepared.text
    assert f"short side of {resize_px} px, bilinear, mean (0.485" in spec.prepared.text
    assert spec.prepared.top1 == pytest.approx(top1)


@pytest.mark.parametrize(
    ("name", "sha256", "same_as"),
    [
        ("resnet50", "14fe96d1", "timm:resnet50.a1_in1k"),
        ("torchvision:resnet50", "14fe96d1", "timm:resnet50.a1_in1k"),
        ("torchvision:resnet18", "d63eafa0", "timm:resnet18.a1_in1k"),
        ("timm:resnet18.a1_in1k", "f37072fd", "torchvision:resnet18"),
        ("timm:resnet18", "118f1556", "timm:resnet18.fb_swsl_ig1b_ft_in1k"),
        ("resnext101_32x8d", "c38310e5", "resnext101_32x8d_wsl"),
        ("resnext50_32x4d", "e6a097c1", "timm:resnext50_32x4d.gluon_in1k"),
    ],
)
def test_files_of_other_publishers_are_known_too(
    name: str, sha256: str, same_as: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = model_spec(name, weights=file_of(sha256, tmp_path, monkeypatch))
    assert spec.preprocessing == find_model(same_as).preprocessing
    assert spec.preprocessing.sizes is None
    assert "by its hash" in spec.prepared.text


def test_weights_for_another_size_bring_it_along(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = file_of("9ac1b537", tmp_path, monkeypatch)
    spec = model_spec("torchvision:vit_b_16", weights=path)
    assert (*size(spec.preprocessing), spec.trained_crop_px) == (384, 384, 384)
    assert spec.preprocessing.interpolation == "bicubic"
    smaller = model_spec("torchvision:vit_b_16", weights=path, crop_px=224)
    assert size(smaller.preprocessing) == (224, 224)
    assert "which keeps the ratio of torchvision's IMAGENET1K_SWAG_E2E_V1" in smaller.prepared.text
    assert smaller.prepared.top1 is None
    timms = model_spec(
        "resnet50", weights=file_of("14fe96d1", tmp_path, monkeypatch), test_size=True
    )
    assert size(timms.preprocessing) == (288, 288)


@pytest.mark.parametrize("name", ["resnet50", "torchvision:squeezenet1_1", "timm:resnet10t"])
def test_what_is_assumed_of_an_unknown_file_is_told(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = model_spec(name, weights=file_of("ffffffff", tmp_path, monkeypatch, "own\n.pth"))
    own = find_model(name)
    assert spec.preprocessing == own.preprocessing
    (published, *_) = own.published
    text = spec.prepared.text
    assert text.startswith(r"own\n.pth is not known by its hash: images are prepared as for ")
    assert f"{published.name}, {own.preprocessing}. --description FILE.toml replaces" in text
    assert spec.prepared.top1 is None


def test_the_table_of_timms_files_is_timms() -> None:
    of_torchvision = {w.sha256_prefix for row in MODELS.values() for w in row.published}
    expected = {
        prefix: name
        for architecture in ("resnet50", "resnext50_32x4d", "resnext101_32x8d", "alexnet")
        for name, prefix in timm_weights(architecture)
        if prefix not in of_torchvision
    }
    assert expected == TIMM_FILES


def test_a_file_of_the_zoos_architectures_imports_neither_torchvision_nor_timm(
    tmp_path: Path,
) -> None:
    (tmp_path / "w.pth").write_bytes(b"weights")
    program = (
        "import sys\n"
        "from evaluator.exporter.spec import model_spec\n"
        "model_spec('resnet50', weights='w.pth')\n"
        "print(sorted({'torch', 'torchvision', 'timm'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=tmp_path
    )
    assert done.stdout == "[]\n"


# ------------------------------------------------------------------------------- what is published


TORCHVISIONS = ("resnext101_32x8d", "resnext50_32x4d", "alexnet", "resnet50")


@pytest.mark.parametrize("name", TORCHVISIONS)
def test_the_zoo_has_torchvisions_weights_with_their_accuracy(name: str) -> None:
    enum = torchvision.models.get_model_weights(name)
    published = {weights.name: weights for weights in MODELS[name].published}
    assert set(published) == {f"torchvision's {weights.name}" for weights in enum}
    found = find_model(f"torchvision:{name}").published
    assert {(w.name, w.sha256_prefix, w.preprocessing) for w in found} == {
        (w.name, w.sha256_prefix, w.preprocessing) for w in published.values()
    }
    for weights in enum:
        top1 = published[f"torchvision's {weights.name}"].top1
        assert top1 == pytest.approx(weights.meta["_metrics"]["ImageNet-1K"]["acc@1"] / 100)


@pytest.mark.parametrize("name", MODELS)
def test_the_weights_of_a_row_are_published_with_its_preprocessing(name: str) -> None:
    row, (own, *_) = MODELS[name], MODELS[name].published
    assert own.preprocessing == row.preprocessing
    assert own.top1 is not None
    assert 0.5 < own.top1 < 0.9
    assert len(own.sha256_prefix) in (8, 64)
    weights = row.weights
    assert isinstance(weights, Download | PackageFile)
    assert own.sha256_prefix == (
        weights.sha256_prefix if isinstance(weights, Download) else weights.sha256
    )


def test_several_published_ways_are_told_with_the_one_that_was_taken() -> None:
    first = model_spec("resnet50").prepared
    assert first.text == (
        "Images are prepared as for torchvision's IMAGENET1K_V1, crop 224 px of a short side of "
        "256 px, which are the weights of resnet50. Other weights of this architecture are "
        "prepared differently (torchvision's IMAGENET1K_V2: crop 224 px of a short side of 232 px)."
    )
    assert first.top1 == pytest.approx(0.7613)
    second = model_spec("torchvision:resnet50", weights="random").prepared
    assert "for torchvision's IMAGENET1K_V2, crop 224 px of a short side of 232 px" in second.text
    assert second.top1 is None  # the weights are random
    assert model_spec("torchvision:regnet_y_16gf", weights="random").prepared.text.count("V1") == 3


@pytest.mark.parametrize("name", ["alexnet", "resnext101_32x16d_wsl", "torchvision:vgg16"])
def test_nothing_is_told_where_there_is_one_way(name: str) -> None:
    assert model_spec(name, weights="random").prepared.text == ""


def test_the_ratio_of_another_crop_is_told() -> None:
    spec = model_spec("alexnet", crop_px=112)
    assert size(spec.preprocessing) == (128, 112)
    assert spec.prepared.text == (
        "--crop-px: crop 112 px of a short side of 128 px, which keeps the ratio of torchvision's "
        "IMAGENET1K_V1, crop 224 px of a short side of 256 px."
    )


# ------------------------------------------------------------------------------------- descriptions


@pytest.mark.parametrize("name", ["alexnet", "torchvision:alexnet", "timm:resnet10t"])
def test_a_description_replaces_what_is_published_and_is_marked(name: str, tmp_path: Path) -> None:
    description = described(tmp_path, 'channels = "bgr"')
    spec = model_spec(name, weights="random", description=description)
    assert spec.preprocessing == replace(IMAGENET_V2, channels="bgr")
    assert spec.prepared.description == str(tmp_path / "mine.toml")
    published = find_model(name).published[0]
    assert spec.prepared.text.startswith("Images are prepared as mine.toml says: crop 224 px")
    assert "channels B, G, R" in spec.prepared.text
    assert f"{published.name} is published with {published.preprocessing}." in spec.prepared.text
    assert spec.own is None
    assert identity(spec) != identity(model_spec(name, weights="random"))
    smaller = model_spec(name, weights="random", description=description, crop_px=112)
    assert (*size(smaller.preprocessing), smaller.trained_crop_px) == (116, 112, 224)


def test_a_description_that_says_what_is_published_changes_nothing(tmp_path: Path) -> None:
    spec = model_spec("alexnet", description=described(tmp_path, resize_px=256))
    assert spec == model_spec("alexnet")
    assert spec.prepared.description == ""


def test_a_description_of_a_files_preprocessing_is_marked_whatever_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = file_of("0676ba61", tmp_path, monkeypatch)
    spec = model_spec("resnet50", weights=path, description=described(tmp_path, resize_px=256))
    assert spec.prepared.description
    assert spec.preprocessing == IMAGENET_224


@pytest.mark.parametrize("line", ['name = "a"', "trained = true", 'input = "pixels"', 'source="x"'])
def test_a_description_of_a_known_model_says_nothing_else(line: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"{line.split()[0][:6]}.*alexnet is known by name") as e:
        model_spec("alexnet", description=described(tmp_path, line))
    assert str(e.value).isprintable()


def test_a_mean_in_the_order_of_caffe_is_suspected(tmp_path: Path) -> None:
    description = described(tmp_path, 'channels = "bgr"')
    table = replace(description.preprocessing, mean=(103.939 / 255, 116.779 / 255, 123.68 / 255))
    spec = model_spec("alexnet", description=replace(description, preprocessing=table))
    assert "is ImageNet's in the order B, G, R. mean and std are R, G, B" in spec.prepared.text
    assert "warning" not in model_spec("alexnet", description=description).prepared.text


def test_notes_are_no_part_of_the_identity() -> None:
    spec = model_spec("resnet50")
    other = replace(spec, prepared=replace(spec.prepared, text="another text", top1=0.5))
    assert identity(other) == identity(spec)
