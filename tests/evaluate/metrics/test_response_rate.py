"""AURRA: by hand, by property, and as the published code computes it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluator.errors import InputError
from evaluator.evaluate.metrics.response_rate import aurra


def in_loops(confidence: list[float], correct: list[bool]) -> float:
    """The mean accuracy of the surest 1, 2, ... n images."""
    ranked = sorted(zip(confidence, correct, strict=True), key=lambda pair: -pair[0])
    total = 0.0
    for k in range(1, len(ranked) + 1):
        total += sum(right for _, right in ranked[:k]) / k
    return total / len(ranked)


def test_aurra_by_hand() -> None:
    # The surest is right, the next wrong, the last right: (1 + 1/2 + 2/3) / 3.
    value = aurra(np.array([0.2, 0.9, 0.5]), np.array([True, True, False]))
    assert value == pytest.approx((1 + 1 / 2 + 2 / 3) / 3)


@given(seed=st.integers(0, 9999), n=st.integers(1, 200))
def test_aurra_is_that_of_plain_loops_in_any_order_of_the_images(seed: int, n: int) -> None:
    chance = np.random.default_rng(seed)
    confidence, correct = chance.random(n), chance.random(n) < 0.4
    value = aurra(confidence, correct)
    assert value == pytest.approx(in_loops(confidence.tolist(), correct.tolist()))
    other = chance.permutation(n)
    assert aurra(confidence[other], correct[other]) == value
    assert 0 <= value <= 1


def test_images_of_equal_confidence_count_as_the_mean_of_all_their_orders() -> None:
    confidence = np.array([0.9, 0.5, 0.5, 0.5], np.float32)
    correct = [True, True, False, False]
    orders = [
        in_loops([0.9, 0.6, 0.5, 0.4], [True, *rest])
        for rest in ((True, False, False), (False, True, False), (False, False, True))
    ]
    assert aurra(confidence, np.array(correct)) == pytest.approx(sum(orders) / 3)
    assert aurra(confidence, np.array([True, False, False, True])) == pytest.approx(sum(orders) / 3)


def test_a_model_that_is_never_wrong_has_an_area_of_one() -> None:
    assert aurra(np.array([0.1, 0.2]), np.array([True, True])) == 1


@pytest.mark.parametrize("n", [0, 3])
def test_other_shapes_are_refused(n: int) -> None:
    with pytest.raises(InputError, match="AURRA needs"):
        aurra(np.zeros(n), np.zeros(0 if n == 0 else n - 1, bool))
