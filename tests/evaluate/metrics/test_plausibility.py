"""Counts of right answers that a model of a known accuracy never has."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from evaluator.evaluate.metrics.plausibility import LARGEST_PROBABILITY, too_few_right


@pytest.mark.parametrize(
    ("right", "n", "accuracy", "suspect"),
    [
        (0, 10, 0.75, True),  # 0.25 ** 10 is 1e-6
        (0, 6, 0.75, False),  # 0.25 ** 6 is 2e-4
        (37_500, 50_000, 0.75, False),
        (37_000, 50_000, 0.75, True),  # 5 standard deviations of 97
        (37_300, 50_000, 0.75, False),  # 2
        (50, 50, 0.75, False),
        (0, 0, 0.75, False),
    ],
)
def test_counts_by_hand(right: int, n: int, accuracy: float, suspect: bool) -> None:
    assert too_few_right(right, n, accuracy) is suspect


@given(n=st.integers(1, 3000), accuracy=st.floats(0.01, 0.99), data=st.data())
def test_what_is_suspected_is_as_rare_as_is_said_and_so_is_every_smaller_count(
    n: int, accuracy: float, data: st.DataObject
) -> None:
    right = data.draw(st.integers(0, n))
    if too_few_right(right, n, accuracy):
        assert binom.cdf(right, n, accuracy) <= LARGEST_PROBABILITY
        assert right == 0 or too_few_right(right - 1, n, accuracy)
