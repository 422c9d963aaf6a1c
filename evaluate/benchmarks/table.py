"""The benchmarks and attacks that the tool knows by name."""

import difflib

from ...contracts import Benchmark
from ...errors import InputError, did_you_mean
from .cue_conflict import CUE_CONFLICT
from .imagenet import IMAGENET
from .imagenet_a import IMAGENET_A
from .imagenet_c import IMAGENET_C
from .imagenet_p import IMAGENET_P
from .transfer import TRANSFER
from .whitebox import WHITEBOX

_ALL = (IMAGENET, IMAGENET_C, IMAGENET_P, CUE_CONFLICT, IMAGENET_A)

BENCHMARKS = {benchmark.name: benchmark for benchmark in _ALL}

ATTACKS = {attack.name: attack for attack in (WHITEBOX, TRANSFER)}


def find_benchmark(name: str) -> Benchmark:
    """The benchmark of that name.

    Raises:
        InputError: If there is none, or it is an attack; near names are given.
    """
    if name in BENCHMARKS:
        return BENCHMARKS[name]
    if name in ATTACKS:
        raise InputError(
            f"{name} is an attack, not a benchmark: use `evaluator attack {name} MODEL`."
        )
    suggestions = difflib.get_close_matches(name, BENCHMARKS, n=1) or list(BENCHMARKS)
    raise InputError(f"Unknown benchmark {name!r}. {did_you_mean(suggestions)}")
