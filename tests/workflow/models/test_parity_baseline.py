"""The backend-parity regression test, as a user has it in a pytest and on the command line."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

import evaluator
from evaluator.cli import app
from evaluator.contracts import Bundle
from evaluator.engine.devices import cuda_devices
from evaluator.errors import InputError, ParityError
from evaluator.workflow.models.parity_baseline import previous_parity

BACKENDS = [
    pytest.param("onnxruntime", "cpu", id="onnxruntime-cpu"),
    pytest.param("onnxruntime", "cuda:0", id="onnxruntime-cuda", marks=pytest.mark.gpu),
    pytest.param("torch", "cuda:0", id="torch-cuda", marks=pytest.mark.gpu),
]


MODEL, CROP_PX = "efficientnet_lite0", 96
"""Real weights, since random ones do not agree in float16; a small crop, which is quick."""


@pytest.fixture(scope="module")
def earlier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A result that was kept."""
    path = tmp_path_factory.mktemp("earlier") / "parity.json"
    words = ["parity", MODEL, "--crop-px", str(CROP_PX), "--engine", "onnxruntime"]
    words += ["--device", "cpu"]
    assert CliRunner().invoke(app, [*words, "--json", str(path)]).exit_code == 0
    return path


@pytest.mark.parametrize(("engine", "device"), BACKENDS)
def test_every_backend_agrees_with_pytorch(engine: str, device: str) -> None:
    if device != "cpu" and not cuda_devices():
        pytest.skip("this machine has no CUDA device")
    result = evaluator.assert_parity(MODEL, engine=engine, device=device, crop_px=CROP_PX)
    assert result.passed
    assert result.candidate.backend == engine


def test_a_result_is_not_worse_than_itself(earlier: Path) -> None:
    evaluator.assert_parity(
        MODEL, engine="onnxruntime", device="cpu", crop_px=CROP_PX, against=earlier
    )


def test_a_graph_that_does_not_agree_fails(faulty: Path) -> None:
    with pytest.raises(ParityError, match=r"does not agree with PyTorch.*worst image"):
        evaluator.assert_parity(str(faulty), engine="onnxruntime", device="cpu")


def test_a_pass_that_is_worse_than_before_fails_and_names_what_changed(earlier: Path) -> None:
    # float16 passes its own bounds; against float32's result it is a thousand times worse.
    with pytest.raises(ParityError, match=r"agrees less.*all .*precision is fp32 there, fp16 here"):
        evaluator.assert_parity(
            MODEL, engine="onnxruntime", device="cpu", crop_px=CROP_PX, precision="fp16",
            against=earlier,
        )  # fmt: skip


def test_a_worse_result_never_replaces_the_one_that_it_was_compared_with(earlier: Path) -> None:
    before = earlier.read_bytes()
    words = ["parity", MODEL, "--crop-px", str(CROP_PX), "--engine", "onnxruntime"]
    words += [
        "--device",
        "cpu",
        "--precision",
        "fp16",
        "--against",
        str(earlier),
        "--json",
        str(earlier),
    ]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 3
    assert "WORSE" in result.stdout
    assert "is not overwritten" in result.stderr
    assert earlier.read_bytes() == before


def test_a_program_that_reads_the_json_is_told_on_the_other_stream(earlier: Path) -> None:
    words = ["parity", MODEL, "--crop-px", str(CROP_PX), "--engine", "onnxruntime"]
    words += ["--device", "cpu", "--precision", "fp16", "--against", str(earlier), "--json", "-"]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 3
    document = json.loads(result.stdout)
    assert document["candidate"]["precision"] == "fp16"
    assert document["passed"]
    assert not document["against"]["passed"]
    assert "precision is fp32 there, fp16 here" in document["against"]["changes"]
    assert "agrees less with PyTorch" in result.stderr


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ('"name": "all"', '"name": "most"', "was edited"),
        ('"schema": 1', '"schema": 0', "has format 0, this version reads 1"),
    ],
)
def test_an_earlier_result_that_was_edited_is_refused(
    old: str, new: str, told: str, earlier: Path, tmp_path: Path
) -> None:
    text = earlier.read_text()
    assert text.count(old) == 1
    (tmp_path / "edited.json").write_text(text.replace(old, new))
    with pytest.raises(InputError, match=told):
        previous_parity(tmp_path / "edited.json")
    assert previous_parity(earlier).passed


def test_another_model_or_no_result_is_refused(toy: Bundle, earlier: Path) -> None:
    with pytest.raises(InputError, match="another architecture or preprocessing"):
        evaluator.assert_parity(
            str(toy.folder), engine="onnxruntime", device="cpu", against=earlier
        )
    with pytest.raises(InputError, match="is not a valid ParityResult"):
        evaluator.assert_parity("resnet50", against=toy.folder / "model.json")
