"""``evaluator bench``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Unpack

import typer

from ..workflow.models.options import GraphOptions
from .options import BatchSize, Device, Engine, Json, Labels, Model, takes_model_options

if TYPE_CHECKING:
    from ..engine.throughput import Rate
    from ..workflow.bench.bench import Bench


@takes_model_options(GraphOptions)
def bench(
    model: Model,
    data: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="PATH",
            help="Images of the benchmark to decode, as for `score`. Default: sample photos.",
        ),
    ] = None,
    benchmark: Annotated[
        str,
        typer.Option(
            metavar="imagenet|imagenet-c", help="Whether they are photos, or stored at 224 px."
        ),
    ] = "imagenet-c",
    labels: Labels = None,
    engine: Engine = None,
    device: Device = None,
    batch_size: BatchSize = None,
    seconds: Annotated[
        float, typer.Option(min=1, help="Of measuring; a slow model takes longer.")
    ] = 30.0,
    json: Json = None,
    **options: Unpack[GraphOptions],
) -> None:
    """Measure how fast a model runs here, and what holds it up. It tells no accuracy."""
    from ..workflow.bench.bench import bench as measure
    from .console import check_outputs, is_stdout, progress, write_json

    check_outputs(json)
    with progress() as display:
        result = measure(
            model,
            data=data,
            benchmark=benchmark,
            labels=labels,
            engine=engine,
            device=device,
            batch_size=batch_size,
            seconds=seconds,
            progress=display,
            **options,
        )
    if not is_stdout(json):
        print_bench(result)
    if json is not None:
        write_json(json, result.document())


def print_bench(result: "Bench") -> None:
    """The rates of the parts, and what else there is to know in notes."""
    from ..reporting.table import Table
    from .console import print_tables

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
        f"median of {result.engine_only.rounds} rounds in turns; {result.data}",
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
    print_tables([Table(title, ("part", "images/s", "slowest", "fastest"), rows, notes)])


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
    told = [f"{name} {value / 1e6:,.0f} MB" for name, value in steps if value is not None]
    return ", ".join(told) or "not told by this system"
