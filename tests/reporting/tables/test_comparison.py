"""The tables of a comparison: what the sign of a difference is said to mean."""

import pytest

from evaluator.contracts import Difference
from evaluator.reporting.metric_info import QUANTITIES
from evaluator.reporting.tables.comparison import Compared, comparison_tables

LOWER = "a difference below zero: B is better"
HIGHER = "a difference above zero: B is better"


def told(*metrics: str) -> str:
    """What stands below the first table, behind the names."""
    differences = tuple(Difference("imagenet", metric) for metric in metrics)
    note = comparison_tables(Compared("x", "y", differences))[0].notes[0]
    return note.removeprefix("A: x; B: y")


def test_of_errors_the_lower_one_is_better_and_of_accuracy_the_higher_one() -> None:
    assert told("top1_error", "mce", "mfr") == f"; {LOWER}"
    assert told("mce", "accuracy") == f"; {LOWER}; of accuracy, {HIGHER}"
    assert told("shape_bias") == "; of shape bias, neither sign is called better"


def test_of_a_metric_that_nobody_named_no_sign_is_called_better() -> None:
    assert told("new_number") == "; of new number, neither sign is called better"


@pytest.mark.parametrize("metric", QUANTITIES)
def test_every_error_is_better_when_it_is_lower(metric: str) -> None:
    bias = metric.removeprefix("category_") in ("shape_bias", "decided", "frac_correct")
    others = metric.startswith("source_")  # of the model that an attack was made on
    right = "accuracy" in metric or metric in ("aurra", "label_unchanged")
    assert QUANTITIES[metric].better == ("" if bias or others else "higher" if right else "lower")
