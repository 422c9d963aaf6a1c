"""The mean ratio of two measured models: by hand, against a bootstrap, and what it cannot take."""

import numpy as np
import numpy.typing as npt
import pytest

from evaluator.errors import InputError
from evaluator.evaluate.metrics.mean_interval import mean_interval, weighted_scores
from evaluator.evaluate.metrics.mean_ratio import (
    mean_ratio,
    mean_ratio_weights,
    measured_ratio_scores,
)

CONDITIONS = 4
Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]


def two_models(seed: int, images: int) -> tuple[Floats, Floats]:
    """What images score with a model and with a worse one: what is hard is hard for both."""
    chance = np.random.default_rng(seed)
    hard = chance.gamma(2.0, 0.05, images)
    kinds = np.linspace(0.5, 2, CONDITIONS)[:, None]
    ours = np.clip(hard * kinds * chance.gamma(4.0, 0.25, (CONDITIONS, images)), 0, 1)
    theirs = np.clip(2 * hard * kinds * chance.gamma(4.0, 0.25, (CONDITIONS, images)), 0, 1)
    return ours, theirs


def ratio(ours: Floats, scored: Flags, theirs: Floats, their_scored: Flags) -> float:
    """Plainly."""
    a = [values[there].mean() for values, there in zip(ours, scored, strict=True)]
    b = [values[there].mean() for values, there in zip(theirs, their_scored, strict=True)]
    return float(sum(x / y for x, y in zip(a, b, strict=True)) / len(a))


def test_by_hand() -> None:
    # A = 0.5, B = 0.25: V = 2. Image 1: 2 + (0.5 - 2 x 0.25) / 0.25 = 2; image 2: the same less.
    there = np.ones((1, 2), bool)
    both = measured_ratio_scores(np.array([[1.0, 0.0]]), there, np.array([[0.5, 0.0]]), there)
    assert both.tolist() == pytest.approx([2.0, 2.0])
    # With the baseline's the other way round: 2 +- (0.5 + 2 x 0.25) / 0.25.
    turned = measured_ratio_scores(np.array([[1.0, 0.0]]), there, np.array([[0.0, 0.5]]), there)
    assert turned.tolist() == pytest.approx([6.0, -2.0])


def test_the_mean_of_the_scores_is_the_ratio_also_where_images_were_skipped() -> None:
    ours, theirs = two_models(1, 200)
    chance = np.random.default_rng(2)
    scored, their_scored = chance.random((2, *ours.shape)) < 0.9
    scores = measured_ratio_scores(ours, scored, theirs, their_scored)
    assert scores.mean() == pytest.approx(ratio(ours, scored, theirs, their_scored))


@pytest.mark.parametrize("skipped", [0.0, 0.15])
def test_the_interval_is_that_of_a_bootstrap_of_the_same_images_for_both(skipped: float) -> None:
    images = 2000
    ours, theirs = two_models(3, images)
    chance = np.random.default_rng(4)
    scored, their_scored = chance.random((2, *ours.shape)) >= skipped
    times = chance.multinomial(images, np.full(images, 1 / images), size=2000).astype(float)
    a = times @ (ours * scored).T / (times @ scored.T)
    b = times @ (theirs * their_scored).T / (times @ their_scored.T)
    low, high = np.percentile((a / b).mean(axis=1), [2.5, 97.5])
    found = mean_interval(measured_ratio_scores(ours, scored, theirs, their_scored))
    assert found is not None
    assert found[1] - found[0] == pytest.approx(high - low, rel=0.06)
    assert found == pytest.approx((low, high), abs=0.06 * (high - low))
    # Runs resampled apart would not know that the images are the same.
    apart = (chance.permuted(a, axis=0) / b).mean(axis=1).std()
    assert found[1] - found[0] < 0.8 * 2 * 1.96 * apart


def test_the_interval_holds_the_truth_about_as_often_as_it_says() -> None:
    ours, theirs = two_models(7, 200_000)
    there = np.ones((CONDITIONS, 50), bool)
    truth = ratio(ours, ours >= 0, theirs, theirs >= 0)
    held = 0
    for sample in np.split(np.arange(200_000), 4000)[:600]:
        scores = measured_ratio_scores(ours[:, sample], there, theirs[:, sample], there)
        low, high = mean_interval(scores) or (0, 0)
        held += low <= truth <= high
    assert 0.9 < held / 600 < 0.98


def test_a_model_normalised_by_itself_has_no_spread() -> None:
    ours, _ = two_models(5, 100)
    there = np.ones(ours.shape, bool)
    scores = measured_ratio_scores(ours, there, ours, there)
    assert scores == pytest.approx(np.ones(100))
    assert mean_interval(scores) is None


def test_with_constants_the_scores_are_linear_in_the_models_own() -> None:
    ours, theirs = two_models(6, 50)
    there, constants = np.ones(ours.shape, bool), theirs.mean(axis=1)
    scores = weighted_scores(ours, there, mean_ratio_weights(constants))
    names = [f"condition {number}" for number in range(CONDITIONS)]
    values = dict(zip(names, ours.mean(axis=1), strict=True))
    baseline = dict(zip(names, constants, strict=True))
    assert scores.mean() == pytest.approx(mean_ratio(values, baseline))


def test_a_baseline_of_zero_and_a_condition_without_images_are_refused() -> None:
    values, there = np.ones((2, 3)), np.ones((2, 3), bool)
    nothing = np.array([[True] * 3, [False] * 3])
    with pytest.raises(InputError, match="above zero"):
        measured_ratio_scores(values, there, values * [[1], [0]], there)
    with pytest.raises(InputError, match="at least one image"):
        measured_ratio_scores(values, nothing, values, there)
    with pytest.raises(InputError, match="at least one image"):
        measured_ratio_scores(values, there, values, nothing)


def test_a_mean_of_nothing_is_refused() -> None:
    with pytest.raises(InputError, match="0 conditions"):
        mean_ratio({}, {})
