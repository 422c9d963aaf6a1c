"""Runs of a few made-up records, written without an engine."""

from pathlib import Path

import numpy as np
import pyarrow as pa

from evaluator.contracts import (
    FLOAT32_PIXELS,
    Condition,
    Device,
    EngineSpec,
    GraphKind,
    Item,
    ModelSpec,
    Preprocessing,
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
) -> Path:
    """A run of ten images in each condition, of which the first ``right`` are right."""
    spec = ModelSpec(model, model, weights, IMAGENET_224, 224, 1000, "", "")
    name = "imagenet-c" if conditions and conditions[0].values else "imagenet"
    computed = EngineSpec(
        "onnxruntime", f"{engine}, {kind}", kind.precision, input_kind=kind.input_kind
    )
    key = RunKey(name, f"{name}-1", f"{model} {weights}", computed, IMAGENET_224, "")
    size = 10 // shards
    run = create_or_open(folder, RunManifest(key, spec, 10, size, 4, "2026-01-01T00:00:00+00:00"))
    logits = np.zeros((10, 1000), np.float32)
    logits[:, 7] = 2
    logits[:right, 3] = 3
    items = [Item(f"n01440764/{i}.JPEG", 3, "") for i in range(10)]
    table = pa.Table.from_batches([record_top5(logits, items)])
    device = Device("cpu", "a processor", "")
    made = Provenance("h", device, {}, None, parity, 4, ("/data",), "", "", 0.0, "")
    for shard in shards_of(conditions, 10, size):
        write_shard(run, shard, table.slice(shard.start, shard.size), made)
    return folder
