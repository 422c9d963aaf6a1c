"""Random numbers: pinned, so that a run means the same everywhere, and as they should be spread."""

import hashlib

import numpy as np
from scipy import stats

from evaluator.attacks.randomness import (
    query_noise,
    square_draw,
    start_noise,
    stripe_signs,
    traced_sample,
    wrong_class,
)


def test_a_start_is_pinned() -> None:
    # The numbers themselves, so that no version of numpy gives others unnoticed.
    digest = hashlib.sha256(b"7\0start\x002\0n01/a.JPEG").digest()
    key = int.from_bytes(digest[:16], "little")
    words = np.random.Philox(key=key).random_raw(4)
    expected = [2 * (int(word) >> 11) / 2**53 - 1 for word in words]
    assert start_noise(7, "n01/a.JPEG", 2, (1, 2, 2)).ravel().tolist() == expected
    assert expected == [
        0.4687991028765426,
        -0.593626098474497,
        0.8595740523105941,
        -0.46661974261182326,
    ]


def test_starts_are_uniform_and_differ_by_seed_image_and_restart() -> None:
    named = [(0, "a", 0), (1, "a", 0), (0, "b", 0), (0, "a", 1)]
    drawn = [start_noise(*each, (3, 50, 50)).ravel() for each in named]
    for noise in drawn:
        assert -1 <= noise.min() < noise.max() < 1
        assert stats.kstest(noise, stats.uniform(-1, 2).cdf).pvalue > 1e-3
    correlation = np.corrcoef(drawn) - np.eye(4)
    assert np.abs(correlation).max() < 0.05


def test_the_noise_of_queries_is_uniform_and_of_its_own() -> None:
    named = [(0, "a", 1), (1, "a", 1), (0, "b", 1), (0, "a", 2)]
    drawn = [query_noise(*each, (3, 50, 50)).ravel() for each in named]
    drawn.append(start_noise(0, "a", 1, (3, 50, 50)).ravel())
    for noise in drawn:
        assert -1 <= noise.min() < noise.max() < 1
        assert stats.kstest(noise, stats.uniform(-1, 2).cdf).pvalue > 1e-3
    correlation = np.corrcoef(drawn) - np.eye(5)
    assert np.abs(correlation).max() < 0.05


def test_squares_are_uniform_over_their_places_and_signs() -> None:
    drawn = [square_draw(0, "a", query, 5) for query in range(2, 8002)]
    tops, lefts = np.array([draw[:2] for draw in drawn]).T
    signs = np.array([draw[2] for draw in drawn])
    assert set(np.unique(signs)) == {-1, 1}
    cells = np.unique(np.column_stack([tops, lefts, signs]), axis=0, return_counts=True)[1]
    assert len(cells) == 5 * 5 * 2**3
    assert stats.chisquare(cells).pvalue > 1e-3
    stripes = np.array([stripe_signs(0, str(name), 2).ravel() for name in range(2000)])
    counts = np.unique(stripes, axis=0, return_counts=True)[1]
    assert len(counts) == 2**6
    assert stats.chisquare(counts).pvalue > 1e-3


def test_squares_differ_by_seed_image_and_query() -> None:
    named = [(0, "a", 2), (1, "a", 2), (0, "b", 2), (0, "a", 3)]
    assert len({square_draw(*each, 10_000)[:2] for each in named}) == 4
    assert len({str(stripe_signs(seed, name, 50)) for seed, name, _ in named[:3]}) == 3


def test_draws_of_queries_are_pinned() -> None:
    top, left, signs = square_draw(7, "n01/a.JPEG", 2, 25)
    assert (top, left, signs.tolist()) == (18, 11, [-1.0, 1.0, -1.0])
    assert stripe_signs(7, "n01/a.JPEG", 2).tolist() == [[1.0, -1.0], [1.0, -1.0], [1.0, -1.0]]
    assert query_noise(7, "n01/a.JPEG", 2, (2,)).tolist() == [
        -0.4288392135432817,
        0.37378557907235765,
    ]


def test_targets_are_uniform_over_the_wrong_classes() -> None:
    drawn = [wrong_class(0, str(n), 0, label=4, classes=10) for n in range(9000)]
    counts = np.bincount(drawn, minlength=10)
    assert counts[4] == 0
    assert stats.chisquare(np.delete(counts, 4)).pvalue > 1e-3
    assert {wrong_class(0, str(n), 0, label=999, classes=1000) for n in range(50_000)} == set(
        range(999)
    )


def test_a_target_differs_by_restart() -> None:
    assert len({wrong_class(0, "a", n, label=0, classes=1000) for n in range(20)}) > 15


def test_the_traced_sample_does_not_depend_on_the_order_and_grows() -> None:
    ids = [f"n{n}" for n in range(500)]
    few, many = (traced_sample(ids, count, seed=3) for count in (20, 60))
    assert len(few) == 20
    assert few < many
    assert traced_sample(reversed(ids), 20, seed=3) == few
    assert traced_sample(ids, 20, seed=4) != few
    assert traced_sample(ids[:5], 20, seed=3) == set(ids[:5])
    assert traced_sample(ids, 0, seed=3) == frozenset()


def test_names_that_are_no_text_have_numbers_too() -> None:
    assert start_noise(0, "\udcff.JPEG", 0, (1,)) != start_noise(0, "\udcfe.JPEG", 0, (1,))
