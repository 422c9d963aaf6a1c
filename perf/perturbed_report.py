"""Claim: mFR and T5D with their intervals over the 16 million records of ImageNet-P take seconds.

A run of 10 x 50,000 made-up videos is written by the project's own code, and read by ``evaluator
report`` in a process of its own: every digest compared, ids and frame numbers checked, all numbers
made, tables printed. The peer does less: pyarrow reads what it needs of one perturbation after the
other, and numpy gives flip probability and T5D; nothing is checked, no interval made. Rounds are
interleaved; seconds are of the whole process, memory is its peak.
"""

import statistics
import tempfile
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from evaluator.contracts import (
    Device,
    EngineSpec,
    ModelSpec,
    Provenance,
    Run,
    RunKey,
    RunManifest,
    WeightsOrigin,
)
from evaluator.evaluate.benchmarks.imagenet_p import (
    CONDITIONS,
    FRAME_SCHEMA,
    INFO,
    TRANSLATE_FRAMES,
    frames_of,
)
from evaluator.records.run import create_or_open
from evaluator.records.shards import shards_of, write_shard

from .flips import made_up
from .report import PREPROCESSING, measured

ROUNDS = 3
SHARD = 600
DIFFERENT_VIDEOS = 5_000
"""So many are made up; the others are the same again."""

PEER = """
import sys, numpy as np, pyarrow.compute as pc
from pyarrow import dataset
records = dataset.dataset(sys.argv[1] + "/records", partitioning="hive")
for folder in sorted({path.split("/perturbation=")[1].split("/")[0] for path in records.files}):
    table = records.to_table(["top5"], filter=pc.field("perturbation") == folder)
    frames = 41 if folder == "translate" else 31
    top5 = pc.list_flatten(table["top5"]).to_numpy().reshape(-1, frames, 5)
    earlier = top5[:, :1] if "noise" in folder else top5[:, :-1]
    same = earlier[..., :, None] == top5[:, 1:][..., None, :]
    ranks = np.where(same.any(axis=-1), same.argmax(axis=-1), 5)
    t5d = np.abs(ranks - np.arange(5)).sum(axis=-1)
    print(folder, (earlier[..., 0] != top5[:, 1:, 0]).mean(), t5d.mean())
"""


def made_up_run(folder: Path) -> Run:
    """10 x 50,000 videos of 31 frames, of translate 41: 16 million records."""
    weights = WeightsOrigin("random", "seed 0")
    key = RunKey("imagenet-p", "imagenet-p-1", "", EngineSpec("torch", ""), PREPROCESSING, "")
    model = ModelSpec("made-up", "made-up", weights, PREPROCESSING, 224, 1000, "", "")
    manifest = RunManifest(key, model, INFO.published_items, SHARD, 4, "2026-01-01T00:00:00+00:00")
    run = create_or_open(folder, manifest)
    device = Device("cpu", "none", "")
    made = Provenance("here", device, {}, None, "reference", 4, ("/data",), "", "", 60.0, "")
    labels = np.repeat(np.arange(1000, dtype=np.int32), INFO.published_items // 1000)
    names = [f"n{label:08d}/ILSVRC2012_val_{i:08d}.mp4" for i, label in enumerate(labels)]
    ids, top5 = pa.array(names), made_up(DIFFERENT_VIDEOS, TRANSLATE_FRAMES)
    for shard in shards_of(CONDITIONS, INFO.published_items, SHARD):
        here = slice(shard.start, shard.stop)
        videos = np.arange(shard.start, shard.stop) % DIFFERENT_VIDEOS
        frames = top5[videos, : frames_of(shard.condition)]
        write_shard(run, shard, records(ids[here], labels[here], frames), made)
    return run


def records(ids: pa.Array, labels: npt.NDArray[np.int32], top5: npt.NDArray[np.int32]) -> pa.Table:
    videos, frames, _ = top5.shape
    count = videos * frames
    chance = np.random.default_rng(0)
    probability = np.sort(chance.random((count, 5)).astype(np.float32), axis=1)[:, ::-1] / 5
    offsets = np.arange(0, 5 * count + 1, 5, dtype=np.int32)
    columns = [
        ids.take(pa.array(np.repeat(np.arange(videos), frames))),
        pa.array(np.tile(np.arange(frames, dtype=np.int32), videos)),
        pa.array(np.repeat(labels, frames)),
        pa.ListArray.from_arrays(offsets, top5.ravel()),
        pa.ListArray.from_arrays(offsets, np.ascontiguousarray(probability).ravel()),
        pa.nulls(count, pa.string()),
    ]
    return pa.Table.from_arrays(columns, schema=FRAME_SCHEMA)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        run = str(made_up_run(Path(folder) / "run").folder)
        report = ["-m", "evaluator", "report", run]
        rounds = [(measured(report), measured(["-c", PEER, run])) for _ in range(ROUNDS)]
    ratios = [theirs / mine for (mine, _), (theirs, _) in rounds]
    for name, (seconds, gigabytes) in zip(
        ("evaluator report", "pyarrow and numpy"),
        (np.median([r[side] for r in rounds], axis=0) for side in (0, 1)),
        strict=True,
    ):
        print(f"  {name}: {seconds:.1f} s, {gigabytes:.2f} GB")
    print(
        f"evaluator report over 16 million frames against pyarrow and numpy: "
        f"{statistics.median(ratios):.2f}x (from {min(ratios):.2f} to {max(ratios):.2f})"
    )


if __name__ == "__main__":
    main()
