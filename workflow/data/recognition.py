"""Recognising the benchmark of data by their content: names of folders and files."""

from pathlib import Path

from ...contracts import Benchmark, NullProgress
from ...errors import InputError, printable
from ...evaluate.benchmarks.table import BENCHMARKS
from ...evaluate.classes import imagenet_a_index
from ...evaluate.sources.items import Ids
from ...evaluate.sources.open_source import MixedSource, open_source

_WITH_CONDITIONS = ("imagenet-c", "imagenet-p")
"""ImageNet-C first: ImageNet-P shares names of folders with it, but has no severities."""

_MOST_OF_A = 100
"""Classes of ImageNet-A's 200 that data must have to be taken for it by their classes alone."""


def recognised_benchmark(path: Path) -> Benchmark:
    """The benchmark of the data at a path.

    Raises:
        InputError: If there are no data, or they are not recognised; a fault of the data, such as
            a file that is not a tar file, is the reason if there is one.
    """
    faults: list[InputError] = []
    for name in _WITH_CONDITIONS:
        source = _source(path, BENCHMARKS[name], faults)
        if source is not None and source.conditions():
            return BENCHMARKS[name]
    if ids := _clean_ids(path, BENCHMARKS["imagenet"], faults):
        classes = {id.partition("/")[0] for id in ids}
        named_so = "imagenet-a" in path.absolute().name.lower()
        is_a = classes <= imagenet_a_index().keys() and (named_so or len(classes) > _MOST_OF_A)
        return BENCHMARKS["imagenet-a" if is_a else "imagenet"]
    if _clean_ids(path, BENCHMARKS["cue-conflict"], faults):
        return BENCHMARKS["cue-conflict"]
    if faults:
        raise faults[0]
    raise InputError(
        f"{printable(path)} is not recognised as data of a benchmark. Give the folder or tar file "
        f"that holds them, or --benchmark NAME, one of {', '.join(BENCHMARKS)}."
    )


def _clean_ids(path: Path, benchmark: Benchmark, faults: list[InputError]) -> Ids:
    """The ids of items of a benchmark without conditions; empty if there are none."""
    source = _source(path, benchmark, faults)
    try:
        conditions = source.conditions() if source is not None else ()
        return next((source.items(c).ids for c in conditions if source is not None), ())
    except InputError as error:  # for example flat images without a list of their classes
        faults.append(error)
        return ()


def _source(path: Path, benchmark: Benchmark, faults: list[InputError]) -> MixedSource | None:
    """The data read as those of a benchmark; ``None``, and a fault, if they cannot be read so."""
    try:
        return open_source(
            [path],
            benchmark.conditions,
            progress=NullProgress(),
            layout=benchmark.layout,
            problems=[],
        )
    except InputError as error:
        faults.append(error)
        return None
