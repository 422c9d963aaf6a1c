"""The normalisation that a checkpoint brings is that of the model, or is refused."""

import argparse
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from evaluator.contracts import NullProgress, Preprocessing
from evaluator.errors import InputError
from evaluator.exporter.spec import model_spec
from evaluator.exporter.weights.normalisation import find_normalisations, second_normalisation
from evaluator.exporter.weights.weights import load_network
from evaluator.exporter.zoo.rows import ZooModel
from evaluator.exporter.zoo.table import MODELS
from evaluator.tests.small import Small, Tensors, checkpoint, one_line, same, small_tensors

MEAN, STD = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
IMAGENET = Preprocessing(256, 224, "bilinear", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
RAW = Preprocessing(256, 224, "bilinear", (0.0,) * 3, (1.0,) * 3)


def raw_row() -> ZooModel:
    """A row whose images stay as they are."""
    row = MODELS["resnet50"]
    published = tuple(replace(weights, preprocessing=RAW) for weights in row.published)
    return replace(row, name="small", preprocessing=RAW, published=published)


def beside(
    prefix: str, mean: str, std: str, values: tuple[torch.Tensor, torch.Tensor] = (MEAN, STD)
) -> Tensors:
    weights = {prefix + name: x for name, x in small_tensors().items()}
    return {mean: values[0], std: values[1], **weights}


FORMS = [
    ("model.", "normalize.mean", "normalize.std"),
    ("model.", "mu", "sigma"),
    ("1.", "0.mean", "0.std"),
    ("", "mean", "std"),
    ("module.model.", "module.normalizer.new_mean", "module.normalizer.new_std"),
    ("backbone.", "pixel_mean", "pixel_std"),
    ("model.", "model._mean", "model._std"),
]


@pytest.mark.parametrize(("prefix", "mean", "std"), FORMS)
def test_the_models_own_numbers_are_accepted_with_a_note(
    prefix: str, mean: str, std: str, small: str, tmp_path: Path
) -> None:
    told = NullProgress()
    path = checkpoint(tmp_path / "mine.pth", beside(prefix, mean, std))
    state = load_network(model_spec(small, weights=path), told).network.state_dict()
    assert same(state, small_tensors())
    assert f"{mean} and {std} are the model's mean and std" in told.notes[0]


@pytest.mark.parametrize(("prefix", "mean", "std"), FORMS)
@pytest.mark.parametrize("values", [(MEAN, MEAN), (MEAN * 255, STD), (MEAN + 1e-3, STD)])
def test_other_numbers_are_refused_with_both(
    prefix: str,
    mean: str,
    std: str,
    values: tuple[torch.Tensor, torch.Tensor],
    small: str,
    tmp_path: Path,
) -> None:
    path = checkpoint(tmp_path / "mine.pth", beside(prefix, mean, std, values))
    with pytest.raises(InputError, match="holds its own normalisation") as caught:
        load_network(model_spec(small, weights=path))
    message = one_line(caught)
    assert f"{mean} {float(values[0][0]):.6g}, " in message
    assert f"{std} {float(values[1][0]):.6g}, " in message
    assert "mean 0.485, 0.456, 0.406 and std 0.229, 0.224, 0.225" in message


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("shape", [(3,), (3, 1, 1), (1, 3, 1, 1)])
def test_numbers_may_be_rounded_and_of_any_shape(
    dtype: torch.dtype, shape: tuple[int, ...], small: str, tmp_path: Path
) -> None:
    values = MEAN.to(dtype).reshape(shape), STD.to(dtype).reshape(shape)
    path = checkpoint(tmp_path / "mine.pth", beside("model.", "mu", "sigma", values))
    assert same(load_network(model_spec(small, weights=path)).network.state_dict(), small_tensors())


def test_numbers_for_pixels_mean_the_same(small: str, tmp_path: Path) -> None:
    path = checkpoint(tmp_path / "mine.pth", beside("", "mean", "std", (MEAN * 255, STD * 255)))
    assert same(load_network(model_spec(small, weights=path)).network.state_dict(), small_tensors())


HALF = [0.5, 0.5, 0.5]


@pytest.mark.parametrize(
    ("settings", "names"),
    [
        ({"mean": HALF, "std": HALF}, ("mean", "std")),
        ({"mean": torch.tensor(HALF), "std": tuple(HALF)}, ("mean", "std")),
        ({"args": argparse.Namespace(lr=0.1, mean=HALF, std=HALF)}, ("args.mean", "args.std")),
        ({"norm": {"mean": HALF, "std": HALF, "n": 3}}, ("norm.mean", "norm.std")),
    ],
)
def test_settings_of_a_training_are_compared_too(
    settings: dict[str, object], names: tuple[str, str], small: str, tmp_path: Path
) -> None:
    path = checkpoint(tmp_path / "mine.pth", {"model": small_tensors(), **settings})
    with pytest.raises(InputError) as caught:
        load_network(model_spec(small, weights=path))
    assert f"{names[0]} 0.5, 0.5, 0.5 and {names[1]} 0.5, 0.5, 0.5, but the" in one_line(caught)


@pytest.mark.parametrize(
    "settings",
    [
        {"mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]},
        {"mean": [123.675, 116.28, 103.53], "std": [58.395, 57.12, 57.375]},
        {"args": argparse.Namespace(mean=None, std=None)},
        {"init": {"mean": 0.0, "std": 0.02}, "mean": 0.5},
        {"mean": HALF, "lr": [0.1, 0.2, 0.3], "std": ["a", "b", "c"]},
    ],
)
def test_settings_that_say_nothing_else_are_accepted(
    settings: dict[str, object], small: str, tmp_path: Path
) -> None:
    path = checkpoint(tmp_path / "mine.pth", {"model": small_tensors(), **settings})
    assert same(load_network(model_spec(small, weights=path)).network.state_dict(), small_tensors())


@pytest.mark.parametrize(
    "others",
    [
        {"bn.running_mean": torch.zeros(3), "bn.running_var": torch.ones(3)},
        {"mean": torch.zeros(3)},
        {"mean": torch.zeros(64), "std": torch.ones(64)},
        {"mean": torch.zeros(3, dtype=torch.int64), "std": torch.ones(3, dtype=torch.int64)},
        {"mean": 3, "std": 4},
        {"a.mean": torch.zeros(3), "b.std": torch.ones(3)},
    ],
)
def test_what_is_no_normalisation_of_images_is_not_taken_for_one(
    others: dict[str, object],
) -> None:
    assert find_normalisations(others) == []


def test_a_network_whose_normalisation_the_file_lacks_is_told_the_way_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def build(_: int) -> nn.Module:
        network = Small()
        network.register_buffer("mean", MEAN)
        network.register_buffer("std", STD)
        return network

    monkeypatch.setitem(MODELS, "small", replace(MODELS["resnet50"], name="small", build=build))
    path = checkpoint(tmp_path / "mine.pth", small_tensors())
    with pytest.raises(InputError, match=r"lacks mean, std\. They are the network's own norm"):
        load_network(model_spec("small", weights=path))
    path = checkpoint(tmp_path / "mine.pth", {**small_tensors(), "mean": MEAN, "std": STD})
    assert len(load_network(model_spec("small", weights=path)).network.state_dict()) == 11


@pytest.mark.parametrize("form", ["beside", "settings"])
def test_a_network_that_normalises_by_itself_is_compared_with(
    form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Normalising(Small):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("m_mean", MEAN, persistent=False)
            self.register_buffer("m_std", STD, persistent=False)

    row = replace(raw_row(), build=lambda _: Normalising())
    monkeypatch.setitem(MODELS, "small", row)
    for mean, fits in ((MEAN, True), (STD, False)):
        normalisation = {"norm.mean": mean, "norm.std": STD}
        content: object = {**small_tensors(), **normalisation}
        if form == "settings":
            content = {"model": small_tensors(), **normalisation}
        path = checkpoint(tmp_path / "mine.pth", content)
        if fits:
            load_network(model_spec("small", weights=path))
            continue
        with pytest.raises(InputError, match=r"but the model's are mean 0\.485, 0\.456, 0\.406"):
            load_network(model_spec("small", weights=path))


def test_a_normalisation_that_nothing_is_compared_with_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = replace(raw_row(), build=lambda _: Small())
    monkeypatch.setitem(MODELS, "small", row)
    path = checkpoint(tmp_path / "mine.pth", beside("model.", "normalize.mean", "normalize.std"))
    with pytest.raises(InputError, match="keep its mean and std as buffers"):
        load_network(model_spec("small", weights=path))
    settings = {"model": small_tensors(), "mean": HALF, "std": HALF}
    load_network(model_spec("small", weights=checkpoint(tmp_path / "mine.pth", settings)))


def test_a_network_that_normalises_what_was_normalised_is_warned_of() -> None:
    class Normalising(nn.Module):
        def __init__(self, mean: torch.Tensor, std: torch.Tensor) -> None:
            super().__init__()
            self.register_buffer("mean", mean.reshape(3, 1, 1), persistent=False)
            self.register_buffer("std", std.reshape(3, 1, 1), persistent=False)

    network = nn.Sequential(Normalising(MEAN, STD), nn.Conv2d(3, 4, 3))
    warning = second_normalisation(network, IMAGENET)
    assert "0.mean 0.485, 0.456, 0.406 and 0.std 0.229, 0.224, 0.225, and is given" in warning
    assert second_normalisation(network, RAW) == ""
    identity = nn.Sequential(Normalising(torch.zeros(3), torch.ones(3)))
    assert second_normalisation(identity, IMAGENET) == ""
