"""The scoring loop: the items of a shard are decoded, run through an engine, and recorded.

It depends on no benchmark and no backend: the benchmark says how an item is decoded and what is
recorded, the engine how many threads may call it. If several may, each decodes its own batches; if
only one may, a pool of threads decodes ahead of it. An item has one frame or many: the frames of a
shard follow each other through the batches, across the borders of items.

An item that cannot be read or decoded is an error that names it or, if the user wants to skip such
items, a row with the reason. It takes no place in the engine's batches; its neighbours stay in the
batches that they were in.
"""

import hashlib
import os
import sys
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ..contracts import (
    Benchmark,
    Condition,
    Engine,
    ImageBatch,
    Item,
    Preprocessing,
    Shard,
    Source,
    images_from_pixels,
)
from ..errors import EngineError, EvaluatorError, ImageError, InputError, UnreadError, printable
from ..system.batch_limit import BatchLimit
from .batch_splitting import run_batches
from .batching import Packing, Placed
from .sources.digests import digest_entry


@dataclass(frozen=True)
class ScoringJob:
    """Inputs for scoring a shard.

    Attributes:
        benchmark: The benchmark: how items are decoded, and what is recorded of them.
        engine: The engine that computes the logits.
        source: The source of the items' bytes.
        items: The items of each condition, sorted by id.
        preprocessing: Preprocessing of the model.
        batch_size: Frames in a batch; the last batch of a shard may be smaller.
        decoders: Threads that decode ahead; ``None`` if the engine's callers decode themselves.
        read_ahead: Number of batches that may be decoded or waiting, with ``decoders``.
        skip_bad_images: Whether an item that cannot be read or decoded is a row with the reason
            instead of an error.
        limit: Largest batch that the engine is given; it gets smaller when memory is short.
        note: Callback that is given the sentence to print when the limit becomes smaller.
    """

    benchmark: Benchmark
    engine: Engine
    source: Source
    items: Mapping[Condition, Sequence[Item]]
    preprocessing: Preprocessing
    batch_size: int
    decoders: ThreadPoolExecutor | None = None
    read_ahead: int = 2 * (os.cpu_count() or 1)
    skip_bad_images: bool = False
    limit: BatchLimit = field(default_factory=lambda: BatchLimit(sys.maxsize))
    note: Callable[[str], None] = lambda text: None


@contextmanager
def decoder_pool(engine: Engine) -> Iterator[ThreadPoolExecutor | None]:
    """Threads that decode ahead; ``None`` if several threads may call the engine."""
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
        InputError: If none of several items can be read, as when their disk is gone.
        EngineError: If a logit is not finite.
    """
    items = job.items[shard.condition][shard.start : shard.stop]
    packing = Packing(items, job.batch_size, job.engine)
    digest = hashlib.sha256()
    skipped: list[tuple[Item, str]] = []
    unread = 0

    def batches() -> Iterator[ImageBatch]:
        nonlocal unread
        for group in _decoded(job, packing):
            for placed in group:
                digest.update(digest_entry(placed.item, placed.content))
                if placed.error is not None:
                    skipped.append((placed.item, printable(str(placed.error))))
                    unread += isinstance(placed.error, UnreadError)
                    advance(1)
            yield from packing.ready()

    records = []
    for batch, logits in run_batches(job.engine, batches(), job.limit, job.note):
        _check_finite(job, batch, logits)
        records.append(job.benchmark.record(logits, batch))
        # An item is finished with its last frame.
        finished = (f + 1 == i.frames for i, f in zip(batch.items, batch.frames, strict=True))
        advance(sum(finished))
    refuse_nothing_read(items, skipped, unread, job.benchmark.layout.noun)
    table = pa.Table.from_batches(records, job.benchmark.schema)
    return _with_skipped(table, items, skipped), digest.hexdigest()


def refuse_nothing_read(
    items: Sequence[Item], skipped: Sequence[tuple[Item, str]], unread: int, noun: str
) -> None:
    """Refuse a shard of which no item can be read.

    When a disk is lost, its folders may still be in memory: then only a whole shard shows it.

    Args:
        items: The items of the shard.
        skipped: Items that cannot be read or decoded, each with the reason.
        unread: Number of skipped items that exist but cannot be read.
        noun: Word for an item: ``image`` or ``video``.

    Raises:
        InputError: If none of several items can be read.
    """
    if unread < 2 or unread < sum(not item.missing for item in items):
        return
    first = next(reason for item, reason in skipped if not item.missing)
    raise InputError(
        f"None of {unread} {noun}s can be read, so the data seem to be gone. First error: {first}"
    )


def skipped_records(schema: pa.Schema, items: Sequence[tuple[Item, str]]) -> pa.Table:
    """Records of skipped items: id, label, attributes and reason; other columns are null."""
    rows = [
        {"id": item.id, "label": item.label, "error": reason, **dict(item.attributes)}
        for item, reason in items
    ]
    return pa.Table.from_pylist(rows, schema)


def _with_skipped(
    scored: pa.Table, items: Sequence[Item], skipped: Sequence[tuple[Item, str]]
) -> pa.Table:
    """All records in the order of the items."""
    if not skipped:
        return scored
    table = pa.concat_tables([scored, skipped_records(scored.schema, skipped)])
    places = {item.id: place for place, item in enumerate(items)}
    order = np.argsort([places[id] for id in table["id"].to_pylist()], kind="stable")
    return table.take(order)


def _check_finite(job: ScoringJob, batch: ImageBatch, logits: npt.NDArray[np.float32]) -> None:
    finite = np.isfinite(logits).all(axis=1)
    if not finite.all():
        item = batch.items[int(finite.argmin())]
        raise EngineError(
            f"{job.engine.spec.backend} returned logits that are not finite for "
            f"{printable(item.location)}. Run `evaluator parity` for this engine."
        )


def _decoded(job: ScoringJob, packing: Packing) -> Iterator[list[Placed]]:
    """Each group of items, in order, as soon as it is decoded."""
    if job.decoders is None:
        yield from (_decode(job, group) for group in packing.groups())
        return
    ahead: deque[Future[list[Placed]]] = deque()
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


def _decode(job: ScoringJob, group: list[Placed]) -> list[Placed]:
    """The same items, after each was decoded or has the error for which it is skipped."""
    for placed in group:
        try:
            _fill(job, placed)
            placed.kept = True
        except ImageError as error:
            if not job.skip_bad_images:
                raise
            placed.error = error
            placed.kept = False
    return group


def _fill(job: ScoringJob, placed: Placed) -> None:
    """Read and decode an item into its rows of the engine's buffers."""
    item, rows, side_px = placed.item, placed.rows, job.preprocessing.crop_px
    takes_pixels = job.engine.spec.input_kind == "pixels"
    try:
        data = job.source.read(item)
        placed.content.update(data)
        frames = (
            rows if takes_pixels else list(np.empty((len(rows), side_px, side_px, 3), np.uint8))
        )
        job.benchmark.decode(data, item, job.preprocessing, frames)
    except Exception as error:
        if not isinstance(error, EvaluatorError):  # a bug, for which the item is worth knowing
            error.add_note(f"While reading {printable(item.location)}.")
        raise
    if not takes_pixels:
        for row, frame in zip(rows, frames, strict=True):
            row[...] = images_from_pixels(frame)
