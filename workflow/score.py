"""Scoring a model on a benchmark: from words to a run on disk."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

from ..contracts import NullProgress, Progress, Provenance, Run, RunKey, Shard, ThreadSafeProgress
from ..errors import ImageError, printable
from ..evaluate.batch_splitting import BatchLimit
from ..evaluate.benchmarks.table import find_benchmark
from ..evaluate.scoring import ScoringJob, decoders_of, score_shard
from ..evaluate.sources.open_source import open_source
from ..records.reading import check_finished
from ..records.run import MANIFEST, key_sha256, open_run
from ..records.shard_runner import Work, run_shards
from ..records.shards import shards_of
from ..records.skipped import skipped_in
from .models.options import GraphOptions, ModelOptions
from .models.resolve import resolve_model
from .models.verified_engine import select_engine
from .runs.available_images import AvailableImages
from .runs.provenance import ShardClock, check_run_place, circumstances, default_folder
from .runs.run_data import RunData, find_folder
from .runs.selection import Selection, check_crop, places_of, select, skips_bad_files
from .runs.start import open_or_create_scored_run

if TYPE_CHECKING:
    import pyarrow as pa


def score(
    model: str,
    benchmark: str,
    data: str | Path | Sequence[str | Path],
    *,
    labels: str | Path | None = None,
    out: str | Path | None = None,
    engine: str | None = None,
    device: str | None = None,
    batch_size: int | None = None,
    limit: int | None = None,
    corruptions: Sequence[str] | None = None,
    severities: Sequence[int] | None = None,
    perturbations: Sequence[str] | None = None,
    parity: bool = True,
    on_error: str = "fail",
    verify_data: bool = False,
    progress: Progress | None = None,
    **options: Unpack[GraphOptions],
) -> Run:
    """Score a model on a benchmark; what is finished in the run already is not scored again.

    Args:
        model: A name of the zoo, ``torchvision:NAME``, ``timm:NAME``, a model of the user's
            own, or a bundle's folder.
        benchmark: Its name, such as ``imagenet-c``; all of them: ``BENCHMARKS``.
        data: Folders that hold the items, and tar files, which are read in place; one or several.
        labels: A list of the classes of ImageNet's validation images, where they are not in class
            folders; without it, one is looked for beside them.
        out: The run's folder; without it ``runs/<model>/<benchmark>-<hash of the key>``.
        engine: Without it, the existing run's, else the best that is here and passes parity.
        device: Without it, the first GPU that is here, else the CPU.
        batch_size: Images in a batch; without it, the run's or the engine's own.
        limit: Items a condition, evenly spaced over the sorted ids.
        corruptions: Score only these now; no part of the run's identity.
        severities: Likewise.
        perturbations: Likewise.
        parity: Whether an engine must have passed its parity check; it is run if need be.
        on_error: What an image that cannot be read or decoded is: ``fail``, an error; ``skip``, a
            row that says so, and every number counts it. No part of the run's identity: what
            was skipped stays so until its shard is removed.
        verify_data: Whether to compare every file of the shards that are finished with what was
            read for them; without it, a sample of each condition's files is compared.
        progress: Progress callback.
        options: Which model; see ``GraphOptions``.

    Returns:
        The run, finished in the conditions that were asked for.

    Raises:
        InputError: If the data, the model or a name do not serve.
        RunMismatchError: If ``out`` holds a run of another identity, or of other images.
        ParityError: If the engine does not agree with its reference.
        UnavailableError: If the engine, the device or the weights are not here.
    """
    progress = ThreadSafeProgress(progress or NullProgress())
    skip, places = skips_bad_files(on_error), places_of(data)
    labels, out = (None if path is None else Path(path) for path in (labels, out))
    what = find_benchmark(benchmark)
    subject = resolve_model(
        ModelOptions(model, **options),
        progress,
    )
    check_crop(subject.spec, what)
    check_run_place(subject, what.name, out)
    source = open_source(
        places,
        what.conditions,
        progress=progress,
        tree=what.tree,
        labels=labels,
        damaged_ok=skip,
    )
    wanted = {"corruption": corruptions, "severity": severities, "perturbation": perturbations}
    selection = select(what, source, wanted, limit=limit, progress=progress, missing_ok=skip)
    if engine is None and out is not None and (out / MANIFEST).is_file():
        engine = open_run(out).key.engine.backend
    believed = select_engine(subject, engine, device, parity=parity, progress=progress)
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
    images = AvailableImages.of(what, source, selection, subject.spec.preprocessing, places)
    folder = out or find_folder(
        default_folder(subject, what.name, key_sha256(key)[:8]), images, progress
    )
    with believed.loaded.open() as opened, decoders_of(opened) as decoders:
        run = open_or_create_scored_run(
            folder, key, subject, selection, believed, opened, batch_size
        )
        run_data = RunData(run, images, progress, conditions=selection.conditions)
        run_data.check(every_file=verify_data)
        job = ScoringJob(
            benchmark=what,
            engine=opened,
            source=source,
            items=selection.items,
            preprocessing=subject.spec.preprocessing,
            batch_size=run.manifest.batch_size,
            decoders=decoders,
            read_ahead=2 * (os.cpu_count() or 1),
            skip_bad_images=skip,
            limit=BatchLimit(progress.note),
        )
        items = selection.text(what)
        progress.note(f"Scoring {subject.spec.name}: {items}, into {printable(folder)}.")
        made = circumstances(
            believed, opened.device, opened.versions, places, labels, job.batch_size
        )
        _complete(run, selection, job, made, run_data, progress)
    return run


def _complete(
    run: Run,
    selection: Selection,
    job: ScoringJob,
    made: Provenance,
    run_data: RunData,
    progress: Progress,
) -> None:
    """Make what is missing of the run, and say what was skipped."""
    shards = shards_of(selection.conditions, selection.count, run.manifest.shard_size)
    check_finished(run, shards)
    engine, noun = job.engine, job.benchmark.tree.noun
    try:
        with run_data.watched(_work(job, made)) as work:
            run_shards(
                run,
                shards,
                work,
                workers=engine.callers,
                progress=progress,
                noun=noun,
                stop=engine.stop,
            )
    except ImageError as error:
        raise ImageError(f"{error} To go on without such {noun}s, add --on-error skip.") from error
    if (skipped := skipped_in(run, shards, noun)) is not None:
        progress.note(str(skipped))


def _work(job: ScoringJob, made: Provenance) -> Work:
    """What makes one shard: its records, and under which circumstances they were made."""

    def work(shard: Shard, advance: Callable[[int], None]) -> "tuple[pa.Table, Provenance]":
        clock = ShardClock()
        table, data_sha256 = score_shard(job, shard, advance)
        return table, clock.provenance(made, job.limit.size, data_sha256)

    return work
