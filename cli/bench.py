"""``evaluator bench``."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..reporting.table import Table
from .config import ConfigOption, configured
from .options import (
    BATCH_SIZE,
    DEVICE,
    ENGINE,
    LABELS,
    EngineOptions,
    JsonOption,
    Model,
    option,
    takes_options,
)

if TYPE_CHECKING:
    from ..engine.throughput import Rate
    from ..workflow.bench.bench import Bench


class BenchOptions:
    """Options of ``bench``."""

    data: list[Path] | None = option(
        "Data",
        "Images to decode, as for `evaluator score`. Default: sample photos.",
        metavar="PATH",
    )
    benchmark: str = option(
        "Data",
        "Kind of the images: photos (imagenet), or images stored at 224 px (imagenet-c).",
        default="imagenet-c",
        metavar="imagenet|imagenet-c",
    )
    labels: Path | None = LABELS
    engine: str | None = ENGINE
    device: str | None = DEVICE
    batch_size: int | None = BATCH_SIZE
    seconds: float = option(
        "Engine",
        "Time to measure for. A slow model takes longer.",
        default=30.0,
        metavar="SECONDS",
        min=1,
    )


@takes_options(BenchOptions, JsonOption, EngineOptions, ConfigOption)
@configured()
def bench(model: Model, json: Path | None, **options: Any) -> None:
    """Measure throughput on this machine and find the bottleneck. Does not measure accuracy."""
    from ..workflow.bench.bench import bench as measure
    from .console import check_outputs, progress, show

    check_outputs(json)
    with progress() as display:
        result = measure(model, progress=display, **options)
    show([bench_table(result)], (json, result.document()))


def bench_table(result: "Bench") -> Table:
    """The rate of each part, with latency, warm-up and memory in notes."""
    threads = f"{result.callers} caller{'s' if result.callers > 1 else ''}"
    if result.callers == 1:
        threads += f", {result.decoders} threads decode"
    latency, warm_up = result.latency, result.warm_up
    rows = (
        ("engine alone, on ready-made batches", *_cells(result.engine_only)),
        ("end to end, from files to records", *_cells(result.end_to_end)),
        ("data side alone, without inference", *_cells(result.data_only)),
    )
    notes = (
        f"bottleneck: {result.bottleneck.sentence}",
        f"median of {result.engine_only.rounds} rounds, the parts in turns; {result.data}",
        f"a batch of {result.batch_size}: p50 {latency.p50_ms:.1f} ms, p90 {latency.p90_ms:.1f} "
        f"ms, p99 {latency.p99_ms:.1f} ms ({latency.batches:,} batches, {threads})",
        f"warm-up: loaded in {warm_up.load_seconds:.2f} s, first batch in "
        f"{1000 * warm_up.first_batch_seconds:.0f} ms, steady after {warm_up.steady_batches} "
        f"batches and {1000 * warm_up.steady_seconds:.0f} ms",
        f"memory of the process: {_memory(result)}",
        f"parity: {result.parity}; no accuracy is measured here",
    )
    versions = " ".join(f"{name} {version}" for name, version in result.versions.items())
    title = (
        f"{result.model} ({result.weights}): {result.engine.backend} {result.engine.precision} on "
        f"{result.device}, {versions}"
    )
    return Table(title, ("part", "images/s", "slowest", "fastest"), rows, notes)


def _cells(rate: "Rate") -> tuple[str, ...]:
    return tuple(f"{value:,.1f}" for value in (rate.images_per_second, rate.low, rate.high))


def _memory(result: "Bench") -> str:
    memory = result.memory
    steps = (
        ("before loading", memory.before),
        ("loaded", memory.loaded),
        ("running", memory.running),
        ("at most", memory.peak),
    )
    texts = [f"{name} {value / 1e6:,.0f} MB" for name, value in steps if value is not None]
    return ", ".join(texts) or "not reported by this system"
