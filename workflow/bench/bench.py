"""How fast a model runs here, and what holds it up; no accuracy is told, so no parity is needed.

Three parts are timed in turns, so that whatever else the machine does slows all of them alike; see
``bench_parts.py``.
"""

import os
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Unpack

from PIL import Image

from ...contracts import (
    Benchmark,
    Device,
    EngineSpec,
    Item,
    ModelSpec,
    NullProgress,
    Progress,
    Source,
)
from ...engine.throughput import (
    Bottleneck,
    Latency,
    Rate,
    bottleneck,
    latency_of,
    rate_of,
    steady_from,
)
from ...errors import InputError
from ...evaluate.benchmarks.table import find_benchmark
from ...evaluate.decode import photo_pixels
from ...evaluate.generate.photos import sample_photos, write_sample
from ...evaluate.sources.items import ItemSource, select_items
from ...evaluate.sources.open_source import open_source
from ...storage.documents import plain
from ...system.process_memory import peak_bytes, resident_bytes
from ..models.bundles import bundle_of
from ..models.engines import PreparedModel, candidates, is_reference, prepare, supporting
from ..models.options import GraphOptions, ModelOptions
from ..models.parity import stored_parity
from ..models.resolve import ResolvedModel, resolve_model
from ..runs.selection import check_crop, places_of
from .timing import ROUNDS, bed_of, timed, warm_up

PARTS = 3
WARM_UP_SHARE = 0.1

MOST_ITEMS = 2000
"""Different images that are decoded; ImageNet-C's are not read through for a measurement."""

STIMULI_QUALITY = 85
"""Of JPEG, as in ImageNet-C."""


@dataclass(frozen=True)
class WarmUp:
    """From nothing to full speed; seconds.

    Attributes:
        load_seconds: Importing the runtime, checking the model and reading it; it was exported
            before.
        first_batch_seconds: Until the first batch had its logits.
        steady_batches: How many batches of a caller came before the steady ones.
        steady_seconds: How long those took.
    """

    load_seconds: float
    first_batch_seconds: float
    steady_batches: int
    steady_seconds: float


@dataclass(frozen=True)
class Memory:
    """Of this process in bytes, none where the system does not tell; a GPU's own is not in it.

    Attributes:
        before: Before the engine was loaded.
        loaded: After it was, before a batch.
        running: At the end.
        peak: The most at any time.
    """

    before: int | None
    loaded: int | None
    running: int | None
    peak: int | None


@dataclass(frozen=True)
class Bench:
    """What ``evaluator bench`` measures.

    Attributes:
        model: Its name.
        weights: Where they come from.
        engine: What computes.
        device: On what.
        versions: The runtime.
        parity: ``passed``, ``failed``, ``not checked``, or ``reference``.
        batch_size: Images in a batch.
        callers: Threads that call the engine at once.
        decoders: Threads that decode; the callers themselves where there are several.
        data: What was decoded, in words.
        images: How many different ones.
        engine_only: On batches that were decoded before.
        end_to_end: The scoring loop, from files to records.
        data_only: The same loop with an engine that answers at once.
        latency: Of one batch, with all callers at work.
        warm_up: From nothing to full speed.
        memory: Of this process.
        bottleneck: What limits the whole.
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
        """For programs."""
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
    **options: Unpack[GraphOptions],
) -> Bench:
    """Measure how fast a model runs here, part by part.

    Args:
        model: A name of the zoo, ``torchvision:NAME``, ``timm:NAME``, a model of the user's
            own, or a bundle's folder.
        data: Images of the benchmark, in folders or tar files; without it, the twenty sample
            photos in its form.
        benchmark: ``imagenet-c``, whose images are small and stored as they are scored, or
            ``imagenet``, whose photos are resized.
        labels: A list of the classes of validation images that are not in class folders.
        engine: Without it, the best that is here.
        device: Without it, the first GPU that is here, else the CPU.
        batch_size: Without it, what the engine is scored with.
        seconds: Of measuring in all; a slow model takes longer, for two batches in each round.
        progress: Progress callback.
        options: Which model; see ``GraphOptions``.

    Raises:
        InputError: If the data, the model or a name do not serve.
        UnavailableError: If the engine, the device or the weights are not here.
    """
    progress = progress or NullProgress()
    if not seconds > 0:
        raise InputError(f"--seconds {seconds:g} measures nothing; expected more than 0.")
    what = find_benchmark(benchmark)
    choice = ModelOptions(model, **options)
    subject = resolve_model(choice, progress)
    check_crop(subject.spec, what)
    with ExitStack() as stack:
        places, origin = _places(what, subject.spec, data, stack)
        named = None if labels is None else Path(labels)
        source = open_source(
            places, what.conditions, progress=progress, tree=what.tree, labels=named
        )
        images = _images(what, source, origin)
        place = supporting(subject, candidates(engine, device))[0]
        place.kind.check(subject.kind.precision, place.device)
        if place.kind.runs_onnx:
            bundle_of(subject, progress)  # exported before anything is timed
        batch = batch_size or place.kind.batch_size(place.device)
        progress.note(f"Engine: {place}, batches of {batch}, on {images.description}.")
        before, began = resident_bytes(), time.perf_counter()
        loaded = prepare(subject, place, progress)
        opened = stack.enter_context(loaded.open())
        load_seconds = time.perf_counter() - began
        if not 1 <= batch <= opened.max_batch:
            raise InputError(
                f"--batch-size {batch} is not possible; expected 1 to {opened.max_batch}."
            )
        bed = bed_of(
            what,
            opened,
            images.source,
            images.items,
            preprocessing=subject.spec.preprocessing,
            batch_size=batch,
            stack=stack,
        )
        memory = Memory(before, resident_bytes(), None, None)
        first = warm_up(bed, WARM_UP_SHARE * seconds)
        times = timed(bed, (1 - WARM_UP_SHARE) * seconds / (ROUNDS * PARTS), progress)
        memory = replace(memory, running=resident_bytes(), peak=peak_bytes())
    rates = [rate_of(rounds) for rounds in (times.engine, times.whole, times.data)]
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
        decoders=opened.callers if opened.callers > 1 else _cores(),
        data=images.description,
        images=len(images.items),
        engine_only=rates[0],
        end_to_end=rates[1],
        data_only=rates[2],
        latency=latency_of(times.latencies),
        warm_up=WarmUp(load_seconds, first[0], steady, sum(first[:steady])),
        memory=memory,
        bottleneck=bottleneck(*medians, shared=place.device.name == "cpu"),
    )


def _parity(subject: ResolvedModel, loaded: PreparedModel) -> str:
    if is_reference(loaded):
        return "reference"
    result = stored_parity(subject, loaded)
    return "not checked" if result is None else "passed" if result.passed else "failed"


def _cores() -> int:
    return os.cpu_count() or 1


@dataclass(frozen=True)
class _Images:
    """What is decoded."""

    source: Source
    items: Sequence[Item]
    description: str


def _places(
    benchmark: Benchmark,
    model: ModelSpec,
    data: str | Path | Sequence[str | Path] | None,
    stack: ExitStack,
) -> tuple[list[Path], str]:
    """Where the images are, the sample photos in a temporary folder if need be; and in words."""
    if data is not None:
        return places_of(data), "images of --data"
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    _write_sample(folder, benchmark, model)
    return [folder], "sample photos"


def _images(benchmark: Benchmark, source: ItemSource, origin: str) -> _Images:
    """Images of one condition, evenly spaced where there are many."""
    there = source.conditions()
    if not there:
        raise InputError(
            f"The data hold nothing of {benchmark.title}. Give another --data, or say what they "
            "are with --benchmark."
        )
    items = select_items(source.items(there[0]), MOST_ITEMS)
    stored = benchmark.stimuli_px
    frames = items[0].frames
    form = "photos" if stored is None else f"JPEGs of {stored} px"
    if frames > 1:
        form = f"videos of {frames} frames, {stored} px"
    return _Images(source, items, f"{len(items)} {origin} as {form}")


def _write_sample(folder: Path, benchmark: Benchmark, model: ModelSpec) -> None:
    """The sample photos as the benchmark stores its images.

    Raises:
        InputError: If they cannot be stored so.
    """
    if ".jpeg" not in benchmark.tree.suffixes:
        raise InputError(
            f"{benchmark.title} is of {benchmark.tree.noun}s such as {benchmark.tree.example}, and "
            "none are at hand. Name some with --data."
        )
    if benchmark.stimuli_px is None:
        write_sample(folder)
        return
    below = folder.joinpath(*(str(value) for _, value in benchmark.conditions[0].values))
    for photo in sample_photos():
        pixels = photo_pixels(photo.path.read_bytes(), photo.id, model.preprocessing)
        target = below / photo.id
        target.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(target, "JPEG", quality=STIMULI_QUALITY)
