"""Runs of a few made-up records, written without an engine."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from evaluator.contracts import (
    FLOAT32_PIXELS,
    Condition,
    Device,
    EngineSpec,
    GraphKind,
    ImageBatch,
    Item,
    ModelSpec,
    Preprocessing,
    PreprocessingOrigin,
    Provenance,
    RunKey,
    RunManifest,
    WeightsOrigin,
)
from evaluator.evaluate.benchmarks.imagenet_c import CONDITIONS
from evaluator.evaluate.benchmarks.top5 import record_top5
from evaluator.records.run import create_or_open
from evaluator.records.shards import shards_of, write_shard

IMAGENET_224 = Preprocessing(256, 224, "bilinear", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
BENCHMARKS = {"corruption": "imagenet-c", "perturbation": "imagenet-p"}
"""By the key of their conditions."""

PREPARED = PreprocessingOrigin()

DOWNLOADED = WeightsOrigin("download", "https://example.org/weights-0123abcd.pth", "0123abcd")


def write_run(
    folder: Path,
    *,
    model: str = "resnet50",
    weights: WeightsOrigin = DOWNLOADED,
    conditions: tuple[Condition, ...] = CONDITIONS,
    right: int = 5,
    parity: str = "passed",
    engine: str = "a",
    kind: GraphKind = FLOAT32_PIXELS,
    shards: int = 1,
    records: Callable[[Condition], pa.Table] | None = None,
    generated: Mapping[str, Any] | None = None,
    limit: int | None = None,
    data_sha256: str = "",
    benchmark: str | None = None,
    protocol: str | None = None,
    data: tuple[str, ...] = ("/data",),
    prepared: PreprocessingOrigin = PREPARED,
) -> Path:
    """A run of ten images in each condition, of which the first ``right`` are right.

    With ``records`` it holds the records that are given for each condition. Which benchmark it is
    of its conditions say, where that is not named.
    """
    spec = ModelSpec(model, model, weights, IMAGENET_224, 224, 1000, "", "", prepared=prepared)
    keyed = conditions and conditions[0].values
    name = benchmark or (BENCHMARKS[keyed[0][0]] if keyed else "imagenet")
    computed = EngineSpec(
        "onnxruntime", f"{engine}, {kind}", kind.precision, input_kind=kind.input_kind
    )
    rules, identity = protocol or f"{name}-1", f"{model} {weights}"
    key = RunKey(name, rules, identity, computed, IMAGENET_224, "", generated, limit)
    make = records or (lambda _: records_of(np.arange(10) < right))
    tables = {condition: make(condition) for condition in conditions}
    rows = {condition: _first_rows(table) for condition, table in tables.items()}
    items = next((len(firsts) - 1 for firsts in rows.values()), 10)
    size = items // shards
    created = "2026-01-01T00:00:00+00:00"
    run = create_or_open(folder, RunManifest(key, spec, items, size, 4, created))
    device = Device("cpu", "a processor", "")
    made = Provenance("h", device, {}, None, parity, 4, data, data_sha256, "", 0.0, "")
    for shard in shards_of(conditions, items, size):
        start, stop = (rows[shard.condition][item] for item in (shard.start, shard.stop))
        write_shard(run, shard, tables[shard.condition].slice(start, stop - start), made)
    return folder


def _first_rows(table: pa.Table) -> list[int]:
    """At which row each item begins, and where the table ends."""
    frames = table["frame"].to_pylist() if "frame" in table.column_names else [0] * table.num_rows
    return [*(row for row, frame in enumerate(frames) if not frame), table.num_rows]


def batch_of(items: Sequence[Item]) -> ImageBatch:
    """A batch that shows these items, a frame of each; its pixels are of no account."""
    frames = (0,) * len(items)
    return ImageBatch(np.empty((len(items), 0, 0, 3), np.uint8), "pixels", tuple(items), frames)


def records_of(
    right: npt.NDArray[np.bool_], skipped: Sequence[int] = (), suffix: str = ".JPEG"
) -> pa.Table:
    """Records of N images, each right or not, the right class always among the five likeliest.

    Args:
        right: (N,).
        skipped: The rows that could not be read.
        suffix: Of the images' names.
    """
    logits = np.zeros((right.size, 1000), np.float32)
    logits[:, 7] = 2
    logits[:, 3] = np.where(right, 3, 1)
    items = [Item(f"n01440764/{i:02d}{suffix}", 3, "") for i in range(right.size)]
    table = pa.Table.from_batches([record_top5(logits, batch_of(items))])
    if not skipped:
        return table
    rows = [
        {**row, "top5": None, "probability": None, "error": "cannot be decoded"}
        if position in skipped
        else row
        for position, row in enumerate(table.to_pylist())
    ]
    return pa.Table.from_pylist(rows, schema=table.schema)
