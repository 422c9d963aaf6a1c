"""What a benchmark over ImageNet's classes records of an image: the five likeliest classes.

Their probabilities are the softmax over all classes, so that calibration can be had from a run
that keeps five numbers an image instead of a thousand. Ties go to the lower class index.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from ...contracts import Item, Score
from ..metrics.error_rate import error_rate, top_k_correct, wilson_interval

SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("label", pa.int32()),
        pa.field("top5", pa.list_(pa.int32())),
        pa.field("probability", pa.list_(pa.float32())),
        pa.field("error", pa.string()),
    ]
)
"""A skipped item has no top5 and says why in ``error``."""


def record_top5(logits: npt.NDArray[np.float32], items: Sequence[Item]) -> pa.RecordBatch:
    """Records of N items.

    Args:
        logits: (N, C).
        items: N of them.
    """
    top5 = np.argsort(-logits, axis=1, kind="stable")[:, :5].astype(np.int32)
    shifted = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    probability = np.take_along_axis(shifted, top5, 1) / shifted.sum(axis=1, keepdims=True)
    offsets = np.arange(0, top5.size + 1, top5.shape[1], dtype=np.int32)
    return pa.RecordBatch.from_arrays(
        [
            pa.array([item.id for item in items], pa.string()),
            pa.array([item.label for item in items], pa.int32()),
            pa.ListArray.from_arrays(offsets, top5.ravel()),
            pa.ListArray.from_arrays(offsets, probability.astype(np.float32).ravel()),
            pa.nulls(len(items), pa.string()),
        ],
        schema=SCHEMA,
    )


def correct(records: pa.Table, k: int) -> npt.NDArray[np.bool_]:
    """Whether each item that was not skipped is right within the first k classes."""
    scored = records.filter(pc.is_null(records["error"]))
    ranked = pc.list_flatten(scored["top5"]).to_numpy().reshape(scored.num_rows, -1)
    return top_k_correct(ranked, scored["label"].to_numpy(), k)


def error_scores(records: pa.Table, published_items: int) -> Iterator[Score]:
    """``top1_error`` and ``top5_error`` of one condition, each with its Wilson interval."""
    for metric, k in (("top1_error", 1), ("top5_error", 5)):
        right = correct(records, k)
        skipped = records.num_rows - right.size
        if right.size == 0:
            yield Score(metric=metric, skipped=skipped, reason="every image was skipped")
            continue
        value = error_rate(right)
        low, high = wilson_interval(value, right.size)
        yield Score(
            metric=metric,
            value=value,
            low=low,
            high=high,
            n=right.size,
            skipped=skipped,
            complete=right.size == published_items,
        )
