"""Scoring a model on a benchmark: from words to a run on disk."""

import importlib.metadata
import os
import platform
import shlex
import socket
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from ..contracts import (
    Engine,
    ImageBatch,
    Item,
    Progress,
    Provenance,
    Run,
    RunKey,
    RunManifest,
    Shard,
    Silence,
)
from ..errors import InputError, shown
from ..evaluate.benchmarks.table import find_benchmark
from ..evaluate.jpeg import decoder_versions
from ..evaluate.scoring import ScoringJob, score_shard
from ..evaluate.sources.folder import FolderSource
from ..records.run import MANIFEST, check_run_folder, create_or_open, key_sha256, open_run
from ..records.shards import Pace, Work, run_shards, shard_size, shards_of
from .belief import Believed, believed_engine
from .selection import Selection, check_crop, select
from .subject import ModelChoice, Subject, find_subject

if TYPE_CHECKING:
    import pyarrow as pa

WARM_UP_BATCHES = 3


def score(
    model: str,
    benchmark: str,
    data: str | Path,
    *,
    out: str | Path | None = None,
    engine: str | None = None,
    device: str | None = None,
    batch_size: int | None = None,
    limit: int | None = None,
    corruptions: Sequence[str] | None = None,
    severities: Sequence[int] | None = None,
    weights: str = "default",
    seed: int = 0,
    crop_px: int | None = None,
    description: str | Path | None = None,
    classes: str | Path | None = None,
    precision: str | None = None,
    input_kind: str | None = None,
    parity: bool = True,
    progress: Progress | None = None,
) -> Run:
    """Score a model on a benchmark; what is finished in the run already is not scored again.

    Args:
        model: A name of the zoo, ``torchvision:NAME``, ``timm:NAME``, a model of the user's
            own, or a bundle's folder.
        benchmark: ``imagenet`` or ``imagenet-c``.
        data: The folder that holds the images.
        out: The run's folder; without it ``runs/<model>/<benchmark>-<hash of the key>``.
        engine: Without it, the existing run's, else the best that is here and passes parity.
        device: Without it, the first GPU that is here, else the CPU.
        batch_size: Images in a batch; without it, the run's or the engine's own.
        limit: Items a condition, evenly spaced over the sorted ids.
        corruptions: Score only these now; no part of the run's identity.
        severities: Likewise.
        weights: ``default``, ``random`` or a checkpoint's path.
        seed: Of random weights.
        crop_px: Another crop than the training's.
        description: A TOML file on a model of the user's own.
        classes: A file that says what each output is, where that is not ImageNet's order.
        precision: In which the graph computes; without it ``fp32``, or the bundle's own.
        input_kind: What it takes, ``pixels`` or ``images``; likewise.
        parity: Whether an engine must have passed its parity check; it is run if need be.
        progress: Is told what happens.

    Returns:
        The run, finished in the conditions that were asked for.

    Raises:
        InputError: If the data, the model or a name do not serve.
        RunMismatchError: If ``out`` holds a run of another identity.
        ParityError: If the engine does not agree with its reference.
        UnavailableError: If the engine, the device or the weights are not here.
    """
    progress = progress or Silence()
    data, out = Path(data), None if out is None else Path(out)
    what = find_benchmark(benchmark)
    subject = find_subject(
        ModelChoice(model, weights, seed, crop_px, precision, input_kind, description, classes),
        progress,
    )
    check_crop(subject.spec, what)
    if out is not None:
        check_run_folder(out)
    source = FolderSource(data, what.conditions)
    wanted = {"corruption": corruptions, "severity": severities}
    selection = select(what, source, wanted, limit=limit, progress=progress)
    if engine is None and out is not None and (out / MANIFEST).is_file():
        engine = open_run(out).key.engine.backend
    believed = believed_engine(subject, engine, device, parity=parity, progress=progress)
    key = RunKey(
        benchmark=what.name,
        protocol=what.protocol,
        weights_sha256=believed.loaded.weights_sha256,
        engine=believed.loaded.spec,
        preprocessing=subject.spec.preprocessing,
        ids_sha256=selection.ids_sha256,
        generated=source.generated,
        limit=limit,
    )
    folder = out or _default_folder(subject, key)
    with believed.loaded.open() as opened, ExitStack() as stack:
        run = _run(folder, key, subject, selection, believed, opened, batch_size)
        job = ScoringJob(
            benchmark=what,
            engine=opened,
            source=source,
            items=selection.items,
            preprocessing=subject.spec.preprocessing,
            batch_size=run.manifest.batch_size,
            decoders=_decoders(stack, opened),
            read_ahead=2 * _cores(),
        )
        progress.note(f"Scoring {subject.spec.name}: {selection}, into {shown(folder)}.")
        shards = shards_of(selection.conditions, selection.count, run.manifest.shard_size)
        work = _work(job, _circumstances(job, believed, data))
        run_shards(run, shards, work, workers=opened.callers, progress=progress)
    return run


def _default_folder(subject: Subject, key: RunKey) -> Path:
    model = subject.spec.name.replace(":", "-")
    return Path("runs") / model / f"{key.benchmark}-{key_sha256(key)[:8]}"


def _run(
    folder: Path,
    key: RunKey,
    subject: Subject,
    selection: Selection,
    believed: Believed,
    engine: Engine,
    asked_batch: int | None,
) -> Run:
    """The run in this folder; a new one gets its shard size from how fast the engine is here."""
    placement = believed.loaded.placement
    batch = asked_batch or placement.kind.batch_size(placement.device)
    if not 1 <= batch <= engine.max_batch:
        raise InputError(f"--batch-size {batch} is not possible; expected 1 to {engine.max_batch}.")
    size = batch  # of no account where the run is there: it keeps its own
    if not (folder / MANIFEST).is_file():
        pace = Pace(_images_per_second(engine, batch), engine.callers)
        size = shard_size(selection.count, len(selection.conditions), batch, pace)
    created = datetime.now(UTC).isoformat("T", "seconds")
    manifest = RunManifest(key, subject.spec, selection.count, size, batch, created)
    run = create_or_open(folder, manifest)
    if asked_batch is not None and asked_batch != run.manifest.batch_size:
        raise InputError(
            f"{shown(folder)} was begun with --batch-size {run.manifest.batch_size}, which decides "
            f"its last digits; got {asked_batch}. Leave the option out, or choose another --out."
        )
    return run


def _images_per_second(engine: Engine, batch_size: int) -> float:
    """Of one caller, after a warm-up batch."""
    item = Item("warm-up", None, "")

    def batches() -> Iterator[ImageBatch]:
        for _ in range(WARM_UP_BATCHES):
            data = engine.allocate(batch_size)
            data[:] = 0
            yield ImageBatch(data, engine.spec.input_kind, (item,) * batch_size)

    stream = engine.stream(batches())
    next(stream)
    began = time.monotonic()
    done = sum(len(batch.items) for batch, _ in stream)
    return done / max(time.monotonic() - began, 1e-6)


def _decoders(stack: ExitStack, engine: Engine) -> ThreadPoolExecutor | None:
    """Threads that decode ahead, where the engine has a single caller to feed."""
    if engine.callers > 1:
        return None
    return stack.enter_context(ThreadPoolExecutor(_cores(), "decode"))


def _cores() -> int:
    return os.cpu_count() or 1


def _circumstances(job: ScoringJob, believed: Believed, data: Path) -> Provenance:
    """What the provenances of all shards of this process share."""
    packages = ("evaluator", "numpy", "Pillow")
    return Provenance(
        host=socket.gethostname(),
        device=job.engine.device,
        versions={
            "python": platform.python_version(),
            **{name: importlib.metadata.version(name) for name in packages},
            **decoder_versions(),
            **job.engine.versions,
        },
        parity=believed.parity,
        parity_status=believed.status,
        batch_size=job.batch_size,
        data=shown(data.absolute()),
        data_sha256="",
        started="",
        seconds=0.0,
        command=shlex.join([shown(word) for word in ("evaluator", *sys.argv[1:])]),
    )


def _work(job: ScoringJob, circumstances: Provenance) -> Work:
    """What makes one shard: its records, and under which circumstances they were made."""

    def work(shard: Shard, advance: Callable[[int], None]) -> "tuple[pa.Table, Provenance]":
        started, began = datetime.now(UTC), time.monotonic()
        table, data_sha256 = score_shard(job, shard, advance)
        return table, replace(
            circumstances,
            data_sha256=data_sha256,
            started=started.isoformat("T", "seconds"),
            seconds=round(time.monotonic() - began, 3),
        )

    return work
