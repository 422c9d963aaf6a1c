"""The one scoring loop: a shard's items, decoded beside inference, through an engine, to records.

It knows no benchmark and no backend: the benchmark says what is recorded, the engine how many
threads may call it. Where several may, each decodes its own batches; where one may, a pool of
threads decodes ahead of it.

An image that cannot be had is an error with its name, or, where the user wants to go on without it,
a row that says so. It takes no place in the engine's batch, whose other images stay together.
"""

import hashlib
import os
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
from ..errors import (
    EngineError,
    EvaluatorError,
    ImageError,
    InputError,
    UnreadError,
    shown,
)
from .decode import Pixels, photo_pixels, stimulus_pixels
from .memory import BatchLimit, answers

T = TypeVar("T")


@dataclass(frozen=True)
class ScoringJob:
    """Everything that a shard is scored with.

    Attributes:
        benchmark: What is recorded.
        engine: What gives the logits.
        source: Where the bytes are.
        items: Of each condition, sorted by id.
        preprocessing: Of the model.
        batch_size: Images in a batch; the last of a shard may be smaller.
        decoders: Threads that decode ahead; none where the engine's callers decode themselves.
        read_ahead: How many batches may be decoded or waiting, with ``decoders``.
        skip_bad_images: Whether an image that cannot be had is a row that says so, not an error.
        limit: How many images the engine has memory for; becomes known on the way.
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
    limit: BatchLimit = field(default_factory=BatchLimit)


@dataclass(frozen=True)
class _Decoded:
    """A batch to infer, what to add to the shard's digest, and the items that it goes without.

    Of those that are skipped, ``unread`` are there by their names, but their bytes are not.
    """

    batch: ImageBatch
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
        ImageError: If an image cannot be read or decoded, unless such images are skipped.
        InputError: If none of several can be read: their disk is to blame, not the images.
        EngineError: If a logit is not finite.
    """
    items = job.items[shard.condition][shard.start : shard.stop]
    chunks = [items[i : i + job.batch_size] for i in range(0, len(items), job.batch_size)]
    digest, skipped, unread = hashlib.sha256(), list[tuple[Item, str]](), 0

    def batches() -> Iterator[ImageBatch]:
        nonlocal unread
        for decoded in _decoded(job, chunks):
            unread += decoded.unread
            digest.update(decoded.fingerprint)
            if decoded.skipped:
                skipped.extend(decoded.skipped)
                advance(len(decoded.skipped))
            if decoded.batch.items:
                yield decoded.batch

    records = []
    for batch, logits in answers(job.engine, batches(), job.limit):
        _check_finite(job, batch, logits)
        records.append(job.benchmark.record(logits, batch.items))
        advance(len(batch.items))
    _refuse_nothing_read(items, skipped, unread)
    table = pa.Table.from_batches(records, job.benchmark.schema)
    return _with_skipped(table, items, skipped), digest.hexdigest()


def _refuse_nothing_read(
    items: Sequence[Item], skipped: Sequence[tuple[Item, str]], unread: int
) -> None:
    """A lost disk whose folders are still in memory can be told by a whole shard only."""
    if unread < 2 or unread < sum(not item.missing for item in items):
        return
    first = next(reason for item, reason in skipped if not item.missing)
    raise InputError(
        f"None of {unread} images can be read, so the data seem to be gone. The first: {first}"
    )


def skipped_records(schema: pa.Schema, items: Sequence[tuple[Item, str]]) -> pa.Table:
    """Records of items that were skipped: their id, their label, and why; the rest is null."""
    known = {
        "id": [item.id for item, _ in items],
        "label": [item.label for item, _ in items],
        "error": [reason for _, reason in items],
    }
    columns = [pa.array(known.get(f.name, [None] * len(items)), f.type) for f in schema]
    return pa.Table.from_arrays(columns, schema=schema)


def _with_skipped(
    scored: pa.Table, items: Sequence[Item], skipped: Sequence[tuple[Item, str]]
) -> pa.Table:
    """All records in the order of the items."""
    if not skipped:
        return scored
    everything = pa.concat_tables([scored, skipped_records(scored.schema, skipped)])
    rows = {identity: row for row, identity in enumerate(everything["id"].to_pylist())}
    return everything.take([rows[item.id] for item in items])


def _check_finite(job: ScoringJob, batch: ImageBatch, logits: npt.NDArray[np.float32]) -> None:
    finite = np.isfinite(logits).all(axis=1)
    if not finite.all():
        item = batch.items[int(finite.argmin())]
        raise EngineError(
            f"{job.engine.spec.backend} gave logits that are not finite for "
            f"{shown(item.location)}. Run `evaluator parity` for this engine."
        )


def pixels_of(
    data: bytes,
    item: Item,
    preprocessing: Preprocessing,
    stimuli_px: int | None,
    out: Pixels | None = None,
) -> Pixels:
    """An item's pixels (S, S, 3): a photo resized and cropped, a stored stimulus as it is.

    They are put into ``out`` where that is given.
    """
    location = shown(item.location)
    if stimuli_px is None:
        return photo_pixels(data, location, preprocessing, out)
    return stimulus_pixels(data, location, stimuli_px, out)


def select_items(items: Sequence[T], limit: int | None) -> list[T]:
    """``limit`` of the items, evenly spaced over the sorted ids.

    The first ones would all be of one class; the same positions in every condition are the same
    images.

    Raises:
        InputError: If the limit is below one.

    Example:
        >>> [item.id for item in select_items([Item(str(i), 0, "") for i in range(10)], 4)]
        ['0', '2', '5', '7']
    """
    if limit is None or limit >= len(items):
        return list(items)
    if limit < 1:
        raise InputError(f"--limit {limit} leaves no image; expected at least 1.")
    return [items[position * len(items) // limit] for position in range(limit)]


def _decoded(job: ScoringJob, chunks: Sequence[Sequence[Item]]) -> Iterator[_Decoded]:
    if job.decoders is None:
        for chunk in chunks:
            yield _batch(job, chunk)
        return
    ahead: deque[Future[_Decoded]] = deque()
    try:
        for chunk in chunks:
            ahead.append(job.decoders.submit(_batch, job, chunk))
            if len(ahead) >= job.read_ahead:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()
    finally:
        for future in ahead:
            future.cancel()


def _batch(job: ScoringJob, items: Sequence[Item]) -> _Decoded:
    """A decoded batch; of an item that could not even be read, the digest has no bytes."""
    buffer = job.engine.allocate(len(items))
    fingerprint = bytearray()
    there: list[Item] = []
    skipped: list[tuple[Item, str]] = []
    unread = 0
    for item in items:
        read = hashlib.sha256()
        try:
            _fill(job, item, buffer[len(there)], read.update)
            there.append(item)
        except ImageError as error:
            if not job.skip_bad_images:
                raise
            skipped.append((item, shown(str(error))))
            unread += isinstance(error, UnreadError)
        fingerprint += item.id.encode() + b"\0" + read.digest()
    batch = ImageBatch(buffer[: len(there)], job.engine.spec.input_kind, tuple(there))
    return _Decoded(batch, bytes(fingerprint), skipped, unread)


def _fill(
    job: ScoringJob, item: Item, row: npt.NDArray[Any], read: Callable[[bytes], None]
) -> None:
    """Read and decode an item into a row of the engine's buffer; ``read`` is told its bytes."""
    try:
        data = job.source.read(item)
        read(data)
        out = row if job.engine.spec.input_kind == "pixels" else None
        pixels = pixels_of(data, item, job.preprocessing, job.benchmark.stimuli_px, out)
    except Exception as error:
        if not isinstance(error, EvaluatorError):  # a bug, which should say where it was met
            error.add_note(f"It was at {shown(item.location)}.")
        raise
    if out is None:
        row[...] = pixels.transpose(2, 0, 1).astype(np.float32) / 255
