"""How a run is started or resumed: its folder, its identity, and the sizes of its shards."""

import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ...contracts import Engine, ImageBatch, Item, Run, RunKey, RunManifest
from ...engine.table import ENGINES
from ...errors import EngineMemoryError, InputError, RunMismatchError, printable
from ...exporter.bundle import is_bundle, read_manifest
from ...exporter.spec import identity
from ...exporter.weights.weights import load_network
from ...records.reading import recorded_ids
from ...records.run import MANIFEST, check_identity, create_or_open, open_run
from ...records.shards import Pace, shard_size
from ..models.resolve import ResolvedModel
from ..models.verified_engine import VerifiedEngine
from .networks import differing_network
from .selection import Selection

WARM_UP_SECONDS = 10.0
"""Time limit of the measurement; an engine too slow for it is measured on single images."""


def open_or_create_scored_run(
    folder: Path,
    key: RunKey,
    subject: ResolvedModel,
    selection: Selection,
    verified: VerifiedEngine,
    engine: Engine,
    chosen_batch: int | None,
) -> Run:
    """The run in this folder; the shard size of a new one depends on how fast the engine is here.

    Raises:
        InputError: If the batch size is not possible, or differs from the run's.
        RunMismatchError: If the folder holds a run of another identity.
    """
    placement = verified.loaded.placement
    batch = chosen_batch or placement.kind.batch_size(placement.device)
    check_batch_size(batch, engine)
    pace = None
    if not (folder / MANIFEST).is_file():
        pace = Pace(images_per_second(engine, batch) / selection.frames, engine.callers)
    return open_or_create_run(folder, key, subject, selection, pace, batch, chosen_batch)


def open_or_create_run(
    folder: Path,
    key: RunKey,
    subject: ResolvedModel,
    selection: Selection,
    pace: Pace | None,
    batch: int,
    chosen_batch: int | None,
    *,
    like: Run | None = None,
    source: ResolvedModel | None = None,
) -> Run:
    """The run in this folder, created with shards for this pace if it does not exist.

    Args:
        folder: Folder of the run.
        key: Identity of the run.
        subject: Model of the run.
        selection: Items of the run.
        pace: How fast items are processed here; `None` if the run exists.
        batch: Number of frames in a batch.
        chosen_batch: Batch size that the user chose; `None` if not given.
        like: Run whose sizes a new one takes, so that one pass fills both; `None` if there is none.
        source: Source of a transferred attack; `None` if it is none.

    Raises:
        InputError: If the batch size differs from the run's.
        RunMismatchError: If the folder holds a run of another identity, or of another network.
    """
    size = batch  # not used if the run exists: it keeps its own
    if like is not None:
        size, batch = like.manifest.shard_size, like.manifest.batch_size
    elif pace is not None:
        items = max(1, batch // selection.frames)  # a video may be more than a batch
        size = shard_size(selection.count, len(selection.conditions), items, pace)
    created = datetime.now(UTC).isoformat("T", "seconds")
    manifest = RunManifest(
        key,
        subject.spec,
        selection.count,
        size,
        batch,
        created,
        fingerprint=subject.fingerprint,
        source_fingerprint=None if source is None else source.fingerprint,
    )
    with _data_changes_named(folder, key, selection):
        run = create_or_open(folder, manifest)
    refuse_other_network(folder, subject, source)
    if chosen_batch is not None and chosen_batch != run.manifest.batch_size:
        raise InputError(
            f"{printable(folder)} was started with --batch-size {run.manifest.batch_size}, on "
            f"which its last digits depend; got {chosen_batch}. Omit the option, or choose another "
            "--out."
        )
    return run


def refuse_other_run(
    folder: Path | None, subject: ResolvedModel, *, backend: str | None = None, **known: Any
) -> None:
    """Refuse a folder with a run of another identity, before a model is exported or compared.

    What is not known yet is taken to be as in the run; ``open_or_create_run`` compares all of it.

    Args:
        folder: Folder that the user names; `None` if not given.
        subject: Model of the work.
        backend: Engine that the user names; `None` if not given.
        known: Fields of the ``RunKey`` that are known.

    Raises:
        RunMismatchError: If the folder holds a run of another identity.
        InputError: If its manifest is damaged, or the weights of the model cannot be loaded.
    """
    if folder is None or not (folder / MANIFEST).is_file():
        return
    run = open_run(folder)
    key = replace(run.key, preprocessing=subject.spec.preprocessing, **known)
    if backend in ENGINES:
        key = replace(key, engine=replace(key.engine, backend=ENGINES[backend].backend))
    if key.engine.backend != "torch":
        key = replace(key, engine=replace(key.engine, precision=subject.kind.precision))
    check_identity(run, key, subject.spec)
    if identity(run.manifest.model) != identity(subject.spec):
        key = replace(key, weights_sha256=_weights_sha256(subject))
        check_identity(run, key, subject.spec)


def refuse_other_network(
    folder: Path | None, subject: ResolvedModel, source: ResolvedModel | None = None
) -> None:
    """Refuse a folder with a run of another network of the same name and weights.

    Args:
        folder: Folder that the user names; `None` if not given.
        subject: Model of the work, with its self-check.
        source: Source of a transferred attack, likewise; `None` if it is none.

    Raises:
        RunMismatchError: If the folder holds a run of another network.
    """
    if folder is None or not (folder / MANIFEST).is_file():
        return
    if (difference := differing_network(open_run(folder), subject, source)) is not None:
        raise RunMismatchError(
            f"{difference}. Choose another --out, or restore its code, configuration and weights."
        )


def refuse_other_data(
    folder: Path | None, selection: Selection, generated: Mapping[str, Any] | None
) -> None:
    """Refuse a folder with a run of other items, before a model is exported or compared.

    Args:
        folder: Folder that the user names; `None` if not given.
        selection: Items of the work.
        generated: Content of ``generated.json``; `None` if the data have none.

    Raises:
        RunMismatchError: If the folder holds a run of other items; the changes are named.
    """
    if folder is not None and (folder / MANIFEST).is_file():
        run = open_run(folder)
        key = replace(run.key, ids_sha256=selection.ids_sha256, generated=generated)
        with _data_changes_named(folder, key, selection):
            check_identity(run, key, run.manifest.model)


def _weights_sha256(subject: ResolvedModel) -> str:
    """SHA-256 of a model's tensors, of its bundle if there is one."""
    if is_bundle(subject.folder):
        return read_manifest(subject.folder).weights_sha256
    spec = subject.spec
    return load_network(spec).weights_sha256 if spec.has_network else spec.weights.sha256


def check_batch_size(batch: int, engine: Engine) -> None:
    """Refuse a batch that the engine does not take.

    Raises:
        InputError: If it is too large, or below one.
    """
    if not 1 <= batch <= engine.max_batch:
        raise InputError(f"--batch-size {batch} is not possible; expected 1 to {engine.max_batch}.")


def images_per_second(engine: Engine, batch_size: int, seconds: float = WARM_UP_SECONDS) -> float:
    """The rate of one caller of an engine while all its callers are busy, as when scoring.

    A batch is only tried if it fits into the time, judging by single images.
    """
    with ThreadPoolExecutor(engine.callers) as pool:
        return min(pool.map(lambda _: _rate(engine, batch_size, seconds), range(engine.callers)))


def _rate(engine: Engine, batch_size: int, seconds: float) -> float:
    rate, ends = 0.0, time.monotonic() + seconds
    for size in (1, 1, batch_size, batch_size):  # the first of a size also warms up
        if rate and time.monotonic() + size / rate > ends:
            break
        try:
            rate = size / _seconds(engine, size)
        except EngineMemoryError:
            if size == 1:
                raise
            break  # scoring splits batches that do not fit
    return rate


def _seconds(engine: Engine, size: int) -> float:
    data = engine.allocate(size)
    data[:] = 0
    batch = ImageBatch(data, engine.spec.input_kind, (Item("warm-up", None, "a warm-up"),) * size)
    start = time.monotonic()
    list(engine.stream([batch]))
    return max(time.monotonic() - start, 1e-6)


@contextmanager
def _data_changes_named(folder: Path, key: RunKey, selection: Selection) -> Iterator[None]:
    """Add to a ``RunMismatchError`` how the data changed."""
    try:
        yield
    except RunMismatchError as error:
        changes = "; ".join(_data_changes(open_run(folder), key, selection))
        if not changes:
            raise
        raise RunMismatchError(f"{error} Changes of the data: {changes}.") from error


def _data_changes(run: Run, key: RunKey, selection: Selection) -> Iterator[str]:
    """How the data changed, as far as the records of scored images show it."""
    if run.key.ids_sha256 == key.ids_sha256:
        return
    yield "the images are not those with which the run was started"
    if run.key.limit is not None or key.limit is not None:
        return
    if selection.count != run.manifest.items:
        yield f"{selection.count:,} in each condition, {run.manifest.items:,} before"
    ids = {item.id for item in selection.items[selection.conditions[0]]}
    recorded = recorded_ids(run)
    missing = [id for id in recorded if id not in ids]
    if missing:
        yield f"scored but missing now: {len(missing):,}, first {printable(missing[0])}"
    if len(recorded) == run.manifest.items and (new := ids.difference(recorded)):
        yield f"new: {len(new):,}, first {printable(min(new))}"
