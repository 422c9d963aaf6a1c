"""Error rates by hand, by property, and against an independent implementation."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluator.errors import InputError
from evaluator.evaluate.metrics.error_rate import error_rate, top_k_correct, wilson_interval
from evaluator.tests import second_implementation as second


def test_a_label_counts_within_the_first_k_classes_only() -> None:
    ranked = np.array([[5, 3, 1], [1, 5, 3], [3, 1, 5]])
    labels = np.array([5, 5, 5])
    assert top_k_correct(ranked, labels, 1).tolist() == [True, False, False]
    assert top_k_correct(ranked, labels, 2).tolist() == [True, True, False]
    assert top_k_correct(ranked, labels, 3).tolist() == [True, True, True]


def test_an_error_of_nothing_is_refused() -> None:
    with pytest.raises(InputError, match="at least one image"):
        error_rate(np.array([], bool))


@pytest.mark.parametrize(
    ("wrong", "n", "low", "high"),
    # Wilson's interval as scipy.stats.binomtest(...).proportion_ci(method="wilson") has it.
    [(2, 20, 0.027866, 0.301034), (0, 20, 0.0, 0.161125), (10, 10, 0.722467, 1.0)],
)
def test_interval_equals_scipys(wrong: int, n: int, low: float, high: float) -> None:
    assert wilson_interval(wrong / n, n) == pytest.approx((low, high), abs=1e-6)


@given(n=st.integers(1, 50_000), share=st.floats(0, 1))
def test_interval_equals_the_second_implementation_and_holds_the_rate(n: int, share: float) -> None:
    wrong = round(share * n)
    low, high = wilson_interval(wrong / n, n)
    assert (low, high) == pytest.approx(second.wilson(wrong, n), abs=1e-12)
    assert 0 <= low <= wrong / n <= high <= 1
    assert high > low


def test_an_interval_of_no_images_is_refused() -> None:
    with pytest.raises(InputError, match="n >= 1"):
        wilson_interval(0.5, 0)
