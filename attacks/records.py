"""Records of an attack: a row for each attempt on an image, at one epsilon.

Any number can be computed from these rows, for any count of steps up to those that were made:
whether the target was reached by then, whether the label was ever left, the worst case over an
image's attempts, and the reliability diagnostics.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import pyarrow as pa

from ..contracts import Item
from .pgd.attempts import AttemptResult
from .queries.query_state import Queried

SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("attempt", pa.int16()),
        pa.field("label", pa.int32()),
        pa.field("error", pa.string()),
        pa.field("restart", pa.int16()),
        pa.field("loss_name", pa.string()),
        pa.field("clean", pa.int32()),
        pa.field("target", pa.int32()),
        pa.field("target_step", pa.int32()),
        pa.field("changed_step", pa.int32()),
        pa.field("last", pa.int32()),
        pa.field("steps", pa.int32()),
        pa.field("traced", pa.bool_()),
        pa.field("linf", pa.float32()),
        pa.field("l2", pa.float32()),
        pa.field("loss", pa.list_(pa.float32())),
        pa.field("gradient_norm", pa.list_(pa.float32())),
        pa.field("zero_share", pa.float32()),
        pa.field("dead_steps", pa.int32()),
        pa.field("at_bound", pa.float32()),
        pa.field("turned", pa.float32()),
    ]
)
"""``AttemptResult`` describes the columns; ``attempt`` counts those of an image, from 0. A skipped
image is a row whose ``error`` says why."""

QUERY_SCHEMA = pa.schema(
    [
        SCHEMA.field(name)
        for name in ("id", "label", "error", "clean", "changed_step", "last", "steps", "linf", "l2")
    ]
)
"""Columns of an attack without gradients, which has a row an image; ``Queried`` describes them."""


def attack_records(
    items: Sequence[Item],
    attempts: Iterable[AttemptResult],
    skipped: Iterable[tuple[Item, str]] = (),
) -> pa.RecordBatch:
    """Records of images in their order, and of an image's attempts in theirs.

    Args:
        items: All images of the attack.
        attempts: Attempts on them, in any order of the images.
        skipped: Images that could not be read or decoded, each with the reason.
    """
    rows: dict[str, list[dict[str, Any]]] = {item.id: [] for item in items}
    for attempt in attempts:
        image_rows = rows[attempt.item.id]
        image_rows.append({**_row(attempt), "attempt": len(image_rows)})
    for item, reason in skipped:
        rows[item.id].append({"id": item.id, "label": item.label, "error": reason})
    return pa.RecordBatch.from_pylist([row for item in items for row in rows[item.id]], SCHEMA)


def _row(attempt: AttemptResult) -> dict[str, Any]:
    item_values = {"id": attempt.item.id, "label": attempt.item.label, "error": None}
    return {name: item_values.get(name, getattr(attempt, name, None)) for name in SCHEMA.names}


def query_records(
    items: Sequence[Item], results: Iterable[Queried], skipped: Iterable[tuple[Item, str]] = ()
) -> pa.RecordBatch:
    """Records of images that the network was queried about, in their order.

    Args:
        items: All images of the probe.
        results: Results of the images, in any order.
        skipped: Images that could not be read or decoded, each with the reason.
    """
    rows = {result.item.id: {**vars(result), "label": result.item.label} for result in results}
    rows |= {item.id: {"label": item.label, "error": reason} for item, reason in skipped}
    return pa.RecordBatch.from_pylist(
        [{**rows[item.id], "id": item.id} for item in items], QUERY_SCHEMA
    )
