"""Names in checkpoints: read where there is one way to read them, refused where there is none."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from evaluator.contracts import NullProgress
from evaluator.errors import InputError
from evaluator.exporter.spec import model_spec
from evaluator.exporter.weights.renaming import network_state, read_names
from evaluator.exporter.weights.weights import load_network
from evaluator.exporter.zoo.table import MODELS
from evaluator.tests.small import Small, Tensors, checkpoint, one_line, same, small_tensors

Rename = Callable[[str], str]
MEAN, STD = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])


class Deep(nn.Module):
    """Layers in modules, as AlexNet and VGG have them."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
        self.blocks = nn.ModuleList([nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 1)])
        self.classifier = nn.Linear(4, 1000)


@pytest.fixture
def network_of(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], nn.Module]], str]:
    """Put a network into the zoo."""

    def put(build: Callable[[], nn.Module]) -> str:
        row = replace(MODELS["resnet50"], name="it", architecture="it", build=lambda _: build())
        monkeypatch.setitem(MODELS, "it", row)
        return "it"

    return put


@pytest.fixture
def deep(network_of: Callable[[Callable[[], nn.Module]], str]) -> str:
    return network_of(Deep)


def load(content: object, folder: Path, name: str) -> tuple[Tensors, str]:
    """The state of the network with these weights, and the notes."""
    told = NullProgress()
    spec = model_spec(name, weights=checkpoint(folder / "mine.pth", content))
    return load_network(spec, told).network.state_dict(), " ".join(told.notes)


def refused(content: object, folder: Path, name: str) -> str:
    with pytest.raises(InputError) as caught:
        load(content, folder, name)
    return one_line(caught)


def deep_tensors(seed: int = 3) -> Tensors:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Deep().state_dict()


def under(prefix: str, tensors: Tensors) -> Tensors:
    return {prefix + name: tensor for name, tensor in tensors.items()}


# ------------------------------------------------------------------------ one way to read a name


@pytest.mark.parametrize(
    ("rename", "note"),
    [
        (lambda n: n.replace("features.", "features.module."), "features.module. as features."),
        (
            lambda n: n.replace("features.", "features._orig_mod.module."),
            "features._orig_mod.module. as features.",
        ),
        (lambda n: n.replace("blocks.", "blocks.module."), "blocks.module. as blocks."),
        (
            lambda n: n.replace("0.", "0.module.").replace("1.", "1.module."),
            "features.0.module. as features.0., features.1.module. as features.1., "
            "blocks.0.module. as blocks.0. and 1 more",
        ),
        (lambda n: "net." + n, "without net. before their names"),
        (lambda n: "a.b.c." + n, "without a.b.c. before their names"),
        (lambda n: "0." + n, "without 0. before their names"),
        (
            lambda n: "encoder." + n.replace("features.", "features.module."),
            "encoder.features.module. as features., without encoder. before their names",
        ),
        (lambda n: "_fsdp_wrapped_module." + n, "without _fsdp_wrapped_module. before"),
    ],
)
def test_a_renaming_that_is_one_to_one_is_read_and_told(
    rename: Rename, note: str, deep: str, tmp_path: Path
) -> None:
    tensors = deep_tensors()
    state, notes = load({rename(name): x for name, x in tensors.items()}, tmp_path, deep)
    assert same(state, tensors)
    assert note in notes


@pytest.mark.parametrize(
    "build",
    [
        lambda: nn.ModuleDict({"model": Deep()}),
        lambda: nn.Sequential(nn.Identity(), Deep()),
        lambda: nn.ModuleDict({"module": Deep()}),
    ],
)
def test_a_network_with_a_prefix_takes_the_plain_checkpoint(
    build: Callable[[], nn.Module],
    network_of: Callable[[Callable[[], nn.Module]], str],
    tmp_path: Path,
) -> None:
    tensors = deep_tensors()
    state, notes = load(tensors, tmp_path, network_of(build))
    (prefix,) = {name.partition(".")[0] for name in state}
    assert same(state, under(f"{prefix}.", tensors))
    assert f"with {prefix}. before their names" in notes


def test_versions_of_modules_go_along_with_their_names() -> None:
    class Versioned(nn.Module):
        _version = 7

        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3)

    wrapped = nn.ModuleDict({"net": nn.Sequential(nn.DataParallel(Versioned()))})
    reading = read_names(wrapped.state_dict(), network_state(nn.Sequential(Versioned())))
    assert reading.fits
    assert reading.paths["net.0.module"] == "0"
    assert reading.paths["net.0.module.conv"] == "0.conv"


words = st.sampled_from(["conv", "module", "model", "0", "1", "net"])
names = st.lists(st.lists(words, min_size=1, max_size=3).map(".".join), min_size=1, unique=True)


@given(names=names, prefix=st.lists(words, max_size=3))
def test_a_prefix_never_leads_to_another_network(names: list[str], prefix: list[str]) -> None:
    own = {f"{name}.weight": torch.full((1,), float(i)) for i, name in enumerate(names)}

    class Named(nn.Module):
        def state_dict(self, *_: Any, **__: Any) -> Any:
            return own

    file = {".".join([*prefix, name]): x for name, x in own.items()}
    reading = read_names(file, network_state(Named()))
    assert reading.fits
    assert {new: file[name] for name, new in reading.names.items()} == own


@pytest.mark.parametrize(
    "rename",
    [
        lambda n: "module." + n if n.startswith("features") else n,
        lambda n: n.replace("features.0.", "features.module.0."),
        lambda n: n.replace("features.", "body."),
        lambda n: "net." + n if "weight" in n else n,
    ],
)
def test_a_word_that_only_some_names_have_is_not_removed(
    rename: Rename, deep: str, tmp_path: Path
) -> None:
    content = {rename(name): x for name, x in deep_tensors().items()}
    assert "lacks" in refused(content, tmp_path, deep)


def test_prefixes_of_some_names_are_told_with_the_way_out(deep: str, tmp_path: Path) -> None:
    content = {
        f"backbone.{name}" if "classifier" not in name else name: x
        for name, x in deep_tensors().items()
    }
    message = refused(content, tmp_path, deep)
    assert "lacks classifier.bias, classifier.weight, and has also classifier.bias" in message
    assert "Without what is before their names some of these are the network's: rename" in message


# ------------------------------------------------------------------- several copies of a network


def robustness(tensors: Tensors, copy: Tensors, std: torch.Tensor = STD) -> dict[str, object]:
    """A checkpoint as MadryLab's package writes it."""
    state = under("module.model.", tensors) | under("module.attacker.model.", copy)
    for place in ("normalizer", "attacker.normalize"):
        state[f"module.{place}.new_mean"] = MEAN.reshape(3, 1, 1)
        state[f"module.{place}.new_std"] = std.reshape(3, 1, 1)
    return {"model": state, "epoch": 90}


def test_the_form_of_robustness_is_read(deep: str, tmp_path: Path) -> None:
    tensors = deep_tensors()
    state, notes = load(robustness(tensors, tensors), tmp_path, deep)
    assert same(state, tensors)
    assert "those of model, without module.model. before their names" in notes
    assert "attacker.model.* is an equal copy" in notes
    assert "normalizer.new_mean and module.normalizer.new_std are the model's mean" in notes


def test_an_attacker_with_other_weights_is_refused(deep: str, tmp_path: Path) -> None:
    message = refused(robustness(deep_tensors(1), deep_tensors(2)), tmp_path, deep)
    assert "holds the network more than once, as module.model.* and " in message
    assert "module.attacker.model.*, and features.0.weight differs between them" in message


def test_a_normalizer_with_other_numbers_is_refused_with_both(deep: str, tmp_path: Path) -> None:
    tensors = deep_tensors()
    message = refused(robustness(tensors, tensors, std=MEAN), tmp_path, deep)
    assert "its own normalisation, module.normalizer.new_mean 0.485, 0.456, 0.406" in message
    assert "new_std 0.485, 0.456, 0.406, but the model's are mean 0.485" in message
    assert "std 0.229, 0.224, 0.225. Describe the model" in message


@pytest.mark.parametrize("pair", [("student.", "teacher."), ("", "ema."), ("model.", "ema.model.")])
def test_two_networks_in_one_file_are_never_chosen_from(
    pair: tuple[str, str], deep: str, tmp_path: Path
) -> None:
    content = under(pair[0], deep_tensors(1)) | under(pair[1], deep_tensors(2))
    assert "do not fit it" in refused(content, tmp_path, deep)


# --------------------------------------------------------------------- what is no weight, and ties


def profiled(tensors: Tensors, modules: list[str]) -> Tensors:
    counters = ("total_ops", "total_params")
    zero = torch.zeros(1, dtype=torch.float64)
    return tensors | {f"{module}{word}": zero for module in modules for word in counters}


@pytest.mark.parametrize("prefix", ["", "module.", "net."])
def test_counters_of_a_profiler_are_left_out_with_a_note(
    prefix: str, deep: str, tmp_path: Path
) -> None:
    content = profiled(under(prefix, deep_tensors()), ["", prefix, f"{prefix}features.0."])
    state, notes = load(content, tmp_path, deep)
    assert same(state, deep_tensors())
    count = 4 if prefix == "" else 6
    assert f"{count} counters of a profiler (total_ops, total_params) left out" in notes


def test_a_profiled_network_takes_the_checkpoint_of_the_plain_one(
    network_of: Callable[[Callable[[], nn.Module]], str], tmp_path: Path
) -> None:
    def build() -> nn.Module:
        network = Deep()
        network.register_buffer("total_ops", torch.zeros(1))
        return network

    state, _ = load(deep_tensors(), tmp_path, network_of(build))
    assert all(torch.equal(state[name], x) for name, x in deep_tensors().items())


def test_what_only_looks_like_a_counter_is_not_left_out(deep: str, tmp_path: Path) -> None:
    content = {**deep_tensors(), "head.total_ops": torch.zeros(4)}
    assert "has also head.total_ops. The 12 tensors" in refused(content, tmp_path, deep)


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.a = nn.Linear(4, 1000)
        self.b = self.a


@pytest.mark.parametrize("left_out", [(), ("b.weight", "b.bias"), ("a.weight", "b.bias")])
def test_one_name_of_a_tied_tensor_is_enough(
    left_out: tuple[str, ...],
    network_of: Callable[[Callable[[], nn.Module]], str],
    tmp_path: Path,
) -> None:
    tensors = Tied().state_dict()
    content = {name: x for name, x in tensors.items() if name not in left_out}
    state, _ = load(under("module.", content), tmp_path, network_of(Tied))
    assert same(state, tensors)


def test_tied_names_that_contradict_each_other_are_refused(
    network_of: Callable[[Callable[[], nn.Module]], str], tmp_path: Path
) -> None:
    content = {**Tied().state_dict(), "b.bias": torch.ones(1000)}
    message = refused(content, tmp_path, network_of(Tied))
    assert "a.bias and b.bias are one tensor in the network, but two different ones" in message


def test_a_network_whose_code_changes_what_it_loads_is_refused(
    network_of: Callable[[Callable[[], nn.Module]], str], tmp_path: Path
) -> None:
    class Scaling(Small):
        def load_state_dict(
            self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False
        ) -> Any:
            state = {**state_dict, "head.weight": state_dict["head.weight"] * 2}
            return super().load_state_dict(state, strict, assign)

    message = refused(small_tensors(), tmp_path, network_of(Scaling))
    assert "the network holds other values than the checkpoint in head.weight" in message


def test_a_network_whose_code_does_not_say_what_it_loaded_is_checked(
    network_of: Callable[[Callable[[], nn.Module]], str], tmp_path: Path
) -> None:
    class Silent(Small):
        def load_state_dict(
            self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False
        ) -> Any:
            super().load_state_dict(state_dict, strict, assign)

    name = network_of(Silent)
    assert same(load(small_tensors(), tmp_path, name)[0], small_tensors())
    lacking = {name: x for name, x in small_tensors().items() if name != "head.bias"}
    assert "the checkpoint lacks head.bias." in refused(lacking, tmp_path, name)


def test_numbers_that_are_none_are_loaded_as_the_file_has_them(deep: str, tmp_path: Path) -> None:
    content = {**deep_tensors(), "classifier.bias": torch.full((1000,), torch.nan)}
    state, _ = load(content, tmp_path, deep)
    assert bool(state["classifier.bias"].isnan().all())


class WithExtraState(Small):
    def get_extra_state(self) -> dict[str, int]:
        return {"epoch": getattr(self, "epoch", 0)}

    def set_extra_state(self, state: dict[str, int]) -> None:
        self.epoch = state["epoch"]


def test_extra_states_of_modules_are_no_weights(
    network_of: Callable[[Callable[[], nn.Module]], str], small: str, tmp_path: Path
) -> None:
    extra: dict[str, Any] = {**small_tensors(), "_extra_state": {"epoch": 5}}
    with_state = network_of(WithExtraState)
    assert load(extra, tmp_path, with_state)[0]["_extra_state"] == {"epoch": 5}
    state, notes = load(small_tensors(), tmp_path, with_state)
    assert state["_extra_state"] == {"epoch": 0}
    assert "_extra_state not in the file" in notes
    state, notes = load(under("module.", extra), tmp_path, small)
    assert same(state, small_tensors())
    assert "1 extra states of modules left out" in notes


# ------------------------------------------------------------------------------ what is described


def test_names_of_another_network_are_described_by_patterns(small: str, tmp_path: Path) -> None:
    message = refused(deep_tensors(), tmp_path, small)
    assert "lacks 8 tensors: conv.* (2), head.* (2), norm.* (4), and has also " in message
    assert "blocks.* (4), classifier.* (2), features.* (" in message
    assert "None of the network's 8 names is there" in message


def test_another_network_with_some_of_the_names_is_described_by_names(
    deep: str, tmp_path: Path
) -> None:
    other = {f"layer1.{name}": torch.zeros(1) for name in ("classifier.weight", "a.b", "c.d")}
    message = refused(other, tmp_path, deep)
    assert "lacks 12 tensors: blocks.* (4), classifier.* (2), features.* (6), and has" in message
    assert "has also layer1.a.b, layer1.c.d, layer1.classifier.weight. None of the" in message
    half = {name: x[..., None] for name, x in deep_tensors().items() if "features" in name}
    message = refused(half, tmp_path, deep)
    assert "lacks 6 tensors: blocks.* (4), classifier.* (2), and differs in 7 shapes" in message
    assert "7 shapes: features.0.bias is [4, 1], expected [4]" in message


def test_the_same_shapes_under_other_names_are_told_with_the_way_out(
    small: str, tmp_path: Path
) -> None:
    others = ("c.w", "c.b", "n.g", "n.b", "n.m", "n.v", "f.w", "f.b")
    kept = [x for name, x in small_tensors().items() if "num_batches" not in name]
    state = dict(zip(others, kept, strict=True))
    message = refused(state, tmp_path, small)
    assert "Their shapes are the network's, in the same order: if it is the same" in message
    del state["f.b"]
    assert "None of the network's 8 names is there" in refused(state, tmp_path, small)


def test_a_queue_beside_a_complete_network_is_named_with_the_way_out(
    deep: str, tmp_path: Path
) -> None:
    content = {**under("encoder_q.", deep_tensors()), "queue": torch.zeros(4, 9)}
    message = refused(content, tmp_path, deep)
    assert "without encoder_q. before their names" in message
    assert "the checkpoint has also queue. The 12 tensors of the network are there. If" in message
    del content["queue"]
    assert same(load(content, tmp_path, deep)[0], deep_tensors())


def test_one_layer_of_many_that_differ_is_named_once(deep: str, tmp_path: Path) -> None:
    content = {
        **deep_tensors(),
        **{f"blocks.{n}.weight": torch.zeros(4, 4, 3, 3) for n in (0, 1)},
        "features.0.weight": torch.zeros(4, 3, 5, 5),
        "classifier.weight": torch.zeros(1000, 5),
    }
    message = refused(content, tmp_path, deep)
    assert "differs: blocks.0.weight is [4, 4, 3, 3], expected [4, 4, 1, 1]" in message
    assert message.endswith("and 1 more of 13 tensors.")
