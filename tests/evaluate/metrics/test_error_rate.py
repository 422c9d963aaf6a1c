"""Error rates by hand."""

import numpy as np
import pytest

from evaluator.errors import InputError
from evaluator.evaluate.metrics.error_rate import error_rate, top_k_correct


def test_a_label_counts_within_the_first_k_classes_only() -> None:
    ranked = np.array([[5, 3, 1], [1, 5, 3], [3, 1, 5]])
    labels = np.array([5, 5, 5])
    assert top_k_correct(ranked, labels, 1).tolist() == [True, False, False]
    assert top_k_correct(ranked, labels, 2).tolist() == [True, True, False]
    assert top_k_correct(ranked, labels, 3).tolist() == [True, True, True]


def test_an_error_of_nothing_is_refused() -> None:
    with pytest.raises(InputError, match="at least one image"):
        error_rate(np.array([], bool))
