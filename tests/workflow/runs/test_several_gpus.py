"""One run on several simulated GPUs, each with a process of its own."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

import evaluator
from evaluator.contracts import NullProgress, Run
from evaluator.engine.devices import cuda_devices
from evaluator.errors import EngineUnavailableError, InputError
from evaluator.records.shards import PROVENANCE_KEY
from evaluator.tests import simulated_gpu
from evaluator.tests.tiny_tree import tiny_tree
from evaluator.tests.toy import RANDOM, TOY
from evaluator.workflow.runs.several_gpus import named_devices

pytest.importorskip("tensorrt_rtx")


@dataclass(frozen=True)
class Told(NullProgress):
    """Progress that keeps everything."""

    bars: list[tuple[str, int, int]] = field(default_factory=list)

    def advance(self, step: str, done: int, total: int, unit: str) -> None:
        self.bars.append((step, done, total))


@pytest.fixture(autouse=True)
def simulated(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    monkeypatch.setenv("EVALUATOR_CUDA", simulated_gpu.__name__)
    monkeypatch.setenv("EVALUATOR_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("SIMULATED_GPUS", "2")
    cuda_devices.cache_clear()
    yield
    cuda_devices.cache_clear()


def score(tmp_path: Path, device: str, **options: Any) -> tuple[Run, Told]:
    photos, told = tmp_path / "photos", Told()
    if not photos.exists():
        tiny_tree(photos, 24)
    given: dict[str, Any] = {"engine": "tensorrt-rtx", "batch_size": 2, "max_batch": 2, **RANDOM}
    run = evaluator.score(
        TOY, "imagenet", photos, device=device, progress=told, **{**given, **options}
    )
    return run, told


def shards(run: Run) -> dict[str, dict[str, Any]]:
    paths = run.folder.rglob("*.parquet")
    return {p.name: json.loads(pq.read_schema(p).metadata[PROVENANCE_KEY]) for p in paths}


def rows(run: Run) -> list[Any]:
    paths = sorted(run.folder.rglob("*.parquet"))
    return [row for path in paths for row in pq.read_table(path, partitioning=None).to_pylist()]


def test_processes_share_the_shards_of_one_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, _ = score(tmp_path, "cuda:0", out=tmp_path / "one")
    monkeypatch.setattr("sys.argv", ["evaluator", "score"])
    both, told = score(tmp_path, "cuda:all", out=tmp_path / "both")
    assert rows(both) == rows(one)
    assert both.key == one.key
    assert {shard["command"] for shard in shards(both).values()} == {"evaluator score"}
    scored = [(done, total) for step, done, total in told.bars if step == "score"]
    assert scored[-1] == (24, 24)
    assert scored == sorted(scored), "one bar, which never goes back"
    assert len(told.notes) == len(set(told.notes))


def test_a_process_that_dies_is_named_and_others_do_its_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, _ = score(tmp_path, "cuda:0", out=tmp_path / "run")
    for shard in run.folder.rglob("*.parquet"):  # both begin with a shard, not with parity or speed
        shard.unlink()
    monkeypatch.setenv("SIMULATED_GPU_DIES", f"cuda:1={tmp_path / 'dead'}")
    run, told = score(tmp_path, "cuda:0,cuda:1", out=tmp_path / "run")
    (warning,) = (note for note in told.notes if note.startswith("warning: cuda:1"))
    assert "others did its work: The child process ended by signal 9" in warning
    assert len(rows(run)) == 24
    assert {shard["device"]["name"] for shard in shards(run).values()} == {"cuda:0"}


def test_if_all_fail_the_first_error_is_raised(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="max-batch 5000"):
        score(tmp_path, "cuda:0,cuda:1", max_batch=5000, out=tmp_path / "run")


@pytest.mark.parametrize("device", ["cuda:0,cuda:0", "cpu,cuda:0", "cuda:0,"])
def test_devices_that_make_no_sense_are_refused(device: str) -> None:
    with pytest.raises(InputError, match="expected one device, or different GPUs"):
        named_devices(device)


def test_all_gpus_need_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("evaluator.workflow.runs.several_gpus.cuda_devices", lambda: ())
    with pytest.raises(EngineUnavailableError, match="no NVIDIA GPU"):
        named_devices("cuda:all")
