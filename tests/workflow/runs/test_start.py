"""How the pace of an engine is measured before a run is cut into shards."""

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pytest

from evaluator.contracts import Device, EngineSpec, ImageBatch
from evaluator.errors import EngineMemoryError
from evaluator.records.shards import Pace, shard_size
from evaluator.workflow.runs.start import images_per_second


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
