import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluator.contracts import Item
from evaluator.errors import InputError
from evaluator.evaluate.sources.items import select_items


def items_of(n: int, place: str = "") -> list[Item]:
    return [Item(f"{position:05d}", None, f"{place}{position}") for position in range(n)]


@given(n=st.integers(1, 500), limit=st.integers(1, 600))
def test_selected_items_are_evenly_spaced_and_in_order(n: int, limit: int) -> None:
    positions = [int(item.id) for item in select_items(items_of(n), limit)]
    assert len(positions) == min(n, limit)
    assert positions[0] == 0
    gaps = np.diff([*positions, n])
    assert gaps.min() >= 1
    assert gaps.max() - gaps.min() <= 1


def test_a_limit_of_one_per_class_takes_one_of_each_class() -> None:
    # 50,000 sorted photos, 50 a class: every 50th.
    positions = [int(item.id) for item in select_items(items_of(50_000), 1000)]
    assert positions == list(range(0, 50_000, 50))


def test_the_same_images_are_selected_in_every_condition() -> None:
    fog, snow = select_items(items_of(77, "fog"), 10), select_items(items_of(77, "snow"), 10)
    assert [item.id for item in fog] == [item.id for item in snow]
    assert [item.location for item in fog] != [item.location for item in snow]


@pytest.mark.parametrize("limit", [None, 7, 8, 10**9])
def test_a_limit_that_is_no_limit_gives_everything(limit: int | None) -> None:
    assert select_items(items_of(7), limit) == items_of(7)


@pytest.mark.parametrize("limit", [0, -1])
def test_a_limit_below_one_is_refused(limit: int) -> None:
    with pytest.raises(InputError, match=rf"--limit {limit} .* at least 1") as raised:
        select_items(items_of(7), limit)
    assert str(raised.value).isprintable()
