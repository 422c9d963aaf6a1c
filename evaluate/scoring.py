"""The one scoring loop: a shard's items, decoded beside inference, through an engine, to records.

It knows no benchmark and no backend: the benchmark says how an item is decoded and what is recorded
of it, the engine how many threads may call it. Where several may, each decodes its own batches;
where one may, a pool of threads decodes ahead of it. An item is one frame or many: the frames of a
shard follow each other through the batches, whatever item they are of.

An item that cannot be had is an error with its name, or, where the user wants to go on without it,
a row that says so. It takes no place in the engine's batches, whose other frames stay together.
"""

import hashlib
import os
import sys
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ..contracts import Benchmark, Condition, Engine, ImageBatch, Item, Preprocessing, Shard, Source
from ..errors import EngineError, EvaluatorError, ImageError, InputError, UnreadError, printable
from ..system.batch_limit import BatchLimit
from .batch_splitting import run_batches
from .batching import Packing, Placed
from .decode import Pixels
from .sources.digests import digest_entry

T = TypeVar("T")


@dataclass(frozen=True)
class ScoringJob:
    """Everything that a shard is scored with.

    Attributes:
        benchmark: How items are decoded, and what is recorded of them.
        engine: What gives the logits.
        source: Where the bytes are.
        items: Of each condition, sorted by id.
        preprocessing: Of the model.
        batch_size: Frames in a batch; the last of a shard may be smaller.
        decoders: Threads that decode ahead; none where the engine's callers decode themselves.
        read_ahead: How many batches may be decoded or waiting, with ``decoders``.
        skip_bad_images: Whether an item that cannot be had is a row that says so, not an error.
        limit: The largest batch that the engine is given; becomes smaller on the way.
        note: Callback that is given the sentence to print when the limit becomes smaller.
    """

    benchmark: Benchmark
    engine: Engine
    source: Source
    items: Mapping[Condition, Sequence[Item]]
    preprocessing: Preprocessing
    batch_size: int
    decoders: ThreadPoolExecutor | None = None
    read_ahead: int = 4
    skip_bad_images: bool = False
    limit: BatchLimit = field(default_factory=lambda: BatchLimit(sys.maxsize))
    note: Callable[[str], None] = lambda text: None


@dataclass(frozen=True)
class _Decoded:
    """Items that were decoded: what to add to the shard's digest, and those that it goes without.

    Of those that are skipped, ``unread`` are there by their names, but their bytes are not.
    """

    fingerprint: bytes
    skipped: Sequence[tuple[Item, str]]
    unread: int


@contextmanager
def decoders_of(engine: Engine) -> Iterator[ThreadPoolExecutor | None]:
    """Threads that decode ahead, where the engine has a single caller to feed."""
    if engine.callers > 1:
        yield None
        return
    pool = ThreadPoolExecutor(os.cpu_count() or 1, "decode")
    try:
        yield pool
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def score_shard(
    job: ScoringJob, shard: Shard, advance: Callable[[int], None]
) -> tuple[pa.Table, str]:
    """The records of one shard, and a SHA-256 over the (id, bytes) that were read for it.

    Raises:
        ImageError: If an item cannot be read or decoded, unless such items are skipped.
        InputError: If none of several can be read: their disk is to blame, not the items.
        EngineError: If a logit is not finite.
    """
    items = job.items[shard.condition][shard.start : shard.stop]
    packing = Packing(items, job.batch_size, job.engine)
    digest, skipped, unread = hashlib.sha256(), list[tuple[Item, str]](), 0

    def batches() -> Iterator[ImageBatch]:
        nonlocal unread
        for decoded in _decoded(job, packing):
            unread += decoded.unread
            digest.update(decoded.fingerprint)
            if decoded.skipped:
                skipped.extend(decoded.skipped)
                advance(len(decoded.skipped))
            yield from packing.ready()

    records = []
    for batch, logits in run_batches(job.engine, batches(), job.limit, job.note):
        _check_finite(job, batch, logits)
        records.append(job.benchmark.record(logits, batch))
        advance(_ended(batch))
    refuse_nothing_read(items, skipped, unread, job.benchmark.tree.noun)
    table = pa.Table.from_batches(records, job.benchmark.schema)
    return _with_skipped(table, items, skipped), digest.hexdigest()


def _ended(batch: ImageBatch) -> int:
    """How many items have their last frame in the batch."""
    return sum(
        frame + 1 == item.frames for item, frame in zip(batch.items, batch.frames, strict=True)
    )


def refuse_nothing_read(
    items: Sequence[Item], skipped: Sequence[tuple[Item, str]], unread: int, noun: str
) -> None:
    """A lost disk whose folders are still in memory can be told by a whole shard only.

    Args:
        items: Of the shard.
        skipped: Those that could not be had, and why.
        unread: How many of these are there by their names, but not their bytes.
        noun: What an item is.

    Raises:
        InputError: If not one of several can be read.
    """
    if unread < 2 or unread < sum(not item.missing for item in items):
        return
    first = next(reason for item, reason in skipped if not item.missing)
    raise InputError(
        f"None of {unread} {noun}s can be read, so the data seem to be gone. The first: {first}"
    )


def skipped_records(schema: pa.Schema, items: Sequence[tuple[Item, str]]) -> pa.Table:
    """Records of items that were skipped: what their names say, and why; the rest is null."""
    known: dict[str, list[Any]] = {
        "id": [item.id for item, _ in items],
        "label": [item.label for item, _ in items],
        "error": [reason for _, reason in items],
    }
    attributes = [dict(item.attributes) for item, _ in items]
    for name in {name for those in attributes for name in those}:
        known[name] = [those.get(name) for those in attributes]
    columns = [pa.array(known.get(f.name, [None] * len(items)), f.type) for f in schema]
    return pa.Table.from_arrays(columns, schema=schema)


def _with_skipped(
    scored: pa.Table, items: Sequence[Item], skipped: Sequence[tuple[Item, str]]
) -> pa.Table:
    """All records in the order of the items."""
    if not skipped:
        return scored
    everything = pa.concat_tables([scored, skipped_records(scored.schema, skipped)])
    rows: dict[str, list[int]] = {}
    for row, identity in enumerate(everything["id"].to_pylist()):
        rows.setdefault(identity, []).append(row)
    return everything.take([row for item in items for row in rows[item.id]])


def _check_finite(job: ScoringJob, batch: ImageBatch, logits: npt.NDArray[np.float32]) -> None:
    finite = np.isfinite(logits).all(axis=1)
    if not finite.all():
        item = batch.items[int(finite.argmin())]
        raise EngineError(
            f"{job.engine.spec.backend} gave logits that are not finite for "
            f"{printable(item.location)}. Run `evaluator parity` for this engine."
        )


def _decoded(job: ScoringJob, packing: Packing) -> Iterator[_Decoded]:
    """Groups of items, each once it is decoded, in order."""
    if job.decoders is None:
        for group in packing.groups():
            yield _decode(job, group)
        return
    ahead: deque[Future[_Decoded]] = deque()
    try:
        for group in packing.groups():
            ahead.append(job.decoders.submit(_decode, job, group))
            if len(ahead) >= job.read_ahead:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()
    finally:
        for future in ahead:
            future.cancel()


def _decode(job: ScoringJob, group: Sequence[Placed]) -> _Decoded:
    """Decode items; of one that could not even be read, the digest has no bytes."""
    fingerprint = bytearray()
    skipped: list[tuple[Item, str]] = []
    unread = 0
    for placed in group:
        read = hashlib.sha256()
        try:
            _fill(job, placed.item, placed.rows, read.update)
            placed.kept = True
        except ImageError as error:
            if not job.skip_bad_images:
                raise
            placed.kept = False
            skipped.append((placed.item, printable(str(error))))
            unread += isinstance(error, UnreadError)
        fingerprint += digest_entry(placed.item, read)
    return _Decoded(bytes(fingerprint), skipped, unread)


def _fill(
    job: ScoringJob, item: Item, rows: Sequence[npt.NDArray[Any]], read: Callable[[bytes], None]
) -> None:
    """Read and decode an item into rows of the engine's buffers; ``read`` is told its bytes."""
    try:
        data = job.source.read(item)
        read(data)
        frames = _frames(job, rows)
        job.benchmark.decode(data, item, job.preprocessing, frames)
    except Exception as error:
        if not isinstance(error, EvaluatorError):  # a bug, which should say where it was met
            error.add_note(f"It was at {printable(item.location)}.")
        raise
    if frames is not rows:
        for row, frame in zip(rows, frames, strict=True):
            row[...] = frame.transpose(2, 0, 1).astype(np.float32) / 255


def _frames(job: ScoringJob, rows: Sequence[npt.NDArray[Any]]) -> Sequence[Pixels]:
    """Where an item is decoded into: the rows themselves where the engine takes pixels."""
    if job.engine.spec.input_kind == "pixels":
        return rows
    side_px = job.preprocessing.crop_px
    return list(np.empty((len(rows), side_px, side_px, 3), np.uint8))
