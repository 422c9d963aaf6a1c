"""Runs of made stimuli of cue conflict, written without an engine."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from evaluator.contracts import Condition, ImageBatch, Item
from evaluator.evaluate.benchmarks.categories import CATEGORIES
from evaluator.evaluate.benchmarks.cue_conflict import CUE_CONFLICT, attributes
from evaluator.tests import stimuli
from evaluator.tests.written_runs import write_run

NAMES = [name for name in stimuli.names(1200) if name.split("-")[0][-1] == "2"]
"""One of the made stimuli for each shape and each texture: 240."""


def cue_records(names: Sequence[str], seed: int) -> pa.Table:
    """Records of a model that finds the shape of some stimuli and the texture of others."""
    names = sorted(names, key=str.encode)
    chance = np.random.default_rng(seed)
    logits = chance.normal(size=(len(names), 1000)).astype(np.float32)
    for row, name in enumerate(names):
        shape, texture = (part.rstrip("0123456789") for part in name[:-4].split("-"))
        logits[row, CATEGORIES[shape][0]] += 6 * chance.random()
        logits[row, CATEGORIES[texture][0]] += 8 * chance.random()
    return records_of_logits(names, logits)


def records_of_logits(names: Sequence[str], logits: npt.NDArray[np.float32]) -> pa.Table:
    """Records of stimuli, from a model's logits: (N, 1000)."""
    items = tuple(Item(n, None, "", attributes(n)) for n in names)
    pixels = np.empty((len(names), 0, 0, 3), np.uint8)
    batch = ImageBatch(pixels, "pixels", items, (0,) * len(names))
    return pa.Table.from_batches([CUE_CONFLICT.record(logits, batch)])


def write_cue_run(
    folder: Path, data: Path, *, names: Sequence[str] = NAMES, seed: int = 1, **run: Any
) -> Path:
    given: Mapping[str, Any] = {"conditions": (Condition(),), "benchmark": "cue-conflict", **run}
    records = cue_records(names, seed)
    return write_run(folder, records=lambda _: records, data=(str(data),), **given)
