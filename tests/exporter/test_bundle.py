"""Bundles: their names, what is verified when one is opened, and that they appear whole."""

import hashlib
import importlib.metadata
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn

from evaluator.contracts import GraphKind, LoadedNetwork, ModelSpec
from evaluator.errors import EvaluatorError, InputError, OutputError
from evaluator.exporter import bundle as bundle_module
from evaluator.exporter.bundle import (
    bundle_name,
    cached_bundle_folder,
    is_bundle,
    open_bundle,
    read_manifest,
    write_bundle,
)
from evaluator.exporter.graph.onnx_export import OPSETS
from evaluator.exporter.spec import model_spec
from evaluator.exporter.weights.weights import load_network
from evaluator.exporter.zoo.table import MODELS

FILES = {"model.json", "model.onnx", "model.onnx.data"}


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVALUATOR_CACHE", str(tmp_path / "cache"))


def small_network(_: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(4),
        nn.Flatten(),
        nn.Linear(128, 1000),
    )


def small(seed: int = 0) -> LoadedNetwork:
    """A small network with random weights, under a name of the zoo."""
    spec = model_spec("alexnet", weights="random", seed=seed, crop_px=32)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = small_network(32).eval().requires_grad_(False)
    return LoadedNetwork(spec, network, f"{seed:064}")


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle that no test touches."""
    folder = tmp_path_factory.mktemp("pristine") / "bundle"
    write_bundle(small(), folder)
    return folder


@pytest.fixture
def folder(pristine: Path, tmp_path: Path) -> Path:
    """A bundle to do something to."""
    return shutil.copytree(pristine, tmp_path / "bundle")


@pytest.fixture
def instant(pristine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An export takes no time: its graph is there already."""

    def copied(loaded: LoadedNetwork, path: Path, *_: object) -> None:
        shutil.copy(pristine / "model.onnx", path)
        shutil.copy(pristine / "model.onnx.data", path.with_name("model.onnx.data"))

    monkeypatch.setattr(bundle_module, "write_onnx", copied)


def names_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def refusal(folder: Path) -> str:
    with pytest.raises(InputError) as caught:
        open_bundle(folder)
    message = str(caught.value)
    assert message.isprintable()
    assert str(folder) in message
    return message


# ------------------------------------------------------------------------------------------- names


@pytest.mark.parametrize("name", ["resnet50", "resnext101_32x48d_wsl", "torchvision:vit_b_16"])
def test_a_name_is_the_model_and_twelve_digits_and_no_colon(name: str) -> None:
    assert re.fullmatch(
        re.escape(name.replace(":", "-")) + r"-[0-9a-f]{12}", bundle_name(model_spec(name))
    )


def test_the_digits_are_those_of_an_independent_computation() -> None:
    def sha256(value: object) -> str:
        text = json.dumps(value, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    spec = model_spec("resnet50")
    fields = {**asdict(spec), "source": "", "licence": ""}
    # Not in the first version; what has their defaults keeps its digits.
    del fields["prepared"], fields["preprocessing"]["channels"], fields["preprocessing"]["sizes"]
    identity = {
        "spec": sha256(fields),
        "precision": "fp32",
        "input_kind": "pixels",
        "opset": 20,
        "schema": 2,
    }
    assert bundle_name(spec) == f"resnet50-{sha256(identity)[:12]}"


def test_a_name_is_the_same_in_every_process() -> None:
    program = (
        "from evaluator.exporter.bundle import bundle_name\n"
        "from evaluator.exporter.spec import model_spec\n"
        "print(bundle_name(model_spec('efficientnet_lite0', crop_px=192)))"
    )
    expected = bundle_name(model_spec("efficientnet_lite0", crop_px=192))
    for seed in ("1", "77"):
        done = subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout == f"{expected}\n"


def test_a_name_changes_with_crop_weights_seed_precision_and_input(tmp_path: Path) -> None:
    mine = tmp_path / "mine.pth"
    mine.write_bytes(b"weights")
    spec = model_spec("resnet50")
    others = [
        bundle_name(spec),
        bundle_name(model_spec("resnet50", crop_px=256)),
        bundle_name(model_spec("torchvision:resnet50")),
        bundle_name(model_spec("resnet50", weights="random")),
        bundle_name(model_spec("resnet50", weights="random", seed=1)),
        bundle_name(model_spec("resnet50", weights=str(mine))),
        bundle_name(spec, GraphKind("fp16")),
        bundle_name(spec, GraphKind("fp32", "images")),
        bundle_name(replace(spec, preprocessing=replace(spec.preprocessing, std=(1, 1, 1)))),
    ]
    mine.write_bytes(b"other weights")
    others.append(bundle_name(model_spec("resnet50", weights=str(mine))))
    assert len(set(others)) == len(others)


def test_a_name_does_not_depend_on_where_a_checkpoint_lies(tmp_path: Path) -> None:
    names = set()
    for place in ("here/a.pth", "there/b.pth"):
        path = tmp_path / place
        path.parent.mkdir()
        path.write_bytes(b"weights")
        names.add(bundle_name(model_spec("resnet50", weights=str(path))))
    assert len(names) == 1


def test_the_trained_crop_asked_for_by_number_is_the_same_bundle() -> None:
    assert bundle_name(model_spec("resnet50", crop_px=224)) == bundle_name(model_spec("resnet50"))


def test_a_bundle_of_the_cache_lies_under_its_name(tmp_path: Path) -> None:
    spec = model_spec("resnet50")
    expected = tmp_path / "cache" / "bundles" / bundle_name(spec)
    assert cached_bundle_folder(spec) == expected
    assert not expected.parent.exists()  # nothing is made by asking


# ------------------------------------------------------------------------------ writing and reading


def test_what_was_written_is_read_back(pristine: Path) -> None:
    bundle, loaded = open_bundle(pristine), small()
    assert names_in(pristine) == FILES
    assert bundle.folder == pristine
    assert bundle.graph == pristine / "model.onnx"
    assert bundle.model == read_manifest(pristine)
    assert (bundle.model.spec, bundle.model.weights_sha256) == (loaded.spec, loaded.weights_sha256)
    assert (bundle.model.precision, bundle.model.input_kind) == ("fp32", "pixels")
    assert bundle.model.opset == OPSETS["fp32"]
    for package in ("torch", "onnx", "onnxscript"):
        assert bundle.model.versions[package] == importlib.metadata.version(package)


def test_the_manifest_holds_the_hash_of_graph_and_data(pristine: Path) -> None:
    graph = hashlib.sha256((pristine / "model.onnx").read_bytes()).hexdigest()
    data = hashlib.sha256((pristine / "model.onnx.data").read_bytes()).hexdigest()
    expected = hashlib.sha256(f"{graph} {data}".encode()).hexdigest()
    assert read_manifest(pristine).sha256 == expected


def test_a_bundle_can_be_moved_and_run(pristine: Path, tmp_path: Path) -> None:
    bundle = open_bundle(shutil.copytree(pristine, tmp_path / "moved" / "to here"))
    session = onnxruntime.InferenceSession(bundle.graph, providers=["CPUExecutionProvider"])
    numbers = np.random.default_rng(0)
    pixels = numbers.integers(0, 256, (3, 32, 32, 3), np.uint8)
    (logits,) = session.run(None, {"pixels": pixels})
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    images = torch.tensor((pixels / 255 - mean) / std, dtype=torch.float32).permute(0, 3, 1, 2)
    np.testing.assert_allclose(logits, small().network(images).numpy(), rtol=1e-4, atol=1e-5)


def test_two_exports_differ_in_nothing(pristine: Path, tmp_path: Path) -> None:
    write_bundle(small(), tmp_path / "again")
    for name in FILES:
        assert (tmp_path / "again" / name).read_bytes() == (pristine / name).read_bytes()


@pytest.mark.usefixtures("instant")
def test_an_empty_folder_may_be_given(tmp_path: Path) -> None:
    (tmp_path / "given").mkdir()
    assert write_bundle(small(), tmp_path / "given").folder == tmp_path / "given"
    assert names_in(tmp_path / "given") == FILES


@pytest.mark.usefixtures("instant")
def test_parents_of_the_folder_are_made(tmp_path: Path) -> None:
    write_bundle(small(), tmp_path / "not" / "there" / "yet")
    assert names_in(tmp_path / "not" / "there") == {"yet"}


# ---------------------------------------------------------------------------------- what was edited


def edited(folder: Path, edit: Callable[[dict[str, Any]], object]) -> None:
    manifest = json.loads((folder / "model.json").read_text())
    edit(manifest)
    (folder / "model.json").write_text(json.dumps(manifest))


@pytest.mark.parametrize(
    ("edit", "place"),
    [
        (lambda m: m.update(opset="twenty"), "opset"),
        (lambda m: m.update(precision="fp64"), "precision"),
        (lambda m: m.pop("sha256"), "sha256"),
        (lambda m: m["spec"].pop("classes"), "spec.classes"),
        (lambda m: m["spec"]["preprocessing"].update(mean=[0.5]), "spec.preprocessing.mean"),
        (lambda m: m["spec"]["weights"].update(kind="hub"), "spec.weights.kind"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_manifest_with_a_field_that_makes_no_sense_is_refused_by_name(
    edit: Callable[[dict[str, Any]], object], place: str, folder: Path
) -> None:
    edited(folder, edit)
    assert f"is not a valid OnnxModel: {place}" in refusal(folder)


@pytest.mark.parametrize(
    "edit",
    [
        lambda m: m.update(sha256="0" * 64),
        lambda m: m.update(weights_sha256="1" * 64),
        lambda m: m["spec"].update(name="resnet50"),
        lambda m: m["spec"]["weights"].update(reference="seed 1"),
        lambda m: m["spec"]["preprocessing"].update(mean=[0.5, 0.5, 0.5]),
        lambda m: m["spec"]["preprocessing"].update(resize_px=40),
        lambda m: m["spec"]["preprocessing"].update(crop_px=30),
        lambda m: m["spec"]["preprocessing"].update(interpolation="bicubic"),
    ],
    ids=["hash", "weights", "name", "seed", "mean", "resize", "crop", "interpolation"],
)
def test_a_manifest_that_was_edited_by_hand_is_refused(
    edit: Callable[[dict[str, Any]], object], folder: Path
) -> None:
    edited(folder, edit)
    refusal(folder)


@pytest.mark.parametrize("size", [0, 1, 100])
def test_a_truncated_manifest_is_refused(size: int, folder: Path) -> None:
    content = (folder / "model.json").read_bytes()
    (folder / "model.json").write_bytes(content[:size])
    assert "is not a valid OnnxModel" in refusal(folder)


@pytest.mark.parametrize("content", [b"[]", b"null", b"\xff\xfe", b'{"spec": NaN}'])
def test_a_manifest_of_something_else_is_refused(content: bytes, folder: Path) -> None:
    (folder / "model.json").write_bytes(content)
    assert "is not a valid OnnxModel" in refusal(folder)


@pytest.mark.parametrize("name", ["model.onnx", "model.onnx.data"])
@pytest.mark.parametrize("place", [0, 0.5, 1])
def test_one_flipped_bit_is_noticed(name: str, place: float, folder: Path) -> None:
    content = bytearray((folder / name).read_bytes())
    content[round(place * (len(content) - 1))] ^= 1
    (folder / name).write_bytes(content)
    assert "was changed after it was exported" in refusal(folder)


@pytest.mark.parametrize("name", ["model.onnx", "model.onnx.data"])
def test_bytes_added_at_the_end_are_noticed(name: str, folder: Path) -> None:
    with (folder / name).open("ab") as file:
        file.write(b"\0")
    assert "was changed after it was exported" in refusal(folder)


def test_bytes_that_move_from_the_graph_to_the_data_are_noticed(folder: Path) -> None:
    # The two files one after the other still are the same bytes.
    graph, data = folder / "model.onnx", folder / "model.onnx.data"
    content = graph.read_bytes()
    graph.write_bytes(content[:-10])
    data.write_bytes(content[-10:] + data.read_bytes())
    refusal(folder)


@pytest.mark.parametrize("name", sorted(FILES))
def test_a_missing_file_is_noticed(name: str, folder: Path) -> None:
    (folder / name).unlink()
    refusal(folder)


def test_what_is_no_folder_is_no_bundle(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for place in (tmp_path, tmp_path / "file", tmp_path / "nowhere"):
        assert not is_bundle(place)
        refusal(place)


def test_a_bundle_is_known_by_its_manifest(pristine: Path) -> None:
    assert is_bundle(pristine)


# ------------------------------------------------------------------------------------ whole or not


@pytest.mark.usefixtures("instant")
def test_a_folder_with_something_else_in_it_is_refused_and_left_as_it_was(tmp_path: Path) -> None:
    place = tmp_path / "photos"
    place.mkdir()
    (place / "holiday.jpg").write_bytes(b"dear")
    with pytest.raises(OutputError, match="photos exists and is not a bundle") as caught:
        write_bundle(small(), place)
    assert str(caught.value).isprintable()
    assert (place / "holiday.jpg").read_bytes() == b"dear"
    assert names_in(place) == {"holiday.jpg"}
    assert names_in(tmp_path) == {"photos"}


@pytest.mark.usefixtures("instant")
def test_a_file_in_the_place_of_the_folder_is_refused_and_left_as_it_was(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("dear")
    for place in (tmp_path / "file", tmp_path / "file" / "bundle"):
        with pytest.raises(OutputError) as caught:
            write_bundle(small(), place)
        assert str(caught.value).isprintable()
    assert (tmp_path / "file").read_text() == "dear"
    assert names_in(tmp_path) == {"file"}


@pytest.mark.parametrize(
    "error",
    [InputError("cannot be exported"), KeyboardInterrupt(), MemoryError(), RuntimeError("ours")],
    ids=lambda error: type(error).__name__,
)
def test_an_export_that_fails_in_the_middle_leaves_nothing(
    error: BaseException, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(loaded: LoadedNetwork, path: Path, *_: object) -> None:
        path.write_bytes(b"half a graph")
        raise error

    monkeypatch.setattr(bundle_module, "write_onnx", fail)
    with pytest.raises(type(error)):
        write_bundle(small(), tmp_path / "bundle")
    assert names_in(tmp_path) == set()


def test_a_full_disk_is_one_line_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(loaded: LoadedNetwork, path: Path, *_: object) -> None:
        path.write_bytes(b"half a graph")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(bundle_module, "write_onnx", fail)
    with pytest.raises(OutputError, match="No space left on device") as caught:
        write_bundle(small(), tmp_path / "bundle")
    assert str(caught.value).isprintable()
    assert names_in(tmp_path) == set()


def test_an_empty_folder_that_was_given_survives_a_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "given").mkdir()

    def fail(loaded: LoadedNetwork, path: Path, *_: object) -> None:
        raise InputError("cannot be exported")

    monkeypatch.setattr(bundle_module, "write_onnx", fail)
    with pytest.raises(InputError):
        write_bundle(small(), tmp_path / "given")
    assert names_in(tmp_path) == {"given"}


# --------------------------------------------------------------------------- several at a time


def test_a_bundle_that_another_process_published_meanwhile_is_taken(
    pristine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slow(loaded: LoadedNetwork, path: Path, *_: object) -> None:
        path.write_bytes(b"our graph")
        shutil.copytree(pristine, tmp_path / "bundle")

    monkeypatch.setattr(bundle_module, "write_onnx", slow)
    assert write_bundle(small(), tmp_path / "bundle").model == read_manifest(pristine)
    assert names_in(tmp_path) == {"bundle"}
    assert names_in(tmp_path / "bundle") == FILES


@pytest.mark.usefixtures("instant")
def test_a_bundle_that_another_process_published_while_the_weights_were_read_is_taken(
    pristine: Path, folder: Path
) -> None:
    # The caller saw no bundle, loaded the network for seconds, and now there is one: the same.
    assert write_bundle(small(), folder).model == read_manifest(pristine)


def test_another_models_bundle_that_was_published_meanwhile_is_not_taken_for_ours(
    pristine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Two exports of different models with the same --out: the later one must not get the other's.
    def slow(loaded: LoadedNetwork, path: Path, *_: object) -> None:
        path.write_bytes(b"our graph")
        shutil.copytree(pristine, tmp_path / "bundle")

    monkeypatch.setattr(bundle_module, "write_onnx", slow)
    with pytest.raises(EvaluatorError, match="bundle"):
        write_bundle(small(seed=1), tmp_path / "bundle")
    assert read_manifest(tmp_path / "bundle") == read_manifest(pristine)


@pytest.mark.usefixtures("instant")
def test_a_bundle_is_never_overwritten_by_another_model(pristine: Path, folder: Path) -> None:
    with pytest.raises(EvaluatorError):
        write_bundle(small(seed=1), folder)
    for name in FILES:
        assert (folder / name).read_bytes() == (pristine / name).read_bytes()


RACE = """
import shutil, sys
from pathlib import Path
from evaluator.contracts import LoadedNetwork
from evaluator.exporter import bundle
from evaluator.exporter.spec import model_spec

def copied(loaded, path, *_):
    for name in ("model.onnx", "model.onnx.data"):
        shutil.copy(Path(sys.argv[1]) / name, path.with_name(name))

if sys.argv[2] == "copied":
    bundle.write_onnx = copied
    loaded = LoadedNetwork(model_spec("alexnet", weights="random", crop_px=32), None, "0" * 64)
else:
    from evaluator.tests.exporter.test_bundle import small
    loaded = small()
print("ready", flush=True)
sys.stdin.readline()
made = bundle.write_bundle(loaded, bundle.cached_bundle_folder(loaded.spec))
print(made.folder, made.model.sha256, flush=True)
"""


@pytest.mark.parametrize("graph", ["copied", pytest.param("exported", marks=pytest.mark.slow)])
def test_two_processes_that_export_the_same_model_at_once_both_get_a_whole_bundle(
    graph: str, pristine: Path, tmp_path: Path
) -> None:
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", RACE, str(pristine), graph],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
        for _ in range(2)
    ]
    for racer in racers:
        assert racer.stdout is not None
        assert racer.stdout.readline() == "ready\n"
    for racer in racers:
        assert racer.stdin is not None
        racer.stdin.write("go\n")
        racer.stdin.flush()
    told = [racer.communicate(timeout=300)[0] for racer in racers]
    assert [racer.returncode for racer in racers] == [0, 0]
    assert told[0] == told[1]
    (folder,) = (tmp_path / "cache" / "bundles").iterdir()
    assert told[0] == f"{folder} {open_bundle(folder).model.sha256}\n"
    assert names_in(folder) == FILES


@pytest.mark.usefixtures("instant")
def test_a_spec_of_a_bundle_loads_the_same_weights_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(MODELS, "alexnet", replace(MODELS["alexnet"], build=small_network))
    spec: ModelSpec = model_spec("alexnet", weights="random", seed=9, crop_px=32)
    bundle = write_bundle(load_network(spec), tmp_path / "bundle")
    assert load_network(bundle.model.spec).weights_sha256 == bundle.model.weights_sha256
