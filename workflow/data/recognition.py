"""Recognising the benchmark of data by their content: names of folders and files."""

from pathlib import Path

from ...contracts import Benchmark, NullProgress
from ...errors import InputError, printable
from ...evaluate.benchmarks.table import BENCHMARKS
from ...evaluate.classes import imagenet_a_index
from ...evaluate.sources.items import Ids
from ...evaluate.sources.open_source import open_source

_WITH_CONDITIONS = ("imagenet-c", "imagenet-p")
"""ImageNet-C first: ImageNet-P shares names of folders with it, but has no severities."""

_MOST_OF_A = 100
"""Classes of ImageNet-A's 200 that data must have to be taken for it by their classes alone."""


def recognised_benchmark(path: Path) -> Benchmark:
    """The benchmark of the data at a path.

    Raises:
        InputError: If there are no data, or they are not recognised.
    """
    for name in _WITH_CONDITIONS:
        benchmark = BENCHMARKS[name]
        source = open_source(
            [path],
            benchmark.conditions,
            progress=NullProgress(),
            layout=benchmark.layout,
            problems=[],
        )
        if source.conditions():
            return benchmark
    ids = _clean_ids(path, BENCHMARKS["imagenet"])
    if ids:
        classes = {id.partition("/")[0] for id in ids}
        named_so = "imagenet-a" in path.absolute().name.lower()
        is_a = classes <= imagenet_a_index().keys()
        return BENCHMARKS[
            "imagenet-a" if is_a and (named_so or len(classes) > _MOST_OF_A) else "imagenet"
        ]
    if _clean_ids(path, BENCHMARKS["cue-conflict"]):
        return BENCHMARKS["cue-conflict"]
    raise InputError(
        f"{printable(path)} is not recognised as data of a benchmark. Give the folder or tar file "
        f"that holds them, or --benchmark NAME, one of {', '.join(BENCHMARKS)}."
    )


def _clean_ids(path: Path, benchmark: Benchmark) -> Ids:
    """The ids of items of a benchmark without conditions; empty if there are none."""
    try:
        source = open_source(
            [path],
            benchmark.conditions,
            progress=NullProgress(),
            layout=benchmark.layout,
            problems=[],
        )
        return next((source.items(condition).ids for condition in source.conditions()), ())
    except InputError:  # for example flat images without a list of their classes
        return ()
