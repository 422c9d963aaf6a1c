"""Intervals from one score an image: by hand, by property, against a bootstrap, and by coverage."""

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluator.contracts import ALEXNET_ERROR
from evaluator.errors import InputError
from evaluator.evaluate.benchmarks.imagenet_c import ALEXNET_CLEAN_ERROR
from evaluator.evaluate.metrics.corruption_error import (
    CorruptionError,
    mce,
    mean_error,
    relative_mce,
)
from evaluator.evaluate.metrics.mean_interval import mean_interval, weighted_bounds, weighted_scores

Bools = npt.NDArray[np.bool_]
NUMBERS = {
    "mean error": mean_error(ALEXNET_ERROR),
    "mCE": mce(ALEXNET_ERROR),
    "relative mCE": relative_mce(ALEXNET_ERROR, ALEXNET_CLEAN_ERROR),
}


def flat(number: CorruptionError) -> npt.NDArray[np.float64]:
    """75 cells, then the clean images."""
    return np.array([*np.repeat(list(number.cell_weights.values()), 5), number.clean_weight])


def drawn(n: int, seed: int, skip: float = 0.0) -> tuple[Bools, Bools]:
    """Answers as real ones are: hard images are hard in most cells. (76, n) wrong and scored."""
    chance = np.random.default_rng(seed)
    cells = np.array([*np.tile(0.4 * np.arange(5) - 0.8, 15), -1.2])
    wrong = chance.normal(size=n) + 0.8 * chance.normal(size=(76, n)) + cells[:, None] > 0
    return wrong, chance.random((76, n)) >= skip


def errors(wrong: Bools, scored: Bools) -> npt.NDArray[np.float64]:
    """(..., N) to (...): what was scored and wrong, of what was scored."""
    return np.asarray((wrong & scored).sum(axis=-1) / scored.sum(axis=-1))


def test_the_interval_of_a_mean_by_hand() -> None:
    # Mean 2, standard deviation sqrt(((1)^2 + 0 + 1) / 2) = 1, standard error 1 / sqrt(3).
    low, high = mean_interval(np.array([1.0, 2.0, 3.0])) or (0, 0)
    assert (low, high) == pytest.approx((2 - 1.959964 / 3**0.5, 2 + 1.959964 / 3**0.5), abs=1e-6)


def test_scores_by_hand_where_one_was_skipped() -> None:
    # Errors 1/2 and 2/3; V = 1/2 + 2/3. The third image was skipped in the first condition:
    # there 3/2 (e - 1/2), then 1 (e - 2/3).
    wrong = np.array([[True, False, False], [True, True, False]])
    scored = np.array([[True, True, False], [True, True, True]])
    value = 1 / 2 + 2 / 3
    expected = [value + 3 / 4 + 1 / 3, value - 3 / 4 + 1 / 3, value - 2 / 3]
    np.testing.assert_allclose(weighted_scores(wrong, scored, np.ones(2)), expected)


@pytest.mark.parametrize("scores", [[], [0.5], [0.3] * 5, [0.1 + 0.2, 0.3], [0.0, 0.0]])
def test_too_few_scores_and_equal_ones_have_no_interval(scores: list[float]) -> None:
    assert mean_interval(np.array(scores)) is None


@given(seed=st.integers(0, 9999), skip=st.sampled_from([0.0, 0.3]))
def test_the_mean_of_the_scores_is_the_weighted_sum_of_the_errors(seed: int, skip: float) -> None:
    wrong, scored = drawn(40, seed, skip)
    for weights in map(flat, NUMBERS.values()):
        scores = weighted_scores(wrong, scored, weights)
        assert scores.mean() == pytest.approx(weights @ errors(wrong, scored), abs=1e-12)
        bounds = weighted_bounds(weights)
        interval = mean_interval(scores, bounds)
        assert interval is not None
        low, high = interval
        assert bounds[0] <= low <= scores.mean() <= high <= bounds[1]


def test_without_skipped_images_a_score_is_the_weighted_sum_of_its_own_errors() -> None:
    wrong, scored = drawn(50, 0)
    weights = flat(NUMBERS["mCE"])
    np.testing.assert_allclose(weighted_scores(wrong, scored, weights), weights @ wrong)


@pytest.mark.parametrize("skip", [0.0, 0.1])
@pytest.mark.parametrize("name", NUMBERS)
def test_the_closed_form_is_the_bootstraps(name: str, skip: float) -> None:
    wrong, scored = drawn(400, 3, skip)
    weights = flat(NUMBERS[name])
    chance = np.random.default_rng(0)
    # How often each image is drawn into each of 5,000 resamples: (5000, N).
    times = chance.multinomial(400, np.full(400, 1 / 400), size=5000).astype(np.float64)
    resampled = (times @ (wrong & scored).T) / (times @ scored.T) @ weights
    low, high = mean_interval(weighted_scores(wrong, scored, weights)) or (0, 0)
    ends = np.quantile(resampled, (0.025, 0.975))
    assert (low, high) == pytest.approx(tuple(ends), abs=0.06 * (high - low))
    assert (high - low) / 2 / 1.959964 == pytest.approx(resampled.std(), rel=0.04)


def test_95_of_100_intervals_hold_the_truth() -> None:
    wrong, scored = drawn(45_000, 1)
    for weights in map(flat, NUMBERS.values()):
        truth = float(weights @ errors(wrong, scored))
        held = 0
        for part in range(300):
            images = slice(150 * part, 150 * (part + 1))
            ends = mean_interval(weighted_scores(wrong[:, images], scored[:, images], weights))
            held += ends is not None and ends[0] <= truth <= ends[1]
        # Three standard deviations of a binomial of 0.95 and 300 are 11.
        assert held == pytest.approx(285, abs=12)


def test_intervals_that_forget_which_images_are_the_same_would_be_too_narrow() -> None:
    wrong, scored = drawn(2000, 5)
    weights = flat(NUMBERS["mean error"])[:75]
    low, high = mean_interval(weighted_scores(wrong[:75], scored[:75], weights)) or (0, 0)
    rates = wrong[:75].mean(axis=1)
    independent = 2 * 1.96 * np.sqrt((weights**2 * rates * (1 - rates) / 2000).sum())
    assert high - low > 4 * independent


def test_weights_say_what_a_cell_counts() -> None:
    assert NUMBERS["mean error"].cell_weights["fog"] == pytest.approx(1 / 75)
    assert NUMBERS["mCE"].cell_weights["fog"] == pytest.approx(1 / (75 * 0.819324))
    relative = NUMBERS["relative mCE"]
    assert relative.cell_weights["fog"] == pytest.approx(1 / (75 * (0.819324 - 0.435)))
    assert relative.clean_weight == pytest.approx(-5 * sum(relative.cell_weights.values()))


def test_a_condition_of_which_all_was_skipped_has_no_scores() -> None:
    with pytest.raises(InputError, match="at least one image in each condition"):
        weighted_scores(np.ones((1, 3), bool), np.zeros((1, 3), bool), np.ones(1))
