"""The benchmarks that the tool knows by name, and the attacks, whose runs it can report."""

import difflib

from ...contracts import Benchmark
from ...errors import InputError
from .cue_conflict import CUE_CONFLICT
from .imagenet import IMAGENET
from .imagenet_a import IMAGENET_A
from .imagenet_c import IMAGENET_C
from .imagenet_p import IMAGENET_P
from .transfer import TRANSFER
from .whitebox import WHITEBOX

_ALL = (IMAGENET, IMAGENET_C, IMAGENET_P, CUE_CONFLICT, IMAGENET_A)

BENCHMARKS = {benchmark.name: benchmark for benchmark in _ALL}
"""What can be scored."""

ATTACKS = {attack.name: attack for attack in (WHITEBOX, TRANSFER)}


def find_benchmark(name: str) -> Benchmark:
    """The benchmark or attack of that name.

    Raises:
        InputError: If there is none.
    """
    return ATTACKS[name] if name in ATTACKS else scored_benchmark(name)


def scored_benchmark(name: str) -> Benchmark:
    """The benchmark of that name, to be scored.

    Raises:
        InputError: If there is none, or it is an attack; near names are given.
    """
    if name in BENCHMARKS:
        return BENCHMARKS[name]
    if name in ATTACKS:
        raise InputError(f"{name} is no benchmark but an attack: `evaluator attack {name} MODEL`.")
    near = difflib.get_close_matches(name, BENCHMARKS, n=1) or list(BENCHMARKS)
    raise InputError(f"There is no benchmark {name!r}. Did you mean {' or '.join(near)}?")
