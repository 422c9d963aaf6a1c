"""Records of images over ImageNet's classes, the five likeliest each, and the outcomes in them.

The probabilities are the softmax over all classes, so that calibration can be computed from a run
that stores five numbers per image instead of a thousand. Ties go to the lower class index.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from ...contracts import ImageBatch
from ..metrics.error_rate import error_rate, top_k_correct
from .numbers import ScoredItems

SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("label", pa.int32()),
        pa.field("top5", pa.list_(pa.int32())),
        pa.field("probability", pa.list_(pa.float32())),
        pa.field("error", pa.string()),
    ]
)
"""Columns of a record. A skipped item has no top5, and ``error`` says why."""

CACHED_ROWS = 32
"""Rows whose probabilities are computed at once: more of them do not fit into a core's cache."""

ALL_SKIPPED = "every image was skipped"


def record_top5(
    logits: npt.NDArray[np.float32],
    batch: ImageBatch,
    schema: pa.Schema = SCHEMA,
    **columns: pa.Array,
) -> pa.RecordBatch:
    """Records of N rows.

    Args:
        logits: Logits of the rows: (N, C).
        batch: Batch of the rows.
        schema: Schema of the records. ``id``, ``label`` and ``frame`` come from the batch, as do
            columns that are named like attributes of its items; ``error`` is null.
        columns: All other columns but those of the five likeliest classes, N values each.
    """
    top5 = _likeliest(logits, 5)
    probability = np.empty(top5.shape, np.float32)
    for start in range(0, len(logits), CACHED_ROWS):
        rows = logits[start : start + CACHED_ROWS], top5[start : start + CACHED_ROWS]
        probability[start : start + CACHED_ROWS] = _probabilities(*rows)
    offsets = np.arange(0, top5.size + 1, top5.shape[1], dtype=np.int32)
    values: dict[str, pa.Array | list[object]] = {
        "id": [item.id for item in batch.items],
        "label": [item.label for item in batch.items],
        "frame": list(batch.frames),
        "error": [None] * len(batch.items),
        "top5": pa.ListArray.from_arrays(offsets, top5.ravel()),
        "probability": pa.ListArray.from_arrays(offsets, probability.ravel()),
        **columns,
    }
    attributes = [dict(item.attributes) for item in batch.items if item.attributes]
    for name in attributes[0] if attributes else ():
        values[name] = [known[name] for known in attributes]
    return pa.RecordBatch.from_pydict(values, schema=schema)


def _probabilities(
    logits: npt.NDArray[np.float32], classes: npt.NDArray[np.int32]
) -> npt.NDArray[np.float64]:
    """Softmax probabilities (N, K) of some classes (N, K), from logits (N, C)."""
    shifted = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    sums: npt.NDArray[np.float64] = shifted.sum(axis=1, keepdims=True)
    probabilities: npt.NDArray[np.float64] = np.take_along_axis(shifted, classes, 1) / sums
    return probabilities


def _likeliest(logits: npt.NDArray[np.float32], k: int) -> npt.NDArray[np.int32]:
    """The k likeliest classes, likeliest first; k passes are far faster than sorting all classes.

    Example:
        >>> _likeliest(np.array([[1, 3, 3, 2]], np.float32), 3)
        array([[1, 2, 3]], dtype=int32)
    """
    remaining, rows = logits.copy(), np.arange(len(logits))
    ranked = np.empty((len(logits), k), np.int32)
    for place in range(k):
        ranked[:, place] = remaining.argmax(axis=1)  # the first of equal ones
        remaining[rows, ranked[:, place]] = -np.inf
    return ranked


@dataclass(frozen=True)
class Outcomes(ScoredItems):
    """Outcomes of the N items of one condition, in the order of their ids.

    Attributes:
        top1: Whether its likeliest class is its label; without a meaning if it was skipped: (N,).
        top5: Whether one of its five likeliest classes is its label, likewise: (N,).
        confidence: Probability of its likeliest class; nan if it was skipped: (N,).
    """

    top1: npt.NDArray[np.bool_]
    top5: npt.NDArray[np.bool_]
    confidence: npt.NDArray[np.float32]

    @property
    def error(self) -> float:
        """Top-1 error of the scored items."""
        return error_rate(self.top1[self.scored])


def outcomes_of(records: pa.Table) -> Outcomes:
    """The outcomes in a table of records."""
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
    """Lists of equal length as the rows of a matrix."""
    values: npt.NDArray[Any] = pc.list_flatten(lists).to_numpy()
    return values.reshape(len(lists), -1)
