"""The benchmarks that the tool knows by name."""

import difflib

from ...contracts import Benchmark
from ...errors import InputError
from .imagenet import IMAGENET
from .imagenet_c import IMAGENET_C
from .imagenet_p import IMAGENET_P

BENCHMARKS = {benchmark.name: benchmark for benchmark in (IMAGENET, IMAGENET_C, IMAGENET_P)}


def find_benchmark(name: str) -> Benchmark:
    """The benchmark of that name.

    Raises:
        InputError: If there is none; near names are given.
    """
    if name in BENCHMARKS:
        return BENCHMARKS[name]
    near = difflib.get_close_matches(name, BENCHMARKS, n=1) or list(BENCHMARKS)
    raise InputError(f"There is no benchmark {name!r}. Did you mean {' or '.join(near)}?")
