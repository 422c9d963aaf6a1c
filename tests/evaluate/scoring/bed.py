"""A fake engine, and shards of small photos, to test the scoring loop with."""

import math
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from evaluator.contracts import (
    Condition,
    Device,
    Engine,
    EngineSpec,
    ImageBatch,
    InputKind,
    Item,
    Preprocessing,
    Shard,
    Source,
)
from evaluator.evaluate.benchmarks.imagenet import IMAGENET
from evaluator.evaluate.scoring import ScoringJob, score_shard
from evaluator.evaluate.sources.folder import FolderSource

CLEAN = Condition()
CLASSES = 12
HOW = Preprocessing(36, 32, "bicubic", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
WNIDS = {"n01440764": 0, "n02110341": 251, "n15075141": 999}
PHOTOS_EACH = 7
Logits = npt.NDArray[np.float32]


def fake_logits(mean: float) -> Logits:
    """Coarse waves over the classes: quarters, so that many classes tie."""
    waves = [round(4 * math.sin(mean * (c % 5 + 1))) / 4 for c in range(CLASSES)]
    return np.array(waves, np.float32)


@dataclass
class FakeEngine:
    """Logits from the mean of each image's pixels; keeps what it was given."""

    input_kind: InputKind = "pixels"
    spoiled: Mapping[str, float] = field(default_factory=dict)
    received: list[ImageBatch] = field(default_factory=list)
    on_batch: Callable[[], None] = lambda: None
    max_batch: int = 64
    callers: int = 1

    @property
    def spec(self) -> EngineSpec:
        return EngineSpec("torch", "0" * 64, input_kind=self.input_kind)

    @property
    def device(self) -> Device:
        return Device("cpu", "a fake", "")

    @property
    def versions(self) -> Mapping[str, str]:
        return {}

    def allocate(self, n: int) -> npt.NDArray[Any]:
        if self.input_kind == "pixels":
            return np.full((n, HOW.crop_px, HOW.crop_px, 3), 77, np.uint8)
        return np.full((n, 3, HOW.crop_px, HOW.crop_px), 77, np.float32)

    def stream(self, batches: Iterable[ImageBatch]) -> Iterator[tuple[ImageBatch, Logits]]:
        for batch in batches:
            self.received.append(batch)
            self.on_batch()
            levels = batch.data if batch.kind == "pixels" else np.rint(batch.data * 255)
            means = levels.reshape(len(batch.data), -1).mean(axis=1, dtype=np.float64)
            logits = np.stack([fake_logits(float(mean)) for mean in means])
            for row, item in enumerate(batch.items):
                if item.id in self.spoiled:
                    logits[row, 5] = self.spoiled[item.id]
            yield batch, logits

    def stop(self) -> None: ...

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None: ...


@dataclass
class CountingSource:
    """A source that counts the reads that were begun."""

    source: Source
    begun: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def conditions(self) -> list[Condition]:
        return list(self.source.conditions())

    def items(self, condition: Condition) -> list[Item]:
        return list(self.source.items(condition))

    def read(self, item: Item) -> bytes:
        with self.lock:
            self.begun += 1
        return self.source.read(item)

    @property
    def generated(self) -> None:
        return None


def job_of(root: Path, engine: Engine | None = None, **changes: Any) -> ScoringJob:
    source = FolderSource(root, [CLEAN])
    items = {CLEAN: source.items(CLEAN)}
    job = ScoringJob(IMAGENET, engine or FakeEngine(), source, items, HOW, batch_size=4)
    return replace(job, **changes)


def whole(job: ScoringJob, condition: Condition = CLEAN) -> Shard:
    return Shard(condition, 0, 0, len(job.items[condition]))


def scored(job: ScoringJob) -> tuple[pa.Table, str]:
    return score_shard(job, whole(job), lambda n: None)


def ended(work: Callable[[], object], seconds: float = 20) -> BaseException | None:
    """What this work raised, if anything; a failure if it does not end in time."""
    raised: list[BaseException] = []

    def run() -> None:
        try:
            work()
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    assert not thread.is_alive(), "it hangs"
    return raised[0] if raised else None
