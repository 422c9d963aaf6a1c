"""ImageNet-A: which classes count, and what records add up to."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest

from evaluator.contracts import (
    BENCHMARK_INFO,
    Condition,
    Difference,
    Item,
    NullProgress,
    Score,
)
from evaluator.errors import InputError
from evaluator.evaluate.benchmarks.image_metrics import PlainImages
from evaluator.evaluate.benchmarks.imagenet_a import IMAGENET_A
from evaluator.evaluate.classes import imagenet_a_index
from evaluator.evaluate.sources.open_source import open_source
from evaluator.tests import second_imagenet_a as second
from evaluator.tests.score_rows import differences_by, scores_by
from evaluator.tests.second_implementation import wilson
from evaluator.tests.written_runs import batch_of

CLEAN = Condition()
Floats = npt.NDArray[np.float32]


def drawn(n: int, seed: int = 0) -> tuple[Floats, list[int]]:
    """Logits, half of which have the label as their largest of the 200, and labels."""
    chance = np.random.default_rng(seed)
    logits = (chance.normal(size=(n, 1000)) * 2).astype(np.float32)
    labels = chance.choice(second.classes(), n).tolist()
    for row, label in zip(logits[::2], labels[::2], strict=True):
        row[label] += 6
    return logits, labels


def recorded(logits: Floats, labels: list[int], skip: int = 0) -> pa.Table:
    items = [Item(f"{i:05}", label, "") for i, label in enumerate(labels)]
    table = pa.Table.from_batches([IMAGENET_A.record(logits, batch_of(items))])
    errors = pa.array(["broken"] * skip + [None] * (len(labels) - skip), pa.string())
    return table.set_column(4, "error", errors)


def scores_of(table: pa.Table) -> dict[str, Score]:
    return {score.metric: score for score in scores_by(IMAGENET_A, {CLEAN: table})}


def test_only_the_200_classes_are_answered_and_their_probabilities_sum_to_one() -> None:
    logits, labels = drawn(30)
    others = np.setdiff1d(np.arange(1000), second.classes())
    logits[:, others] += 40  # without the mask, these would be all that is answered
    for row, label, one in zip(recorded(logits, labels).to_pylist(), labels, logits, strict=True):
        expected = second.answer(label, one)
        assert row["top5"] == expected.top5
        assert row["label"] == label
        np.testing.assert_allclose(row["probability"], expected.probability, rtol=1e-6)


def test_any_set_of_images_can_have_classes_of_its_own() -> None:
    images = PlainImages(BENCHMARK_INFO["imagenet"], frozenset({3, 5, 8, 13, 21}))
    logits = np.arange(60, dtype=np.float32).reshape(2, 30) % 7
    labels = [5, 3]
    batch = batch_of([Item(f"{i}", label, "") for i, label in enumerate(labels)])
    table = pa.Table.from_batches([images.record(logits, batch)])
    # Of the five, row 0 has the logits 3, 5, 1, 6, 0 and row 1 has 5, 0, 3, 1, 2.
    assert table["top5"].to_pylist() == [[13, 5, 3, 8, 21], [3, 8, 21, 13, 5]]
    scores = {s.metric: s for s in scores_by(images, {CLEAN: table})}
    assert [scores[name].value for name in ("top1_error", "top5_error")] == [0.5, 0.0]


def test_ties_go_to_the_lower_class_index_among_the_200() -> None:
    table = recorded(np.zeros((1, 1000), np.float32), [6])
    assert table.to_pylist()[0]["top5"] == [6, 11, 13, 15, 17]
    assert table.to_pylist()[0]["probability"] == pytest.approx([1 / 200] * 5)


@pytest.mark.parametrize("skip", [0, 7])
def test_the_three_numbers_equal_the_second_implementation(skip: int) -> None:
    logits, labels = drawn(1234)
    scores = scores_of(recorded(logits, labels, skip))
    answers = [second.answer(label, row) for label, row in zip(labels, logits, strict=True)]
    those = answers[skip:]
    accuracy = scores["accuracy"]
    assert accuracy.value == second.accuracy(those)
    right = sum(one.right for one in those)
    assert (accuracy.low, accuracy.high) == pytest.approx(wilson(right, len(those)))
    rms, area = scores["rms_calibration_error"], scores["aurra"]
    assert rms.value == pytest.approx(second.rms_calibration_error(those), abs=1e-6)
    assert area.value == pytest.approx(second.aurra(those), abs=1e-6)
    for score in scores.values():
        assert (score.n, score.skipped, score.complete) == (1234 - skip, skip, False)


def test_all_7500_photos_are_the_whole_benchmark() -> None:
    logits, labels = drawn(75)
    table = pa.concat_tables([recorded(logits, labels)] * 100)
    assert all(score.complete for score in scores_of(table).values())


def test_the_calibration_error_of_one_bin_is_refused() -> None:
    # The published code would give 0.0: it leaves that bin out.
    for n, refused in ((199, True), (200, False)):
        rms = scores_of(recorded(*drawn(n)))["rms_calibration_error"]
        assert (rms.value is None) == refused
        assert ("leaves out its last bin" in str(rms.reason)) == refused


def test_without_records_or_images_every_number_is_refused() -> None:
    unfinished = scores_by(IMAGENET_A, {})
    skipped = list(scores_of(recorded(*drawn(3), skip=3)).values())
    for scores, reason in ((unfinished, "not finished"), (skipped, "every image was skipped")):
        assert [score.metric for score in scores] == ["accuracy", "rms_calibration_error", "aurra"]
        assert all(score.value is None and reason in str(score.reason) for score in scores)


def difference_of(a: pa.Table, b: pa.Table) -> Difference:
    found = differences_by(IMAGENET_A, {CLEAN: a}, {CLEAN: b})
    (difference,) = found
    return difference


def test_the_difference_is_paired_over_what_both_scored() -> None:
    (logits_a, labels), (logits_b, _) = drawn(400, 1), drawn(400, 2)
    found = difference_of(recorded(logits_a, labels, 5), recorded(logits_b, labels))
    a, b = (
        [second.answer(label, row).right for label, row in zip(labels[5:], rows[5:], strict=True)]
        for rows in (logits_a, logits_b)
    )
    assert (found.a, found.b) == (sum(a) / 395, sum(b) / 395)
    assert found.difference == pytest.approx((sum(b) - sum(a)) / 395)
    assert found.only_a_right == sum(x and not y for x, y in zip(a, b, strict=True))
    assert found.only_b_right == sum(y and not x for x, y in zip(a, b, strict=True))
    gained = np.array(b, float) - np.array(a)
    margin = 1.959964 * gained.std(ddof=1) / 395**0.5
    assert (found.low, found.high) == pytest.approx(
        (gained.mean() - margin, gained.mean() + margin)
    )
    assert (found.n, found.skipped) == (395, 5)


def test_an_unfinished_run_has_no_difference() -> None:
    (found,) = differences_by(IMAGENET_A, {}, {})
    assert found.difference is None


def test_folders_of_other_classes_are_refused(tmp_path: Path) -> None:
    # 0 is a class of ImageNet and none of ImageNet-A's.
    for wnid in ("n01498041", "n01440764"):
        (tmp_path / wnid).mkdir()
        (tmp_path / wnid / "x.jpg").touch()
    source = open_source([tmp_path], [CLEAN], progress=NullProgress(), layout=IMAGENET_A.layout)
    words = "n01440764 is not a class folder: expected the WordNet id of a class of ImageNet-A"
    with pytest.raises(InputError, match=words):
        source.items(CLEAN)
    (tmp_path / "n01440764" / "x.jpg").unlink()
    (tmp_path / "n01440764").rmdir()
    (item,) = source.items(CLEAN)
    assert item.label == imagenet_a_index()["n01498041"] == 6
