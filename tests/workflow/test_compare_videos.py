"""Two models on the same videos: mFR in the first table, each perturbation in tables of its own."""

from pathlib import Path

import pytest

import evaluator
from evaluator.contracts import Condition
from evaluator.evaluate.benchmarks.imagenet_p import PERTURBATIONS
from evaluator.reporting.table import Table
from evaluator.tests import second_imagenet_p as second
from evaluator.tests.written_runs import write_run
from evaluator.tests.written_videos import random_videos, write_videos
from evaluator.workflow.report.compare import Comparison

N = 8
OURS, THEIRS = random_videos(1, N), random_videos(2, N, restless=0.8)


@pytest.fixture(scope="module")
def comparison(tmp_path_factory: pytest.TempPathFactory) -> Comparison:
    folder = tmp_path_factory.mktemp("runs")
    a = write_videos(folder / "a", OURS, {"tilt": [2]})
    return evaluator.compare(a, write_videos(folder / "b", THEIRS, model="alexnet"))


def table(comparison: Comparison, title: str) -> Table:
    return next(t for t in comparison.tables() if t.title.startswith(title))


def test_mfr_stands_in_the_first_table(comparison: Comparison) -> None:
    (row,) = table(comparison, "Comparison").rows
    assert row[0] == "mFR %"
    without = {p: [None if i == 2 and p == "tilt" else v for i, v in enumerate(those.tolist())]
               for p, those in THEIRS.items()}  # fmt: skip
    assert row[2] == f"{100 * second.mfr_interval(without)[0]:.1f}"
    assert row[3].startswith("+")
    assert "[" in row[3]


def test_each_perturbation_has_a_row_of_flips_and_one_of_ranks(comparison: Comparison) -> None:
    for title in ("Flip probability %", "T5D, ranks"):
        assert [row[0] for row in table(comparison, title).rows] == list(PERTURBATIONS)
    t5d = dict((row[0], row) for row in table(comparison, "T5D").rows)["scale"]
    a, b = (second.of_perturbation("t5d", v["scale"].tolist(), "scale") for v in (OURS, THEIRS))
    assert t5d[1].startswith(f"{a:.2f}")
    assert t5d[3].startswith(f"{b - a:+.2f} [")


def test_a_skipped_video_is_marked_where_it_was_left_out(comparison: Comparison) -> None:
    flips = table(comparison, "Flip probability")
    marked = {row[0] for row in flips.rows if row[3].endswith("~")}
    assert marked == {"tilt"}
    assert any(note.startswith("~ what was skipped") for note in flips.notes)


def test_the_document_has_the_perturbation_of_every_difference(comparison: Comparison) -> None:
    differences = comparison.document()["differences"]
    assert len(differences) == 1 + 2 * len(PERTURBATIONS)
    assert {d["perturbation"] for d in differences} == {None, *PERTURBATIONS}
    assert {d["benchmark"] for d in differences} == {"imagenet-p"}


def test_runs_of_both_models_on_all_benchmarks_are_compared_at_once(tmp_path: Path) -> None:
    for name, model, videos in (("a", "resnet50", OURS), ("b", "alexnet", THEIRS)):
        write_videos(tmp_path / name / "p", videos, model=model)
        write_run(tmp_path / name / "c", model=model)
        write_run(tmp_path / name / "clean", model=model, conditions=(Condition(),))
    comparison = evaluator.compare(tmp_path / "a", tmp_path / "b")
    assert [row[0] for row in table(comparison, "Comparison").rows] == [
        "top-1 error %", "top-5 error %", "mean error %", "mCE %", "relative mCE %", "mFR %"
    ]  # fmt: skip
