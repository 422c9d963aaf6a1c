"""Reports of ImageNet-P: by which run mT5D is normalised, what is advised, what is refused."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import evaluator
from evaluator.contracts import Condition, Score, WeightsOrigin
from evaluator.errors import InputError
from evaluator.evaluate.benchmarks.imagenet_p import PERTURBATIONS
from evaluator.tests import second_imagenet_p as second
from evaluator.tests.written_runs import write_run
from evaluator.tests.written_videos import random_videos, write_videos

ALEXNET = WeightsOrigin(
    "download", "https://download.pytorch.org/models/alexnet-owt-7be5be79.pth", "7be5be79"
)
N = 8
OURS, THEIRS = random_videos(1, N), random_videos(2, N, restless=0.8)
GENERATED = {"generator": "made up", "seed": 1}


def find(scores: Sequence[Score], metric: str, run: Path, by: Path | None = None) -> Score:
    (found,) = (
        score
        for score in scores
        if (score.metric, score.run) == (metric, str(run))
        and score.normalize_by == (None if by is None else str(by))
        and score.perturbation is None
    )
    return found


def write_alexnet(folder: Path, **run: object) -> Path:
    given = {"model": "alexnet", "weights": ALEXNET, **run}
    return write_videos(folder, THEIRS, **given)  # type: ignore[arg-type]


def test_mt5d_and_a_second_mfr_are_relative_to_the_run_that_is_named(tmp_path: Path) -> None:
    run = write_videos(tmp_path / "ours", OURS)
    baseline = write_alexnet(tmp_path / "alexnet")
    report = evaluator.report(run, normalize_by=baseline)
    a, b = ({p: v.tolist() for p, v in videos.items()} for videos in (OURS, THEIRS))
    for mean, metric in (("mfr", "flip_probability"), ("mt5d", "t5d")):
        found = find(report.scores, mean, run, by=baseline)
        value, low, high = second.measured_interval(metric, a, b)
        assert found.value == pytest.approx(value)
        assert (found.low, found.high) == pytest.approx((low, high), rel=0.05)
        assert found.n == N
    assert find(report.scores, "mfr", run).value == pytest.approx(second.mfr_interval(a)[0])
    assert {s["normalize_by"] for s in report.document()["scores"]} == {None, str(baseline)}
    # The baseline was named, not put into the report.
    assert {score.run for score in report.scores} == {str(run)}


def test_the_baseline_may_be_one_of_the_runs(tmp_path: Path) -> None:
    run = write_videos(tmp_path / "ours", OURS)
    baseline = write_alexnet(tmp_path / "alexnet")
    scores = evaluator.report(tmp_path, normalize_by=str(baseline)).scores
    assert find(scores, "mt5d", run, by=baseline).value is not None
    assert find(scores, "mt5d", baseline, by=baseline).value == pytest.approx(1)


def test_a_folder_with_one_run_of_imagenet_p_will_do(tmp_path: Path) -> None:
    run = write_videos(tmp_path / "ours", OURS)
    baseline = write_alexnet(tmp_path / "alexnet" / "p")
    write_run(tmp_path / "alexnet" / "clean", model="alexnet", conditions=(Condition(),))
    scores = evaluator.report(run, normalize_by=tmp_path / "alexnet").scores
    assert find(scores, "mt5d", run, by=baseline).value is not None


def test_the_report_says_by_which_run_and_whether_that_is_alexnet(tmp_path: Path) -> None:
    run = write_videos(tmp_path / "ours", OURS)
    baseline = write_alexnet(tmp_path / "alexnet")
    (note,) = evaluator.report(run, normalize_by=baseline).notes
    assert note == (
        f"mT5D and the second mFR are normalised by {baseline}: alexnet ({ALEXNET.reference}), "
        "224 px, onnxruntime fp32, the weights that torchvision calls IMAGENET1K_V1"
    )
    other = write_videos(tmp_path / "other", THEIRS, model="alexnet")
    (note,) = evaluator.report(run, normalize_by=other).notes
    assert note.endswith(
        "these are not AlexNet's weights, so no mFR or mT5D by it is a published one"
    )
    markdown = evaluator.report(run, normalize_by=other).markdown()
    assert "these are not AlexNet's weights" in markdown


def test_a_run_that_normalised_nothing_is_not_told_as_if_it_had(tmp_path: Path) -> None:
    run = write_videos(tmp_path / "ours", OURS)
    limited = write_alexnet(tmp_path / "limited", limit=N)
    report = evaluator.report(run, normalize_by=limited)
    assert str(limited) in str(find(report.scores, "mt5d", run).reason)
    assert report.notes == ()  # for the number says it
    part = write_videos(tmp_path / "part", OURS, perturbations=PERTURBATIONS[:9])
    baseline = write_alexnet(tmp_path / "alexnet")
    assert evaluator.report(part, normalize_by=baseline).notes == (
        f"nothing could be normalised by {baseline}: see the numbers that are refused",
    )


def test_the_report_names_only_what_could_be_normalised(tmp_path: Path) -> None:
    # The classes behind the first swap places: the answer stays, and no flip is to be divided by.
    swapped = {p: np.tile(np.arange(5), (*v.shape[:2], 1)) for p, v in OURS.items()}
    for top5 in swapped.values():
        top5[:, 1::2, 1:3] = (2, 1)
    run = write_videos(tmp_path / "ours", OURS)
    still = write_videos(tmp_path / "still", swapped)
    report = evaluator.report(run, normalize_by=still)
    assert report.notes[0].startswith(f"mT5D is normalised by {still}: ")
    assert find(report.scores, "mfr", run, by=still).value is None


def test_without_a_baseline_the_two_commands_are_given(tmp_path: Path) -> None:
    run = write_videos(tmp_path / "a run", OURS, limit=N)
    reason = str(find(evaluator.report(run).scores, "mt5d", run).reason)
    assert reason == (
        "nobody published AlexNet's T5D, so it needs a measured baseline: a run of alexnet on the "
        f"same videos. Make it with: evaluator score alexnet imagenet-p --data /data --limit {N} "
        f"and then: evaluator report '{run}' --normalize-by RUN_ALEXNET"
    )


def test_a_baseline_of_videos_of_which_some_were_skipped_is_made_as_the_run_was(
    tmp_path: Path,
) -> None:
    run = write_videos(tmp_path / "run", OURS, {"tilt": [2]})
    reason = str(find(evaluator.report(run).scores, "mt5d", run).reason)
    assert "alexnet imagenet-p --data /data --on-error skip and then: evaluator report" in reason


def test_a_baseline_that_is_at_hand_is_named_in_the_advice(tmp_path: Path) -> None:
    run = write_videos(tmp_path / "ours", OURS)
    baseline = write_alexnet(tmp_path / "alexnet")
    write_alexnet(tmp_path / "limited", limit=N, engine="b")
    scores = evaluator.report(tmp_path).scores
    assert str(find(scores, "mt5d", run).reason).endswith(
        f": evaluator report {run} --normalize-by {baseline}"
    )
    assert str(find(scores, "mt5d", baseline).reason).endswith(
        f"This is one: evaluator report RUN --normalize-by {baseline}"
    )


def test_a_run_that_lacks_perturbations_says_how_to_complete_it(tmp_path: Path) -> None:
    run = write_videos(tmp_path / "ours", OURS, perturbations=PERTURBATIONS[:8])
    scores = evaluator.report(run).scores
    for metric in ("mfr", "mt5d"):
        reason = str(find(scores, metric, run).reason)
        assert reason.startswith("2 of 10 perturbations are missing: tilt, scale. Complete the")
        assert reason.endswith("--perturbations tilt,scale")


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        ({"generated": GENERATED}, "different videos under the same names"),
        ({"protocol": "imagenet-p-0"}, "by protocol imagenet-p-0, this run by imagenet-p-1"),
        ({"limit": 8}, "it was scored with --limit 8, this run with no --limit"),
    ],
)
def test_a_baseline_of_other_videos_is_refused_for_the_runs_that_it_does_not_fit(
    tmp_path: Path, other: dict[str, Any], reason: str
) -> None:
    run = write_videos(tmp_path / "ours", OURS)
    fitting = write_videos(tmp_path / "fitting", OURS, engine="b", **other)
    baseline = write_alexnet(tmp_path / "alexnet", **other)
    scores = evaluator.report([run, fitting], normalize_by=baseline).scores
    refused = find(scores, "mt5d", run)
    assert refused.value is None
    assert str(refused.reason).startswith(f"{baseline} cannot normalise it: ")
    assert reason in str(refused.reason)
    assert find(scores, "mfr", run).value is not None
    assert find(scores, "mt5d", fitting, by=baseline).value is not None


def test_a_baseline_of_other_bytes_under_the_same_names_is_told(tmp_path: Path) -> None:
    run = write_videos(tmp_path / "ours", OURS, data_sha256="ab")
    same = write_alexnet(tmp_path / "same", data_sha256="ab")
    other = write_alexnet(tmp_path / "other", data_sha256="cd")
    assert len(evaluator.report(run, normalize_by=same).notes) == 1
    report = evaluator.report([run, other], normalize_by=other)
    assert report.notes[1:] == (
        f"{run} and {other} read different files of ImageNet-P under the same names, in 10 "
        "shards: what is normalised is not of the models alone",
    )
    assert find(report.scores, "mt5d", run, by=other).value is not None
    limited = write_videos(tmp_path / "limited", OURS, limit=N, data_sha256="ef")
    assert len(evaluator.report([limited, other], normalize_by=other).notes) == 1


def test_what_is_no_finished_run_of_imagenet_p_is_refused_in_a_line(tmp_path: Path) -> None:
    run = write_videos(tmp_path / "ours", OURS)
    clean = write_run(tmp_path / "clean", conditions=(Condition(),))
    part = write_alexnet(tmp_path / "part", perturbations=PERTURBATIONS[:9])
    begun = write_alexnet(tmp_path / "begun", engine="b")
    shutil.rmtree(begun / "records")
    write_alexnet(tmp_path / "two" / "a")
    write_alexnet(tmp_path / "two" / "b", engine="b")
    for given, message in (
        (clean, "needs a run of imagenet-p, and .* holds one of imagenet"),
        (part, "lacks 1 of 10 perturbations. Complete it with: .* --perturbations scale"),
        (begun, "lacks 10 of 10 perturbations. To continue it, repeat the command that started it"),
        (tmp_path / "two", "holds several: .*two/a, .*two/b. Name one of them"),
        (tmp_path / "nowhere", "is not a folder"),
    ):
        with pytest.raises(InputError, match=message):
            evaluator.report(run, normalize_by=given)
    with pytest.raises(InputError, match="is for runs of imagenet-p, and none of the runs is one"):
        evaluator.report(clean, normalize_by=run)


def test_a_baseline_whose_parity_was_waived_marks_the_number(tmp_path: Path) -> None:
    run = write_videos(tmp_path / "ours", OURS)
    baseline = write_alexnet(tmp_path / "alexnet", parity="not checked")
    scores = evaluator.report(run, normalize_by=baseline).scores
    assert find(scores, "mt5d", run, by=baseline).parity == "not checked"
    assert find(scores, "mfr", run).parity == "passed"
    reference = write_alexnet(tmp_path / "reference", parity="reference", engine="b")
    scores = evaluator.report(run, normalize_by=reference).scores
    assert find(scores, "mt5d", run, by=reference).parity == "passed"


def test_runs_of_several_benchmarks_stand_beside_each_other(tmp_path: Path) -> None:
    perturbed = write_videos(tmp_path / "p", OURS)
    corrupted = write_run(tmp_path / "c")
    clean = write_run(tmp_path / "clean", conditions=(Condition(),), right=9)
    scores = evaluator.report(tmp_path).scores
    assert find(scores, "mfr", perturbed).value is not None
    assert find(scores, "relative_mce", corrupted).value is not None
    assert len([s for s in scores if (s.metric, s.run) == ("top1_error", str(clean))]) == 1


def test_an_edited_file_is_named(tmp_path: Path) -> None:
    run = write_videos(tmp_path / "ours", OURS)
    part, other = sorted((run / "records").rglob("part-*.parquet"))[:2]
    shutil.copy(other, part)
    with pytest.raises(InputError, match="is damaged"):
        _ = evaluator.report(run).scores
