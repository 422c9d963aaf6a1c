"""The same images in several tables of records."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ...errors import InputError, printable
from .numbers import both_scored
from .top5 import Outcomes, outcomes_of

_SUFFIX = r"\.[^./]*$"


def paired_outcomes(tables: Sequence[pa.Table]) -> list[Outcomes]:
    """The outcomes of one or two models in one condition, over the items that all scored.

    Raises:
        InputError: If two are not of the same images, or differ in the label of one.
    """
    check_same_images(*(table["id"] for table in tables))
    first, last = tables[0], tables[-1]
    if not first["label"].equals(last["label"]):
        same = pc.equal(first["label"], last["label"]).fill_null(False).to_numpy()
        id = first["id"][int(np.argmin(same))].as_py()
        raise InputError(
            f"A and B disagree on the labels of {int((~same).sum())} images, first "
            f"{printable(id)}. Score one of them again with the labels of the other."
        )
    return both_scored([outcomes_of(table) for table in tables])


def check_same_images(*ids: pa.ChunkedArray) -> None:
    """Refuse two models' records that are not of the same images; takes the ids of one or two.

    Raises:
        InputError: If they differ; it says which are missing.
    """
    a, b = ids[0], ids[-1]
    if a.equals(b):
        return
    lacks = []
    for name, others_name, own, others in (("A", "B", a, b), ("B", "A", b, a)):
        missing = others.filter(pc.invert(pc.is_in(others, value_set=own)))
        if len(missing):
            lacks.append(
                f"{name} lacks {len(missing):,} of {others_name}'s {len(others):,}, first "
                f"{printable(missing[0].as_py())}"
            )
    raise InputError(
        f"A and B are not of the same images: {'; '.join(lacks) or 'their order differs'}. Only "
        "the same images can be paired: score both on the same data, with the same --limit."
    )


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
    return None if rows.null_count else outcomes_of(clean.take(rows))


def _stem(ids: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.replace_substring_regex(ids, _SUFFIX, "")
