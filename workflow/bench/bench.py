"""Throughput of a model on this machine, and the bottleneck. Accuracy is not measured.

Three parts are timed in turns, so that other programs slow all of them alike; see ``timing.py``.
"""

import os
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Unpack

from PIL import Image

from ...contracts import Benchmark, Device, EngineSpec, Item, ModelSpec, NullProgress, Progress
from ...engine.throughput import Bottleneck, Latency, Rate, bottleneck, latency_of, steady_from
from ...errors import InputError
from ...evaluate.benchmarks.table import find_benchmark
from ...evaluate.decode import photo_pixels
from ...evaluate.generate.photos import sample_photos, shipped_photos
from ...evaluate.scoring import ScoringJob, decoder_pool
from ...evaluate.sources.items import ItemSource, select_items
from ...evaluate.sources.open_source import open_source
from ...storage.documents import plain
from ...system.process_memory import peak_bytes, resident_bytes
from ..models.engines import PreparedModel, model_candidates, prepare
from ..models.options import EngineOptions, ModelOptions
from ..models.parity import stored_parity
from ..models.resolve import ResolvedModel, resolve_model
from ..models.self_check import check_reference, needs_network
from ..runs.selection import check_crop, places_of
from ..runs.start import check_batch_size
from .timing import ROUNDS, bed_of, timed, warm_up

PARTS = 3
WARM_UP_SHARE = 0.1

MOST_ITEMS = 2000
"""Largest number of different images that are decoded."""

STIMULI_QUALITY = 85
"""JPEG quality of the sample images, as in ImageNet-C."""


@dataclass(frozen=True)
class WarmUp:
    """Time from the start to full speed.

    Attributes:
        load_seconds: Time to import the runtime and load the model, without the export.
        first_batch_seconds: Time of the first batch.
        steady_batches: Number of a caller's batches before the steady ones.
        steady_seconds: Time of those batches.
    """

    load_seconds: float
    first_batch_seconds: float
    steady_batches: int
    steady_seconds: float


@dataclass(frozen=True)
class Memory:
    """Resident memory of this process in bytes, without that of a GPU; ``None`` if unknown.

    Attributes:
        before: Memory before the engine is loaded.
        loaded: Memory after that, before the first batch.
        running: Memory at the end.
        peak: Largest memory at any time.
    """

    before: int | None
    loaded: int | None
    running: int | None
    peak: int | None


@dataclass(frozen=True)
class Bench:
    """Result of ``evaluator bench``.

    Attributes:
        model: Name of the model.
        weights: Origin of the weights.
        engine: Identity of what the engine computes.
        device: Device that the engine runs on.
        versions: Versions of the runtime, by package.
        parity: ``passed``, ``failed``, ``not checked``, or ``reference``.
        batch_size: Images in a batch.
        callers: Threads that call the engine at once.
        decoders: Threads that decode; the callers themselves if there are several.
        data: Description of the images.
        images: Number of different images.
        engine_only: Rate of the engine alone, on decoded batches.
        end_to_end: Rate of the scoring loop, from files to records.
        data_only: Rate of the scoring loop with an engine that returns zeros.
        latency: Latency of a batch while all callers are busy.
        warm_up: Time from the start to full speed.
        memory: Memory of this process.
        bottleneck: What limits the scoring loop.
    """

    model: str
    weights: str
    engine: EngineSpec
    device: Device
    versions: Mapping[str, str]
    parity: str
    batch_size: int
    callers: int
    decoders: int
    data: str
    images: int
    engine_only: Rate
    end_to_end: Rate
    data_only: Rate
    latency: Latency
    warm_up: WarmUp
    memory: Memory
    bottleneck: Bottleneck

    def document(self) -> dict[str, Any]:
        """The result as JSON."""
        return {"schema": 1, **plain(self)}


def bench(
    model: str,
    *,
    data: str | Path | Sequence[str | Path] | None = None,
    benchmark: str = "imagenet-c",
    labels: str | Path | None = None,
    engine: str | None = None,
    device: str | None = None,
    batch_size: int | None = None,
    seconds: float = 30.0,
    progress: Progress | None = None,
    **options: Unpack[EngineOptions],
) -> Bench:
    """Measure the throughput of a model on this machine, part by part.

    Args:
        model: A name of the zoo, ``torchvision:NAME``, ``timm:NAME``, a model of the user's
            own, or a bundle's folder.
        data: Images of the benchmark, in folders or tar files. If not given, the twenty sample
            photos in its form.
        benchmark: ``imagenet-c``, whose images are small and stored as they are scored, or
            ``imagenet``, whose photos are resized.
        labels: File with the classes of validation images that are not in class folders.
        engine: Name of the engine. If not given, the best one available.
        device: Name of the device. If not given, the first GPU, or else the CPU.
        batch_size: Images in a batch. If not given, the number that scores use.
        seconds: Total time of measuring; a slow model takes longer, for two batches in each round.
        progress: Progress callback.
        options: Options of the model and the plan; see ``GraphOptions`` and ``PlanChoice``.

    Raises:
        InputError: If the data, the model or a name is not valid.
        UnavailableError: If the engine, the device or the weights are not available.
    """
    progress = progress or NullProgress()
    if not seconds > 0:
        raise InputError(f"--seconds {seconds:g} is not possible; expected more than 0.")
    info = find_benchmark(benchmark)
    subject = resolve_model(ModelOptions(model, **options), progress)
    subject = check_reference(subject, progress, needed=needs_network(subject))
    check_crop(subject.spec, info)
    with ExitStack() as stack:
        if data is None:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            _write_sample(folder, info, subject.spec)
            places, origin = [folder], "sample photos"
        else:
            places, origin = places_of(data), "images of --data"
        source = open_source(
            places,
            info.conditions,
            progress=progress,
            layout=info.layout,
            labels=None if labels is None else Path(labels),
        )
        items = _items(info, source)
        description = f"{len(items)} {origin} as {_form(info, items[0])}"
        place = model_candidates(subject, engine, device)[0]
        if place.device.is_simulated:
            raise InputError(f"{place.device} computes on the CPU, so its speed says nothing.")
        if place.kind.runs_onnx:
            prepare(subject, place, progress)  # exported before anything is timed
        batch = batch_size or place.kind.batch_size(place.device)
        progress.note(f"Engine: {place}, batches of {batch}, on {description}.")
        before, began = resident_bytes(), time.perf_counter()
        loaded = prepare(subject, place, progress)
        opened = stack.enter_context(loaded.open())
        load_seconds = time.perf_counter() - began
        check_batch_size(batch, opened)
        job = ScoringJob(
            benchmark=info,
            engine=opened,
            source=source,
            items={info.conditions[0]: items},
            preprocessing=subject.spec.preprocessing,
            batch_size=batch,
            decoders=stack.enter_context(decoder_pool(opened)),
        )
        bed = bed_of(job)
        loaded_bytes = resident_bytes()
        first = warm_up(bed, WARM_UP_SHARE * seconds)
        times = timed(bed, (1 - WARM_UP_SHARE) * seconds / (ROUNDS * PARTS), progress)
        memory = Memory(before, loaded_bytes, resident_bytes(), peak_bytes())
    rates = (times.engine, times.whole, times.data)
    medians = [rate.images_per_second for rate in rates]
    steady = steady_from(first)
    return Bench(
        model=subject.spec.name,
        weights=str(subject.spec.weights),
        engine=loaded.spec,
        device=place.device,
        versions=opened.versions,
        parity=_parity(subject, loaded),
        batch_size=batch,
        callers=opened.callers,
        decoders=opened.callers if opened.callers > 1 else os.cpu_count() or 1,
        data=description,
        images=len(items),
        engine_only=times.engine,
        end_to_end=times.whole,
        data_only=times.data,
        latency=latency_of(times.latencies),
        warm_up=WarmUp(load_seconds, first[0], steady, sum(first[:steady])),
        memory=memory,
        bottleneck=bottleneck(*medians, shared=place.device.name == "cpu"),
    )


def _parity(subject: ResolvedModel, loaded: PreparedModel) -> str:
    if loaded.is_reference:
        return "reference"
    result = stored_parity(subject, loaded)
    return "not checked" if result is None else "passed" if result.passed else "failed"


def _items(benchmark: Benchmark, source: ItemSource) -> list[Item]:
    """Items of one condition, evenly spaced if there are many."""
    conditions = source.conditions()
    if not conditions:
        raise InputError(
            f"The data hold no images of {benchmark.title}. Give another --data, or name their "
            "benchmark with --benchmark."
        )
    return select_items(source.items(conditions[0]), MOST_ITEMS)


def _form(benchmark: Benchmark, item: Item) -> str:
    """The form in which the benchmark stores its items."""
    if item.frames > 1:
        return f"videos of {item.frames} frames, {benchmark.stimuli_px} px"
    return "photos" if benchmark.stimuli_px is None else f"JPEGs of {benchmark.stimuli_px} px"


def _write_sample(folder: Path, benchmark: Benchmark, model: ModelSpec) -> None:
    """Write the sample photos as the benchmark stores its images.

    Raises:
        InputError: If the benchmark stores no JPEGs.
    """
    if ".jpeg" not in benchmark.layout.suffixes:
        raise InputError(
            f"{benchmark.title} consists of {benchmark.layout.noun}s such as "
            f"{benchmark.layout.example}, and there are no samples of them. Give some with --data."
        )
    if benchmark.stimuli_px is None:
        sample_photos(folder)
        return
    class_folder = folder.joinpath(*(str(value) for _, value in benchmark.conditions[0].values))
    for photo in shipped_photos():
        pixels = photo_pixels(photo.path.read_bytes(), photo.id, model.preprocessing)
        target = class_folder / photo.id
        target.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(target, "JPEG", quality=STIMULI_QUALITY)
