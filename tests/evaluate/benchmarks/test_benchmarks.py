"""What is recorded of an image, and what records add up to."""

from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pytest

from evaluator.contracts import AuxiliaryRecords, Condition, Item, Score
from evaluator.errors import InputError
from evaluator.evaluate.benchmarks.image_metrics import CLEAN
from evaluator.evaluate.benchmarks.imagenet import IMAGENET
from evaluator.evaluate.benchmarks.imagenet_c import CONDITIONS, IMAGENET_C
from evaluator.evaluate.benchmarks.pairs import outcomes_in_order
from evaluator.evaluate.benchmarks.table import find_benchmark
from evaluator.evaluate.benchmarks.top5 import record_top5
from evaluator.evaluate.layouts import CORRUPTIONS
from evaluator.tests import second_implementation as second
from evaluator.tests.score_rows import scores_by
from evaluator.tests.written_runs import batch_of, records_of


def records(right: int, n: int = 10, suffix: str = ".JPEG") -> pa.Table:
    """n images of which the first ``right`` are classified right, the others within the top 5."""
    return records_of(np.arange(n) < right, suffix=suffix)


Answers = list[bool | None]


def by_metric(scores: list[Score]) -> dict[str, Score]:
    return {score.metric: score for score in scores if score.severity is None}


def all_cells(right: int) -> dict[Condition, pa.Table]:
    return {condition: records(right) for condition in CONDITIONS}


def scores_of(cells: Mapping[Condition, pa.Table], clean: pa.Table | None = None) -> list[Score]:
    return scores_by(IMAGENET_C, cells, AuxiliaryRecords(clean=clean))


def test_a_record_holds_the_five_likeliest_classes_and_their_softmax_over_all() -> None:
    logits = np.random.default_rng(0).normal(size=(20, 1000)).astype(np.float32) * 5
    items = [Item(f"image {i}", i, "") for i in range(20)]
    table = record_top5(logits, batch_of(items)).to_pydict()
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
    assert record_top5(logits, batch_of([Item("a", 0, "")])).to_pydict()["top5"] == [
        [4, 30, 900, 0, 1]
    ]


def test_imagenet_has_its_two_errors_with_intervals() -> None:
    top1, top5, *_ = scores_by(IMAGENET, {CLEAN: records(7)})
    assert (top1.metric, top1.n) == ("top1_error", 10)
    assert top1.value == pytest.approx(0.3)
    assert (top5.metric, top5.value) == ("top5_error", 0)
    assert (top1.low, top1.high) == pytest.approx(second.wilson(3, 10))
    assert not top1.complete


def test_an_unfinished_imagenet_run_has_no_error() -> None:
    assert [score.value for score in scores_by(IMAGENET, {})] == [None, None]


def test_skipped_images_are_counted_and_left_out() -> None:
    table = records(7)
    errors = pa.array(["broken"] + [None] * 9, pa.string())
    skipped = table.set_column(4, "error", errors)
    top1 = scores_by(IMAGENET, {CLEAN: skipped})[0]
    # The first image was right: 6 of the other 9 are.
    assert top1.value == pytest.approx(1 / 3)
    assert (top1.n, top1.skipped) == (9, 1)


def seeded_cells(
    seed: int, n: int = 30, skip: float = 0.1
) -> tuple[dict[Condition, pa.Table], dict[tuple[str, int], Answers], pa.Table, Answers]:
    """Records of images some of which are skipped in some cells only, and the same in plain words.

    In words: whether each image is right, or none where it was skipped.
    """
    chance = np.random.default_rng(seed)
    hard = chance.normal(size=n)

    def one(shift: float) -> tuple[pa.Table, Answers]:
        right = hard + chance.normal(size=n) > shift
        skipped = np.flatnonzero(chance.random(n) < skip)
        words = [None if i in skipped else bool(right[i]) for i in range(n)]
        return records_of(right, list(skipped)), words

    made = {c: one(0.3 * int(c["severity"]) - 0.5) for c in CONDITIONS}
    clean, clean_words = one(-1.0)
    words = {
        (str(c["corruption"]), int(c["severity"])): answers for c, (_, answers) in made.items()
    }
    return {c: table for c, (table, _) in made.items()}, words, clean, clean_words


def check_interval(score: Score, expected: second.Interval, tolerance: float) -> None:
    value, low, high = expected
    assert score.value == pytest.approx(value, abs=1e-9)
    assert (score.low, score.high) == pytest.approx(
        (low, high), abs=tolerance * (high - low) + 1e-9
    )


# With skipped images the second implementation's jackknife and the linearisation differ a little.
@pytest.mark.parametrize(("skip", "tolerance"), [(0.0, 1e-9), (0.1, 0.02)])
def test_every_number_and_interval_over_cells_equals_the_second_implementation(
    skip: float, tolerance: float
) -> None:
    tables, words, clean, clean_words = seeded_cells(seed=1, skip=skip)
    scores = scores_of(tables, clean)
    for metric, expected in {
        "mean_error": second.mean_error_interval(words),
        "mce": second.mce_interval(words),
        "relative_mce": second.relative_mce_interval(words, clean_words),
    }.items():
        score = by_metric(scores)[metric]
        check_interval(score, expected, tolerance)
    for metric, weigh in {
        "ce": second.ce_interval,
        "relative_ce": second.relative_ce_interval,
    }.items():
        for score in (s for s in scores if s.metric == metric):
            expected = weigh(words, clean_words, str(score.corruption))
            check_interval(score, expected, tolerance)


def test_what_was_skipped_in_some_cells_is_counted_by_every_number() -> None:
    cells: dict[Condition, pa.Table] = all_cells(4)
    cells[CONDITIONS[0]] = records_of(np.arange(10) < 4, skipped=[0, 9])
    cells[CONDITIONS[1]] = records_of(np.arange(10) < 4, skipped=[1])
    clean = records_of(np.arange(10) < 9, skipped=[5])
    scores = scores_of(cells, clean)
    means = by_metric([s for s in scores if s.corruption in (None, "gaussian_noise")])
    counts = {metric: (score.n, score.skipped) for metric, score in means.items()}
    assert counts == {
        "mean_error": (8, 3), "mce": (8, 3), "relative_mce": (8, 4), "ce": (8, 3),
        "relative_ce": (8, 4),
    }  # fmt: skip
    first = [s for s in scores if (s.corruption, s.severity) == ("gaussian_noise", 1)]
    assert {s.metric: (s.n, s.skipped) for s in first} == dict.fromkeys(
        ("top1_error", "top5_error", "rms_calibration_error", "ece"), (8, 2)
    )
    # 3 of 8 right in the first cell, 3 of 9 in the second, 4 of 10 in the other 73.
    assert means["mean_error"].value == pytest.approx((5 / 8 + 6 / 9 + 73 * 0.6) / 75)


def test_a_cell_of_which_every_image_was_skipped_is_no_error_of_zero() -> None:
    cells: dict[Condition, pa.Table] = all_cells(4)
    cells[CONDITIONS[2]] = records_of(np.arange(10) < 4, skipped=range(10))
    scores = scores_of(cells, records(9))
    reason = "every image was skipped in corruption=gaussian_noise, severity=3"
    for metric in ("mean_error", "mce", "relative_mce"):
        assert (by_metric(scores)[metric].value, by_metric(scores)[metric].reason) == (None, reason)
    ce = {s.corruption: s for s in scores if s.metric == "ce"}
    assert ce["gaussian_noise"].reason == reason
    assert ce["fog"].value is not None


def test_of_one_image_and_of_images_that_are_all_alike_there_is_no_interval() -> None:
    for cells in ({c: records(1, n=1) for c in CONDITIONS}, all_cells(10)):
        mce = by_metric(scores_of(cells))["mce"]
        assert (mce.value, mce.low, mce.high) == (0, None, None)


def test_the_clean_images_are_paired_by_name_whatever_their_order() -> None:
    right = np.arange(10) % 3 > 0
    clean = records_of(right, suffix=".png")
    cells = {c: records_of(~right) for c in CONDITIONS}
    turned = clean.take(np.random.default_rng(0).permutation(10))
    straight, shuffled = (by_metric(scores_of(cells, t))["relative_mce"] for t in (clean, turned))
    assert shuffled == straight
    # In pairs the errors always cancel: the score of each image is +-w, never 0.
    assert straight.low is not None


def test_calibration_is_that_of_the_stored_probabilities() -> None:
    scores = {s.metric: s for s in scores_by(IMAGENET, {CLEAN: records(7)})}
    logits = np.zeros(1000)
    logits[[7, 3]] = 2, 3
    sure = second.softmax(logits.astype(np.float32))[3]
    logits[3] = 1
    unsure = second.softmax(logits.astype(np.float32))[7]
    # A single bin of ten; of ECE's bins, both confidences are in the first.
    expected = abs((7 * sure + 3 * unsure) / 10 - 0.7)
    assert scores["rms_calibration_error"].value == pytest.approx(expected, abs=1e-7)
    assert scores["ece"].value == pytest.approx(expected, abs=1e-7)
    assert (scores["ece"].n, scores["ece"].low) == (10, None)


def test_published_size_makes_a_cell_complete() -> None:
    top1 = scores_by(IMAGENET, {CLEAN: records(25_000, 50_000)})[0]
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


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("imagenetc", "imagenet-c"),
        ("ImageNet-C", "imagenet-c"),
        ("IMAGENET", "imagenet"),
        ("imagenet_a", "imagenet-a"),
        ("imagnet-p", "imagenet-p"),
        ("Cue Conflict", "cue-conflict"),
    ],
)
def test_another_spelling_gets_the_name_that_is_meant(name: str, meant: str) -> None:
    assert find_benchmark(meant).name == meant
    with pytest.raises(InputError, match=rf"Unknown benchmark {name!r}\. Did you mean {meant}\?$"):
        find_benchmark(name)


@pytest.mark.parametrize(
    "name",
    ["imagenet-r", "imagenet-v2", "imagenetv2", "imagenet-o", "imagenet-sketch", "objectnet", ""],
)
def test_another_benchmark_gets_the_list_of_those_that_there_are(name: str) -> None:
    listed = "Expected imagenet, imagenet-c, imagenet-p, cue-conflict, imagenet-a."
    with pytest.raises(InputError) as caught:
        find_benchmark(name)
    assert str(caught.value) == f"Unknown benchmark {name!r}. {listed}"


def test_one_clean_image_is_not_paired_with_two_corrupted_ones() -> None:
    clean = records(10)
    both = pa.chunked_array([["n01440764/00.png", "n01440764/00.jpg", "n01440764/01.JPEG"]])
    assert outcomes_in_order(clean, both) is None
    assert outcomes_in_order(clean, both.slice(1)) is not None


def test_clean_names_that_differ_in_their_suffix_only_are_not_guessed_between() -> None:
    right = np.ones(10, bool)
    both = pa.concat_tables([records_of(right, suffix=".png"), records_of(~right, suffix=".gif")])
    score = by_metric(scores_of(all_cells(4), both))["relative_mce"]
    assert "lacks some of the images" in str(score.reason)
