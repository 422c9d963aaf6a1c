"""Decisions for categories and what they add up to: by hand, by loops, at the edges."""

import numpy as np
import numpy.typing as npt
import pytest
import torch

from evaluator.errors import InputError
from evaluator.evaluate.benchmarks.categories import CATEGORIES
from evaluator.evaluate.metrics.shape_bias import (
    Matches,
    argmax_decisions,
    decided,
    frac_correct,
    mean_decisions,
    shape_bias,
)

CLASSES = list(CATEGORIES.values())
NAMES = list(CATEGORIES)


def logits(seed: int, n: int = 300) -> npt.NDArray[np.float32]:
    return (np.random.default_rng(seed).normal(size=(n, 1000)) * 3).astype(np.float32)


def decided_by_mean(row: npt.NDArray[np.float32]) -> int:
    """In loops, with PyTorch's softmax over all classes."""
    probability = torch.softmax(torch.from_numpy(row).double(), 0).tolist()
    means = [sum(probability[c] for c in classes) / len(classes) for classes in CLASSES]
    return means.index(max(means))


def decided_by_argmax(row: npt.NDArray[np.float32]) -> int:
    best, decision = -float("inf"), -1
    for c in sorted(c for classes in CLASSES for c in classes):
        if row[c] > best:
            best = float(row[c])
            decision = next(i for i, classes in enumerate(CLASSES) if c in classes)
    return decision


def matches(shape: list[int], texture: list[int]) -> Matches:
    return Matches(np.array(shape, bool), np.array(texture, bool))


def test_both_rules_equal_plain_loops_and_differ_from_each_other() -> None:
    rows = logits(0)
    by_mean, by_argmax = mean_decisions(rows, CLASSES), argmax_decisions(rows, CLASSES)
    assert by_mean.tolist() == [decided_by_mean(row) for row in rows]
    assert by_argmax.tolist() == [decided_by_argmax(row) for row in rows]
    assert np.count_nonzero(by_mean != by_argmax) > 30


def test_the_mean_is_over_classes_and_not_their_sum() -> None:
    # A dog's 109 classes of 0.002 each sum to 0.218; one airplane has 0.1.
    probability = np.full(1000, 1e-4)
    probability[list(CATEGORIES["dog"])] = 0.002
    probability[CATEGORIES["airplane"][0]] = 0.1
    row = np.log(probability / probability.sum()).astype(np.float32)[None]
    assert NAMES[mean_decisions(row, CLASSES)[0]] == "airplane"


def test_classes_outside_all_categories_decide_nothing() -> None:
    rows = logits(1)
    others = np.setdiff1d(np.arange(1000), np.concatenate(CLASSES))
    loud = rows.copy()
    loud[:, others] += 50
    for decide in (mean_decisions, argmax_decisions):
        np.testing.assert_array_equal(decide(loud, CLASSES), decide(rows, CLASSES))


def test_equal_categories_go_to_the_first_of_the_alphabet_by_the_mean() -> None:
    # The sums of 1, 109 or 49 equal numbers round apart; the means are equal all the same.
    for value in (0.0, 0.1, -7.3):
        row = np.full((1, 1000), value, np.float32)
        assert NAMES[mean_decisions(row, CLASSES)[0]] == "airplane"
    row[:, [385, 386, 766]] = 3
    assert NAMES[mean_decisions(row, CLASSES)[0]] == "elephant"


def test_means_that_only_rounding_tells_apart_are_equal_and_others_are_not() -> None:
    # One truck is the likeliest class, so that the others' likelihoods are no round numbers.
    row = np.full((1, 1000), -1000, np.float32)
    for value in np.arange(-20, -1, dtype=np.float32) / 10:
        for name, classes in CATEGORIES.items():
            row[:, list(classes)] = -1000 if name == "truck" else value
        row[:, CATEGORIES["truck"][0]] = 0
        assert NAMES[mean_decisions(row, CLASSES)[0]] == "airplane"
        row[:, list(CATEGORIES["dog"])] = np.nextafter(value, np.float32(0))
        assert NAMES[mean_decisions(row, CLASSES)[0]] == "dog"


def test_equal_classes_go_to_the_lower_index_by_the_argmax() -> None:
    # 404 is an airplane, but 8 is a hen and comes first.
    row = np.zeros((1, 1000), np.float32)
    assert NAMES[argmax_decisions(row, CLASSES)[0]] == "bird"


def test_logits_far_below_the_likeliest_class_still_decide() -> None:
    # A softmax over all classes would be zero for each of them, in any precision.
    row = np.full((1, 1000), -5e4, np.float32)
    row[0, 0] = 5e4
    row[0, CATEGORIES["truck"][0]] = -4e4
    for decide in (mean_decisions, argmax_decisions):
        assert NAMES[decide(row, CLASSES)[0]] == "truck"


def test_a_decision_does_not_depend_on_the_batch() -> None:
    rows = logits(2)
    for decide in (mean_decisions, argmax_decisions):
        single = [int(decide(row[None], CLASSES)[0]) for row in rows]
        assert decide(rows, CLASSES).tolist() == single


def test_the_bias_is_pooled_and_not_a_mean_over_categories() -> None:
    # Two of one category, both by shape; four of another, one by shape: 3 of 6, not 5/8.
    found = matches([1, 1, 1, 0, 0, 0], [0, 0, 0, 1, 1, 1])
    assert shape_bias(found).value == 0.5


def test_an_image_that_matches_both_is_one_image_and_two_right_answers() -> None:
    found = matches([1, 0, 0, 1], [1, 1, 0, 0])
    assert decided(found).value == 3 / 4
    assert frac_correct(found).value == 4 / 4
    assert shape_bias(found).value == 2 / 4


def test_the_papers_numbers_follow_from_its_counts() -> None:
    # ResNeXt-101 32x8d: 183 by shape, 524 by texture, of 1201; the leftover image was a bicycle.
    shape, texture = np.zeros(1201, bool), np.zeros(1201, bool)
    shape[:183], texture[182 : 182 + 524] = True, True
    found = Matches(shape, texture)
    assert shape_bias(found).value == pytest.approx(0.25884017)
    assert frac_correct(found).value == pytest.approx(0.5886761)
    assert decided(found).value == pytest.approx(706 / 1201)


def test_where_nothing_was_decided_there_is_no_bias() -> None:
    found = matches([0, 0], [0, 0])
    assert decided(found).value == 0
    with pytest.raises(InputError, match="got none"):
        _ = shape_bias(found).value
