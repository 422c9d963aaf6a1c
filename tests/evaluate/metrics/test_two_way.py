"""The interval of images that cross two sets of exemplars: by loops, by drawing, at the edges."""

import random
from pathlib import Path

import numpy as np
import pytest

from evaluator.errors import InputError
from evaluator.evaluate.metrics.two_way import (
    RESAMPLES,
    SEED,
    Crossed,
    Ratio,
    crossed,
    ratio_interval,
    resampled_sums,
)


def drawn(seed: int, shapes: int = 30, textures: int = 12) -> tuple[Ratio, Crossed]:
    """A third of all crossings; whether an image counts depends on both of its exemplars."""
    chance = np.random.default_rng(seed)
    there = np.argwhere(chance.random((shapes, textures)) < 1 / 3)
    easy = chance.normal(size=shapes)[there[:, 0]] + chance.normal(size=textures)[there[:, 1]]
    below = (chance.random(len(there)) < 0.7).astype(float)
    above = below * (easy + chance.normal(size=len(there)) > 0.5)
    names = [(f"cat{shape}", f"dog{texture}") for shape, texture in there]
    return Ratio(above, below), crossed([s for s, _ in names], [t for _, t in names])


def test_the_sums_are_those_of_plain_loops() -> None:
    ratio, images = drawn(0)
    values = np.stack([ratio.above, ratio.below])
    rows, columns = images.counts
    chance = np.random.default_rng(5)
    of_rows = chance.multinomial(rows, [1 / rows] * rows, 40)
    of_columns = chance.multinomial(columns, [1 / columns] * columns, 40)
    expected = []
    for b in range(40):
        sums = [0.0, 0.0]
        for image in range(images.rows.size):
            times = of_rows[b][images.rows[image]] * of_columns[b][images.columns[image]]
            for k in range(2):
                sums[k] += times * values[k][image]
        expected.append(sums)
    np.testing.assert_array_equal(resampled_sums(values, images, 40, 5), expected)


def test_the_interval_is_that_of_exemplars_drawn_by_name() -> None:
    ratio, images = drawn(1)
    pairs = list(zip(images.rows.tolist(), images.columns.tolist(), strict=True))
    values = dict(zip(pairs, zip(ratio.above, ratio.below, strict=True), strict=True))
    rows, columns = images.counts
    chance = random.Random(0)
    found = []
    for _ in range(3000):
        shapes = chance.choices(range(rows), k=rows)
        textures = chance.choices(range(columns), k=columns)
        those = [values[s, t] for s in shapes for t in textures if (s, t) in values]
        found.append(sum(a for a, _ in those) / sum(b for _, b in those))
    low, high = ratio_interval([ratio], images) or (0, 0)
    ends = np.quantile(found, (0.025, 0.975))
    assert (low, high) == pytest.approx(tuple(ends), abs=0.06 * (high - low))


def test_an_interval_over_images_alone_would_be_too_narrow() -> None:
    ratio, images = drawn(2, shapes=60, textures=24)
    low, high = ratio_interval([ratio], images) or (0, 0)
    rate, n = ratio.value, ratio.below.sum()
    assert high - low > 1.5 * 2 * 1.96 * (rate * (1 - rate) / n) ** 0.5


def test_the_interval_is_the_same_each_time_and_in_any_order_of_the_images() -> None:
    ratio, images = drawn(3)
    other = np.random.default_rng(0).permutation(images.rows.size)
    shuffled = Ratio(ratio.above[other], ratio.below[other])
    names = crossed(images.rows[other], images.columns[other])
    assert ratio_interval([ratio], images) == ratio_interval([shuffled], names)


def test_a_difference_is_paired() -> None:
    # B is A, but for a few images: far less doubt than two independent models would leave.
    a, images = drawn(4, shapes=60, textures=24)
    changed = a.above.copy()
    changed[np.flatnonzero((a.above == 0) & (a.below == 1))[::8]] = 1
    b = Ratio(changed, a.below)
    low, high = ratio_interval([a, b], images) or (0, 0)
    assert 0 < low < b.value - a.value < high
    alone = ratio_interval([a], images) or (0, 0)
    assert high - low < 0.4 * (alone[1] - alone[0])
    values = np.stack([b.above, b.below, a.above, a.below])
    sums = resampled_sums(values, images, RESAMPLES, SEED)
    each = sums[:, 0] / sums[:, 1] - sums[:, 2] / sums[:, 3]
    assert (low, high) == pytest.approx(tuple(np.quantile(each, (0.025, 0.975))))


def test_what_says_nothing_of_a_spread_has_no_interval() -> None:
    ones = np.ones(4)
    four = crossed(["a", "a", "b", "b"], ["c", "d", "c", "d"])
    assert ratio_interval([Ratio(ones, ones)], four) is None
    some = Ratio(np.array([1.0, 0, 0, 1]), ones)
    assert ratio_interval([some], four) is not None
    assert ratio_interval([some], crossed(["a"] * 4, ["c", "d", "e", "f"])) is None
    assert ratio_interval([Ratio(ones[:0], ones[:0])], crossed([], [])) is None
    assert ratio_interval([some, some], four) is None


def test_where_resamples_often_have_nothing_below_the_line_there_is_no_interval() -> None:
    # Of 12 x 12 images some on the diagonal count: each is missing from 58 % of the resamples.
    names = np.arange(12)
    images = crossed(np.repeat(names, 12), np.tile(names, 12))

    def of(counting: int) -> Ratio:
        below = np.zeros((12, 12))
        below[range(counting), range(counting)] = 1
        above = below.copy()
        above[0] = 0
        return Ratio(above.ravel(), below.ravel())

    for counting, empty, there in ((2, 0.32, False), (4, 0.09, False), (6, 0.025, True)):
        ratio = of(counting)
        (sums,) = resampled_sums(ratio.below[None], images).T
        assert np.mean(sums == 0) == pytest.approx(empty, abs=0.01)
        assert (ratio_interval([ratio], images) is not None) == there


def test_nothing_below_the_line_is_no_ratio_of_zero() -> None:
    with pytest.raises(InputError, match="got none"):
        _ = Ratio(np.zeros(3), np.zeros(3)).value


def test_the_protocols_say_how_many_resamples_there_are() -> None:
    protocols = Path(__file__).parents[3] / "docs" / "protocols.md"
    text = protocols.read_text("utf-8")
    assert f"In each of {RESAMPLES:,} resamples" in text
    assert "more than 5 % of them have nothing to divide by" in text
