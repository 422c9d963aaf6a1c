"""How far two engines within parity's bounds can be from each other."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluator.engine.cross_check_bounds import CHANCE, allowed_margin, too_many
from evaluator.engine.tolerances import Tolerance


@given(seed=st.integers(0, 999), first=st.floats(1e-4, 1), second=st.floats(0, 1))
def test_no_margin_between_engines_within_their_bounds_is_larger(
    seed: int, first: float, second: float
) -> None:
    rng = np.random.default_rng(seed)
    signal = rng.normal(size=6)
    size = float(np.linalg.norm(signal))
    errors = []
    for bound in (first, second):
        error = rng.normal(size=6) * rng.integers(0, 2, 6)
        errors.append(error * bound * size / max(float(np.linalg.norm(error)), 1e-9))
    one, other = (signal + error for error in errors)
    margin = float(one.max() - one[other.argmax()])
    bounds = [Tolerance(1, bound, 1) for bound in (first, second)]
    assert margin <= allowed_margin(bounds, size) * (1 + 1e-12)


def test_the_bound_is_reached_where_all_error_lies_in_two_classes() -> None:
    reference, size = np.zeros(5), 3.0
    error = np.array([1, -1, 0, 0, 0]) / math.sqrt(2) * 0.1 * size
    candidate = reference + error
    assert candidate[0] - candidate[1] == pytest.approx(
        allowed_margin([Tolerance(1, 0.1, 1)], size)
    )


@given(n=st.integers(1, 60), share=st.floats(0, 1), low=st.floats(0, 1))
def test_differences_are_too_many_where_chance_has_fewer(n: int, share: float, low: float) -> None:
    differing = round(share * n)
    tail = math.fsum(
        math.comb(n, k) * (1 - low) ** k * low ** (n - k) for k in range(differing, n + 1)
    )
    if abs(tail - CHANCE) > 1e-9:
        assert too_many(differing, n, low) == (tail < CHANCE)
