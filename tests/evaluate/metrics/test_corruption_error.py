"""mCE and its relatives by hand, by property, and against the paper's tables."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

import evaluator
from evaluator.contracts import ALEXNET_ERROR
from evaluator.errors import InputError
from evaluator.evaluate.benchmarks.imagenet_c import ALEXNET_CLEAN_ERROR
from evaluator.evaluate.metrics.corruption_error import mce, mean_error, relative_mce
from evaluator.tests import second_implementation as second

PAPER: dict[str, Any] = json.loads(
    (Path(evaluator.__file__).parent / "reporting/data/paper_results.json").read_text()
)

Errors = dict[str, npt.NDArray[np.float64]]


def errors_of(value: float) -> Errors:
    return {corruption: np.full(5, value) for corruption in ALEXNET_ERROR}


def papers_errors(model: str) -> Errors:
    means = PAPER["raw"][model]["imagenet_c_error_pct"]
    return {corruption: np.full(5, means[corruption] / 100) for corruption in ALEXNET_ERROR}


@pytest.mark.parametrize("model", PAPER["models"])
def test_the_papers_raw_errors_give_its_printed_table(model: str) -> None:
    printed_mce, printed_relative, *_ = PAPER["printed_tables"]["table1"]["rows"][model]
    errors = papers_errors(model)
    clean = 1 - PAPER["raw"][model]["clean_top1_accuracy_pct_as_printed"] / 100
    assert 100 * mce(ALEXNET_ERROR).value(errors) == pytest.approx(printed_mce, abs=0.06)
    relative = relative_mce(ALEXNET_ERROR, ALEXNET_CLEAN_ERROR).value(errors, clean)
    # The clean accuracy is printed to one decimal, which moves relative mCE by up to 0.16.
    assert 100 * relative == pytest.approx(printed_relative, abs=0.16)


@given(seed=st.integers(0, 9999))
def test_every_mean_equals_the_second_implementation(seed: int) -> None:
    drawn = np.random.default_rng(seed).uniform(0, 1, (15, 5))
    errors = dict(zip(ALEXNET_ERROR, drawn, strict=True))
    cells = {(c, s + 1): float(errors[c][s]) for c in ALEXNET_ERROR for s in range(5)}
    mean = mean_error(ALEXNET_ERROR).value(errors)
    assert mean == pytest.approx(second.mean_error(cells), abs=1e-12)
    assert mce(ALEXNET_ERROR).value(errors) == pytest.approx(second.mce(cells), abs=1e-9)
    for corruption, baseline in ALEXNET_ERROR.items():
        assert mce({corruption: baseline}).value(errors) == pytest.approx(
            second.ce(cells, corruption), abs=1e-9
        )
    assert relative_mce(ALEXNET_ERROR, ALEXNET_CLEAN_ERROR).value(errors, 0.2) == pytest.approx(
        second.relative_mce(cells, 0.2), abs=1e-9
    )


def test_mce_averages_ratios_not_errors() -> None:
    # 0.5 and 1.0 of two unequal baselines: the mean of ratios is 0.75, the ratio of means 0.83.
    errors = {"easy": np.full(5, 0.2), "hard": np.full(5, 0.8)}
    assert mce({"easy": 0.4, "hard": 0.8}).value(errors) == pytest.approx(0.75)


def test_relative_ce_by_hand() -> None:
    # (0.3 - 0.1) / (0.9 - 0.5) = 0.5, and -0.5 where corruption helps by as much.
    for errors, expected in ((0.3, 0.5), (-0.1, -0.5)):
        value = relative_mce({"fog": 0.9}, 0.5).value({"fog": np.full(5, errors)}, 0.1)
        assert value == pytest.approx(expected)


@pytest.mark.parametrize("model", PAPER["models"])
def test_relative_ce_of_the_papers_raw_errors_is_the_derived_one(model: str) -> None:
    clean = 1 - PAPER["raw"][model]["clean_top1_accuracy_pct_as_printed"] / 100
    for corruption, expected in PAPER["derived"]["values"][model]["relative_CE_pct"].items():
        relative_ce = relative_mce({corruption: ALEXNET_ERROR[corruption]}, ALEXNET_CLEAN_ERROR)
        value = relative_ce.value(papers_errors(model), clean)
        assert 100 * value == pytest.approx(expected, abs=1e-3)


def test_relative_mce_by_hand() -> None:
    # (0.3 - 0.1) / (0.5 - 0.1) = 0.5 and (0.9 - 0.1) / (0.9 - 0.1) = 1.
    errors = {"easy": np.full(5, 0.3), "hard": np.full(5, 0.9)}
    baseline = {"easy": 0.5, "hard": 0.9}
    assert relative_mce(baseline, 0.1).value(errors, 0.1) == pytest.approx(0.75)


def test_alexnet_is_one_hundred_percent_of_itself() -> None:
    errors = {corruption: np.full(5, error) for corruption, error in ALEXNET_ERROR.items()}
    assert mce(ALEXNET_ERROR).value(errors) == pytest.approx(1)


def test_constants_are_the_means_of_the_published_table() -> None:
    assert {c: pytest.approx(m, abs=5e-7) for c, m in second.ALEXNET.items()} == ALEXNET_ERROR


def test_missing_corruption_is_refused_by_name() -> None:
    errors = errors_of(1.0)
    del errors["shot_noise"]
    with pytest.raises(InputError, match="1 are missing: shot_noise"):
        mce(ALEXNET_ERROR).value(errors)
    with pytest.raises(InputError, match="1 are missing: shot_noise"):
        mean_error(ALEXNET_ERROR).value(errors)
    with pytest.raises(InputError, match="1 are missing: shot_noise"):
        relative_mce(ALEXNET_ERROR, ALEXNET_CLEAN_ERROR).value(errors, 0.2)


def test_a_missing_severity_is_never_a_smaller_mean() -> None:
    errors = errors_of(0.5)
    errors["fog"] = np.array([0.5, 0.5, np.nan, 0.5, 0.5])
    with pytest.raises(InputError, match=r"fog has errors .*nan.*, expected 5 numbers"):
        mce(ALEXNET_ERROR).value(errors)
    errors["fog"] = np.full(4, 0.5)
    with pytest.raises(InputError, match="fog has errors"):
        mce(ALEXNET_ERROR).value(errors)
