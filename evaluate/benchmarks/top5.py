"""What a benchmark over ImageNet's classes records of an image: the five likeliest classes.

Their probabilities are the softmax over all classes, so that calibration can be had from a run
that keeps five numbers an image instead of a thousand. Ties go to the lower class index.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from ...contracts import ImageBatch
from ..metrics.error_rate import error_rate, top_k_correct

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

ALL_SKIPPED = "every image was skipped"


def record_top5(logits: npt.NDArray[np.float32], batch: ImageBatch) -> pa.RecordBatch:
    """Records of N images.

    Args:
        logits: (N, C).
        batch: Which images.
    """
    return records_of(SCHEMA, batch, top5_columns(logits))


def top5_columns(logits: npt.NDArray[np.float32]) -> dict[str, pa.Array]:
    """The columns ``top5`` and ``probability`` of N rows, from their logits (N, C)."""
    top5 = _likeliest(logits, 5)
    shifted = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    probability = np.take_along_axis(shifted, top5, 1) / shifted.sum(axis=1, keepdims=True)
    offsets = np.arange(0, top5.size + 1, top5.shape[1], dtype=np.int32)
    return {
        "top5": pa.ListArray.from_arrays(offsets, top5.ravel()),
        "probability": pa.ListArray.from_arrays(offsets, probability.astype(np.float32).ravel()),
    }


def records_of(
    schema: pa.Schema, batch: ImageBatch, columns: Mapping[str, pa.Array]
) -> pa.RecordBatch:
    """Records of a batch: what it says itself of its rows, and columns that a benchmark adds.

    Args:
        schema: Of the records. ``id``, ``label`` and ``frame`` come from the batch, as do columns
            that are named like attributes of its items; ``error`` is null.
        batch: N rows.
        columns: All others, N values each.
    """
    known: dict[str, pa.Array | list[object]] = {
        "id": [item.id for item in batch.items],
        "label": [item.label for item in batch.items],
        "frame": list(batch.frames),
        "error": [None] * len(batch.items),
        **columns,
    }
    attributes = [dict(item.attributes) for item in batch.items if item.attributes]
    for name in attributes[0] if attributes else ():
        known[name] = [values[name] for values in attributes]
    arrays = [
        column if isinstance(column := known[f.name], pa.Array) else pa.array(column, f.type)
        for f in schema
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=schema)


def _likeliest(logits: npt.NDArray[np.float32], k: int) -> npt.NDArray[np.int32]:
    """The k likeliest classes, likeliest first; one after the other, far faster than sorting all.

    Example:
        >>> _likeliest(np.array([[1, 3, 3, 2]], np.float32), 3)
        array([[1, 2, 3]], dtype=int32)
    """
    left, rows = logits.copy(), np.arange(len(logits))
    ranked = np.empty((len(logits), k), np.int32)
    for place in range(k):
        ranked[:, place] = left.argmax(axis=1)  # of equal ones the first
        left[rows, ranked[:, place]] = -np.inf
    return ranked


@dataclass(frozen=True)
class Outcomes:
    """What became of the N items of one condition, in the order of their ids.

    Attributes:
        scored: Whether an item was scored, or else skipped: (N,).
        top1: Whether its likeliest class is its label; false where it was skipped: (N,).
        top5: Whether one of its five likeliest classes is: (N,).
        confidence: The probability of the likeliest class; nan where it was skipped: (N,).
    """

    scored: npt.NDArray[np.bool_]
    top1: npt.NDArray[np.bool_]
    top5: npt.NDArray[np.bool_]
    confidence: npt.NDArray[np.float32]

    @property
    def n(self) -> int:
        """How many were scored."""
        return int(np.count_nonzero(self.scored))

    @property
    def skipped(self) -> int:
        """How many were not."""
        return self.scored.size - self.n

    @property
    def error(self) -> float:
        """Top-1 error of those that were scored."""
        return error_rate(self.top1[self.scored])

    def take(self, rows: npt.NDArray[np.int64]) -> Self:
        """These rows, in this order."""
        return replace(
            self,
            scored=self.scored[rows],
            top1=self.top1[rows],
            top5=self.top5[rows],
            confidence=self.confidence[rows],
        )

    def also_scored(self, there: npt.NDArray[np.bool_]) -> Self:
        """With every item skipped that is not there."""
        return replace(
            self, scored=self.scored & there, top1=self.top1 & there, top5=self.top5 & there
        )


def outcomes_of(records: pa.Table) -> Outcomes:
    """What records say became of their items."""
    scored = records["error"].is_null().to_numpy()
    rows = records.filter(pc.is_null(records["error"]))
    top1, top5 = np.zeros(scored.size, bool), np.zeros(scored.size, bool)
    confidence = np.full(scored.size, np.nan, np.float32)
    if rows.num_rows:
        ranked, labels = matrix_of(rows["top5"]), rows["label"].to_numpy()
        top1[scored], top5[scored] = (top_k_correct(ranked, labels, k) for k in (1, 5))
        confidence[scored] = matrix_of(rows["probability"])[:, 0]
    return Outcomes(scored, top1, top5, confidence)


def matrix_of(lists: pa.ChunkedArray) -> npt.NDArray[Any]:
    """Lists of one length as rows."""
    values: npt.NDArray[Any] = pc.list_flatten(lists).to_numpy()
    return values.reshape(len(lists), -1)
