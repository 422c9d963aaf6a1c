"""The same images in two tables of records."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ...errors import InputError, printable
from .top5 import Outcomes, outcomes_of

_SUFFIX = r"\.[^./]*$"


def pair_of(a: pa.Table, b: pa.Table) -> tuple[Outcomes, Outcomes]:
    """Two models' outcomes in one condition, over the items that both scored.

    Raises:
        InputError: If they are not of the same images, or differ in the label of one.
    """
    check_same_images(a, b)
    if not a["label"].equals(b["label"]):
        same = pc.equal(a["label"], b["label"]).fill_null(False).to_numpy()
        first = a["id"][int(np.argmin(same))].as_py()
        raise InputError(
            f"A and B disagree on the labels of {int((~same).sum())} images, first "
            f"{printable(first)}. Score one of them again with the labels of the other."
        )
    return paired(outcomes_of(a), outcomes_of(b))


def check_same_images(a: pa.Table, b: pa.Table) -> None:
    """Refuse two models' records that are not of the same images.

    Raises:
        InputError: If their ids differ; it says which ids are missing.
    """
    if not a["id"].equals(b["id"]):
        raise _other_images(a["id"], b["id"])


def paired(a: Outcomes, b: Outcomes) -> tuple[Outcomes, Outcomes]:
    """Both over the items that both scored."""
    return a.also_scored(b.scored), b.also_scored(a.scored)


def outcomes_in_order(clean: pa.Table, ids: pa.ChunkedArray) -> Outcomes | None:
    """The outcomes of the images with these ids, in their order; `None` if one is missing.

    If not all ids are in the records as they are, suffixes are ignored, provided that the ids stay
    unique on both sides.
    """
    rows = pc.index_in(ids, value_set=clean["id"])
    if rows.null_count:
        ours, theirs = _stem(ids), _stem(clean["id"])
        if any(pc.count_distinct(stems).as_py() < len(stems) for stems in (ours, theirs)):
            return None
        rows = pc.index_in(ours, value_set=theirs)
    return None if rows.null_count else outcomes_of(clean).take(rows.to_numpy())


def _stem(ids: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.replace_substring_regex(ids, _SUFFIX, "")


def _other_images(a: pa.ChunkedArray, b: pa.ChunkedArray) -> InputError:
    lacks = []
    for name, ids, others in (("A", a, b), ("B", b, a)):
        missing = others.filter(pc.invert(pc.is_in(others, value_set=ids)))
        if len(missing):
            other = "B" if name == "A" else "A"
            lacks.append(
                f"{name} lacks {len(missing):,} of {other}'s {len(others):,}, first "
                f"{printable(missing[0].as_py())}"
            )
    difference = "; ".join(lacks) or "their order differs"
    return InputError(
        f"A and B are not of the same images: {difference}. Only the same images can be paired: "
        "score both on the same data, with the same --limit."
    )
