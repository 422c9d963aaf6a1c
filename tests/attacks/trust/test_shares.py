import pytest

from evaluator.attacks.trust.shares import verdict_of, wilson_interval
from evaluator.errors import InputError
from evaluator.evaluate.metrics import error_rate


@pytest.mark.parametrize(("count", "n"), [(0, 1), (1, 1), (0, 50), (3, 20), (49, 50), (123, 4000)])
def test_the_interval_is_the_one_of_the_error_rates(count: int, n: int) -> None:
    assert wilson_interval(count, n) == pytest.approx(error_rate.wilson_interval(count / n, n))


@pytest.mark.parametrize(("count", "n"), [(0, 0), (-1, 3), (4, 3)])
def test_what_is_no_share_is_refused(count: int, n: int) -> None:
    with pytest.raises(InputError, match="A share needs"):
        wilson_interval(count, n)


@pytest.mark.parametrize(
    ("count", "n", "verdict"),
    [
        (0, 188, "undecided"),
        (0, 189, "passed"),
        (1, 20, "undecided"),
        (2, 20, "failed"),
        (20, 1000, "undecided"),
    ],
)
def test_a_verdict_needs_the_whole_interval_on_one_side(count: int, n: int, verdict: str) -> None:
    assert verdict_of(*wilson_interval(count, n), 0.02) == verdict


@pytest.mark.parametrize(
    ("low", "high", "below", "at_least"),
    [
        (0.1, 0.5, "passed", "undecided"),
        (0.5, 0.9, "undecided", "passed"),
        (0.51, 0.9, "failed", "passed"),
        (0.1, 0.49, "passed", "failed"),
        (0.4, 0.6, "undecided", "undecided"),
    ],
)
def test_the_bound_itself_passes(low: float, high: float, below: str, at_least: str) -> None:
    assert verdict_of(low, high, 0.5) == below
    assert verdict_of(low, high, 0.5, at_least=True) == at_least
