"""Wilson's interval by hand, by property, and against an independent implementation."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluator.contracts import wilson_interval
from evaluator.errors import InputError
from evaluator.tests import second_implementation as second


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


@pytest.mark.parametrize(("rate", "n"), [(0.5, 0), (-1 / 3, 3), (4 / 3, 3)])
def test_an_interval_of_what_is_no_share_is_refused(rate: float, n: int) -> None:
    with pytest.raises(InputError, match=r"rate in \[0, 1\] and n >= 1"):
        wilson_interval(rate, n)
