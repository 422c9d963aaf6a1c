"""Flip rates and T5D: by hand, by property, by plain loops, and in the published form."""

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluator.errors import InputError
from evaluator.evaluate.metrics.frame_changes import (
    VIDEOS_AT_ONCE,
    Pairs,
    flip_rates,
    top5_distances,
)
from evaluator.evaluate.metrics.mean_ratio import mean_ratio

PAIRS: tuple[Pairs, ...] = ("consecutive", "first")
Lists = Sequence[Sequence[Sequence[int]]]


def t5d(earlier: Sequence[int], later: Sequence[int]) -> float:
    (found,) = top5_distances(np.array([[earlier, later]]))
    return float(found)


top5_lists = st.permutations(range(8)).map(lambda classes: classes[:5])


def videos_of(lists: st.SearchStrategy[list[int]]) -> st.SearchStrategy[list[list[list[int]]]]:
    """Several videos of as many frames each."""
    return st.integers(2, 6).flatmap(
        lambda frames: st.lists(
            st.lists(lists, min_size=frames, max_size=frames), min_size=1, max_size=4
        )
    )


def random_top5(seed: int, videos: int, frames: int) -> npt.NDArray[np.int32]:
    chance = np.random.default_rng(seed)
    return np.argsort(chance.random((videos, frames, 9)), axis=2)[..., :5].astype(np.int32)


def test_flips_by_hand() -> None:
    # 7 7 3 7 7: two of four neighbours differ, one of four differs from the first.
    likeliest = np.array([[7, 7, 3, 7, 7], [1, 1, 1, 1, 1], [0, 1, 2, 3, 4]])
    assert flip_rates(likeliest).tolist() == [0.5, 0.0, 1.0]
    assert flip_rates(likeliest, "first").tolist() == [0.25, 0.0, 1.0]


def test_t5d_by_hand() -> None:
    start = [1, 2, 3, 4, 5]
    assert t5d(start, start) == 0
    assert t5d(start, [2, 1, 3, 4, 5]) == 2
    assert t5d(start, [5, 1, 2, 3, 4]) == 4 + 4  # four move on by one, the last comes four up
    assert t5d(start, [1, 2, 3, 4, 9]) == 1  # the fifth is gone: 6 - 5
    assert t5d(start, [9, 1, 2, 3, 4]) == 5  # all move on by one, the fifth to 6
    assert t5d(start, [6, 7, 8, 9, 0]) == 5 + 4 + 3 + 2 + 1
    assert t5d(start, [4, 5, 6, 7, 8]) == 5 + 4 + 3 + 3 + 3  # ranks 6 6 6 1 2: the most there is


def test_t5d_is_not_symmetric() -> None:
    a, b = [1, 2, 3, 4, 5], [4, 5, 6, 7, 8]
    assert t5d(a, b) == 18
    assert t5d(b, a) == 3 + 3 + 3 + 2 + 1


def test_t5d_of_a_video_is_the_mean_over_its_pairs() -> None:
    video = [[1, 2, 3, 4, 5], [2, 1, 3, 4, 5], [1, 2, 3, 4, 5], [6, 7, 8, 9, 0]]
    assert top5_distances(np.array([video])).tolist() == [pytest.approx((2 + 2 + 15) / 3)]
    assert top5_distances(np.array([video]), "first").tolist() == [pytest.approx((2 + 0 + 15) / 3)]


@given(earlier=top5_lists, later=top5_lists)
def test_t5d_is_between_0_and_18_and_0_only_where_nothing_moved(
    earlier: list[int], later: list[int]
) -> None:
    found = t5d(earlier, later)
    assert 0 <= found <= 18
    assert (found == 0) == (earlier == later)
    assert t5d(earlier, [name + 8 for name in later]) == 15


@given(earlier=top5_lists, later=top5_lists, names=st.permutations(range(8)))
def test_what_classes_are_called_does_not_matter(
    earlier: list[int], later: list[int], names: list[int]
) -> None:
    renamed = [[names[name] for name in ranked] for ranked in (earlier, later)]
    assert t5d(*renamed) == t5d(earlier, later)


def test_of_all_there_is_18_is_the_most_and_reached_in_three_ways() -> None:
    start = [1, 2, 3, 4, 5]
    every = np.array(list(itertools.permutations([*start, 11, 12, 13, 14, 15], 5)))
    found = top5_distances(np.stack([np.broadcast_to(start, every.shape), every], axis=1))
    assert found.max() == 18
    ranks = {
        tuple(later.index(name) + 1 if name in later else 6 for name in start)
        for later in every[found == 18].tolist()
    }
    assert ranks == {(6, 6, 6, 1, 2), (6, 6, 6, 2, 1), (6, 6, 6, 6, 1)}


@given(videos=videos_of(top5_lists))
def test_every_number_is_that_of_plain_loops(videos: list[list[list[int]]]) -> None:
    top5 = np.array(videos)
    for pairs in PAIRS:
        flips, distances = by_plain_loops(videos, pairs)
        assert flip_rates(top5[..., 0], pairs).tolist() == pytest.approx(flips)
        assert top5_distances(top5, pairs).tolist() == pytest.approx(distances)


def by_plain_loops(videos: Lists, pairs: Pairs) -> tuple[list[float], list[float]]:
    flips, distances = [], []
    for frames in videos:
        flipped, moved = 0, 0
        for number in range(1, len(frames)):
            earlier = frames[0] if pairs == "first" else frames[number - 1]
            later = frames[number]
            if earlier[0] != later[0]:
                flipped += 1
            for i in range(1, 6):
                rank = 6
                for j in range(1, 6):
                    if later[j - 1] == earlier[i - 1]:
                        rank = j
                moved += abs(i - min(rank, 6))
        flips.append(flipped / (len(frames) - 1))
        distances.append(moved / (len(frames) - 1))
    return flips, distances


@pytest.mark.parametrize("pairs", PAIRS)
@pytest.mark.parametrize("videos", [1, VIDEOS_AT_ONCE, VIDEOS_AT_ONCE + 1])
def test_how_many_are_computed_at_once_does_not_matter(pairs: Pairs, videos: int) -> None:
    top5 = random_top5(1, videos, 3)
    expected = [by_plain_loops([video], pairs)[1][0] for video in top5.tolist()]
    np.testing.assert_allclose(top5_distances(top5, pairs), expected, rtol=1e-15)


@pytest.mark.parametrize("pairs", PAIRS)
def test_both_are_those_of_rankings_of_all_classes(pairs: Pairs) -> None:
    """The published form: two permutations of all classes, and weights that end at the fifth."""
    chance = np.random.default_rng(2)
    logits = chance.normal(size=(6, 1, 40)) + 0.3 * chance.normal(size=(6, 7, 40))
    order = np.argsort(-logits, axis=2)
    flips, distances = by_permutations(order, pairs)
    assert flip_rates(order[..., 0], pairs).mean() == pytest.approx(flips)
    assert top5_distances(order[..., :5], pairs).mean() == pytest.approx(distances)


def by_permutations(order: npt.NDArray[np.integer[Any]], pairs: Pairs) -> tuple[float, float]:
    """Hendrycks & Dietterich (2019), 4.2: sum over i = 1..5 of the weights between i and sigma(i).

    sigma(i) is the rank in the later frame of the class that is i-th in the earlier one; the
    weight of position j is 1 for j - 1 = 1..5, else 0, and w(i) sums those of positions up to i.
    """
    classes = order.shape[2]
    up_to = np.concatenate(
        [[0], np.cumsum([1.0 if 1 <= j - 1 <= 5 else 0 for j in range(1, classes + 1)])]
    )
    flips, distances = [], []
    for video in order:
        first = list(zip([video[0]] * (len(video) - 1), video[1:], strict=True))
        for earlier, later in first if pairs == "first" else itertools.pairwise(video):
            rank_later = np.empty(classes, int)
            rank_later[later] = np.arange(1, classes + 1)
            sigma = rank_later[earlier]
            moved = np.abs(up_to[np.arange(1, classes + 1)] - up_to[sigma])
            distances.append(moved[:5].sum())
            flips.append(sigma[0] != 1)
    return float(np.mean(flips)), float(np.mean(distances))


def test_inputs_of_another_type_or_layout_give_the_same() -> None:
    top5 = random_top5(3, 10, 31)
    for other in (top5.astype(np.int64), np.asfortranarray(top5), top5.repeat(2, axis=0)[::2]):
        np.testing.assert_array_equal(top5_distances(other), top5_distances(top5))


@pytest.mark.parametrize("shape", [(3, 1, 5), (3, 31, 4), (31, 5)])
def test_what_makes_no_pairs_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match=r"got \("):
        top5_distances(np.zeros(shape, np.int32))
    with pytest.raises(InputError, match="at least two"):
        flip_rates(np.zeros((3, 1), np.int32))


def test_no_video_has_no_number() -> None:
    assert top5_distances(np.zeros((0, 31, 5), np.int32)).size == 0
    assert flip_rates(np.zeros((0, 31), np.int32)).size == 0


def test_means_are_of_ratios() -> None:
    # 0.5 and 1.0 of two unequal baselines: the mean of ratios is 0.75, the ratio of means 0.83.
    assert mean_ratio({"a": 0.2, "b": 0.8}, {"a": 0.4, "b": 0.8}) == pytest.approx(0.75)
    with pytest.raises(InputError, match="1 are missing: b"):
        mean_ratio({"a": 0.2}, {"a": 0.4, "b": 0.8})
    with pytest.raises(InputError, match="not above zero for b"):
        mean_ratio({"a": 0.2, "b": 0.1}, {"a": 0.4, "b": 0.0})
