"""Items of several frames: how they go through batches, and what becomes of their records."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluator.contracts import Benchmark, ImageBatch, InputKind, Item, Preprocessing, Shard
from evaluator.errors import ImageError, UnreadError
from evaluator.evaluate.batching import Packing
from evaluator.evaluate.benchmarks.imagenet import IMAGENET
from evaluator.evaluate.benchmarks.top5 import SCHEMA, record_top5
from evaluator.evaluate.scoring import ScoringJob, score_shard
from evaluator.tests.evaluate.scoring.bed import CLEAN, HOW, FakeEngine, Logits, fake_logits

FRAMES_SCHEMA = SCHEMA.insert(1, pa.field("frame", pa.int32()))


def grey(item: Item, frame: int) -> int:
    """What every pixel of a frame is: other for each frame of each item."""
    return (37 * int(item.id) + 11 * frame) % 251


def decode(
    data: bytes, item: Item, preprocessing: Preprocessing, frames: Sequence[npt.NDArray[np.uint8]]
) -> None:
    """Frames, of a bad item all but the last before it is found out."""
    for frame, pixels in enumerate(frames):
        if data == b"bad" and frame == len(frames) - 1:
            raise ImageError(f"{item.location} is bad")
        pixels[...] = grey(item, frame)


def record(logits: Logits, batch: ImageBatch) -> pa.RecordBatch:
    return record_top5(logits, batch, FRAMES_SCHEMA)


VIDEOS = replace(IMAGENET, decode=decode, record=record, schema=FRAMES_SCHEMA)


@dataclass
class Bytes:
    """A source of items that are good, bad, or cannot be read."""

    bad: frozenset[str] = frozenset()
    lost: frozenset[str] = frozenset()
    generated: None = None
    asked: list[str] = field(default_factory=list)

    def conditions(self) -> list[Any]:
        return [CLEAN]

    def items(self, condition: Any) -> list[Item]:
        return []

    def read(self, item: Item) -> bytes:
        self.asked.append(item.id)
        if item.id in self.lost:
            raise UnreadError(f"{item.location} cannot be read")
        return b"bad" if item.id in self.bad else b"good"


def videos(*frames: int) -> list[Item]:
    return [Item(str(i), i, f"video {i}", frames=n) for i, n in enumerate(frames)]


def job_of(
    items: Sequence[Item], source: Bytes, *, batch_size: int, benchmark: Benchmark = VIDEOS,
    input_kind: InputKind = "pixels", **changes: Any,
) -> ScoringJob:  # fmt: skip
    engine = FakeEngine(input_kind)
    return ScoringJob(
        benchmark, engine, source, {CLEAN: items}, HOW, batch_size, skip_bad_images=True, **changes
    )


def run(job: ScoringJob) -> tuple[list[dict[str, Any]], str, int]:
    done: list[int] = []
    items = job.items[CLEAN]
    table, digest = score_shard(job, Shard(CLEAN, 0, 0, len(items)), done.append)
    return table.to_pylist(), digest, sum(done)


def expected_rows(items: Sequence[Item], skipped: frozenset[str]) -> list[tuple[str, int | None]]:
    rows: list[tuple[str, int | None]] = []
    for item in items:
        if item.id in skipped:
            rows.append((item.id, None))
        else:
            rows += [(item.id, frame) for frame in range(item.frames)]
    return rows


@pytest.mark.parametrize("input_kind", ["pixels", "images"])
@pytest.mark.parametrize("batch_size", [1, 4, 7, 64])
@pytest.mark.parametrize("ahead", [False, True])
@pytest.mark.parametrize("bad", [(), ("1",), ("0", "4"), ("2", "3"), ("0", "1", "2", "3", "4")])
def test_each_frame_is_a_row_in_its_order_and_a_bad_item_is_one_row_that_says_why(
    input_kind: InputKind, batch_size: int, ahead: bool, bad: tuple[str, ...]
) -> None:
    items, skipped = videos(5, 3, 8, 1, 5), frozenset(bad)
    with ThreadPoolExecutor(4) as pool:
        decoders = pool if ahead else None
        source = Bytes(bad=skipped)
        job = job_of(items, source, batch_size=batch_size, input_kind=input_kind, decoders=decoders)
        rows, _, done = run(job)
    assert [(row["id"], row["frame"]) for row in rows] == expected_rows(items, skipped)
    assert done == len(items)
    for row in rows:
        if row["id"] in skipped:
            assert (row["error"], row["top5"]) == (f"video {row['id']} is bad", None)
            assert row["label"] == int(row["id"])
        else:
            logits = fake_logits(grey(items[int(row["id"])], row["frame"]))
            ranked = sorted(range(len(logits)), key=lambda c: (-logits[c], c))[:5]
            assert (row["top5"], row["error"]) == (ranked, None)


def test_batches_are_full_across_items_but_the_last() -> None:
    job = job_of(videos(5, 3, 8, 1, 5), Bytes(), batch_size=4)
    run(job)
    assert [len(batch.data) for batch in job.engine.received] == [4, 4, 4, 4, 4, 2]  # type: ignore[attr-defined]


def test_an_item_is_done_with_the_batch_that_has_its_last_frame() -> None:
    done: list[int] = []
    job = job_of(videos(5, 3, 8), Bytes(), batch_size=4)
    score_shard(job, Shard(CLEAN, 0, 0, 3), done.append)
    assert done == [0, 2, 0, 1]


def test_frames_stay_in_their_batches_where_an_item_turns_out_bad() -> None:
    items = videos(5, 3, 8, 1, 5)
    whole = job_of(items, Bytes(), batch_size=4)
    part = job_of(items, Bytes(bad=frozenset("1")), batch_size=4)
    run(whole)
    run(part)

    def company(job: ScoringJob) -> list[list[tuple[str, int]]]:
        received: list[ImageBatch] = job.engine.received  # type: ignore[attr-defined]
        return [
            [(i.id, f) for i, f in zip(b.items, b.frames, strict=True) if i.id != "1"]
            for b in received
        ]

    assert [batch for batch in company(whole) if batch] == company(part)


def test_the_digest_is_over_the_items_whatever_the_batches_are() -> None:
    digests = {
        run(job_of(videos(5, 3, 8), Bytes(), batch_size=size))[1] for size in (1, 3, 16, 100)
    }
    assert len(digests) == 1
    assert run(job_of(videos(5, 3, 8), Bytes(bad=frozenset("1")), batch_size=3))[1] not in digests


def test_no_more_frames_are_held_than_of_an_item_and_the_batches_that_it_reaches_into() -> None:
    job = job_of(videos(*(31,) * 20), Bytes(), batch_size=8)
    held: list[int] = []
    source: Bytes = job.source  # type: ignore[assignment]
    engine: FakeEngine = job.engine  # type: ignore[assignment]

    def look() -> None:
        inferred = sum(len(batch.data) for batch in engine.received)
        held.append(len(source.asked) * 31 - inferred)

    engine.on_batch = look
    run(job)
    assert max(held) <= 31 + 8


@given(
    frames=st.lists(st.integers(1, 12), min_size=1, max_size=9),
    batch_size=st.integers(1, 20),
    bad=st.sets(st.integers(0, 8)),
)
def test_packing_gives_each_kept_frame_once_in_order(
    frames: list[int], batch_size: int, bad: set[int]
) -> None:
    items = videos(*frames)
    packing = Packing(items, batch_size, FakeEngine())
    given: list[ImageBatch] = []
    for group in packing.groups():
        for placed in group:
            assert len(placed.rows) == placed.item.frames
            for frame, row in enumerate(placed.rows):
                row[...] = grey(placed.item, frame)
            placed.kept = int(placed.item.id) not in bad
        given += packing.ready()
    shown = [
        (item.id, frame)
        for batch in given
        for item, frame in zip(batch.items, batch.frames, strict=True)
    ]
    assert shown == [
        (item.id, frame) for item in items if int(item.id) not in bad
        for frame in range(item.frames)
    ]  # fmt: skip
    for batch in given:
        assert len(batch.data) == len(batch.items) <= batch_size
        for row, item, frame in zip(batch.data, batch.items, batch.frames, strict=True):
            assert (row == grey(item, frame)).all()
