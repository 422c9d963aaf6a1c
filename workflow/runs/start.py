"""How a run begins or goes on: its folder, its identity, and the sizes that it is cut in."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

from ...contracts import Engine, ImageBatch, Item, Run, RunKey, RunManifest
from ...errors import EngineMemoryError, InputError, RunMismatchError, printable
from ...records.run import MANIFEST, create_or_open, open_run
from ...records.shards import Pace, recorded_ids, shard_size
from ..models.resolve import ResolvedModel
from ..models.verified_engine import VerifiedEngine
from .selection import Selection

WARM_UP_SECONDS = 10.0
"""A measurement is not worth more; what is slower than this is measured on single images."""


def run_of(
    folder: Path,
    key: RunKey,
    subject: ResolvedModel,
    selection: Selection,
    believed: VerifiedEngine,
    engine: Engine,
    asked_batch: int | None,
) -> Run:
    """The run in this folder; a new one gets its shard size from how fast the engine is here.

    Raises:
        InputError: If the batch size is not possible, or not the run's.
        RunMismatchError: If the folder holds a run of another identity.
    """
    placement = believed.loaded.placement
    batch = asked_batch or placement.kind.batch_size(placement.device)
    if not 1 <= batch <= engine.max_batch:
        raise InputError(f"--batch-size {batch} is not possible; expected 1 to {engine.max_batch}.")
    pace = None
    if not (folder / MANIFEST).is_file():
        pace = Pace(images_per_second(engine, batch) / selection.frames, engine.callers)
    return begun_run(folder, key, subject, selection, pace, batch, asked_batch)


def begun_run(
    folder: Path,
    key: RunKey,
    subject: ResolvedModel,
    selection: Selection,
    pace: Pace | None,
    batch: int,
    asked_batch: int | None,
    *,
    like: Run | None = None,
) -> Run:
    """The run in this folder, begun in shards of this pace if it is not there.

    Args:
        folder: Of the run.
        key: What it is.
        subject: Of which model.
        selection: Of which items.
        pace: How fast they are done here; none where the run is there.
        batch: Frames in a batch.
        asked_batch: The user's choice, or none.
        like: A run whose sizes a new one takes, so that one pass serves both.

    Raises:
        InputError: If the batch size is not the run's.
        RunMismatchError: If the folder holds a run of another identity.
    """
    size = batch  # of no account where the run is there: it keeps its own
    if like is not None:
        size, batch = like.manifest.shard_size, like.manifest.batch_size
    elif pace is not None:
        items = max(1, batch // selection.frames)  # a video may be more than a batch
        size = shard_size(selection.count, len(selection.conditions), items, pace)
    created = datetime.now(UTC).isoformat("T", "seconds")
    manifest = RunManifest(key, subject.spec, selection.count, size, batch, created)
    try:
        run = create_or_open(folder, manifest)
    except RunMismatchError as error:
        raise _with_images(error, folder, manifest, selection) from error
    if asked_batch is not None and asked_batch != run.manifest.batch_size:
        raise InputError(
            f"{printable(folder)} was begun with --batch-size {run.manifest.batch_size}, which "
            f"decides its last digits; got {asked_batch}. Leave the option out, or choose another "
            "--out."
        )
    return run


def images_per_second(engine: Engine, batch_size: int, seconds: float = WARM_UP_SECONDS) -> float:
    """Of one caller of an engine while all its callers are busy, as they will be.

    A batch is only tried where it fits into the time, as far as single images say.
    """
    with ThreadPoolExecutor(engine.callers) as pool:
        return min(pool.map(lambda _: _rate(engine, batch_size, seconds), range(engine.callers)))


def _rate(engine: Engine, batch_size: int, seconds: float) -> float:
    rate, ends = 0.0, time.monotonic() + seconds
    for size in (1, 1, batch_size, batch_size):  # the first of a size also makes things ready
        if rate and time.monotonic() + size / rate > ends:
            break
        try:
            rate = size / _seconds(engine, size)
        except EngineMemoryError:
            if size == 1:
                raise
            break  # the loop will find out what fits
    return rate


def _seconds(engine: Engine, size: int) -> float:
    data = engine.allocate(size)
    data[:] = 0
    batch = ImageBatch(data, engine.spec.input_kind, (Item("warm-up", None, "a warm-up"),) * size)
    began = time.monotonic()
    for _ in engine.stream(iter([batch])):
        pass
    return max(time.monotonic() - began, 1e-6)


def _with_images(
    error: RunMismatchError, folder: Path, here: RunManifest, selection: Selection
) -> RunMismatchError:
    """Say also how the data changed, as far as the records of what was scored can tell."""
    there = open_run(folder)
    if there.key.ids_sha256 == here.key.ids_sha256:
        return error
    words = ["they hold other images than when the run was begun"]
    if there.key.limit is None and here.key.limit is None:
        words += _changes(here.items, there, selection)
    return RunMismatchError(f"{error} Of the data: {'; '.join(words)}.")


def _changes(count: int, there: Run, selection: Selection) -> Iterator[str]:
    if count != there.manifest.items:
        yield f"{count:,} in each condition, {there.manifest.items:,} then"
    ids = {item.id for item in selection.items[selection.conditions[0]]}
    recorded = recorded_ids(there)
    missing = [identity for identity in recorded if identity not in ids]
    if missing:
        yield f"missing of those that were scored: {len(missing):,}, first {printable(missing[0])}"
    if len(recorded) == there.manifest.items and (new := ids.difference(recorded)):
        yield f"new: {len(new):,}, first {printable(min(new))}"
