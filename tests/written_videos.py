"""Records of made-up videos of ImageNet-P, and runs of them, written without an engine."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from evaluator.contracts import Condition, ImageBatch, Item
from evaluator.evaluate.benchmarks.imagenet_p import (
    CONDITIONS,
    FRAME_SCHEMA,
    frames_of,
    record_frames,
)
from evaluator.evaluate.scoring import skipped_records
from evaluator.tests.written_runs import write_run

CLASSES = 12
Top5 = npt.NDArray[np.int64]
Videos = Mapping[str, Top5]
"""By perturbation: (N, F, 5)."""


def random_videos(seed: int, count: int, *, restless: float = 0.4, photos: int = 0) -> Videos:
    """Videos that move in all perturbations; more so of restless photos, or by a restless model.

    Args:
        seed: Of the model.
        count: How many.
        restless: How much the model's logits move.
        photos: A seed of the photos: how restless each is, whatever the model.
    """
    chance = np.random.default_rng(seed)
    spread = np.random.default_rng(photos).uniform(0.3, 1.7, (count, 1, 1))
    found = {}
    for condition in CONDITIONS:
        still = chance.normal(size=(count, 1, CLASSES))
        noise = chance.normal(size=(count, frames_of(condition), CLASSES))
        order = np.argsort(-(still + restless * spread * noise), axis=2)
        found[str(condition["perturbation"])] = order[..., :5]
    return found


def still_videos(count: int, moving: Sequence[str]) -> Videos:
    """Videos of which every second frame has its first two classes swapped, where they move."""
    found = {}
    for condition in CONDITIONS:
        top5 = np.tile(np.arange(5), (count, frames_of(condition), 1))
        if condition["perturbation"] in moving:
            top5[:, 1::2, :2] = (1, 0)
        found[str(condition["perturbation"])] = top5
    return found


def video_records(top5: Top5, skipped: Sequence[int] = ()) -> pa.Table:
    """Records of N videos of F frames each.

    Args:
        top5: Their likeliest classes: (N, F, 5).
        skipped: The videos that could not be read.
    """
    tables = []
    for video, classes in enumerate(top5):
        item = Item(f"n01440764/{video:02d}.mp4", 0, "", frames=len(classes))
        if video in skipped:
            tables.append(skipped_records(FRAME_SCHEMA, [(item, "cannot be decoded")]))
        else:
            tables.append(pa.Table.from_batches([_rows(item, classes)]))
    return pa.concat_tables(tables)


def _rows(item: Item, classes: npt.NDArray[np.int64]) -> pa.RecordBatch:
    logits = np.zeros((len(classes), 1000), np.float32)
    np.put_along_axis(logits, classes, np.arange(9, 4, -1, dtype=np.float32)[None], 1)
    pixels = np.empty((len(classes), 0, 0, 3), np.uint8)
    frames = tuple(range(len(classes)))
    return record_frames(logits, ImageBatch(pixels, "pixels", (item,) * len(classes), frames))


def records_of(
    videos: Videos, skipped: Mapping[str, Sequence[int]] | None = None
) -> Callable[[Condition], pa.Table]:
    """The records of each condition."""

    def records(condition: Condition) -> pa.Table:
        name = str(condition["perturbation"])
        return video_records(videos[name], (skipped or {}).get(name, ()))

    return records


def write_videos(
    folder: Path,
    videos: Videos,
    skipped: Mapping[str, Sequence[int]] | None = None,
    *,
    perturbations: Sequence[str] | None = None,
    **run: Any,
) -> Path:
    """A run of ImageNet-P, of the perturbations that are named or of all; see ``write_run``."""
    conditions = tuple(
        c for c in CONDITIONS if perturbations is None or c["perturbation"] in perturbations
    )
    return write_run(folder, conditions=conditions, records=records_of(videos, skipped), **run)
