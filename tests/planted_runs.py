"""Engines' runs of the photos with differences that nobody computed, and the room for them."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from evaluator.contracts import (
    Condition,
    Device,
    EngineSpec,
    NullProgress,
    ParityResult,
    Preprocessing,
    Run,
)
from evaluator.records.fingerprints import begin_fingerprint, read_fingerprint
from evaluator.records.reading import read_run
from evaluator.records.run import create_or_open
from evaluator.records.shards import shards_of, write_shard
from evaluator.tests.labelled_photos import images_of_photos
from evaluator.tests.second_attack import Images

FP32, FP16 = 1e-3, 6e-2  # parity's bounds of the worst image

Logits = dict[str, np.ndarray[Any, Any]]
Rows = list[dict[str, Any]]


def logits_of_photos(network: Images, preprocessing: Preprocessing) -> Logits:
    """Of each sample photo by the name of its file, from a plain pass of the network."""
    images = images_of_photos(preprocessing)
    return {name: network(image)[0].detach().double().numpy() for name, image in images.items()}


def room_of(logits: Logits) -> float:
    """The largest margin that the bounds of float32 leave room for, worked out by hand."""
    everything = np.stack(list(logits.values()))
    signal = everything - everything.mean(axis=0)
    return math.sqrt(2) * FP32 * float(np.sqrt((signal**2).sum(axis=1)).max())


def compared(told: NullProgress) -> list[str]:
    words = ("PyTorch predicts", "compared with")
    return [n for n in told.notes if n.startswith("and ") or any(word in n for word in words)]


def rewritten(
    run: Run,
    folder: Path,
    change: Callable[[Rows], None],
    *,
    shard: int = 99,
    agreements: Sequence[float] = (),
    **key: Any,
) -> Path:
    """A run like another one, with other records or another key, whose marks are in order.

    With ``agreements`` each shard has a parity whose agreement is at least that.
    """
    read = read_run(run, (Condition(),))
    table, made = read.finished[Condition()], read.provenance[0]
    rows = table.to_pylist()
    change(rows)
    changed = pa.Table.from_pylist(rows, schema=table.schema)
    manifest = replace(run.manifest, key=replace(run.key, **key), shard_size=shard, seal="")
    new = create_or_open(folder, manifest)
    begin_fingerprint(new, Condition(), read_fingerprint(run, Condition()))
    for part in shards_of([Condition()], len(rows), shard):
        if agreements:
            made = replace(made, parity=parity_of(made.device, agreements[part.index]))
        write_shard(new, part, changed.slice(part.start, part.size), made)
    return folder


def parity_of(device: Device, agreement_low: float) -> ParityResult:
    torch_spec, onnx = EngineSpec("torch", "0" * 64), EngineSpec("onnxruntime", "1" * 64)
    return ParityResult(
        "small", torch_spec, device, onnx, device, {}, "photos", "2" * 64, n=100, batch_size=4,
        gates=(), agreement=1.0, agreement_low=agreement_low, agreement_high=1.0, kl=0.0, flips=(),
        labelled=0, reference_correct=0, candidate_correct=0,
    )  # fmt: skip


def prefer(margins: dict[int, float]) -> Callable[[Rows], None]:
    """In these rows the second class becomes the first one, by a margin over what was first."""

    def change(rows: Rows) -> None:
        for position, margin in margins.items():
            row = rows[position]
            first, second, *others = row["top5"]
            row["top5"] = [second, first, *others]
            _, _, *rest = row["probability"]
            row["probability"] = [0.4, 0.4 * math.exp(-margin), *rest]

    return change


def as_it_is(rows: Rows) -> None:
    pass
