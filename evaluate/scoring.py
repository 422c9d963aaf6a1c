"""The one scoring loop: a shard's items, decoded beside inference, through an engine, to records.

It knows no benchmark and no backend: the benchmark says what is recorded, the engine how many
threads may call it. Where several may, each decodes its own batches; where one may, a pool of
threads decodes ahead of it.
"""

import hashlib
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from ..contracts import Benchmark, Condition, Engine, ImageBatch, Item, Preprocessing, Shard, Source
from ..errors import EngineError, InputError, shown
from .decode import Pixels, photo_pixels, stimulus_pixels


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
    """

    benchmark: Benchmark
    engine: Engine
    source: Source
    items: Mapping[Condition, Sequence[Item]]
    preprocessing: Preprocessing
    batch_size: int
    decoders: ThreadPoolExecutor | None = None
    read_ahead: int = 4


def score_shard(
    job: ScoringJob, shard: Shard, advance: Callable[[int], None]
) -> tuple[pa.Table, str]:
    """The records of one shard, and a SHA-256 over the (id, bytes) that were read for it.

    Raises:
        ImageError: If an image cannot be read or decoded.
        EngineError: If a logit is not finite.
    """
    items = job.items[shard.condition][shard.start : shard.stop]
    chunks = [items[i : i + job.batch_size] for i in range(0, len(items), job.batch_size)]
    digest = hashlib.sha256()

    def batches() -> Iterator[ImageBatch]:
        for batch, fingerprint in _decoded(job, chunks):
            digest.update(fingerprint)
            yield batch

    records = []
    for batch, logits in job.engine.stream(batches()):
        finite = np.isfinite(logits).all(axis=1)
        if not finite.all():
            item = batch.items[int(finite.argmin())]
            raise EngineError(
                f"{job.engine.spec.backend} gave logits that are not finite for "
                f"{shown(item.location)}. Run `evaluator parity` for this engine."
            )
        records.append(job.benchmark.record(logits, batch.items))
        advance(len(batch.items))
    return pa.Table.from_batches(records, job.benchmark.schema), digest.hexdigest()


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


def select_items(items: Sequence[Item], limit: int | None) -> list[Item]:
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


def _decoded(
    job: ScoringJob, chunks: Sequence[Sequence[Item]]
) -> Iterator[tuple[ImageBatch, bytes]]:
    if job.decoders is None:
        for chunk in chunks:
            yield _batch(job, chunk)
        return
    ahead: deque[Future[tuple[ImageBatch, bytes]]] = deque()
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


def _batch(job: ScoringJob, items: Sequence[Item]) -> tuple[ImageBatch, bytes]:
    """A decoded batch, and its items' ids and hashes to add to the shard's digest."""
    buffer = job.engine.allocate(len(items))
    fingerprint = bytearray()
    for row, item in enumerate(items):
        data = job.source.read(item)
        fingerprint += item.id.encode() + b"\0" + hashlib.sha256(data).digest()
        row_of_pixels = buffer[row] if job.engine.spec.input_kind == "pixels" else None
        pixels = pixels_of(data, item, job.preprocessing, job.benchmark.stimuli_px, row_of_pixels)
        if row_of_pixels is None:
            buffer[row] = pixels.transpose(2, 0, 1).astype(np.float32) / 255
    return ImageBatch(buffer, job.engine.spec.input_kind, tuple(items)), bytes(fingerprint)
