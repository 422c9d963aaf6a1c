"""Weights from the network, end to end: fetched once, verified on every use, loaded."""

import io
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import nn

from evaluator.contracts import NullProgress
from evaluator.errors import InputError, UnavailableError
from evaluator.exporter.spec import model_spec
from evaluator.exporter.weights.weights import load_network
from evaluator.exporter.zoo.rows import Download
from evaluator.exporter.zoo.table import MODELS, resnext101
from evaluator.storage import fetch as fetching
from evaluator.tests.file_server import Fault, FileServer, file_server
from evaluator.tests.small import Small, one_line, same, sha256_of

WSL = "resnext101_32x8d_wsl"


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVALUATOR_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(fetching, "BACKOFF_SECONDS", 0.001)


@pytest.fixture
def server() -> Iterator[FileServer]:
    with file_server() as running:
        yield running


def saved(network: nn.Module) -> bytes:
    file = io.BytesIO()
    torch.save(network.state_dict(), file)
    return file.getvalue()


def narrow_wsl(monkeypatch: pytest.MonkeyPatch, url: str) -> nn.Module:
    """Point the WSL row at an address and at a narrow ResNeXt-101, and give one with weights."""
    build = partial(resnext101, 1, 4)
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
    server: FileServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    content = saved(narrow_wsl(monkeypatch, ""))
    name = server.put("ig_small", content)
    network = narrow_wsl(monkeypatch, server.url(name))
    server.faults = [Fault(cut=len(content) // 3)]  # and the connection broke on the way
    told = NullProgress()
    first = load_network(model_spec(WSL), told)
    assert server.asked == ["whole", f"bytes={len(content) // 3}-"]
    assert told.notes[0].startswith(f"Fetching the weights of {WSL}, ")
    assert (tmp_path / "cache" / "weights" / name).read_bytes() == content
    assert cached_files(tmp_path) == [name, f"{name}.lock"]
    assert same(first.network.state_dict(), network.state_dict())
    assert first.weights_sha256 == sha256_of(network.state_dict())
    images = torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        torch.testing.assert_close(first.network(images), network.eval()(images))

    second = load_network(model_spec(WSL))
    assert len(server.asked) == 2
    assert second.weights_sha256 == first.weights_sha256


def test_a_file_that_was_downloaded_elsewhere_is_the_same_model(
    server: FileServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    content = saved(Small())
    name = small_row(monkeypatch, server.url(server.put("small", content)))
    (tmp_path / "elsewhere.pth").write_bytes(content)
    fetched = load_network(model_spec(name))
    given = load_network(model_spec(name, weights=str(tmp_path / "elsewhere.pth")))
    assert fetched.weights_sha256 == given.weights_sha256


@pytest.mark.parametrize(
    ("content", "reason"),
    [(b"someone else's file", "wrong SHA-256"), (None, "it answers 404")],
)
def test_weights_that_cannot_be_had_are_told_with_a_way_out(
    content: bytes | None,
    reason: str,
    server: FileServer,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    if content is not None:
        server.files["small-00000000.pth"] = content
    name = small_row(monkeypatch, server.url("small-00000000.pth"))
    with pytest.raises(UnavailableError) as caught:
        load_network(model_spec(name))
    message = one_line(caught)
    assert "he weights of resnet50" in message
    assert reason in message
    assert server.url("small-00000000.pth") in message
    assert message.endswith(
        "Download that address elsewhere and give the file with --weights FILE, "
        "or use --weights random."
    )
    assert cached_files(tmp_path) == ["small-00000000.pth.lock"]


def test_a_cached_file_that_was_damaged_later_is_named(
    server: FileServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = server.put("small", saved(Small()))
    name = small_row(monkeypatch, server.url(file))
    load_network(model_spec(name))
    cached = tmp_path / "cache" / "weights" / file
    cached.write_bytes(cached.read_bytes()[:-1] + b"?")
    with pytest.raises(InputError, match=rf"{file} is damaged: .* Remove it") as caught:
        load_network(model_spec(name))
    one_line(caught)
    cached.unlink()
    load_network(model_spec(name))
    assert server.asked == ["whole", "whole"]
