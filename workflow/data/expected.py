"""The names that a complete benchmark has, where they are known.

ImageNet-C and -P are made of ImageNet's validation images, ``ILSVRC2012_val_00000001`` to
``_00050000``, and keep their names; every class has 50. The stimuli of cue conflict are in a list.
The names of ImageNet-A are not published apart from the images, so there only the count is known.
"""

import os
import re
from collections.abc import Iterable

from ...contracts import Benchmark
from ...evaluate.benchmarks.cue_conflict import LEFTOVER, STANDARD, is_benchmark_item
from ...evaluate.classes import cue_conflict_stimuli

IMAGES_A_CLASS = 50
"""Validation images of each class: Russakovsky et al. 2015, Table 2."""

_OF_VALIDATION = re.compile(r"ILSVRC2012_val_\d{8}")
VALIDATION_IMAGES = 50_000


def stem_of(id: str) -> str:
    """The name of an item without folders and suffix.

    Example:
        >>> stem_of("n01440764/ILSVRC2012_val_00000293.JPEG")
        'ILSVRC2012_val_00000293'
    """
    return os.path.splitext(id.rpartition("/")[2])[0]


def expected_count(benchmark: Benchmark) -> int:
    """Number of items in each condition; the paper's 1201st stimulus is not needed."""
    return STANDARD if benchmark.name == "cue-conflict" else benchmark.info.published_items


def expected_stems(benchmark: Benchmark, ids: Iterable[str]) -> frozenset[str] | None:
    """The stems of all items of the published benchmark; ``None`` if they are not known.

    Args:
        benchmark: The benchmark.
        ids: The ids on disk, which show whether the images are those of ImageNet's validation set.
    """
    if benchmark.name == "cue-conflict":
        names = (name for name in cue_conflict_stimuli() if is_benchmark_item(name))
        return frozenset(stem_of(name) for name in names if name != LEFTOVER)
    if not any(_OF_VALIDATION.fullmatch(stem_of(id)) for id in ids):
        return None
    numbers = range(1, VALIDATION_IMAGES + 1)
    return frozenset(f"ILSVRC2012_val_{number:08}" for number in numbers)
