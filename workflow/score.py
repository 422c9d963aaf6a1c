"""Scoring a model on a benchmark."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

from ..contracts import NullProgress, Progress, Provenance, Run, RunKey, Shard, ThreadSafeProgress
from ..errors import ImageError, printable
from ..evaluate.benchmarks.table import find_benchmark
from ..evaluate.scoring import ScoringJob, decoder_pool, score_shard
from ..evaluate.sources.open_source import open_source
from ..records.run import MANIFEST, open_run
from ..system.batch_limit import BatchLimit
from .models.options import EngineOptions, ModelOptions
from .models.resolve import resolve_model
from .models.self_check import check_reference, uses_reference
from .models.verified_engine import select_engine
from .runs.available_images import AvailableImages
from .runs.complete import make_shards, report_skipped, selected_shards
from .runs.label_check import report_suspect_labels
from .runs.provenance import ShardClock, check_run_place, circumstances
from .runs.run_data import RunData, find_folder
from .runs.selection import Selection, check_crop, places_of, select, skips_bad_files
from .runs.several_gpus import on_several_gpus
from .runs.start import (
    open_or_create_scored_run,
    refuse_other_data,
    refuse_other_network,
    refuse_other_run,
)

if TYPE_CHECKING:
    import pyarrow as pa


@on_several_gpus
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
    **options: Unpack[EngineOptions],
) -> Run:
    """Score a model on a benchmark; finished parts of the run are not scored again.

    Args:
        model: Name in the zoo, ``torchvision:NAME``, ``timm:NAME``, a model of the user's own, or
            the folder of a bundle.
        benchmark: Name of the benchmark, such as ``imagenet-c``; ``BENCHMARKS`` has all of them.
        data: One or several folders that contain the items, or tar files, which are read in place.
        labels: List of the classes of ImageNet's validation images that are not in class folders;
            if not given, it is searched for next to them.
        out: Folder of the run; if not given, ``runs/<model>/<benchmark>-<hash of the key>``.
        engine: Name of the engine; if not given, that of the existing run, else the best one that
            is available and passes parity.
        device: Device; if not given, the first GPU, else the CPU.
        batch_size: Images in a batch; if not given, that of the run or of the engine.
        limit: Items in each condition, evenly spaced over the sorted ids.
        corruptions: Corruptions to score now; not part of the run's identity.
        severities: Severities to score now; not part of the run's identity.
        perturbations: Perturbations to score now; not part of the run's identity.
        parity: Whether an engine must have passed its parity check; the check is run if needed.
        on_error: What happens to an image that cannot be read or decoded: ``fail`` is an error;
            ``skip`` records the error, and every number counts the image as skipped. Not part of
            the run's identity: an image stays skipped until its shard is removed.
        verify_data: Whether to compare every file of the finished shards with what was read for
            them; otherwise a sample of each condition's files is compared.
        progress: Progress callback.
        options: Options of the model and the plan; see ``GraphOptions`` and ``PlanChoice``.

    Returns:
        The run, in which the selected conditions are finished.

    Raises:
        InputError: If the data, the model or an option is not usable.
        RunMismatchError: If ``out`` contains a run of another identity, or of other images.
        SelfCheckError: If the reference does not agree with itself, or does not give logits.
        ParityError: If the engine does not agree with its reference.
        UnavailableError: If the engine, the device or the weights are missing.
    """
    progress = ThreadSafeProgress(progress or NullProgress())
    skip, places = skips_bad_files(on_error), places_of(data)
    labels, out = (None if path is None else Path(path) for path in (labels, out))
    definition = find_benchmark(benchmark)
    resolved = resolve_model(ModelOptions(model, **options), progress)
    check_crop(resolved.spec, definition)
    check_run_place(resolved, definition.name, out)
    refuse_other_run(
        out,
        resolved,
        backend=engine,
        benchmark=definition.name,
        protocol=definition.protocol,
        limit=limit,
    )
    source = open_source(
        places,
        definition.conditions,
        progress=progress,
        layout=definition.layout,
        labels=labels,
        damaged_ok=skip,
    )
    values = {"corruption": corruptions, "severity": severities, "perturbation": perturbations}
    selection = select(definition, source, values, limit=limit, progress=progress, missing_ok=skip)
    refuse_other_data(out, selection, source.generated)
    if engine is None and out is not None and (out / MANIFEST).is_file():
        engine = open_run(out).key.engine.backend
    needed = uses_reference(resolved, engine, parity=parity)
    resolved = check_reference(resolved, progress, needed=needed)
    refuse_other_network(out, resolved)
    verified = select_engine(resolved, engine, device, parity=parity, progress=progress)
    key = RunKey(
        benchmark=definition.name,
        protocol=definition.protocol,
        weights_sha256=verified.loaded.weights_sha256,
        engine=verified.loaded.spec,
        preprocessing=resolved.spec.preprocessing,
        ids_sha256=selection.ids_sha256,
        generated=source.generated,
        limit=limit,
    )
    images = AvailableImages(
        definition, source, selection.items, resolved.spec.preprocessing, places
    )
    folder = out or find_folder(resolved, key, images, progress)
    with verified.loaded.open() as opened, decoder_pool(opened) as decoders:
        run = open_or_create_scored_run(
            folder, key, resolved, selection, verified, opened, batch_size
        )
        run_data = RunData(run, images, progress, conditions=selection.conditions)
        run_data.check(every_file=verify_data)
        job = ScoringJob(
            benchmark=definition,
            engine=opened,
            source=source,
            items=selection.items,
            preprocessing=resolved.spec.preprocessing,
            batch_size=run.manifest.batch_size,
            decoders=decoders,
            skip_bad_images=skip,
            limit=BatchLimit(run.manifest.batch_size),
            note=progress.note,
        )
        progress.note(
            f"Scoring {resolved.spec.name}: {selection.text(definition)}, into {printable(folder)}."
        )
        provenance = circumstances(verified, places, labels, job.batch_size)
        _complete(run, selection, job, provenance, run_data, progress)
    return run


def _complete(
    run: Run,
    selection: Selection,
    job: ScoringJob,
    provenance: Provenance,
    run_data: RunData,
    progress: Progress,
) -> None:
    """Complete the run; if an image cannot be read, the error names the option that skips it."""
    noun, shards = job.benchmark.layout.noun, selected_shards(run, selection)
    try:
        make_shards(
            run,
            shards,
            partial(_make_shard, job, provenance),
            [run_data],
            progress,
            workers=job.engine.callers,
            noun=noun,
            verb="score",
            stop=job.engine.stop,
        )
    except ImageError as error:
        raise ImageError(f"{error} To go on without such {noun}s, add --on-error skip.") from error
    report_skipped(run, shards, progress, noun)
    report_suspect_labels(run, shards, selection, progress)


def _make_shard(
    job: ScoringJob, provenance: Provenance, shard: Shard, advance: Callable[[int], None]
) -> "tuple[pa.Table, Provenance]":
    """Make one shard: its records and their provenance."""
    clock = ShardClock()
    table, data_sha256 = score_shard(job, shard, advance)
    return table, clock.provenance(provenance, job.limit.size, data_sha256)
