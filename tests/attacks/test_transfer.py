"""What a victim says of images that were made on another model, counted by hand."""

from collections.abc import Sequence
from typing import Any

import pyarrow as pa
import pytest

from evaluator.attacks.protocols import attack_settings
from evaluator.attacks.records import SCHEMA
from evaluator.attacks.transfer import (
    TRANSFER_SCHEMA,
    check_transfer,
    transfer_counts,
    transfer_records,
)
from evaluator.contracts import AttackSettings
from evaluator.errors import InputError

LABEL, WRONG = 1, 2
PAPER = attack_settings("paper", steps=(5, 10), restarts=2, attack_wrong=True)
LAST = attack_settings("standard", steps=(10,), attack_wrong=True)


def row(id: str, attempt: int = 0, **more: Any) -> dict[str, Any]:
    facts = {"id": id, "attempt": attempt, "label": LABEL, "clean": LABEL, "steps": 10}
    return {**facts, "victim_clean": LABEL, **more}


def counted(
    rows: Sequence[dict[str, Any]], settings: AttackSettings = PAPER, image: Any = "first-hit"
) -> tuple[int, tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    counts = transfer_counts(pa.Table.from_pylist(rows, TRANSFER_SCHEMA), settings, image)
    return counts.clean, counts.right, counts.both, counts.source.under_attack


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        # never reached: the clean image is what the victim is handed
        ([row("a")], (1, (1, 1), (1, 1), (1, 1))),
        ([row("a", victim_clean=WRONG)], (0, (0, 0), (0, 0), (1, 1))),
        # reached at the 7th step: of no account at 5
        ([row("a", target_step=7, victim=WRONG)], (1, (1, 0), (1, 0), (1, 0))),
        ([row("a", target_step=7, victim=LABEL)], (1, (1, 1), (1, 1), (1, 0))),
        # a victim that the attack sets right is right on what it is handed, but not in both
        ([row("a", target_step=5, victim=LABEL, victim_clean=WRONG)], (0, (1, 1), (0, 0), (0, 0))),
        # the source takes the clean image for the target: nothing was handed on
        ([row("a", clean=WRONG, target_step=0, steps=0)], (1, (1, 1), (1, 1), (0, 0))),
        # an image that the source gets wrong is attacked, and counts
        ([row("a", clean=WRONG, target_step=2, victim=WRONG)], (1, (0, 0), (0, 0), (0, 0))),
        # at each count the first attempt that reached it: the second at 5, the first at 10
        (
            [
                row("a", 0, target_step=9, victim=LABEL),
                row("a", 1, target_step=3, victim=WRONG),
            ],
            (1, (0, 1), (0, 1), (0, 0)),
        ),
    ],
)
def test_the_first_hit_within_the_count_is_judged(rows: Any, expected: Any) -> None:
    assert counted(rows) == expected


def test_the_last_iterate_of_every_attempt_is_judged() -> None:
    stands = [row("a", n, victim=LABEL) for n in range(3)]
    falls = [row("b", n, victim=WRONG if n == 1 else LABEL) for n in range(3)]
    fooled = [row("c", changed_step=4, victim=LABEL)]
    assert counted([*stands, *falls, *fooled], LAST, "last") == (3, (2,), (2,), (2,))


def test_rows_may_stand_in_any_order() -> None:
    rows = [
        row("b", 1, target_step=3, victim=WRONG), row("a"),
        row("b", 0, target_step=9, victim=LABEL),
    ]  # fmt: skip
    assert counted(rows) == counted(rows[::-1]) == (2, (1, 2), (1, 2), (1, 1))


def test_skipped_images_are_no_part_of_any_number() -> None:
    skipped = {"id": "z", "label": LABEL, "error": "gone"}
    assert counted([row("a"), skipped]) == counted([row("a")])
    assert counted([skipped]) == (0, (0, 0), (0, 0), (0, 0))


def test_records_get_what_the_victim_says_of_each_attempt() -> None:
    rows = [
        {"id": "a", "attempt": 0, "label": 1},
        {"id": "a", "attempt": 1, "label": 1},
        {"id": "b", "label": 1, "error": "gone"},
        {"id": "c", "attempt": 0, "label": 1},
    ]
    table = transfer_records(
        pa.RecordBatch.from_pylist(rows, SCHEMA), {"a": 7, "c": 8}, {("a", 1): 3, ("c", 0): 4}
    )
    assert table.schema == TRANSFER_SCHEMA
    assert table["victim_clean"].to_pylist() == [7, 7, None, 8]
    assert table["victim"].to_pylist() == [None, 3, None, 4]
    assert table.select(SCHEMA.names).to_pylist() == pa.Table.from_pylist(rows, SCHEMA).to_pylist()


def test_last_iterates_are_of_one_count() -> None:
    check_transfer(PAPER, "first-hit")
    check_transfer(LAST, "last")
    with pytest.raises(InputError, match="5, 10 steps are different images: give one count"):
        check_transfer(PAPER, "last")
    with pytest.raises(InputError, match="'best' to hand on: expected first-hit or last"):
        check_transfer(PAPER, "best")  # type: ignore[arg-type]
