"""Scoring a model on a benchmark: from words to a run on disk."""

import hashlib
import itertools
import os
import platform
import shlex
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..contracts import (
    Benchmark,
    Condition,
    Engine,
    ImageBatch,
    Item,
    ParityResult,
    Progress,
    Provenance,
    Run,
    RunKey,
    RunManifest,
    Shard,
    Silence,
)
from ..errors import InputError, ParityError, UnavailableError, shown
from ..evaluate.benchmarks.table import find_benchmark
from ..evaluate.scoring import ScoringJob, score_shard, select_items
from ..evaluate.sources.folder import FolderSource, shared_items
from ..records.run import MANIFEST, create_or_open, key_sha256, open_run
from ..records.shards import Pace, run_shards, shard_size, shards_of
from .engines import Loaded, Placement, is_reference, placements, ready
from .parity import evidence_path, measure_parity, parity_path, stored_parity
from .subject import ModelChoice, Subject, find_subject

if TYPE_CHECKING:
    import pyarrow as pa

WARM_UP_BATCHES = 3


@dataclass(frozen=True)
class Believed:
    """An engine whose parity is known, or waived.

    Attributes:
        loaded: The model, ready for it.
        parity: The result; none for the reference itself, or where it was waived.
        status: ``passed``, ``reference`` or ``not checked``.
    """

    loaded: Loaded
    parity: ParityResult | None
    status: str


@dataclass(frozen=True)
class Selection:
    """Which items of a benchmark's conditions are scored.

    Attributes:
        items: Of each condition, the same ids in all.
        ids_sha256: Over the ids that all conditions share, before any limit.
    """

    items: Mapping[Condition, Sequence[Item]]
    ids_sha256: str

    @property
    def count(self) -> int:
        """Items in each condition."""
        return len(next(iter(self.items.values())))


def score(
    model: str,
    benchmark: str,
    data: Path,
    *,
    out: Path | None = None,
    engine: str | None = None,
    device: str | None = None,
    batch_size: int | None = None,
    limit: int | None = None,
    corruptions: Sequence[str] | None = None,
    severities: Sequence[int] | None = None,
    weights: str = "default",
    seed: int = 0,
    crop_px: int | None = None,
    parity: bool = True,
    progress: Progress | None = None,
) -> Run:
    """Score a model on a benchmark; what is finished in the run already is not scored again.

    Args:
        model: A name of the zoo, ``torchvision:NAME``, or a bundle's folder.
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
    what = find_benchmark(benchmark)
    subject = find_subject(ModelChoice(model, weights, seed, crop_px))
    _check_crop(subject, what)
    source = FolderSource(data, what.conditions)
    chosen = _conditions(what, source, {"corruption": corruptions, "severity": severities})
    selection = _select(source, chosen, limit)
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
    with ExitStack() as stack:
        opened = stack.enter_context(believed.loaded.open())
        run = _run(folder, key, subject, selection, believed, opened, batch_size)
        decoders = None
        if opened.callers == 1:
            decoders = stack.enter_context(ThreadPoolExecutor(os.cpu_count() or 1, "decode"))
        job = ScoringJob(
            benchmark=what,
            engine=opened,
            source=source,
            items=selection.items,
            preprocessing=subject.spec.preprocessing,
            batch_size=run.manifest.batch_size,
            decoders=decoders,
            read_ahead=2 * (os.cpu_count() or 1),
        )
        progress.note(
            f"Scoring {subject.spec.name} on {what.title} with {believed.loaded.placement}: "
            f"{selection.count} images in {_count(len(chosen), 'condition')}, into {shown(folder)}."
        )
        shards = shards_of(chosen, selection.count, run.manifest.shard_size)
        work = _work(job, believed, data)
        run_shards(run, shards, work, workers=opened.callers, progress=progress)
    return run


def believed_engine(
    subject: Subject, engine: str | None, device: str | None, *, parity: bool, progress: Progress
) -> Believed:
    """The best engine that is here and passes parity; the one that is named, if one is.

    Raises:
        ParityError: If none passes.
        UnavailableError: If what is asked for is not here.
    """
    reasons = []
    choices = placements(engine, device)
    for placement in choices:
        try:
            believed = _believed(subject, placement, parity=parity, progress=progress)
        except (ParityError, UnavailableError) as error:
            # Only an engine that nobody named may be passed over, and never in silence.
            if len(choices) == 1:
                raise
            progress.note(f"{placement} is not used: {error}")
            reasons.append(error)
            continue
        progress.note(f"Engine: {placement}, parity {believed.status}.")
        return believed
    raise reasons[0]


def _believed(
    subject: Subject, placement: Placement, *, parity: bool, progress: Progress
) -> Believed:
    loaded = ready(subject, placement, progress)
    if is_reference(loaded):
        return Believed(loaded, None, "reference")
    result = stored_parity(subject, loaded)
    if result is None and parity:
        result = measure_parity(subject, loaded, progress=progress)
    if not parity and (result is None or not result.passed):
        return Believed(loaded, None, "not checked")
    assert result is not None
    if not result.passed:
        raise ParityError(failed_parity(result, subject, loaded))
    return Believed(loaded, result, "passed")


def failed_parity(result: ParityResult, subject: Subject, loaded: Loaded) -> str:
    """One line on a parity that failed: which gates, and where the evidence is."""
    from ..engine.torch_engine import torch_spec

    kept = parity_path(torch_spec(subject.spec, loaded.weights_sha256), loaded)
    failed = ", ".join(
        f"{gate.name} {'is not finite' if gate.value is None else f'{gate.value:.2g}'} "
        f"(at most {gate.bound:.2g})"
        for gate in result.gates
        if not gate.passed
    )
    return (
        f"{loaded.placement} does not agree with PyTorch on {subject.spec.name}: {failed}. "
        f"The logits of both are kept in {shown(evidence_path(kept))}. "
        "Look with `evaluator parity`; --no-parity scores all the same and marks the run."
    )


def _check_crop(subject: Subject, benchmark: Benchmark) -> None:
    crop_px, stored = subject.spec.preprocessing.crop_px, benchmark.stimuli_px
    if stored is not None and crop_px != stored:
        raise InputError(
            f"{subject.spec.name} takes {crop_px} px, but the images of {benchmark.title} are "
            f"stored at {stored} px and are never resized. Make a bundle for them with `evaluator "
            f"export {subject.spec.name} --crop-px {stored} --out FOLDER` and score FOLDER, or "
            f"add --crop-px {stored} here; it is marked."
        )


def _conditions(
    benchmark: Benchmark, source: FolderSource, wanted: Mapping[str, Sequence[Any] | None]
) -> list[Condition]:
    """The conditions to score now: those that are asked for, or all that are there."""
    published = list(benchmark.conditions)
    for key, values in wanted.items():
        if values is None:
            continue
        known = {dict(condition.values).get(key): None for condition in benchmark.conditions}
        unknown = [value for value in values if value not in known]
        if unknown:
            raise InputError(
                f"{benchmark.title} has no {key} {unknown[0]!r}. "
                f"Expected {' '.join(str(value) for value in known if value is not None) or 'none'}."
            )
        published = [condition for condition in published if condition[key] in values]
    there = [condition for condition in published if condition in source.conditions()]
    absent = [condition for condition in published if condition not in there]
    if not there or (absent and any(values is not None for values in wanted.values())):
        layout = "/".join(f"<{key}>" for key, _ in published[0].values)
        raise InputError(
            f"The data hold no folder for {absent[0]}. "
            f"Expected {layout}/<wnid>/<file> below --data."
        )
    return there


def _select(source: FolderSource, conditions: Sequence[Condition], limit: int | None) -> Selection:
    everything = shared_items(source, conditions)
    ids = [item.id for item in everything[conditions[0]]]
    digest = hashlib.sha256("\0".join(ids).encode()).hexdigest()
    return Selection({c: select_items(found, limit) for c, found in everything.items()}, digest)


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
    batch_size: int | None,
) -> Run:
    """The run in this folder; a new one gets its shard size from how fast the engine is here."""
    placement = believed.loaded.placement
    batch = batch_size or placement.kind.batch_size(placement.device)
    if not 1 <= batch <= engine.max_batch:
        raise InputError(f"--batch-size {batch} is not possible; expected 1 to {engine.max_batch}.")
    if (folder / MANIFEST).is_file():
        size = 0  # the run keeps its own
    else:
        pace = Pace(_images_per_second(engine, batch), engine.callers)
        size = shard_size(selection.count, len(selection.items), batch, pace)
    manifest = RunManifest(
        key, subject.spec, selection.count, size, batch, datetime.now(UTC).isoformat("T", "seconds")
    )
    run = create_or_open(folder, manifest)
    if batch_size is not None and batch_size != run.manifest.batch_size:
        raise InputError(
            f"{shown(folder)} was begun with --batch-size {run.manifest.batch_size}, which decides "
            f"its last digits; got {batch_size}. Leave the option out, or choose another --out."
        )
    return run


def _images_per_second(engine: Engine, batch_size: int) -> float:
    """Of one caller, after a warm-up batch."""
    kind = engine.spec.input_kind
    item = Item("warm-up", None, "")

    def batches() -> Any:
        for _ in range(WARM_UP_BATCHES):
            data = engine.allocate(batch_size)
            data[:] = 0
            yield ImageBatch(data, kind, (item,) * batch_size)

    stream = engine.stream(batches())
    next(stream)
    began = time.monotonic()
    done = sum(len(batch.items) for batch, _ in stream)
    return done / max(time.monotonic() - began, 1e-6)


def _work(job: ScoringJob, believed: Believed, data: Path) -> Any:
    """What makes one shard: its records, and under which circumstances they were made."""
    import importlib.metadata

    versions = {
        "python": platform.python_version(),
        **{name: importlib.metadata.version(name) for name in ("evaluator", "numpy", "Pillow")},
        **believed.loaded.placement.kind.versions(),
    }
    circumstances = Provenance(
        host=socket.gethostname(),
        device=job.engine.device,
        versions=versions,
        parity=believed.parity,
        parity_status=believed.status,
        batch_size=job.batch_size,
        data=shown(data.absolute()),
        data_sha256="",
        started="",
        seconds=0.0,
        command=shlex.join(itertools.chain(["evaluator"], sys.argv[1:])),
    )

    def work(shard: Shard, advance: Any) -> "tuple[pa.Table, Provenance]":
        started, began = datetime.now(UTC), time.monotonic()
        table, data_sha256 = score_shard(job, shard, advance)
        return table, replace(
            circumstances,
            data_sha256=data_sha256,
            started=started.isoformat("T", "seconds"),
            seconds=round(time.monotonic() - began, 3),
        )

    return work


def _count(n: int, what: str) -> str:
    return f"{n} {what}" if n == 1 else f"{n} {what}s"
