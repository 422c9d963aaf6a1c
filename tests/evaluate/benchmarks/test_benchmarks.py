"""What is recorded of an image, and what records add up to."""

from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pytest

from evaluator.contracts import Condition, Item, Score
from evaluator.errors import InputError
from evaluator.evaluate.benchmarks.imagenet import CLEAN, IMAGENET
from evaluator.evaluate.benchmarks.imagenet_c import CONDITIONS, CORRUPTIONS, IMAGENET_C
from evaluator.evaluate.benchmarks.table import find_benchmark
from evaluator.evaluate.benchmarks.top5 import record_top5
from evaluator.tests import second_implementation as second


def records(right: int, n: int = 10, suffix: str = ".JPEG") -> pa.Table:
    """n images of which the first ``right`` are classified right, the others within the top 5."""
    logits = np.zeros((n, 1000), np.float32)
    logits[:, 7] = 2
    logits[:, 3] = np.where(np.arange(n) < right, 3, 1)
    items = [Item(f"n01440764/{i:02d}{suffix}", 3, "") for i in range(n)]
    return pa.Table.from_batches([record_top5(logits, items)])


def by_metric(scores: list[Score]) -> dict[str, Score]:
    return {score.metric: score for score in scores if score.severity is None}


def all_cells(right: int) -> dict[Condition, pa.Table]:
    return {condition: records(right) for condition in CONDITIONS}


def scores_of(cells: Mapping[Condition, pa.Table], clean: pa.Table | None = None) -> list[Score]:
    return list(IMAGENET_C.scores(cells, clean))


def test_a_record_holds_the_five_likeliest_classes_and_their_softmax_over_all() -> None:
    logits = np.random.default_rng(0).normal(size=(20, 1000)).astype(np.float32) * 5
    items = [Item(f"image {i}", i, "") for i in range(20)]
    table = record_top5(logits, items).to_pydict()
    assert table["id"] == [f"image {i}" for i in range(20)]
    assert table["label"] == list(range(20))
    assert table["error"] == [None] * 20
    for row in range(20):
        assert table["top5"][row] == second.top5(logits[row])
        expected = second.softmax(logits[row])[table["top5"][row]]
        np.testing.assert_allclose(table["probability"][row], expected, rtol=1e-6)


def test_ties_go_to_the_lower_class_index() -> None:
    logits = np.zeros((1, 1000), np.float32)
    logits[0, [900, 30, 4]] = 1
    assert record_top5(logits, [Item("a", 0, "")]).to_pydict()["top5"] == [[4, 30, 900, 0, 1]]


def test_imagenet_has_its_two_errors_with_intervals() -> None:
    top1, top5, *_ = IMAGENET.scores({CLEAN: records(7)}, None)
    assert (top1.metric, top1.n) == ("top1_error", 10)
    assert top1.value == pytest.approx(0.3)
    assert (top5.metric, top5.value) == ("top5_error", 0)
    assert (top1.low, top1.high) == pytest.approx(second.wilson(3, 10))
    assert not top1.complete


def test_an_unfinished_imagenet_run_has_no_error() -> None:
    assert [score.value for score in IMAGENET.scores({}, None)] == [None, None]


def test_skipped_images_are_counted_and_left_out() -> None:
    table = records(7)
    errors = pa.array(["broken"] + [None] * 9, pa.string())
    skipped = table.set_column(4, "error", errors)
    top1 = next(iter(IMAGENET.scores({CLEAN: skipped}, None)))
    # The first image was right: 6 of the other 9 are.
    assert top1.value == pytest.approx(1 / 3)
    assert (top1.n, top1.skipped) == (9, 1)


def test_published_size_makes_a_cell_complete() -> None:
    top1 = next(iter(IMAGENET.scores({CLEAN: records(25_000, 50_000)}, None)))
    assert top1.complete
    assert top1.value == 0.5


def test_all_cells_give_every_mean() -> None:
    scores = by_metric(scores_of(all_cells(4), records(9)))
    cells = {(c, s): 0.6 for c in CORRUPTIONS for s in range(1, 6)}
    assert scores["mean_error"].value == pytest.approx(0.6)
    assert scores["mce"].value == pytest.approx(second.mce(cells))
    assert scores["relative_mce"].value == pytest.approx(second.relative_mce(cells, 0.1))
    assert scores["mce"].n == 10


def test_every_corruption_and_cell_has_its_row() -> None:
    scores = scores_of(all_cells(4))
    assert [s.corruption for s in scores if s.metric == "ce"] == list(CORRUPTIONS)
    cells = [(s.corruption, s.severity) for s in scores if s.metric == "top1_error"]
    assert cells == [(c["corruption"], c["severity"]) for c in CONDITIONS]


def test_relative_ce_is_there_where_ce_and_the_clean_error_are() -> None:
    cells = all_cells(4)
    del cells[CONDITIONS[0]]
    relative = [s for s in scores_of(cells, records(9)) if s.metric == "relative_ce"]
    assert [s.corruption for s in relative] == list(CORRUPTIONS[1:])
    # Error 0.6 on every cell, 0.1 on the clean images; AlexNet's on fog 0.819324, clean 0.435.
    fog = next(s for s in relative if s.corruption == "fog")
    assert fog.value == pytest.approx((0.6 - 0.1) / (0.819324 - 0.435))
    assert "relative_ce" not in {s.metric for s in scores_of(cells)}


def test_a_missing_cell_refuses_the_means_by_name_and_keeps_the_rest() -> None:
    cells = all_cells(4)
    for condition in CONDITIONS[:7]:
        del cells[condition]
    scores = scores_of(cells, records(9))
    for metric in ("mean_error", "mce", "relative_mce"):
        refused = by_metric(scores)[metric]
        assert refused.value is None
        assert refused.reason is not None
        assert refused.reason == (
            "7 of 75 cells are missing: gaussian_noise; shot_noise at severity 1, 2"
        )
    ce = {s.corruption: s for s in scores if s.metric == "ce"}
    assert "gaussian_noise" not in ce
    assert ce["shot_noise"].value is None
    assert ce["fog"].value is not None


def test_relative_mce_needs_the_clean_run_and_all_of_its_images() -> None:
    without = by_metric(scores_of(all_cells(4)))["relative_mce"]
    assert without.value is None
    assert "imagenet run of the same model" in str(without.reason)
    lacking = by_metric(scores_of(all_cells(4), records(9, n=9)))["relative_mce"]
    assert lacking.value is None
    assert "lacks some of the images" in str(lacking.reason)


def test_relative_mce_takes_the_clean_error_of_the_same_images() -> None:
    # Of 20 clean images the first 10 were corrupted; all of these are right, the others wrong.
    clean = records(10, n=20, suffix=".png")
    cells = {(c, s): 0.6 for c in CORRUPTIONS for s in range(1, 6)}
    score = by_metric(scores_of(all_cells(4), clean))["relative_mce"]
    assert score.value == pytest.approx(second.relative_mce(cells, 0.0))


def test_a_wrong_name_gets_a_near_one() -> None:
    assert find_benchmark("imagenet-c") is IMAGENET_C
    with pytest.raises(InputError, match=r"no benchmark 'imagenetc'. Did you mean imagenet-c\?"):
        find_benchmark("imagenetc")
