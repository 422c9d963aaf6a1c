"""Which runs stand in one row of a report."""

from pathlib import Path

import evaluator
from evaluator.contracts import Condition
from evaluator.tests.written_runs import write_run
from evaluator.tests.written_videos import random_videos, write_videos
from evaluator.workflow.report.report import Report

CLEAN = (Condition(),)
VIDEOS = random_videos(1, 4)


def rows(report: Report) -> dict[str, set[str]]:
    """The benchmarks of each row."""
    return {entry.name: {s.benchmark for s in entry.scores} for entry in report.entries}


def test_all_benchmarks_of_one_model_and_engine_are_one_row(tmp_path: Path) -> None:
    write_run(tmp_path / "c")
    write_run(tmp_path / "clean", conditions=CLEAN)
    write_videos(tmp_path / "p", VIDEOS)
    report = evaluator.report(tmp_path)
    assert rows(report) == {"resnet50": {"imagenet", "imagenet-c", "imagenet-p"}}
    # Each number once, the clean ones first.
    assert len(report.scores) == len(report.entries[0].scores)
    assert report.scores[0].benchmark == "imagenet"
    assert len(next(t for t in report.tables() if t.title.startswith("Table 1")).rows) == 8


def test_another_engine_or_model_is_another_row(tmp_path: Path) -> None:
    write_run(tmp_path / "c")
    write_videos(tmp_path / "p", VIDEOS, model="alexnet")
    write_videos(tmp_path / "q", VIDEOS, engine="another graph")
    found = [{s.benchmark for s in entry.scores} for entry in evaluator.report(tmp_path).entries]
    assert found == [{"imagenet-c"}, {"imagenet-p"}, {"imagenet-p"}]


def test_a_second_run_of_a_benchmark_has_a_row_of_its_own(tmp_path: Path) -> None:
    write_run(tmp_path / "a")
    write_run(tmp_path / "b", generated={"seed": 1})
    write_videos(tmp_path / "p", VIDEOS)
    assert [len(found) for found in rows(evaluator.report(tmp_path)).values()] == [2, 1]


def test_a_run_stands_with_those_whose_data_were_made_alike(tmp_path: Path) -> None:
    write_run(tmp_path / "a")
    write_run(tmp_path / "b", generated={"seed": 1})
    write_videos(tmp_path / "p", VIDEOS, generated={"seed": 2})
    found = rows(evaluator.report(tmp_path))
    assert list(found.values()) == [{"imagenet-c"}, {"imagenet-c", "imagenet-p"}]
