"""What is recorded of an attack: a row for each attempt on an image, at one epsilon.

From these rows any number can be made for any count of steps up to those that were made: whether
the target was reached by then, whether the label was ever left, the worst case over an image's
attempts, and what says whether the attack can be believed.
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
"""``AttemptResult`` says what the columns are; ``attempt`` counts those of an image, from 0. A
skipped image is a row that says why in ``error``."""

QUERY_SCHEMA = pa.schema(
    [
        SCHEMA.field(name)
        for name in ("id", "label", "error", "clean", "changed_step", "last", "steps", "linf", "l2")
    ]
)
"""Of an attack that takes no gradients: a row an image, ``Queried`` says what the columns are."""


def attack_records(
    items: Sequence[Item],
    attempts: Iterable[AttemptResult],
    skipped: Iterable[tuple[Item, str]] = (),
) -> pa.RecordBatch:
    """Records of images, in their order; of one image its attempts as they were made.

    Args:
        items: All that were to be attacked.
        attempts: On them, in any order.
        skipped: Those that could not be had, and why.
    """
    rows: dict[str, list[dict[str, Any]]] = {item.id: [] for item in items}
    for attempt in attempts:
        of_image = rows[attempt.item.id]
        of_image.append({**_row(attempt), "attempt": len(of_image)})
    for item, reason in skipped:
        rows[item.id].append({"id": item.id, "label": item.label, "error": reason})
    return pa.RecordBatch.from_pylist([row for item in items for row in rows[item.id]], SCHEMA)


def _row(attempt: AttemptResult) -> dict[str, Any]:
    of_item = {"id": attempt.item.id, "label": attempt.item.label, "error": None}
    return {name: of_item.get(name, getattr(attempt, name, None)) for name in SCHEMA.names}


def query_records(
    items: Sequence[Item], queried: Iterable[Queried], skipped: Iterable[tuple[Item, str]] = ()
) -> pa.RecordBatch:
    """Records of images that a network was asked about, in their order.

    Args:
        items: All that were to be asked about.
        queried: What became of them, in any order.
        skipped: Those that could not be had, and why.
    """
    rows = {one.item.id: {**vars(one), "label": one.item.label} for one in queried}
    rows |= {item.id: {"label": item.label, "error": reason} for item, reason in skipped}
    return pa.RecordBatch.from_pylist(
        [{**rows[item.id], "id": item.id} for item in items], QUERY_SCHEMA
    )
