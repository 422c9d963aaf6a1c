"""Checkpoints and networks that do not quite match: what is understood, and what is named."""

import re
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest
import safetensors.torch
import torch
import torchvision.models
from torch import nn
from torch.optim.swa_utils import AveragedModel

from evaluator.contracts import LoadedNetwork, NullProgress
from evaluator.errors import InputError
from evaluator.exporter.spec import model_spec
from evaluator.exporter.weights.weights import load_network
from evaluator.exporter.zoo.table import MODELS
from evaluator.tests.small import Small, checkpoint, one_line, same, sha256_of, small_tensors


def small_network(seed: int = 5) -> Small:
    network = Small()
    network.load_state_dict(small_tensors(seed))
    return network


def compiled(network: nn.Module) -> nn.Module:
    return cast(nn.Module, torch.compile(network))


def load(content: object, folder: Path, name: str = "small") -> tuple[LoadedNetwork, list[str]]:
    """The network with these weights, and what a user was told."""
    told = NullProgress()
    path = checkpoint(folder / "mine.pth", content)
    return load_network(model_spec(name, weights=path), told), told.notes


def fit_error(content: object, tmp_path: Path, name: str = "small") -> str:
    with pytest.raises(InputError) as caught:
        load(content, tmp_path, name)
    assert "mine.pth" in str(caught.value)
    return one_line(caught)


# ------------------------------------------------------------------------------ what is understood


@pytest.mark.usefixtures("small")
def test_a_checkpoint_is_loaded_tensor_by_tensor(tmp_path: Path) -> None:
    tensors = small_tensors()
    loaded, notes = load(tensors, tmp_path)
    assert same(loaded.network.state_dict(), tensors)
    assert loaded.weights_sha256 == sha256_of(tensors)
    assert notes == []


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize(
    ("wrapped", "prefix"),
    [
        (nn.DataParallel(small_network()), "module."),
        (compiled(small_network()), "_orig_mod."),
        (compiled(nn.DataParallel(small_network())), "_orig_mod.module."),
        (nn.DataParallel(compiled(small_network())), "module._orig_mod."),
        (AveragedModel(small_network()), "module."),
        (AveragedModel(nn.DataParallel(small_network())), "module.module."),
        (compiled(AveragedModel(small_network())), "_orig_mod.module."),
        (nn.ModuleDict({"model": small_network()}), "model."),
    ],
    ids=["parallel", "compiled", "both", "both again", "average", "and parallel", "all", "model"],
)
def test_prefixes_of_wrappers_are_taken_off_and_told(
    wrapped: nn.Module, prefix: str, tmp_path: Path
) -> None:
    state = wrapped.state_dict()
    assert f"{prefix}conv.weight" in state
    loaded, notes = load(state, tmp_path)
    assert same(loaded.network.state_dict(), small_tensors())
    path = tmp_path / "mine.pth"
    assert notes == [f"Weights of {path}: without {prefix} before their names."]


@pytest.mark.usefixtures("small")
def test_a_training_checkpoint_is_told_by_the_names_in_it(tmp_path: Path) -> None:
    content = {
        "state_dict": nn.DataParallel(small_network(1)).state_dict(),
        "state_dict_ema": AveragedModel(small_network(2)).state_dict(),
        "epoch": 7,
    }
    loaded, notes = load(content, tmp_path)
    assert same(loaded.network.state_dict(), small_tensors(2))
    assert notes == [
        f"Weights of {tmp_path / 'mine.pth'}: those of state_dict_ema rather than state_dict, "
        "without module. before their names."
    ]


@pytest.mark.usefixtures("small")
def test_safetensors_are_loaded_with_their_prefixes(tmp_path: Path) -> None:
    tensors = {f"module.{name}": tensor for name, tensor in small_tensors().items()}
    safetensors.torch.save_file(tensors, tmp_path / "mine.safetensors")
    spec = model_spec("small", weights=str(tmp_path / "mine.safetensors"))
    assert same(load_network(spec).network.state_dict(), small_tensors())


def test_a_network_whose_own_names_have_the_prefix_keeps_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = replace(
        MODELS["resnet50"], name="small", build=lambda _: nn.ModuleDict({"module": Small()})
    )
    monkeypatch.setitem(MODELS, "small", row)
    state = nn.ModuleDict({"module": small_network()}).state_dict()
    loaded, notes = load(state, tmp_path)
    assert same(loaded.network.state_dict(), state)
    assert notes == []


@pytest.mark.usefixtures("small")
def test_a_prefix_that_only_some_names_have_stays(tmp_path: Path) -> None:
    tensors = {
        f"module.{name}" if name.startswith("conv") else name: tensor
        for name, tensor in small_tensors().items()
    }
    message = fit_error(tensors, tmp_path)
    assert "lacks conv.bias, conv.weight, and has also module.conv.bias, module." in message


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_are_loaded_into_float32_and_hashed_as_loaded(
    dtype: torch.dtype, tmp_path: Path
) -> None:
    other = {
        name: tensor.to(dtype) if tensor.is_floating_point() else tensor
        for name, tensor in small_tensors().items()
    }
    expected = {
        name: tensor.float() if tensor.is_floating_point() else tensor
        for name, tensor in other.items()
    }
    loaded, _ = load(other, tmp_path)
    assert same(loaded.network.state_dict(), expected)
    assert {parameter.dtype for parameter in loaded.network.parameters()} == {torch.float32}
    assert (
        loaded.weights_sha256 == sha256_of(expected) == load(expected, tmp_path)[0].weights_sha256
    )


@pytest.mark.usefixtures("small")
def test_weights_with_and_without_counters_are_the_same(tmp_path: Path) -> None:
    tensors = small_tensors()
    old = {key: value for key, value in tensors.items() if "num_batches" not in key}
    without, _ = load(old, tmp_path)
    state = without.network.state_dict()
    assert all(torch.equal(state[key], value) for key, value in old.items())
    assert without.weights_sha256 == load(tensors, tmp_path)[0].weights_sha256


# ------------------------------------------------------------------------------------ what is named


@pytest.mark.usefixtures("small")
def test_missing_tensors_are_named(tmp_path: Path) -> None:
    tensors = small_tensors()
    del tensors["head.bias"], tensors["conv.weight"]
    assert fit_error(tensors, tmp_path).endswith("lacks conv.weight, head.bias.")


@pytest.mark.usefixtures("small")
def test_unexpected_tensors_are_named(tmp_path: Path) -> None:
    tensors = {**small_tensors(), "head2.weight": torch.zeros(1)}
    assert fit_error(tensors, tmp_path).endswith(
        "has also head2.weight. The 8 tensors of the network are there. If the others are not "
        "needed, save the checkpoint without them, and give that."
    )


@pytest.mark.usefixtures("small")
def test_tensors_of_another_shape_are_named_with_both(tmp_path: Path) -> None:
    tensors = {**small_tensors(), "conv.weight": torch.zeros(4, 3, 5, 5)}
    message = fit_error(tensors, tmp_path)
    assert "differs: conv.weight is [4, 3, 5, 5], expected [4, 3, 3, 3]" in message


@pytest.mark.usefixtures("small")
def test_many_missing_tensors_are_counted(tmp_path: Path) -> None:
    assert fit_error({"a": torch.zeros(1)}, tmp_path).endswith(
        "lacks 8 tensors: conv.* (2), head.* (2), norm.* (4), and has also a. "
        "None of the network's 8 names is there: was another network trained?"
    )


@pytest.mark.usefixtures("small")
def test_names_are_those_after_the_prefixes_and_the_place_is_told(tmp_path: Path) -> None:
    state = nn.DataParallel(small_network()).state_dict()
    del state["module.head.bias"]
    message = fit_error({"model": state}, tmp_path)
    assert "(those of model, without module. before their names) do not fit small" in message
    assert message.endswith("the checkpoint lacks head.bias.")


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("classes", [10, 21841])
def test_a_head_for_other_classes_is_told_as_such(classes: int, tmp_path: Path) -> None:
    head = {"head.weight": torch.zeros(classes, 4), "head.bias": torch.zeros(classes)}
    message = fit_error({**small_tensors(), **head}, tmp_path)
    assert message.endswith(f"the checkpoint is for {classes} classes, small has 1000.")


@pytest.mark.parametrize("name", ["squeezenet1_1", "googlenet", "mobilenet_v3_small"])
def test_heads_of_any_kind_are_told_for_other_classes(name: str, tmp_path: Path) -> None:
    options = {"init_weights": True} if name == "googlenet" else {}
    network = torchvision.models.get_model(name, weights=None, num_classes=10, **options)
    message = fit_error(network.state_dict(), tmp_path, f"torchvision:{name}")
    assert message.endswith(f"the checkpoint is for 10 classes, {name} has 1000.")


@pytest.mark.usefixtures("small")
def test_another_width_is_not_taken_for_other_classes(tmp_path: Path) -> None:
    head = {"head.weight": torch.zeros(1000, 8)}
    assert "head.weight is [1000, 8], expected" in fit_error({**small_tensors(), **head}, tmp_path)
    both = {
        "head.weight": torch.zeros(10, 4),
        "head.bias": torch.zeros(10),
        "norm.weight": torch.zeros(5),
    }
    assert "differs: " in fit_error({**small_tensors(), **both}, tmp_path)


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("dtype", [torch.int8, torch.uint8, torch.float8_e4m3fn, torch.complex64])
def test_quantised_weights_are_refused(dtype: torch.dtype, tmp_path: Path) -> None:
    tensors = {**small_tensors(), "conv.weight": torch.zeros(4, 3, 3, 3).to(dtype)}
    assert f"conv.weight is {str(dtype)[6:]}, expected floating" in fit_error(tensors, tmp_path)


# ------------------------------------------------------- what torchvision's own checkpoints hold


def test_densenets_published_names_are_understood(tmp_path: Path) -> None:
    # densenet121-a639ec97.pth says denselayer1.norm.1.weight; torchvision renames while it loads.
    tensors = torchvision.models.densenet121(weights=None).state_dict()
    old = {
        re.sub(r"(denselayer\d+\.(?:norm|conv))([12])\.", r"\1.\2.", key): value
        for key, value in tensors.items()
    }
    assert "features.denseblock1.denselayer1.norm.1.weight" in old
    spec = model_spec("torchvision:densenet121", weights=checkpoint(tmp_path / "d.pth", old))
    assert same(load_network(spec).network.state_dict(), tensors)


def test_vision_transformers_published_names_are_understood(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Weights of before pytorch/vision#6053 say mlp.linear_1; their module renames while it loads.
    def build(_: int) -> nn.Module:
        network: nn.Module = torchvision.models.VisionTransformer(32, 16, 2, 2, 8, 16)
        return network

    monkeypatch.setitem(MODELS, "vit", replace(MODELS["resnet50"], name="vit", build=build))
    tensors = build(32).state_dict()
    old = {
        key.replace("mlp.0.", "mlp.linear_1.").replace("mlp.3.", "mlp.linear_2."): value
        for key, value in tensors.items()
    }
    assert "encoder.layers.encoder_layer_0.mlp.linear_1.weight" in old
    spec = model_spec("vit", weights=checkpoint(tmp_path / "vit.pth", old))
    assert same(load_network(spec).network.state_dict(), tensors)


def test_a_checkpoint_without_the_version_that_its_network_asks_for_is_refused(
    tmp_path: Path,
) -> None:
    # torch keeps a version beside an OrderedDict; a plain dict has none, and MNASNet insists.
    state = torchvision.models.mnasnet0_5(weights=None).state_dict()
    path = checkpoint(tmp_path / "with.pth", state)
    loaded = load_network(model_spec("torchvision:mnasnet0_5", weights=path))
    assert same(loaded.network.state_dict(), state)
    assert "version" in fit_error(dict(state), tmp_path, "torchvision:mnasnet0_5")
