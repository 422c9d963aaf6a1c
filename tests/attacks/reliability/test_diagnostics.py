import pytest

from evaluator.attacks.reliability.diagnostics import verdict_of
from evaluator.contracts import wilson_interval


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
    assert verdict_of(*wilson_interval(count / n, n), 0.02) == verdict


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
