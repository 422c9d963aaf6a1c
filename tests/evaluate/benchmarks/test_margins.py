"""By how much records prefer their likeliest class to another one."""

import numpy as np
import pyarrow as pa
import pytest

from evaluator.contracts import Item
from evaluator.evaluate.benchmarks.margins import SMALLEST, margins_over
from evaluator.evaluate.benchmarks.top5 import record_top5
from evaluator.tests.written_runs import batch_of


def test_a_margin_is_the_difference_of_two_logits_also_where_probabilities_are_tiny() -> None:
    logits = np.random.default_rng(3).normal(size=(4, 1000)).astype(np.float32)
    logits[:, [7, 3, 8, 9, 11]] = [20, 15.5, 15, 14, 13]
    logits[3, 7] = 200
    classes = np.array([7, 3, 500, 3], np.int32)
    items = [Item(f"{n}", 0, "") for n in range(4)]
    records = pa.Table.from_batches([record_top5(logits, batch_of(items))])
    found = margins_over(records, classes)
    assert found.likeliest.tolist() == [7] * 4
    # Class 500 is not among the five, of which the fifth is 7 behind; the last is below float32.
    assert found.margin[:3] == pytest.approx([0, 4.5, 7], abs=1e-5)
    assert found.margin[3] == pytest.approx(-np.log(SMALLEST))
    assert found.at_least.tolist() == [False, False, True, True]
    assert logits[2, 7] - logits[2, 500] > 7
    assert found.margin[3] < 184.5
