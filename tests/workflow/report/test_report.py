"""Reports over several runs: names, rows and columns, and the published numbers beside."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import evaluator
from evaluator.contracts import Condition, GraphKind, RunManifest, Score, WeightsOrigin
from evaluator.errors import InputError
from evaluator.evaluate.benchmarks.imagenet_c import CONDITIONS
from evaluator.records.run import create_or_open
from evaluator.records.shards import shard_path, shards_of
from evaluator.reporting.table import Table
from evaluator.tests.written_cue_runs import NAMES, write_cue_run
from evaluator.tests.written_runs import records_of, write_run
from evaluator.workflow.report.report import Report


def table(report: Report, title: str) -> Table:
    return next(t for t in report.tables() if t.title.startswith(title))


def test_models_stand_side_by_side_with_the_papers_numbers_beside_its_models(
    tmp_path: Path,
) -> None:
    write_run(tmp_path / "a", model="resnext101_32x8d_wsl")
    write_run(tmp_path / "b", model="resnet50", right=2)
    summary = table(evaluator.report([tmp_path]), "Robustness")
    assert [row[0] for row in summary.rows] == [
        "resnext101_32x8d_wsl",
        "resnet50",
        "resnext101_32x8d_wsl, as published",
    ]
    published = dict(zip(summary.header, summary.rows[2], strict=True))
    assert published["mCE %"] == "51.7"
    assert published["relative mCE %"] == "65.6"
    corruptions = table(evaluator.report([tmp_path]), "Corruption error")
    assert corruptions.header[1:] == (
        "resnext101_32x8d_wsl*",
        "resnet50*",
        "resnext101_32x8d_wsl, as published",
    )
    assert len(corruptions.rows) == 15
    assert corruptions.rows[9] == ("fog", "61.0", "97.6", "42.2")


def test_all_the_papers_models_are_shown_on_request(tmp_path: Path) -> None:
    write_run(tmp_path / "a")
    report = evaluator.report([tmp_path], all_published=True)
    names = [row[0] for row in table(report, "Robustness").rows]
    assert len(names) == 6
    assert names[-1] == "resnext101_32x48d_wsl, as published"
    assert {p["model"] for p in report.document()["published"]} == {
        name.removesuffix(", as published") for name in names[1:]
    }


def test_weights_that_are_not_the_published_ones_stand_in_the_name(tmp_path: Path) -> None:
    write_run(tmp_path / "a", weights=WeightsOrigin("random", "seed 3"))
    write_run(tmp_path / "b", weights=WeightsOrigin("file", "/somewhere/mine.pth", "ab"))
    names = [row[0] for row in table(evaluator.report([tmp_path]), "Robustness").rows]
    assert names == ["resnet50 (random weights)", "resnet50 (mine.pth)"]


def test_runs_that_differ_in_little_have_names_that_differ(tmp_path: Path) -> None:
    write_run(tmp_path / "a", engine="one graph")
    write_run(tmp_path / "b", engine="another graph")
    names = [row[0] for row in table(evaluator.report([tmp_path]), "Robustness").rows]
    assert len(set(names)) == 2


def test_half_precision_stands_in_the_name_and_inputs_where_they_tell_runs_apart(
    tmp_path: Path,
) -> None:
    write_run(tmp_path / "half", kind=GraphKind("fp16"))
    assert [r[0] for r in table(evaluator.report([tmp_path]), "Robustness").rows] == [
        "resnet50 (fp16)"
    ]
    write_run(tmp_path / "images", kind=GraphKind("fp16", "images"))
    write_run(tmp_path / "single")
    names = [row[0] for row in table(evaluator.report([tmp_path]), "Robustness").rows]
    assert names == ["resnet50 (fp16), pixels", "resnet50 (fp16), images", "resnet50"]


def test_the_command_that_completes_a_run_says_its_precision_and_input(tmp_path: Path) -> None:
    kind = GraphKind("bf16", "images")
    write_run(tmp_path / "c", kind=kind, conditions=CONDITIONS[:-1])
    (score,) = (s for s in evaluator.report([tmp_path]).scores if s.metric == "mce")
    assert "--precision bf16 --input images" in str(score.reason)


def test_a_clean_run_that_does_not_fit_says_in_what_it_differs(tmp_path: Path) -> None:
    write_run(tmp_path / "c", kind=GraphKind("fp16"))
    write_run(tmp_path / "clean", conditions=(Condition(),), right=9)
    reason = str(relative_mce(evaluator.report([tmp_path])).reason)
    assert reason.endswith(f"{tmp_path / 'clean'} is another: precision is fp32 there, fp16 here")


def test_clean_and_corrupted_runs_of_one_model_share_a_row(tmp_path: Path) -> None:
    write_run(tmp_path / "c")
    write_run(tmp_path / "clean", conditions=(Condition(),), right=9)
    (row,) = table(evaluator.report([tmp_path]), "Robustness").rows
    assert row[0] == "resnet50"
    assert row[1].startswith("10.0 [")
    assert all(row)


@pytest.mark.parametrize("other", [{"engine": "another graph"}, {"model": "alexnet"}])
def test_the_clean_run_of_another_engine_or_model_does_not_count(
    tmp_path: Path, other: dict[str, str]
) -> None:
    write_run(tmp_path / "c")
    write_run(tmp_path / "clean", conditions=(Condition(),), **other)  # type: ignore[arg-type]
    scores = evaluator.report([tmp_path]).scores
    (relative,) = (s for s in scores if s.metric == "relative_mce")
    assert relative.value is None
    assert "the same model and engine" in str(relative.reason)


def test_relative_ce_stands_beside_ce_where_the_clean_error_is_known(tmp_path: Path) -> None:
    write_run(tmp_path / "c")
    alone = evaluator.report([tmp_path])
    assert table(alone, "resnet50").header[-1] == "CE"
    write_run(tmp_path / "clean", conditions=(Condition(),), right=9)
    report = evaluator.report([tmp_path])
    fog = next(row for row in table(report, "resnet50").rows if row[0] == "fog")
    # 100 (0.5 - 0.1) / (0.819324 - 0.435)
    assert fog[-2:] == ("61.0", "104.1")
    write_run(tmp_path / "c2", model="alexnet", right=2)
    write_run(tmp_path / "clean2", model="alexnet", conditions=(Condition(),), right=9)
    write_run(tmp_path / "without", model="resnext101_32x8d")
    report = evaluator.report([tmp_path])
    assert table(report, "Relative corruption error").header == (
        "corruption", "resnet50*", "alexnet*", "resnext101_32x8d, as published"
    )  # fmt: skip


def test_the_first_table_says_what_its_numbers_are(tmp_path: Path) -> None:
    write_run(tmp_path / "clean", conditions=(Condition(),))
    notes = table(evaluator.report([tmp_path]), "Robustness").notes
    assert "[low, high]: 95 % Wilson interval" in notes
    assert not any("CE" in note for note in notes)
    write_run(tmp_path / "c")
    summary = table(evaluator.report([tmp_path]), "Robustness")
    assert summary.header[3:] == ("mean error %", "mCE %", "relative mCE %")
    for word in ("mean error: ", "mCE: ", "relative mCE: ", "43.5 %, is a fit"):
        assert any(word in note for note in summary.notes)


def relative_mce(report: Report) -> Score:
    (found,) = (s for s in report.scores if s.metric == "relative_mce")
    return found


def test_a_clean_run_that_is_not_finished_is_the_reason_and_no_row_of_its_own(
    tmp_path: Path,
) -> None:
    write_run(tmp_path / "c")
    clean = write_run(tmp_path / "clean", conditions=(Condition(),), shards=5)
    next(clean.rglob("part-00001.parquet")).unlink()
    report = evaluator.report([tmp_path])
    assert len(table(report, "Robustness").rows) == 1
    assert relative_mce(report).value is None
    assert str(relative_mce(report).reason) == (
        f"the imagenet run {clean} is not finished (8 of 10). Complete it with: evaluator score "
        f"resnet50 imagenet --data /data --out {clean} --engine onnxruntime"
    )


def test_a_run_with_skipped_images_is_completed_as_it_was_begun(tmp_path: Path) -> None:
    def reason(name: str, *skipped: int) -> str:
        answers = records_of(np.arange(10) < 5, skipped)
        run = write_run(tmp_path / name, records=lambda _: answers)
        next(run.rglob("part-*.parquet")).unlink()
        (mce,) = (s for s in evaluator.report([run]).scores if s.metric == "mce")
        return str(mce.reason)

    assert "--on-error skip" in reason("skipping", 9)
    assert "--on-error" not in reason("whole")


def test_of_two_clean_runs_the_finished_one_counts(tmp_path: Path) -> None:
    write_run(tmp_path / "c")
    write_run(tmp_path / "a", conditions=(Condition(),), shards=5)
    write_run(tmp_path / "b", conditions=(Condition(),), shards=5)
    for name, parts in (("a", 1), ("b", 0)):
        for path in sorted((tmp_path / name).rglob("*.parquet"))[:parts]:
            path.unlink()
    assert relative_mce(evaluator.report([tmp_path])).value is not None


def test_a_refused_relative_mce_gives_the_command_that_has_it(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "a run")
    reason = str(relative_mce(evaluator.report([folder])).reason)
    assert reason.endswith(f"evaluator report RUN_IMAGENET '{folder}'")


def test_runs_are_given_as_paths_or_words_one_or_several(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "a")
    several = evaluator.report([folder])
    assert several.scores
    for runs in (folder, str(folder), [str(folder)], (tmp_path,)):
        assert evaluator.report(runs).scores == several.scores


def test_runs_without_a_record_are_a_line_and_no_row(tmp_path: Path) -> None:
    write_run(tmp_path / "c")
    clean = write_run(tmp_path / "clean", conditions=(Condition(),))
    other = write_run(tmp_path / "other", model="alexnet")
    for folder in (clean, other):
        shutil.rmtree(folder / "records")
    report = evaluator.report([tmp_path])
    assert [row[0] for row in table(report, "Robustness").rows] == ["resnet50"]
    assert "not finished (0 of 10)" in str(relative_mce(report).reason)
    (note,) = table(report, "What ran").notes
    assert note.startswith(f"started, but nothing is finished yet: {clean}, {other}.")
    assert report.document()["notes"] == [note]
    assert not [s for s in report.scores if s.run in (str(clean), str(other))]
    assert "DATA" not in report.markdown()


def test_a_report_of_nothing_but_a_run_without_a_record_says_so(tmp_path: Path) -> None:
    shutil.rmtree(write_run(tmp_path / "c") / "records")
    report = evaluator.report([tmp_path])
    assert report.scores == ()
    assert [t.title for t in report.tables()] == ["What ran"]
    assert "nothing is finished yet" in report.markdown()


def test_records_without_a_manifest_are_named(tmp_path: Path) -> None:
    write_run(tmp_path / "a")
    lost = write_run(tmp_path / "b" / "lost")
    (lost / "run.json").unlink()
    (note,) = evaluator.report([tmp_path]).notes
    assert note == f"left out: {lost} holds records but no run.json, which describes them."
    with pytest.raises(
        InputError, match=rf"contains no run: .* {lost} contains records. Restore its"
    ):
        evaluator.report([tmp_path / "b"])


def test_waived_parity_marks_every_number(tmp_path: Path) -> None:
    write_run(tmp_path / "a", parity="not checked")
    report = evaluator.report([tmp_path])
    assert all("!" in row[1] for row in table(report, "Robustness").rows)
    assert "parity is not proved" in report.markdown()


def test_a_begun_condition_is_missing_not_a_smaller_number(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "a", conditions=CONDITIONS[:5])
    run = create_or_open(folder, replace(_manifest_of(folder)))
    shard_path(run, shards_of(CONDITIONS[2:3], 10, 10)[0]).unlink()
    scores = evaluator.report([folder]).scores
    assert {s.severity for s in scores if s.metric == "top1_error"} == {1, 2, 4, 5}
    (ce,) = (s for s in scores if s.metric == "ce")
    assert ce.value is None
    assert "gaussian_noise at severity 3" in str(ce.reason)


def test_an_unknown_benchmark_on_disk_is_named(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "a")
    manifest = _manifest_of(folder)
    other = replace(manifest, key=replace(manifest.key, benchmark="imagenet-x"), seal="")
    create_or_open(tmp_path / "b", other)
    with pytest.raises(InputError, match="Unknown benchmark 'imagenet-x'"):
        evaluator.report([tmp_path])


def _manifest_of(folder: Path) -> RunManifest:
    from evaluator.records.run import open_run

    return open_run(folder).manifest


def test_a_link_to_a_run_is_followed_and_no_other(tmp_path: Path) -> None:
    run = write_run(tmp_path / "elsewhere" / "run")
    runs = tmp_path / "runs"
    runs.mkdir()
    (runs / "linked").symlink_to(run)
    (runs / "loop").symlink_to(tmp_path)
    (row,) = table(evaluator.report(runs), "What ran").rows
    assert row[0] == str(runs / "linked")


def test_means_over_cells_have_intervals_and_the_table_says_which(tmp_path: Path) -> None:
    write_run(tmp_path / "c")
    write_run(tmp_path / "clean", conditions=(Condition(),), right=9)
    report = evaluator.report([tmp_path])
    summary = table(report, "Robustness")
    # Five of ten images are wrong everywhere: scores 0 and 1, s / sqrt(n) = 0.527046 / 3.162278.
    assert summary.rows[0][3] == "50.0 [17.3, 82.7]*"
    assert (
        "[low, high]: 95 % interval over the images, the same ones in all cells; for top-1 and "
        "top-5 error: 95 % Wilson interval"
    ) in summary.notes
    (mce,) = (s for s in report.scores if s.metric == "mce")
    assert mce.low is not None


def test_calibration_has_a_table_of_its_own(tmp_path: Path) -> None:
    write_run(tmp_path / "c", model="alexnet")
    assert not any(t.title.startswith("Calibration") for t in evaluator.report(tmp_path).tables())
    write_run(tmp_path / "clean", conditions=(Condition(),))
    calibration = table(evaluator.report(tmp_path), "Calibration")
    (row,) = calibration.rows
    assert row[0] == "resnet50"
    # One bin. Right: e^3 / (e^3 + e^2 + 998) = 0.0196 sure; wrong: e^2 / (e^2 + e + 998) = 0.0073.
    # Half are right: 0.5 - 0.0135.
    assert row[1] == row[2] == "48.7*"


def test_skipped_images_are_told_with_their_number(tmp_path: Path) -> None:
    right = np.arange(10) < 5
    write_run(
        tmp_path / "c", records=lambda c: records_of(right, [0] if c == CONDITIONS[3] else [])
    )
    report = evaluator.report([tmp_path])
    summary = table(report, "Robustness")
    assert summary.rows[0][1].endswith("*~")
    assert "~ what was skipped is left out of the number: up to 1 of the images" in summary.notes
    severities = table(report, "resnet50")
    assert severities.rows[0][4].endswith("*~")
    assert severities.rows[1][4].endswith("*")
    assert {s["skipped"] for s in report.document()["scores"]} == {0, 1}


def test_a_cell_of_which_all_images_were_skipped_is_told_below_its_table(tmp_path: Path) -> None:
    right, empty = np.arange(10) < 5, CONDITIONS[3]
    run = write_run(
        tmp_path / "c", records=lambda c: records_of(right, range(10) if c == empty else [])
    )
    next((run / "records" / CONDITIONS[-1].folder).glob("*.parquet")).unlink()
    severities = table(evaluator.report([run]), "resnet50")
    assert severities.rows[0][4] == "refused"
    # Not with the command that scores what else the run lacks: it would change nothing here.
    told = "refused, every image was skipped: gaussian_noise 4 (10 images)"
    assert severities.notes[-1] == told


def test_a_limit_that_left_out_what_the_papers_stimuli_need_is_blamed_for_it(
    tmp_path: Path,
) -> None:
    def reason(limit: int | None) -> str:
        run = write_cue_run(tmp_path / f"of {limit}", tmp_path, limit=limit)
        other = write_cue_run(tmp_path / f"b of {limit}", tmp_path, limit=limit, seed=2, model="b")
        (refused,) = {s.reason for s in evaluator.report(run).scores if s.stimuli == 1201}
        compared = evaluator.compare(run, other).differences
        assert {d.reason for d in compared if d.stimuli == 1201} == {refused}
        return str(refused)

    assert "is not among the 240 stimuli that --limit chose: score a tree that has it without" in (
        reason(len(NAMES))
    )
    for all_of_them in (None, len(NAMES) + 1):
        assert reason(all_of_them).endswith("score a tree that has it")
