"""Claim: mCE with its interval over the 3.75 million records of ImageNet-C takes seconds.

A run of 75 x 50,000 made-up records is written by the project's own code, and read by ``evaluator
report`` in a process of its own: every digest compared, ids checked, all numbers made, tables
printed. The peer does less: pyarrow reads the whole data set as its documentation shows, groups by
image, and gives mCE and its standard error; nothing is checked, no other number made. Rounds are
interleaved; seconds are of the whole process, memory is its peak.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pyarrow as pa

from evaluator.contracts import (
    ALEXNET_ERROR,
    Device,
    EngineSpec,
    ModelSpec,
    Preprocessing,
    Provenance,
    Run,
    RunKey,
    RunManifest,
    WeightsOrigin,
)
from evaluator.evaluate.benchmarks.imagenet_c import CONDITIONS, INFO
from evaluator.evaluate.benchmarks.top5 import SCHEMA
from evaluator.records.run import create_or_open
from evaluator.records.shards import shards_of, write_shard

ROUNDS = 3
SHARD = 6_000
PREPROCESSING = Preprocessing(256, 224, "bilinear", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))

PEER = f"""
import sys, numpy as np, pyarrow as pa, pyarrow.compute as pc
from pyarrow import dataset
table = dataset.dataset(sys.argv[1] + "/records", partitioning="hive").to_table()
alexnet = {dict(ALEXNET_ERROR)}
names = pa.array(list(alexnet))
weights = pa.array([1 / (75 * mean) for mean in alexnet.values()])
wrong = pc.not_equal(pc.list_element(table["top5"], 0), table["label"])
weight = weights.take(pc.index_in(table["corruption"].cast(pa.string()), names))
scores = pa.table({{"id": table["id"], "score": pc.multiply(wrong.cast(pa.float64()), weight)}})
images = scores.group_by("id").aggregate([("score", "sum")])["score_sum"].to_numpy()
print(images.mean(), images.std(ddof=1) / len(images) ** 0.5)
"""


def made_up_run(folder: Path) -> Run:
    """75 x 50,000 records: hard images are hard under most corruptions, as real ones are."""
    weights = WeightsOrigin("random", "seed 0")
    key = RunKey("imagenet-c", "imagenet-c-1", "", EngineSpec("torch", ""), PREPROCESSING, "")
    model = ModelSpec("made-up", "made-up", weights, PREPROCESSING, 224, 1000, "", "")
    manifest = RunManifest(key, model, INFO.published_items, SHARD, 4, "2026-01-01T00:00:00+00:00")
    run = create_or_open(folder, manifest)
    device = Device("cpu", "none", "")
    made = Provenance("here", device, {}, None, "reference", 4, ("/data",), "", "", 60.0, "")
    chance = np.random.default_rng(0)
    labels = np.repeat(np.arange(1000, dtype=np.int32), INFO.published_items // 1000)
    names = [f"n{label:08d}/ILSVRC2012_val_{i:08d}.JPEG" for i, label in enumerate(labels)]
    ids, difficulty = pa.array(names), chance.normal(size=INFO.published_items)
    for condition in CONDITIONS:
        table = records(chance, ids, labels, difficulty - 1 + 0.4 * int(condition["severity"]))
        for shard in shards_of([condition], INFO.published_items, SHARD):
            write_shard(run, shard, table.slice(shard.start, shard.size), made)
    return run


def records(
    chance: np.random.Generator, ids: pa.Array, labels: np.ndarray, difficulty: np.ndarray
) -> pa.Table:
    count = len(labels)
    top5 = (labels[:, None] + chance.integers(1, 200, (count, 1)) * np.arange(1, 6)) % 1000
    wrong = difficulty + chance.normal(size=count) > 0
    top5[~wrong, 0] = labels[~wrong]
    probability = np.sort(chance.dirichlet(np.ones(6), count).astype(np.float32))[:, :0:-1]
    offsets = np.arange(0, 5 * count + 1, 5, dtype=np.int32)
    columns = [
        ids,
        pa.array(labels),
        pa.ListArray.from_arrays(offsets, top5.astype(np.int32).ravel()),
        pa.ListArray.from_arrays(offsets, np.ascontiguousarray(probability).ravel()),
        pa.nulls(count, pa.string()),
    ]
    return pa.Table.from_arrays(columns, schema=SCHEMA)


def measured(words: list[str]) -> tuple[float, float]:
    """Seconds and peak gigabytes of a process."""
    began = time.perf_counter()
    process = subprocess.Popen([sys.executable, *words], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{words[0]} failed with exit code {process.returncode}")
    return time.perf_counter() - began, usage.ru_maxrss * 1024 / 1e9


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        run = str(made_up_run(Path(folder) / "run").folder)
        report = ["-m", "evaluator", "report", run]
        rounds = [(measured(report), measured(["-c", PEER, run])) for _ in range(ROUNDS)]
    ratios = [theirs / mine for (mine, _), (theirs, _) in rounds]
    for name, (seconds, gigabytes) in zip(
        ("evaluator report", "pyarrow, whole"),
        (np.median([r[side] for r in rounds], axis=0) for side in (0, 1)),
        strict=True,
    ):
        print(f"  {name}: {seconds:.1f} s, {gigabytes:.2f} GB")
    print(
        f"evaluator report over 3.75 million records against pyarrow's whole table: "
        f"{statistics.median(ratios):.2f}x (from {min(ratios):.2f} to {max(ratios):.2f})"
    )


if __name__ == "__main__":
    main()
