"""A user's own models from start to end: export, parity, score, report."""

import random
import shutil
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import evaluator
from evaluator.contracts import PASSED_AGAINST_ONNX, NullProgress, ParityResult, Run
from evaluator.errors import InputError, ParityError
from evaluator.evaluate.benchmarks.imagenet import IMAGENET
from evaluator.evaluate.classes import wnids
from evaluator.exporter.description import read_description
from evaluator.exporter.spec import model_spec
from evaluator.exporter.weights.weights import load_network
from evaluator.records.reading import read_run
from evaluator.tests.command_line import run
from evaluator.tests.doctored import doctored
from evaluator.tests.ready_graphs import ReadyGraph, description
from evaluator.tests.toy import RANDOM, TOY

SQUEEZENET = """
[preprocessing]
resize_px = 73
crop_px = 64
interpolation = "bilinear"
mean = [0.485, 0.456, 0.406]
std = [0.229, 0.224, 0.225]
"""

FACTORY = """
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 16, 8, stride=4)
        self.norm = nn.BatchNorm2d(16)
        self.head = nn.Linear(16, 1000)

    def forward(self, images):
        features = torch.relu(self.norm(self.conv(images)))
        return self.head(features.mean((2, 3)))


def make():
    return Net()
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A user's folder: code, two checkpoints, a description, and a class file for one of them.

    The one in ImageNet's order is of data-parallel training, as DataParallel saves it.
    """
    folder = tmp_path_factory.mktemp("home")
    (folder / "users_nets.py").write_text(FACTORY)
    description(folder / "mine.toml", 'name = "my-normalized"')
    wide = (folder / "mine.toml").read_text().replace("_px = 64", "_px = 224")
    (folder / "wide.toml").write_text(wide)
    order = list(range(1000))
    random.Random(5).shuffle(order)
    (folder / "classes.txt").write_text("".join(f"{wnids()[index]}\n" for index in order))
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(folder))
        described = read_description(folder / "mine.toml")
        spec = model_spec("users_nets:make", weights="random", description=described)
        tensors = load_network(spec).network.state_dict()
    parallel = {f"module.{name}": tensor for name, tensor in tensors.items()}
    torch.save({"epoch": 90, "state_dict": parallel}, folder / "plain.pth")
    for name in ("head.weight", "head.bias"):
        tensors[name] = tensors[name][order]
    torch.save(tensors, folder / "shuffled.pth")
    return folder


@pytest.fixture
def at_home(home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(home)
    monkeypatch.syspath_prepend(str(home))
    return home


def rows(run: Run) -> list[dict[str, Any]]:
    (table,) = read_run(run, IMAGENET.conditions).finished.values()
    return cast(list[dict[str, Any]], table.to_pylist())


def top1(run: Run) -> dict[str, int]:
    return {row["id"]: row["top5"][0] for row in rows(run)}


def probabilities(run: Run) -> list[list[float]]:
    return [row["probability"] for row in rows(run)]


def test_a_factory_is_exported_and_scored_and_its_classes_may_be_in_another_order(
    at_home: Path, photos: Path, tmp_path: Path, exports_here: None
) -> None:
    told = NullProgress()
    exported = evaluator.export_model(
        "users_nets:make", weights="plain.pth", description=Path("mine.toml"), progress=told
    )
    assert any("those of state_dict, without module. before" in note for note in told.notes)
    assert exported.parity.passed
    assert exported.parity.reference_name == "PyTorch"
    answers = [
        top1(
            evaluator.score(
                "users_nets:make", "imagenet", photos, engine=engine,
                weights=f"{name}.pth", description=Path("mine.toml"),
                classes=Path("classes.txt") if name == "shuffled" else None,
                out=tmp_path / f"{engine}-{name}",
            )
        )
        for engine in ("onnxruntime", "torch")
        for name in ("plain", "shuffled")
    ]  # fmt: skip
    assert answers == [answers[0]] * 4
    assert len(set(answers[0].values())) > 1
    report = evaluator.report([tmp_path / "onnxruntime-shuffled"])
    assert {(score.model, score.parity) for score in report.scores} == {("my-normalized", "passed")}


def test_a_compiled_network_gives_the_records_of_the_plain_one(
    at_home: Path, three_photos: Path, tmp_path: Path
) -> None:
    (at_home / "compiled_nets.py").write_text(
        "import torch\nfrom users_nets import Net\n"
        "def parallel():\n    return torch.compile(torch.nn.DataParallel(Net()))\n"
    )
    plain, parallel = (
        evaluator.score(
            factory, "imagenet", three_photos, engine="torch", weights="plain.pth",
            description=Path("mine.toml"), out=tmp_path / factory.partition(":")[2],
        )
        for factory in ("users_nets:make", "compiled_nets:parallel")
    )  # fmt: skip
    assert rows(parallel) == rows(plain)


def test_a_model_of_the_zoo_takes_a_class_file_too(
    at_home: Path, tmp_path: Path, exports_here: None
) -> None:
    exported = evaluator.export_model(
        TOY, classes=Path("classes.txt"), out=tmp_path / "bundle", **RANDOM
    )
    assert exported.parity.passed
    assert exported.bundle.model.spec.class_order is not None


def test_the_report_says_which_command_completes_the_run(
    at_home: Path, three_photos: Path, tmp_path: Path, exports_here: None
) -> None:
    corrupted = tmp_path / "imagenet-c"
    for photo in three_photos.rglob("*.JPEG"):
        stimulus = corrupted / "fog" / "1" / photo.relative_to(three_photos)
        stimulus.parent.mkdir(parents=True)
        Image.open(photo).resize((224, 224)).save(stimulus)
    run = evaluator.score(
        "users_nets:make", "imagenet-c", corrupted, corruptions=["fog"], severities=[1],
        weights="shuffled.pth", description=Path("wide.toml"), classes=Path("classes.txt"),
        engine="onnxruntime", out=tmp_path / "run",
    )  # fmt: skip
    (reason, *_) = {s.reason for s in evaluator.report([run.folder]).scores if s.reason}
    assert "evaluator score users_nets:make imagenet-c --data" in reason
    assert f"--weights {at_home / 'shuffled.pth'}" in reason
    assert f"--description {at_home / 'wide.toml'}" in reason
    assert f"--classes {at_home / 'classes.txt'}" in reason


# ------------------------------------------------------------------------------------------- ONNX


@pytest.fixture(scope="module")
def ready(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """SqueezeNet as torch exports it: normalised images in, probabilities out, data beside it."""
    folder = tmp_path_factory.mktemp("ready")
    spec = model_spec(TOY, **RANDOM)
    network = nn.Sequential(load_network(spec).network, nn.Softmax(1)).eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter's own deprecations
        torch.onnx.export(
            network, (torch.zeros(2, 3, 64, 64),), str(folder / "ready.onnx"), dynamo=True,
            dynamic_shapes=({0: torch.export.Dim("N")},), verbose=False,
        )  # fmt: skip
    assert (folder / "ready.onnx.data").is_file()
    (folder / "ready.toml").write_text('input = "normalized"\n' + SQUEEZENET)
    return folder / "ready.onnx"


def test_an_onnx_file_is_measured_against_itself_and_everything_says_so(
    ready: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EVALUATOR_CACHE", str(tmp_path / "cache"))  # other tests export it too
    told = NullProgress()
    exported = evaluator.export_model(str(ready), progress=told)
    assert any("exists only as ONNX" in note for note in told.notes)
    assert any("ends in a softmax, which is removed" in note for note in told.notes)
    parity = exported.parity
    assert parity.passed
    assert parity.reference_name == "ONNX Runtime on the original file"
    assert parity.reference.backend == "onnxruntime"
    assert parity.reference != parity.candidate
    assert {gate.name for gate in parity.gates} >= {"preprocessing", "worst class"}

    run = evaluator.score(str(ready), "imagenet", photos, out=tmp_path / "run")
    known = evaluator.score(TOY, "imagenet", photos, out=tmp_path / "known", **RANDOM)
    np.testing.assert_allclose(probabilities(run), probabilities(known), rtol=1e-4)
    report = evaluator.report([run.folder])
    assert {score.parity for score in report.scores} == {PASSED_AGAINST_ONNX}
    text = report.markdown()
    assert "# the model exists only as ONNX: the reference is ONNX Runtime, not PyTorch" in text
    assert "parity is not proved" not in text


def test_an_onnx_file_cannot_be_run_by_pytorch(ready: Path, photos: Path, tmp_path: Path) -> None:
    for device in ("cpu", None):
        with pytest.raises(InputError, match=r"only as ONNX, which PyTorch cannot run. Gradients"):
            evaluator.score(
                str(ready), "imagenet", photos, engine="torch", device=device, out=tmp_path / "r"
            )


def test_a_fault_in_the_bundle_of_an_onnx_file_is_found(
    ready: Path, photos: Path, tmp_path: Path
) -> None:
    bundle = evaluator.export_model(str(ready)).bundle

    def shifted(graph: object) -> None:
        from onnx import numpy_helper

        for tensor in graph.initializer:  # type: ignore[attr-defined]
            if tensor.name == "evaluator.bias":
                array = numpy_helper.to_array(tensor) * 1.02
                tensor.CopyFrom(numpy_helper.from_array(array.astype("float32"), tensor.name))

    faulty = doctored(bundle, tmp_path / "faulty", shifted)
    # Without an engine's name PyTorch would be next in line; it cannot be here.
    with pytest.raises(ParityError, match=r"does not agree with ONNX Runtime on the original fil"):
        evaluator.score(str(faulty), "imagenet", photos, device="cpu", out=tmp_path / "run")


@pytest.fixture
def small(tmp_path: Path) -> Path:
    description(tmp_path / "small.toml", 'input = "images"')
    return ReadyGraph().write(tmp_path / "small.onnx")


def gates_of(parity: ParityResult) -> dict[str, str]:
    return {gate.name: gate.note for gate in parity.gates}


def test_a_normalisation_inside_is_not_said_to_be_verified(small: Path) -> None:
    parity = evaluator.export_model(str(small), out=small.parent / "bundle").parity
    assert parity.passed
    assert gates_of(parity)["preprocessing"].endswith("that cannot be verified")


def test_the_reference_of_a_bundle_is_the_original_and_no_other_file(small: Path) -> None:
    exported = evaluator.export_model(str(small), out=small.parent / "bundle")
    assert evaluator.check_parity(str(exported.bundle.folder)).passed
    ReadyGraph(scale=2).write(small)
    with pytest.raises(InputError, match="is not the file that small was made from"):
        evaluator.check_parity(str(exported.bundle.folder))
    small.unlink()
    with pytest.raises(InputError, match="no longer exists"):
        evaluator.check_parity(str(exported.bundle.folder))


# ---------------------------------------------------------------------------- the command line


def process(*words: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-P", "-m", "evaluator", *map(str, words)],
        capture_output=True, text=True, cwd=cwd, check=False,
    )  # fmt: skip


@pytest.mark.slow  # two processes that import torch
def test_a_factory_in_the_current_directory_is_found_by_the_command_line(tmp_path: Path) -> None:
    (tmp_path / "cwd_nets.py").write_text(
        "print('hello')\nfrom torch import nn\ndef make():\n"
        "    return nn.Sequential(nn.Conv2d(3, 8, 8, 8), nn.ReLU(), nn.AdaptiveAvgPool2d(1),\n"
        "                         nn.Flatten(), nn.Linear(8, 1000))\n"
    )
    description(tmp_path / "mine.toml", 'name = "normalized"')
    words = ("export", "cwd_nets:make", "--description", "mine.toml")
    done = process(*words, "--weights", "random", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "normalized-" in done.stdout.splitlines()[0]
    assert "hello" not in done.stdout
    refused = run(*words, cwd=tmp_path)
    assert refused.returncode == 1
    assert refused.stderr.splitlines()[-1].startswith("error: cwd_nets:make needs --weights FILE")
    shutil.rmtree(Path(done.stdout.splitlines()[0]))


def test_a_bundle_takes_no_description_and_no_classes(small: Path) -> None:
    folder = evaluator.export_model(str(small), out=small.parent / "bundle").bundle.folder
    with pytest.raises(InputError, match="is a bundle, whose weights and crop are fixed"):
        evaluator.check_parity(str(folder), description=small.with_suffix(".toml"))
    with pytest.raises(InputError, match=r"leave out .* --description and --classes"):
        evaluator.check_parity(str(folder), classes=small)
