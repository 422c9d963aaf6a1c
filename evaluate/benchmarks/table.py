"""The benchmarks and attacks that the tool knows by name."""

import re
from difflib import get_close_matches

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

_NOT_LETTERS = re.compile(r"[^a-z0-9]+")

ATTACKS = {attack.name: attack for attack in (WHITEBOX, TRANSFER)}


def find_benchmark(name: str) -> Benchmark:
    """The benchmark of that name.

    Raises:
        InputError: If there is none, or it is an attack; the name that is meant is given if it
            differs in spelling only, else all names.
    """
    if name in BENCHMARKS:
        return BENCHMARKS[name]
    if (attack := name.lower()) in ATTACKS:
        raise InputError(
            f"{attack} is an attack, not a benchmark: use `evaluator attack {attack} MODEL`."
        )
    otherwise = f"Expected {', '.join(BENCHMARKS)}."
    same = [other for other in BENCHMARKS if _is_spelling_of(name, other)]
    raise InputError(f"Unknown benchmark {name!r}. {did_you_mean(name, same, otherwise)}")


def _is_spelling_of(name: str, known: str) -> bool:
    """Whether a name differs from a known one in capitals, separators or a slip of the pen.

    Letters at the end name other benchmarks: ImageNet-R and ImageNet-V2 are none of those here.
    """
    letters, of_known = (_NOT_LETTERS.sub("", text.lower()) for text in (name, known))
    if letters == of_known:
        return True
    same_end = letters[-2:] == of_known[-2:]
    return same_end and bool(get_close_matches(letters, [of_known], cutoff=0.8))
