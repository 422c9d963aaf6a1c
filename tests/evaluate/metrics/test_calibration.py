"""Calibration errors and AURRA by hand, by property, and against straightforward loops."""

import math
import random

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluator.errors import InputError
from evaluator.evaluate.metrics.calibration import (
    aurra,
    ece,
    rms_calibration_error,
    rms_calibration_error_as_published,
)

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


def drawn(n: int, seed: int) -> tuple[Floats, Bools]:
    chance = np.random.default_rng(seed)
    confidence = chance.beta(2, 1, n)
    return confidence, chance.random(n) < confidence**1.5


def squares_by_loops(confidence: Floats, correct: Bools) -> list[float]:
    """Of each bin, its share of the images times its squared gap."""
    order = sorted(range(len(confidence)), key=lambda i: confidence[i])
    bins: list[list[int]] = []
    for start in range(0, len(order), 100):
        part = order[start : start + 100]
        if len(part) < 100 and bins:
            bins[-1] += part
        else:
            bins.append(part)
    found = []
    for members in bins:
        sure = sum(float(confidence[i]) for i in members) / len(members)
        right = sum(bool(correct[i]) for i in members) / len(members)
        found.append(len(members) / len(order) * (sure - right) ** 2)
    return found


def ece_by_loops(confidence: Floats, correct: Bools) -> float:
    total = 0.0
    for m in range(1, 16):
        low, high = (m - 1) / 15, m / 15
        members = [i for i, c in enumerate(confidence) if low < c <= high or (m == 1 and c == 0)]
        if members:
            sure = sum(float(confidence[i]) for i in members) / len(members)
            right = sum(bool(correct[i]) for i in members) / len(members)
            total += len(members) / len(confidence) * abs(sure - right)
    return total


def test_rms_by_hand() -> None:
    # 100 images of confidence 0.5, 60 right: a gap of 0.1; 100 of 0.9, 60 right: a gap of 0.3.
    confidence = np.repeat([0.5, 0.9], 100)
    correct = np.tile(np.arange(100) < 60, 2)
    assert rms_calibration_error(confidence, correct) == pytest.approx(
        math.sqrt((0.1**2 + 0.3**2) / 2)
    )
    # The published code forgets the second bin, but counts its images.
    assert rms_calibration_error_as_published(confidence, correct) == pytest.approx(
        math.sqrt(0.1**2 / 2)
    )


def test_what_is_left_over_joins_the_last_bin() -> None:
    # 250 images make bins of 100 and 150.
    confidence = np.repeat([0.2, 0.6, 1.0], [100, 100, 50])
    correct = np.repeat([False, True, True], [100, 100, 50])
    gap = (100 * 0.6 + 50 * 1.0) / 150 - 1
    assert rms_calibration_error(confidence, correct) == pytest.approx(
        math.sqrt(100 / 250 * 0.2**2 + 150 / 250 * gap**2)
    )


def test_fewer_images_than_a_bin_are_one_bin() -> None:
    assert rms_calibration_error(np.array([0.9, 0.7]), np.array([True, False])) == pytest.approx(
        0.3
    )
    assert rms_calibration_error_as_published(np.array([0.9]), np.array([False])) == 0


def test_ece_by_hand() -> None:
    # 0.1 and 0.12 share the second bin, (1/15, 2/15]: |0.22 - 1| / 3; 0.95 is alone: 0.95 / 3.
    confidence, correct = np.array([0.1, 0.12, 0.95]), np.array([True, False, False])
    assert ece(confidence, correct) == pytest.approx((0.78 + 0.95) / 3)


def test_the_edge_of_a_bin_belongs_to_the_lower_one() -> None:
    # 1/3 is the upper edge of the fifth bin: with 0.3 in it, the two gaps cancel.
    confidence = np.array([1 / 3, 0.3])
    correct = np.array([True, False])
    assert ece(confidence, correct) == pytest.approx(abs(1 / 3 - 1 + 0.3) / 2)


@given(seed=st.integers(0, 9999), n=st.integers(1, 700))
def test_both_equal_straightforward_loops(seed: int, n: int) -> None:
    confidence, correct = drawn(n, seed)
    squares = squares_by_loops(confidence, correct)
    assert rms_calibration_error(confidence, correct) == pytest.approx(
        math.sqrt(sum(squares)), abs=1e-12
    )
    assert rms_calibration_error_as_published(confidence, correct) == pytest.approx(
        math.sqrt(sum(squares[:-1])), abs=1e-12
    )
    assert ece(confidence, correct) == pytest.approx(ece_by_loops(confidence, correct), abs=1e-12)


@given(seed=st.integers(0, 9999), n=st.integers(1, 400))
def test_the_order_of_the_images_does_not_count(seed: int, n: int) -> None:
    confidence, correct = drawn(n, seed)
    order = list(range(n))
    random.Random(seed).shuffle(order)
    for error in (rms_calibration_error, ece):
        value = error(confidence, correct)
        assert error(confidence[order], correct[order]) == pytest.approx(value, abs=1e-12)
        assert 0 <= value <= 1


def test_a_calibrated_model_of_many_images_is_near_zero_and_a_sure_fool_at_one() -> None:
    chance = np.random.default_rng(0)
    confidence = chance.random(200_000)
    correct = chance.random(200_000) < confidence
    assert ece(confidence, correct) < 0.01
    # A bin of 100 is off by sqrt(p (1 - p) / 100), whose mean square is 1/600.
    assert rms_calibration_error(confidence, correct) == pytest.approx(math.sqrt(1 / 600), rel=0.05)
    sure, wrong = np.ones(300), np.zeros(300, bool)
    assert ece(sure, wrong) == rms_calibration_error(sure, wrong) == 1


@pytest.mark.parametrize("confidence", [[], [math.nan], [1.5], [-0.1]])
def test_what_is_no_confidence_is_refused(confidence: list[float]) -> None:
    for error in (ece, rms_calibration_error, rms_calibration_error_as_published):
        with pytest.raises(InputError, match=r"needs (a confidence and a verdict|confidences in)"):
            error(np.array(confidence), np.ones(len(confidence), bool))


def aurra_in_loops(confidence: list[float], correct: list[bool]) -> float:
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
def test_aurra_is_that_of_plaaurra_in_loops_in_any_order_of_the_images(seed: int, n: int) -> None:
    chance = np.random.default_rng(seed)
    confidence, correct = chance.random(n), chance.random(n) < 0.4
    value = aurra(confidence, correct)
    assert value == pytest.approx(aurra_in_loops(confidence.tolist(), correct.tolist()))
    other = chance.permutation(n)
    assert aurra(confidence[other], correct[other]) == value
    assert 0 <= value <= 1


def test_images_of_equal_confidence_count_as_the_mean_of_all_their_orders() -> None:
    confidence = np.array([0.9, 0.5, 0.5, 0.5], np.float32)
    correct = [True, True, False, False]
    orders = [
        aurra_in_loops([0.9, 0.6, 0.5, 0.4], [True, *rest])
        for rest in ((True, False, False), (False, True, False), (False, False, True))
    ]
    assert aurra(confidence, np.array(correct)) == pytest.approx(sum(orders) / 3)
    assert aurra(confidence, np.array([True, False, False, True])) == pytest.approx(sum(orders) / 3)


def test_a_model_that_is_never_wrong_has_an_area_of_one() -> None:
    assert aurra(np.array([0.1, 0.2]), np.array([True, True])) == 1


@pytest.mark.parametrize("n", [0, 3])
def test_aurra_of_other_shapes_is_refused(n: int) -> None:
    with pytest.raises(InputError, match="needs a confidence and a verdict"):
        aurra(np.zeros(n), np.zeros(0 if n == 0 else n - 1, bool))
