"""How the pace of an engine is measured before a run is cut into shards."""

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pytest

from evaluator.contracts import (
    FLOAT32_PIXELS,
    Condition,
    Device,
    EngineSpec,
    GraphKind,
    ImageBatch,
    Item,
    LoadedNetwork,
    ModelSpec,
    Preprocessing,
    RunKey,
    RunManifest,
    WeightsOrigin,
)
from evaluator.errors import EngineMemoryError, RunMismatchError
from evaluator.records.run import create_or_open
from evaluator.records.shards import Pace, shard_size
from evaluator.workflow.models.resolve import ResolvedModel
from evaluator.workflow.runs.selection import Selection
from evaluator.workflow.runs.start import (
    images_per_second,
    refuse_other_data,
    refuse_other_run,
)


class Clock:
    """Time that passes only where somebody computes."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1000.0
        monkeypatch.setattr(time, "monotonic", lambda: self.now)


@dataclass
class TimedEngine:
    """Takes so many seconds an image, and has memory for so many."""

    clock: Clock
    seconds: float
    room: int = 1024
    given: list[int] = field(default_factory=list)
    spec: EngineSpec = field(default_factory=lambda: EngineSpec("torch", "0"))
    device: Device = field(default_factory=lambda: Device("cpu", "a fake", ""))
    versions: dict[str, str] = field(default_factory=dict)
    max_batch: int = 1024
    callers: int = 1

    def allocate(self, n: int) -> npt.NDArray[Any]:
        return np.empty((n, 1, 1, 3), np.uint8)

    def stream(
        self, batches: Iterable[ImageBatch]
    ) -> Iterator[tuple[ImageBatch, npt.NDArray[np.float32]]]:
        for batch in batches:
            self.given.append(len(batch.items))
            if len(batch.items) > self.room:
                raise EngineMemoryError("no memory")
            self.clock.now += self.seconds * len(batch.items)
            yield batch, np.zeros((len(batch.items), 5), np.float32)

    def stop(self) -> None: ...

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None: ...


@pytest.mark.parametrize(
    ("seconds", "given"),
    [(0.01, [1, 1, 64, 64]), (0.1, [1, 1, 64]), (3.0, [1, 1]), (60.0, [1])],
)
def test_a_slow_model_is_measured_on_few_images(
    seconds: float, given: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(monkeypatch)
    engine = TimedEngine(clock, seconds)
    assert images_per_second(engine, 64) == pytest.approx(1 / seconds)
    assert engine.given == given
    assert clock.now - 1000 <= max(10.0, seconds)


def test_a_batch_that_does_not_fit_is_left_to_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = TimedEngine(Clock(monkeypatch), 0.01, room=8)
    assert images_per_second(engine, 64) == pytest.approx(100)
    assert engine.given == [1, 1, 64]


@pytest.mark.parametrize("seconds", [0.001, 0.02, 1.0, 3.0, 12.0, 59.0])
def test_a_shard_is_at_most_a_minute_however_large_the_batch(seconds: float) -> None:
    size = shard_size(50_000, 75, 64, Pace(1 / seconds, 2))
    assert 30 < size * seconds <= 60


# --------------------------------------------------------------- folders with other runs

PREPROCESSING = Preprocessing(40, 32, "bilinear", (0.5,) * 3, (0.25,) * 3)
SPEC = ModelSpec("m", "m", WeightsOrigin("random", "seed 0"), PREPROCESSING, 32, 1000, "", "")
KEY = RunKey(
    "imagenet", "1", "a" * 64, EngineSpec("onnxruntime", "c" * 64), PREPROCESSING, "e" * 64
)
FILE = WeightsOrigin("file", "/w.pth", "f" * 64)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    manifest = RunManifest(KEY, SPEC, 3, 2, 2, "2026-01-01T00:00:00")
    return create_or_open(tmp_path / "run", manifest).folder


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> list[ModelSpec]:
    """Models that were loaded; each has other weights than the run, but for one file."""
    loaded: list[ModelSpec] = []

    def load(spec: ModelSpec) -> LoadedNetwork:
        loaded.append(spec)
        sha256 = KEY.weights_sha256 if spec.weights.reference == "/same.pth" else "b" * 64
        return LoadedNetwork(spec, None, sha256)  # type: ignore[arg-type]

    monkeypatch.setattr("evaluator.workflow.runs.start.load_network", load)
    return loaded


def resolved(spec: ModelSpec, kind: GraphKind = FLOAT32_PIXELS) -> ResolvedModel:
    return ResolvedModel(spec, kind, Path("no such bundle"))


def refusal(folder: Path, subject: ResolvedModel, **known: Any) -> str:
    with pytest.raises(RunMismatchError) as caught:
        refuse_other_run(folder, subject, **known)
    text = str(caught.value)
    assert text.startswith(f"{folder} is a run of ")
    return text.removeprefix(f"{folder} is a run of ")


def test_a_run_of_another_model_is_refused_by_name(folder: Path, loads: list[ModelSpec]) -> None:
    other = replace(
        SPEC, name="n", architecture="n", preprocessing=replace(PREPROCESSING, crop_px=24)
    )
    text = refusal(folder, resolved(other), benchmark="imagenet-c")
    assert text.startswith("m, not of n: benchmark is imagenet there, imagenet-c here; ")
    assert "; preprocessing.crop_px is 32 there, 24 here. Choose another --out" in text
    assert not loads
    text = refusal(folder, resolved(replace(other, preprocessing=PREPROCESSING)))
    assert text.startswith("m, not of n: weights_sha256 is aaaaaaaaaaaa... there, bbbbbbbbbbbb...")


def test_other_weights_are_refused_by_their_origin(folder: Path, loads: list[ModelSpec]) -> None:
    text = refusal(folder, resolved(replace(SPEC, weights=FILE)))
    assert text.startswith(
        "m (random, seed 0), not (/w.pth): weights_sha256 is aaaaaaaaaaaa... there"
    )


def test_a_file_that_changed_is_other_weights(tmp_path: Path, loads: list[ModelSpec]) -> None:
    spec = replace(SPEC, weights=FILE)
    manifest = RunManifest(KEY, spec, 3, 2, 2, "2026-01-01T00:00:00")
    folder = create_or_open(tmp_path / "run", manifest).folder
    changed = replace(spec, weights=replace(FILE, sha256="0" * 64))
    assert refusal(folder, resolved(changed)).startswith("m with other weights: weights_sha256 is ")


@pytest.mark.parametrize(
    ("known", "difference"),
    [
        ({"limit": 5}, "limit is none there, 5 here"),
        ({"protocol": "2"}, "protocol is 1 there, 2 here"),
        ({"seed": 3}, "seed is none there, 3 here"),
        ({"backend": "torch"}, "engine.backend is onnxruntime there, torch here"),
    ],
)
def test_another_setting_is_refused_without_loading_the_model(
    known: dict[str, Any], difference: str, folder: Path, loads: list[ModelSpec]
) -> None:
    text = refusal(folder, resolved(SPEC), **known)
    assert text.startswith(f"another identity: {difference}. Choose another --out")
    assert not loads


def test_another_precision_is_refused(folder: Path, loads: list[ModelSpec]) -> None:
    text = refusal(folder, resolved(SPEC, GraphKind("fp16", "pixels")))
    assert "engine.precision is fp32 there, fp16 here" in text


def test_what_may_be_the_same_run_is_left_to_the_whole_comparison(
    folder: Path, tmp_path: Path, loads: list[ModelSpec]
) -> None:
    refuse_other_run(folder, resolved(SPEC), backend="onnxruntime", benchmark="imagenet")
    refuse_other_run(folder, resolved(SPEC), backend="no such engine")
    refuse_other_run(None, resolved(SPEC), benchmark="imagenet-c")
    refuse_other_run(tmp_path / "new", resolved(SPEC), benchmark="imagenet-c")
    assert not loads
    same = replace(SPEC, weights=replace(FILE, reference="/same.pth"))
    refuse_other_run(folder, resolved(same))
    assert loads == [same]


def test_other_items_are_refused_and_described(folder: Path) -> None:
    items = {Condition(): [Item("n01440764/a.JPEG", 0, "a.JPEG")]}
    refuse_other_data(folder, Selection(items, KEY.ids_sha256), None)
    refuse_other_data(None, Selection(items, "0" * 64), None)
    with pytest.raises(RunMismatchError) as caught:
        refuse_other_data(folder, Selection(items, "0" * 64), {"seed": 1})
    text = str(caught.value)
    assert "another identity: generated is none there" in text
    assert (
        "Changes of the data: the images are not those with which the run was started; 1 in" in text
    )
