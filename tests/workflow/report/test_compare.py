"""Two models on the same images: paired differences, and what cannot be compared."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest

import evaluator
from evaluator.contracts import ALEXNET_ERROR, Z_95, Condition, Difference
from evaluator.errors import InputError
from evaluator.evaluate.benchmarks.imagenet_c import CONDITIONS
from evaluator.reporting.table import Table
from evaluator.tests import second_implementation as second
from evaluator.tests.written_runs import records_of, write_run
from evaluator.workflow.report.compare import Comparison

CLEAN = (Condition(),)
N = 40
Rights = dict[Condition, npt.NDArray[np.bool_]]


def rights(seed: int, skill: float, hard: int = 0) -> Rights:
    """Which images a model gets right in each cell, and clean; hard ones are hard for all."""
    chance = np.random.default_rng(seed)
    images = np.random.default_rng(hard).normal(size=N)
    return {
        c: images + chance.normal(size=N) + skill > 0.3 * int(dict(c.values).get("severity", 0))
        for c in (*CONDITIONS, *CLEAN)
    }


def of(
    answers: Rights, skipped: dict[Condition, list[int]] | None = None
) -> Callable[[Condition], pa.Table]:
    return lambda condition: records_of(answers[condition], (skipped or {}).get(condition, ()))


def write_model(folder: Path, answers: Rights, model: str) -> Path:
    write_run(folder / "c", model=model, records=of(answers))
    write_run(folder / "clean", model=model, records=of(answers), conditions=CLEAN)
    return folder


def find(comparison: Comparison, metric: str, severity: int | None = None) -> Difference:
    return next(d for d in comparison.differences if (d.metric, d.severity) == (metric, severity))


def table(comparison: Comparison, title: str) -> Table:
    return next(t for t in comparison.tables() if t.title.startswith(title))


def in_words(answers: Rights) -> dict[tuple[str, int], list[bool | None]]:
    return {
        (str(c["corruption"]), int(c["severity"])): list(map(bool, right))
        for c, right in answers.items()
        if c.values
    }


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Rights, Rights, Comparison]:
    folder = tmp_path_factory.mktemp("runs")
    ours, theirs = rights(1, 1.0), rights(2, 1.4)
    a = write_model(folder / "a", ours, "resnet50")
    b = write_model(folder / "b", theirs, "alexnet")
    return ours, theirs, evaluator.compare(a, b)


def test_every_difference_is_that_of_the_second_implementation(
    pair: tuple[Rights, Rights, Comparison],
) -> None:
    ours, theirs, comparison = pair
    a, b = in_words(ours), in_words(theirs)
    clean_a, clean_b = (list(map(bool, answers[CLEAN[0]])) for answers in (ours, theirs))
    for metric, of_a, of_b in (
        ("mean_error", second.mean_error_interval(a), second.mean_error_interval(b)),
        ("mce", second.mce_interval(a), second.mce_interval(b)),
        (
            "relative_mce",
            second.relative_mce_interval(a, clean_a),
            second.relative_mce_interval(b, clean_b),
        ),
    ):
        found = find(comparison, metric)
        assert (found.a, found.b) == pytest.approx((of_a[0], of_b[0]), abs=1e-9)
        assert found.difference == pytest.approx(of_b[0] - of_a[0], abs=1e-9)
    assert {d.corruption for d in comparison.differences if d.metric == "ce"} == set(ALEXNET_ERROR)


def test_the_interval_of_mce_is_that_of_a_bootstrap_of_the_same_images_for_both(
    pair: tuple[Rights, Rights, Comparison],
) -> None:
    ours, theirs, comparison = pair
    weights = np.array([1 / (75 * ALEXNET_ERROR[str(c["corruption"])]) for c in CONDITIONS])
    a, b = (weights @ ~np.stack([r[c] for c in CONDITIONS]) for r in (ours, theirs))
    chance = np.random.default_rng(0)
    times = chance.multinomial(N, np.full(N, 1 / N), size=4000)
    resampled = times @ (b - a) / N
    found = find(comparison, "mce")
    assert found.low is not None and found.high is not None  # noqa: PT018
    assert (found.high - found.low) / 2 / Z_95 == pytest.approx(resampled.std(), rel=0.05)
    # Alone, the two models have intervals that pairing does not need.
    alone = (a.std(ddof=1) ** 2 + b.std(ddof=1) ** 2) ** 0.5 / N**0.5
    assert (found.high - found.low) / 2 / Z_95 < 0.8 * alone


def test_a_single_error_by_hand(tmp_path: Path) -> None:
    # Of ten images the first 5 are right with A, the first 2 with B: three differ, all for A.
    a = write_run(tmp_path / "a", conditions=CLEAN, right=5)
    b = write_run(tmp_path / "b", conditions=CLEAN, right=2, model="alexnet")
    found = find(evaluator.compare(a, b), "top1_error")
    assert (found.a, found.b) == pytest.approx((0.5, 0.8))
    # Scores 1 1 1 and seven 0: mean 0.3, variance 10/9 * 0.21.
    margin = Z_95 * (0.21 / 9) ** 0.5
    assert found.difference == pytest.approx(0.3)
    assert (found.low, found.high) == pytest.approx((0.3 - margin, 0.3 + margin))
    assert (found.only_a_right, found.only_b_right, found.n) == (3, 0, 10)
    turned = find(evaluator.compare(b, a), "top1_error")
    assert turned.difference == pytest.approx(-0.3)
    assert turned.only_b_right == 3
    five = find(evaluator.compare(a, b), "top5_error")
    assert (five.difference, five.low, five.only_a_right) == (0, None, 0)


def test_images_that_either_skipped_count_for_neither(tmp_path: Path) -> None:
    answers = rights(1, 1.0)
    others = rights(2, 1.4)
    first, second_ = CONDITIONS[:2]
    a = write_run(tmp_path / "a", records=of(answers, {first: [0, 1], second_: [5]}))
    b = write_run(tmp_path / "b", records=of(others, {first: [1, 2]}), model="alexnet")
    comparison = evaluator.compare(a, b)
    found = find(comparison, "top1_error", severity=1)
    assert (found.n, found.skipped) == (N - 3, 3)
    assert found.a == pytest.approx(1 - answers[first][3:].mean())
    assert found.b == pytest.approx(1 - others[first][3:].mean())
    mean = find(comparison, "mean_error")
    assert (mean.n, mean.skipped) == (N - 3, 4)
    cells = [d for d in comparison.differences if d.metric == "top1_error"]
    assert mean.a == pytest.approx(np.mean([d.a for d in cells if d.a is not None]))
    notes = table(comparison, "Comparison").notes
    assert any(note.startswith("~ what was skipped") for note in notes)


def test_the_tables_say_which_is_which_and_mark_every_number(
    pair: tuple[Rights, Rights, Comparison],
) -> None:
    comparison = pair[2]
    summary = table(comparison, "Comparison")
    assert summary.header == ("", "A*", "B*", "B - A*", "only A right", "only B right")
    assert [row[0] for row in summary.rows] == [
        "top-1 error %", "top-5 error %", "mean error %", "mCE %", "relative mCE %"
    ]  # fmt: skip
    assert summary.notes[0].startswith("A: resnet50; B: alexnet; a difference below zero")
    assert len(table(comparison, "CE").rows) == len(table(comparison, "Relative CE").rows) == 15
    assert len(table(comparison, "Top-1 error by severity, B - A").rows) == 15
    assert [row[1].split(",")[1] for row in table(comparison, "What ran").rows] == [
        " resnet50 (https://example.org/weights-0123abcd.pth)"
    ] * 2 + [" alexnet (https://example.org/weights-0123abcd.pth)"] * 2
    assert "B - A" in comparison.markdown()


def test_the_document_has_both_models_and_every_difference(
    pair: tuple[Rights, Rights, Comparison],
) -> None:
    document = pair[2].document()
    assert document["schema"] == 1
    assert (document["a"]["model"], document["b"]["model"]) == ("resnet50", "alexnet")
    assert [run["benchmark"] for run in document["a"]["runs"]] == ["imagenet", "imagenet-c"]
    # Two clean errors; three means; CE and relative CE of 15; two errors in each of 75 cells.
    assert len(document["differences"]) == 2 + 3 + 30 + 150
    assert {"a", "b", "difference", "low", "high", "n", "skipped", "only_a_right"} <= set(
        document["differences"][0]
    )


def test_other_images_are_refused_with_how_many_and_the_first(tmp_path: Path) -> None:
    right = np.ones(10, bool)
    a = write_run(tmp_path / "a", records=lambda _: records_of(right), conditions=CLEAN)
    b = write_run(tmp_path / "b", records=lambda _: records_of(right[:8]), conditions=CLEAN)
    with pytest.raises(InputError, match=r"B lacks 2 of A's 10, first n01440764/08\.JPEG"):
        evaluator.compare(a, b)
    with pytest.raises(InputError, match=r"A lacks 2 of B's 10, first n01440764/08\.JPEG"):
        evaluator.compare(b, a)


def test_other_labels_of_the_same_images_are_refused(tmp_path: Path) -> None:
    table = records_of(np.ones(10, bool))
    other = table.set_column(1, table.schema.field(1), pa.array([3] * 9 + [4], pa.int32()))
    a = write_run(tmp_path / "a", records=lambda _: table, conditions=CLEAN)
    b = write_run(tmp_path / "b", records=lambda _: other, conditions=CLEAN)
    with pytest.raises(InputError, match=r"the labels of 1 images, first n01440764/09\.JPEG"):
        evaluator.compare(a, b)


def test_the_same_run_twice_is_refused_also_by_a_link(tmp_path: Path) -> None:
    a = write_run(tmp_path / "a", conditions=CLEAN)
    (tmp_path / "link").symlink_to(a)
    for other in (a, tmp_path / "link", tmp_path / "a" / ".." / "a"):
        with pytest.raises(InputError, match="A and B are the same run"):
            evaluator.compare(a, other)


def test_other_benchmarks_and_several_models_are_refused(tmp_path: Path) -> None:
    clean = write_run(tmp_path / "a" / "clean", conditions=CLEAN)
    corrupted = write_run(tmp_path / "b" / "c", conditions=CONDITIONS[:5])
    with pytest.raises(
        InputError, match="no benchmark in common: A has imagenet, B has imagenet-c"
    ):
        evaluator.compare(clean, corrupted)
    write_run(tmp_path / "b" / "d", conditions=CONDITIONS[:5], model="alexnet")
    with pytest.raises(InputError, match=r"B, .*b, holds runs of several models"):
        evaluator.compare(clean, tmp_path / "b")
    write_run(tmp_path / "a" / "again", conditions=CLEAN, right=4)
    with pytest.raises(InputError, match=r"A, .*a, holds two runs of ImageNet validation"):
        evaluator.compare(tmp_path / "a", corrupted)


def test_images_that_were_generated_otherwise_are_refused(tmp_path: Path) -> None:
    a = write_run(tmp_path / "a", generated={"seed": 1}, conditions=CONDITIONS[:5])
    b = write_run(tmp_path / "b", generated={"seed": 2}, conditions=CONDITIONS[:5])
    with pytest.raises(InputError, match="hold different images under the same names"):
        evaluator.compare(a, b)
    same = write_run(
        tmp_path / "c", generated={"seed": 1}, conditions=CONDITIONS[:5], model="alexnet"
    )
    comparison = evaluator.compare(a, same)
    assert all(d.generated and not d.complete for d in comparison.differences)


def test_a_missing_cell_refuses_the_means_and_keeps_what_both_have(tmp_path: Path) -> None:
    a = write_run(tmp_path / "a", conditions=CONDITIONS[:12])
    b = write_run(tmp_path / "b", conditions=CONDITIONS[5:], model="alexnet", right=3)
    comparison = evaluator.compare(a, b)
    mce = find(comparison, "mce")
    assert (mce.difference, mce.a) == (None, None)
    assert str(mce.reason).startswith("68 of 75 cells are missing: gaussian_noise")
    ce = {d.corruption: d for d in comparison.differences if d.metric == "ce"}
    assert ce["shot_noise"].difference == pytest.approx(0.2 / 0.894468)
    assert ce["impulse_noise"].difference is None
    assert "gaussian_noise" not in ce
    cells = {(d.corruption, d.severity) for d in comparison.differences if d.severity}
    assert len(cells) == 7
    assert [note[:1] for note in comparison.notes] == ["A", "B"]
    assert "evaluator score resnet50 imagenet-c" in comparison.notes[0]


def test_relative_mce_needs_the_clean_run_of_both(tmp_path: Path) -> None:
    a = write_model(tmp_path / "a", rights(1, 1.0), "resnet50")
    b = write_model(tmp_path / "b", rights(2, 1.0), "alexnet")
    relative = find(evaluator.compare(a, b / "c"), "relative_mce")
    assert relative.difference is None
    assert "B came without a finished run of imagenet" in str(relative.reason)
    assert "only A has a run of ImageNet validation" in evaluator.compare(a, b / "c").notes


def test_a_run_without_a_record_is_named(tmp_path: Path) -> None:
    a = write_run(tmp_path / "a", conditions=CLEAN)
    b = write_run(tmp_path / "b", conditions=CLEAN, model="alexnet")
    shutil.rmtree(b / "records")
    with pytest.raises(InputError, match=r"B, .*b, was started, but nothing is finished yet"):
        evaluator.compare(a, b)


def test_an_engine_whose_parity_was_waived_marks_its_own_numbers_and_the_differences(
    tmp_path: Path,
) -> None:
    a = write_run(tmp_path / "a", conditions=CLEAN)
    b = write_run(tmp_path / "b", conditions=CLEAN, model="alexnet", parity="not checked", right=3)
    header = table(evaluator.compare(a, b), "Comparison").header
    assert header[1:4] == ("A*", "B*!", "B - A*!")


def test_other_files_under_the_same_names_are_told(tmp_path: Path) -> None:
    a = write_run(tmp_path / "a", conditions=CLEAN, data_sha256="ab")
    b = write_run(tmp_path / "b", conditions=CLEAN, data_sha256="cd", model="alexnet")
    same = write_run(tmp_path / "c", conditions=CLEAN, data_sha256="ab", model="alexnet")
    assert evaluator.compare(a, same).notes == ()
    (note,) = evaluator.compare(a, b).notes
    assert "B and A read different files of ImageNet validation under the same names" in note
    assert "in 1 shards" in note
