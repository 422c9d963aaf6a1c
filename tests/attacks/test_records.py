"""Records of attempts, and the counts that are made of them."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluator.attacks.attack_counts import AttackCounts, attack_counts
from evaluator.attacks.records import QUERY_SCHEMA, SCHEMA, attack_records
from evaluator.attacks.reliability.attempts import attempts_of
from evaluator.contracts import AttackSettings, Item
from evaluator.errors import InputError
from evaluator.tests.attacks.attacked_networks import (
    Network,
    attempts_on,
    paper,
    photos,
    queried_on,
    standard,
)
from evaluator.tests.small import one_line


def test_a_row_says_what_became_of_an_attempt() -> None:
    network = Network(seed=3)
    images = photos(network, 12, wrong=(4,))
    items = [image.item for image in images]
    settings = standard(restarts=2)
    traced = frozenset({items[2].id})
    attempts = attempts_on(network, images, settings, 0.02, traced=traced)
    lost = Item("n0/12.JPEG", 3, "DATA/12.JPEG")
    records = attack_records([*items, lost], reversed(attempts[::-1]), [(lost, "It is damaged.")])
    assert records.schema == SCHEMA
    rows = records.to_pylist()
    assert rows[-1]["error"] == "It is damaged."
    assert (rows[-1]["id"], rows[-1]["label"], rows[-1]["clean"]) == (lost.id, 3, None)
    assert len(rows) == len(attempts) + 1
    for row, attempt in zip(rows[:-1], attempts, strict=True):
        assert row["id"] == attempt.item.id
        assert row["label"] == attempt.item.label
        assert row["error"] is None
        assert len(row["loss"]) == len(row["gradient_norm"]) == row["steps"] == attempt.steps
        for name in ("restart", "loss_name", "clean", "target", "target_step", "changed_step"):
            assert row[name] == getattr(attempt, name)
        for name in ("last", "traced", "dead_steps"):
            assert row[name] == getattr(attempt, name)
        for name in ("linf", "l2", "zero_share", "at_bound", "turned"):
            value = getattr(attempt, name)
            assert row[name] == (None if value is None else np.float32(value))
    assert {row["restart"] for row in rows[:-1]} == {0, 1}
    assert [row["id"] for row in rows if row["traced"]].count(items[2].id) >= 1


def test_rows_follow_the_items_whatever_ended_first() -> None:
    network = Network(seed=3)
    images = photos(network, 10)
    attempts = attempts_on(network, images, paper(), 0.05)
    items = [image.item for image in images]
    scrambled = [attempts[n] for n in (3, 9, 0, 1, 2, 8, 7, 4, 6, 5)]
    assert attack_records(items, scrambled).equals(attack_records(items, attempts))


def test_a_row_says_what_became_of_an_image_that_was_asked_about() -> None:
    network = Network(seed=3)
    images = photos(network, 12, wrong=(4,))
    found = queried_on(network, images, "gradient-free")
    lost = Item("n0/12.JPEG", 3, "DATA/12.JPEG")
    items = [lost, *(image.item for image in images)]
    records = attack_records(items, reversed(found), [(lost, "It is damaged.")], QUERY_SCHEMA)
    assert records.schema == QUERY_SCHEMA
    for field in QUERY_SCHEMA:
        assert field == SCHEMA.field(field.name)
    first, *rows = records.to_pylist()
    named = {"id": lost.id, "label": 3, "error": "It is damaged."}
    assert first == {**dict.fromkeys(QUERY_SCHEMA.names), **named}
    for row, one in zip(rows, found, strict=True):
        assert (row["id"], row["label"], row["error"]) == (one.item.id, one.item.label, None)
        assert (row["linf"], row["l2"]) == (np.float32(one.linf), np.float32(one.l2))
        for name in ("clean", "changed_step", "last", "steps"):
            assert row[name] == getattr(one, name)
    assert {row["changed_step"] for row in rows} > {None, 0}


def test_what_a_search_found_can_be_held_against_an_attack() -> None:
    network = Network(seed=3)
    images = photos(network, 12, wrong=(4,))
    found = queried_on(network, images, "gradient-free")
    records = attack_records([image.item for image in images], found, schema=QUERY_SCHEMA)
    fell = attempts_of(pa.Table.from_batches([records]), "untargeted", 2**31 - 1).by_id()
    assert fell == {
        one.item.id: one.changed_step is not None for one in found if one.changed_step != 0
    }
    assert len(fell) == 11


def row(
    name: str,
    *,
    right: bool = True,
    target: int | None = None,
    changed: int | None = None,
    steps: int = 50,
    **others: Any,
) -> dict[str, Any]:
    columns = {"id": name, "label": 1, "clean": 1 if right else 2, "target_step": target}
    return {**columns, "changed_step": changed if right else 0, "steps": steps, **others}


def counted(rows: list[dict[str, Any]], settings: AttackSettings) -> AttackCounts:
    return attack_counts(pa.Table.from_pylist(rows, SCHEMA), settings)


def test_the_papers_count_by_hand() -> None:
    rows = [
        row("never"),
        row("label only", changed=15),
        row("both", target=25, changed=3, steps=25),
        row("at the bound", target=20, changed=20, steps=20),
        row("wrong", right=False, steps=0),
        row("skipped", right=False, error="It is damaged.", clean=None),
    ]
    counts = counted(rows, paper(steps=(10, 20, 30)))
    assert (counts.n, counts.skipped, counts.clean) == (5, 1, 4)
    assert counts.steps == (10, 20, 30)
    assert counts.under_attack == (4, 3, 2)
    assert counts.reached == (0, 1, 2)
    assert counts.unchanged == (3, 1, 1)


def test_the_worst_case_is_over_all_attempts() -> None:
    rows = [
        row("late, then early", changed=40, steps=40, restart=0),
        row("late, then early", changed=5, steps=5, restart=1),
        row("second alone", steps=50, restart=0),
        row("second alone", changed=12, steps=12, restart=1),
        row("safe", steps=50, restart=0),
        row("safe", steps=50, restart=1),
    ]
    counts = counted(rows, standard(steps=(10, 20, 50), restarts=2))
    assert counts.n == counts.clean == 3
    assert counts.under_attack == counts.unchanged == (2, 1, 1)
    assert counts.reached is None


def test_nothing_recorded_is_nothing_counted() -> None:
    counts = counted([], paper())
    assert (counts.n, counts.clean, counts.under_attack) == (0, 0, (0, 0, 0))


def test_images_without_enough_steps_are_told() -> None:
    rows = [row("short", steps=10), row("hit", target=4, changed=4, steps=4)]
    with pytest.raises(
        InputError, match="1 images were attacked with only 10 of 20 steps"
    ) as caught:
        counted(rows, paper(steps=(10, 20)))
    one_line(caught)
    assert counted(rows, paper(steps=(5, 10))).under_attack == (1, 1)


step = st.none() | st.integers(1, 30)


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans(), step, step), max_size=30))
def test_counts_are_those_of_a_plain_loop(attempts: list[Any]) -> None:
    right = {name: first for name, first, _, _ in reversed(attempts)}
    rows = []
    for name, _, target, changed in attempts:
        if target is not None:  # whose class is not the label
            changed = min(target, changed or target)
        rows.append(row(str(name), right=right[name], target=target, changed=changed))
    for settings in (paper(steps=(1, 7, 30)), standard(steps=(1, 7, 30))):
        key = "target_step" if settings.success == "targeted" else "changed_step"
        expected = []
        for count in (1, 7, 30):
            standing = 0
            for name, is_right in right.items():
                own = [r for r in rows if r["id"] == str(name)]
                standing += is_right and not any(r[key] and r[key] <= count for r in own)
            expected.append(standing)
        assert list(counted(rows, settings).under_attack) == expected
