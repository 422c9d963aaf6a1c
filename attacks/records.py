"""Records of an attack: a row for each attempt on an image, at one epsilon.

Any number can be computed from these rows, for any count of steps up to those that were made:
whether the target was reached by then, whether the label was ever left, the worst case over an
image's attempts, and the reliability diagnostics.
"""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from ..contracts import Item

if TYPE_CHECKING:
    from .pgd.attempts import AttemptResult
    from .queries.query_attacks import Queried

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
    results: "Iterable[AttemptResult | Queried]",
    skipped: Iterable[tuple[Item, str]] = (),
    schema: pa.Schema = SCHEMA,
) -> pa.RecordBatch:
    """Records of images in their order, and of an image's attempts in theirs.

    Args:
        items: All images of the attack.
        results: Results of attempts, or of queries, in any order of the images.
        skipped: Images that could not be read or decoded, each with the reason.
        schema: ``SCHEMA``, or ``QUERY_SCHEMA`` for queries.
    """
    rows: dict[str, list[dict[str, Any]]] = {item.id: [] for item in items}
    for result in results:
        item, image_rows = result.item, rows[result.item.id]
        own = {"id": item.id, "label": item.label, "attempt": len(image_rows)}
        image_rows.append({**vars(result), **own})
    for item, reason in skipped:
        rows[item.id].append({"id": item.id, "label": item.label, "error": reason})
    return pa.RecordBatch.from_pylist([row for item in items for row in rows[item.id]], schema)
