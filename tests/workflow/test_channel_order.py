"""A network that takes B, G, R is the same model as its twin that takes R, G, B, on every path."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

import evaluator
from evaluator.contracts import Run
from evaluator.errors import InputError
from evaluator.evaluate.benchmarks.imagenet import IMAGENET
from evaluator.exporter.bundle import open_bundle
from evaluator.records.reading import read_run
from evaluator.tests.doctored import doctored
from evaluator.tests.ready_graphs import ReadyGraph, description
from evaluator.workflow.models.parity import check_parity

CODE = """
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self, order):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 8, stride=8)
        self.head = nn.Linear(8, 1000)
        for parameter in self.parameters():
            nn.init.normal_(parameter, std=0.3)
        self.conv.weight = nn.Parameter(self.conv.weight[:, order].clone())

    def forward(self, images):
        return self.head(torch.relu(self.conv(images)).mean((2, 3)))


def twin(order):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Net(order)


def rgb():
    return twin([0, 1, 2])


def bgr():
    return twin([2, 1, 0])
"""

TRAINED = "trained = true\n# normalized\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("home")
    (folder / "twins.py").write_text(CODE)
    description(folder / "rgb.toml", TRAINED)
    description(folder / "bgr.toml", f'channels = "bgr"\n{TRAINED}')
    return folder


@pytest.fixture
def home(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.chdir(folder)
    return folder


def options(name: str) -> dict[str, Any]:
    return {"description": f"{name}.toml"}


def rows(run: Run) -> list[dict[str, Any]]:
    (table,) = read_run(run, IMAGENET.conditions).finished.values()
    found: list[dict[str, Any]] = table.to_pylist()
    return found


def test_scores_are_the_same_on_either_engine(home: Path, photos: Path, exports_here: None) -> None:
    scored = {
        (name, engine): rows(
            evaluator.score(
                f"twins:{name}", "imagenet", photos, engine=engine, out=f"{name}-{engine}",
                parity=False, **options(name),
            )
        )
        for name, engine in (("rgb", "torch"), ("bgr", "torch"), ("bgr", "onnxruntime"))
    }  # fmt: skip
    expected = scored["rgb", "torch"]
    assert len({row["top5"][0] for row in expected}) > 1
    for found in scored.values():
        assert [row["top5"] for row in found] == [row["top5"] for row in expected]
        for row, other in zip(found, expected, strict=True):
            np.testing.assert_allclose(row["probability"], other["probability"], rtol=1e-4)
    report = evaluator.report(["bgr-torch", "bgr-onnxruntime"])
    assert any("channels in the order B, G, R" in note for note in report.preprocessing)
    assert len(report.entries) == 2


def test_parity_compares_the_order_exactly_and_a_graph_without_it_is_refused(
    home: Path, exports_here: None
) -> None:
    exported = evaluator.export_model("twins:bgr", **options("bgr"))
    gates = {gate.name: gate.value for gate in exported.parity.gates}
    assert exported.parity.passed
    assert gates["preprocessing"] == 0

    def without_gather(graph: Any) -> None:
        gather = next(node for node in graph.node if node.op_type == "Gather")
        graph.node.remove(gather)
        reader = next(node for node in graph.node if gather.output[0] in node.input)
        reader.input[0] = gather.input[0]

    def in_place(graph: Any) -> None:
        gather = next(node for node in graph.node if node.op_type == "Gather")
        order = next(tensor for tensor in graph.initializer if tensor.name == gather.input[1])
        order.CopyFrom(onnx.numpy_helper.from_array(np.arange(3), order.name))

    bundle = open_bundle(exported.bundle.folder)
    for name, edit, message in (
        ("without", without_gather, "does not begin with Cast, Transpose, Mul, Add, Gather"),
        ("in-place", in_place, "does not reverse the channels"),
    ):
        with pytest.raises(InputError, match=message):
            check_parity(str(doctored(bundle, home / name, edit)), engine="onnxruntime")


def test_attacks_and_maximized_images_are_the_same(home: Path, three_photos: Path) -> None:
    found = []
    for name in ("rgb", "bgr"):
        run = evaluator.attack_whitebox(
            f"twins:{name}", three_photos, epsilons=(0.02,), steps=(3,), device="cpu",
            protocol="standard", out=f"attack-{name}", **options(name),
        )  # fmt: skip
        (file,) = (run.folder / "records").rglob("*.parquet")
        assert file.stat().st_size
        scores = evaluator.report(run.folder).scores
        images = evaluator.maximize(
            f"twins:{name}", out=f"units-{name}", units=[1, 5], starts=["noise"], steps=3,
            device="cpu", **options(name),
        ).document.images  # fmt: skip
        numbers = [(score.metric, score.value) for score in scores]
        found.append((numbers, [image.probability for image in images]))
    (ours, probabilities), (theirs, of_twin) = found
    assert ours == theirs
    np.testing.assert_allclose(probabilities, of_twin, rtol=1e-4)


def test_an_onnx_file_is_verified_with_its_order(home: Path) -> None:
    ReadyGraph().write(home / "mine.onnx")
    description(home / "mine.toml", 'channels = "bgr"\ninput = "normalized"')
    parity = check_parity("mine.onnx", engine="onnxruntime", device="cpu")
    assert parity.passed
    assert parity.gates[0].name == "preprocessing"


def test_a_known_model_may_be_given_another_order(home: Path, three_photos: Path) -> None:
    description(home / "known.toml", 'channels = "bgr"\n# normalized')
    scored = evaluator.score(
        "torchvision:squeezenet1_1", "imagenet", three_photos, engine="torch", device="cpu",
        weights="random", description="known.toml", out="known",
    )  # fmt: skip
    assert scored.manifest.model.preprocessing.is_bgr
    assert scored.manifest.model.preprocessing.mean == (0.4, 0.5, 0.6)
    report = evaluator.report("known")
    assert any("is published with crop 224 px" in note for note in report.preprocessing)
    assert "@ images are prepared as a description says" in report.markdown()
