"""Scoring on TensorRT-RTX, from the model's name to the report, on a simulated GPU.

The plans are built by the real compiler; what they compute is computed by ONNX Runtime.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

import evaluator
from evaluator.contracts import NullProgress, Run
from evaluator.engine.devices import cuda_devices
from evaluator.errors import EngineMemoryError, EvaluatorError, InputError
from evaluator.records.shards import PROVENANCE_KEY
from evaluator.tests import simulated_gpu
from evaluator.tests.simulated_cuda import SimulatedCuda
from evaluator.tests.tiny_tree import tiny_tree
from evaluator.tests.toy import CROP_PX, RANDOM, TOY
from evaluator.workflow.models.parity import check_parity

pytest.importorskip("tensorrt_rtx")


@pytest.fixture(autouse=True)
def simulated(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    monkeypatch.setenv("EVALUATOR_CUDA", simulated_gpu.__name__)
    monkeypatch.setenv("EVALUATOR_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(simulated_gpu, "REFUSED", set())
    cuda_devices.cache_clear()
    yield
    cuda_devices.cache_clear()


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return tiny_tree(tmp_path / "photos", 9)


def score(photos: Path, **options: Any) -> Run:
    given = {**RANDOM, "engine": "tensorrt-rtx", "max_batch": 4, **options}
    return evaluator.score(TOY, "imagenet", photos, **given)


def rows(run: Run) -> list[dict[str, Any]]:
    tables = [pq.read_table(p, partitioning=None) for p in sorted(run.folder.rglob("*.parquet"))]
    return [row for table in tables for row in without(table).to_pylist()]


def without(table: Any) -> Any:
    """The table without probabilities, whose last digits depend on the batch."""
    return table.drop([name for name in table.column_names if name == "probability"])


def provenance(run: Run) -> Any:
    path = next(run.folder.rglob("*.parquet"))
    return json.loads(pq.read_schema(path).metadata[PROVENANCE_KEY])


def test_a_plan_gives_the_classes_of_the_graph_that_it_was_built_from(
    photos: Path, tmp_path: Path
) -> None:
    ours = score(photos, out=tmp_path / "plan")
    theirs = score(photos, engine="onnxruntime", device="cpu", max_batch=None, out=tmp_path / "cpu")
    assert rows(ours) == rows(theirs)
    made = provenance(ours)
    assert made["versions"].keys() >= {"tensorrt-rtx", "simulated-gpu"}
    key = json.loads(made["plan"])
    assert key["profile"] == {"best": 4, "largest": 4, "smallest": 1}
    assert key["model_sha256"] == ours.key.engine.model_sha256
    assert made["parity_status"] == "passed"
    assert provenance(theirs)["plan"] is None


@pytest.mark.parametrize("engine", ["torch", "onnxruntime"])
def test_other_engines_give_the_same_records_on_a_gpu_as_on_the_processor(
    engine: str, photos: Path, tmp_path: Path
) -> None:
    given: dict[str, Any] = {"engine": engine, "max_batch": None, "batch_size": 4}
    ours = score(photos, device="cuda:0", out=tmp_path / "gpu", **given)
    theirs = score(photos, device="cpu", out=tmp_path / "cpu", **given)
    assert rows(ours) == rows(theirs)
    made = provenance(ours)
    assert (made["device"]["name"], made["parity_status"]) == ("cuda:0", "passed")
    assert "simulated-gpu" in made["versions"]


def test_it_is_selected_where_there_is_a_gpu(photos: Path, tmp_path: Path) -> None:
    notes = NullProgress()
    run = score(photos, engine=None, max_batch=None, out=tmp_path / "run", progress=notes)
    assert run.key.engine.backend == "tensorrt-rtx"
    assert "Engine: tensorrt-rtx on cuda:0 (simulated GPU), parity passed." in notes.notes


def test_a_plan_that_the_gpu_refuses_is_built_again(photos: Path, tmp_path: Path) -> None:
    score(photos, out=tmp_path / "one")
    (manifest,) = (tmp_path / "cache" / "plans").glob("*.plan.json")
    simulated_gpu.REFUSED.add(json.loads(manifest.read_text())["plan_sha256"])
    notes = NullProgress()
    score(photos, out=tmp_path / "two", progress=notes)
    (again,) = (line for line in notes.notes if line.startswith("The plan is built again"))
    assert "which cannot load it any more" in again


def test_a_plan_for_half_the_batch_is_used_where_memory_is_short(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image_bytes, logits_bytes = CROP_PX * CROP_PX * 3, 4000
    monkeypatch.setattr(SimulatedCuda, "limit_bytes", 2 * 5 * (image_bytes + logits_bytes))
    notes = NullProgress()
    run = score(photos, max_batch=8, out=tmp_path / "run", progress=notes)
    (warning,) = {line for line in notes.notes if "batches of 4 is used instead" in line}
    assert warning.startswith("warning: No memory on the simulated GPU")
    assert json.loads(provenance(run)["plan"])["profile"]["largest"] == 4
    monkeypatch.setattr(SimulatedCuda, "limit_bytes", 1000)
    with pytest.raises(EngineMemoryError, match="No memory"):
        score(photos, out=tmp_path / "none")


def test_adversarial_images_are_classified_by_a_plan(photos: Path, tmp_path: Path) -> None:
    def attacked(engine: str, device: str | None) -> list[dict[str, Any]]:
        options: dict[str, Any] = {"epsilons": (0.02,), "steps": (3,), "limit": 4, "traced": 0}
        (run,) = evaluator.attack_transfer(
            TOY,
            photos,
            source=TOY,
            source_weights="random",
            source_crop_px=CROP_PX,
            engine=engine,
            device=device,
            out=tmp_path / engine,
            **RANDOM,
            **options,
        )
        assert run.key.engine.input_kind == "images"
        return rows(run)

    columns = ("id", "attempt", "label", "victim_clean", "victim", "target_step")
    ours, theirs = attacked("tensorrt-rtx", None), attacked("onnxruntime", "cpu")
    assert [[r[c] for c in columns] for r in ours] == [[r[c] for c in columns] for r in theirs]


def test_tf32_is_part_of_the_identity_and_has_its_own_plan(photos: Path, tmp_path: Path) -> None:
    run = score(photos, tf32=True, out=tmp_path / "run")
    assert run.key.engine.tf32
    assert json.loads(provenance(run)["plan"])["tf32"]
    score(photos, out=tmp_path / "without")
    assert len(list((tmp_path / "cache" / "plans").glob("*.plan"))) == 2
    assert len(list((tmp_path / "cache" / "parity").glob("*.json"))) == 2


def test_parity_is_measured_for_each_plan() -> None:
    results = [
        check_parity(TOY, **RANDOM, engine="tensorrt-rtx", max_batch=size) for size in (2, 3)
    ]
    assert [json.loads(r.plan or "")["profile"]["largest"] for r in results] == [2, 3]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"engine": "onnxruntime", "device": "cpu"}, "--engine tensorrt or --engine tensorrt-rtx"),
        ({"target": "sm120"}, r"--target sm120 does not run on cuda:0 .*, which is sm89\."),
        ({"device": "cpu"}, "runs on NVIDIA GPUs only, got the device cpu"),
        ({"max_batch": 5000}, "--max-batch 5000 is not possible"),
        ({"opt_batch": 5}, "--opt-batch 5 is not possible with --max-batch 4"),
    ],
)
def test_options_that_do_not_suit_are_refused(
    options: dict[str, Any], said: str, photos: Path, tmp_path: Path
) -> None:
    with pytest.raises(EvaluatorError) as caught:
        score(photos, out=tmp_path / "run", **options)
    assert re.search(said, str(caught.value))
    assert not (tmp_path / "run").exists()


def test_runs_of_a_simulated_gpu_are_not_reported_beside_others(
    photos: Path, tmp_path: Path
) -> None:
    score(photos, out=tmp_path / "runs" / "plan")
    report = evaluator.report([tmp_path / "runs"])
    assert "simulated GPU" in report.markdown()
    score(photos, engine="onnxruntime", device="cpu", max_batch=None, out=tmp_path / "runs" / "cpu")
    with pytest.raises(InputError, match=r"runs/plan was made on a simulated GPU"):
        evaluator.report([tmp_path / "runs"])


def test_a_simulated_gpu_is_not_timed() -> None:
    with pytest.raises(InputError, match="its speed says nothing"):
        evaluator.bench(TOY, benchmark="imagenet", engine="tensorrt-rtx", **RANDOM)
