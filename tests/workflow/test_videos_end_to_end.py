"""From perturbed photos and real weights to a report: all equals a second implementation."""

import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import evaluator
from evaluator.contracts import Bundle, Condition, Run
from evaluator.errors import ImageError
from evaluator.evaluate.benchmarks.imagenet_p import CONDITIONS, IMAGENET_P, PERTURBATIONS
from evaluator.records.reading import read_run
from evaluator.records.run import open_run
from evaluator.tests import second_imagenet_p as second
from evaluator.tests import second_implementation
from evaluator.tests.command_line import run as run_command
from evaluator.tests.evaluate.videos import video

ENGINES = ("onnxruntime", pytest.param("torch", marks=pytest.mark.slow))
MODEL = "efficientnet_lite0"
COUNT = 2


@dataclass(frozen=True)
class Data:
    """Videos, and how many of each perturbation."""

    tree: Path
    count: int


@pytest.fixture(scope="module", params=[1, pytest.param(2, marks=pytest.mark.slow)])
def data(
    request: pytest.FixtureRequest, perturbed: Path, tmp_path_factory: pytest.TempPathFactory
) -> Data:
    """The videos of one photo, and of both: intervals take two."""
    if request.param == 2:
        return Data(perturbed, 2)
    tree = tmp_path_factory.mktemp("data") / "imagenet-p"
    tree.mkdir()
    shutil.copy(perturbed / "generated.json", tree)
    for name in PERTURBATIONS:
        video, _ = sorted((perturbed / name).rglob("*.mp4"))
        shutil.copytree(video.parent, tree / name / video.parent.name)
    return Data(tree, 1)


# Takes 10 s for one photo: 310 frames in plain PyTorch. That they are the same is the claim.
@pytest.fixture(scope="module")
def expected(data: Data) -> dict[str, list[second.Video]]:
    transform = second_implementation.stimulus_transform(MODEL)
    return second.top5_of_tree(second_implementation.efficientnet_lite0(), transform, data.tree)


@pytest.fixture(scope="module", params=ENGINES)
def run(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    bundle: Bundle,
    data: Data,
) -> Run:
    out = tmp_path_factory.mktemp("runs") / request.param
    return evaluator.score(MODEL, "imagenet-p", data.tree, engine=request.param, out=out)


def values(document: dict[str, Any], metric: str) -> dict[str | None, tuple[float, ...]]:
    return {
        score["perturbation"]: (score["value"], score["low"], score["high"])
        for score in document["scores"]
        if score["metric"] == metric
    }


def test_every_frame_has_the_classes_of_the_second_implementation(
    run: Run, expected: dict[str, list[second.Video]]
) -> None:
    finished = read_run(run, IMAGENET_P.conditions).finished
    assert list(finished) == list(CONDITIONS)
    for condition, table in finished.items():
        videos = expected[str(condition["perturbation"])]
        frames = [frame for video in videos if video is not None for frame in video]
        assert table["top5"].to_pylist() == frames
        assert table["frame"].to_pylist() == [
            number for video in videos if video is not None for number in range(len(video))
        ]
        assert table["error"].null_count == table.num_rows


def test_every_number_of_the_report_equals_the_second_implementation(
    run: Run, data: Data, expected: dict[str, list[second.Video]]
) -> None:
    document = evaluator.report(run.folder).document()
    for metric in ("flip_probability", "t5d"):
        found = values(document, metric)
        assert list(found) == list(PERTURBATIONS)
        for name in PERTURBATIONS:
            value, low, high = found[name]
            mean = second.of_perturbation(metric, expected[name], name)
            assert value == pytest.approx(mean, abs=1e-12)
            if low is not None:  # else it is one video, or both have the same
                _, *wanted = second.perturbation_interval(metric, expected[name], name)
                largest = 18 if metric == "t5d" else 1
                assert (low, high) == pytest.approx((max(wanted[0], 0), min(wanted[1], largest)))
    mean, low, high = values(document, "mfr")[None]
    wanted_mean, *wanted = second.mfr_interval(expected)
    assert mean == pytest.approx(wanted_mean, abs=1e-9)
    if data.count > 1:
        assert (low, high) == pytest.approx((max(wanted[0], 0), wanted[1]), abs=1e-9)
    assert 0 < mean < 3
    (mt5d,) = (score for score in document["scores"] if score["metric"] == "mt5d")
    assert mt5d["value"] is None
    assert all(score["generated"] for score in document["scores"])


def test_a_broken_video_ends_the_run_and_skipping_it_goes_on_where_it_was(
    perturbed: Path, tmp_path: Path, bundle: Bundle
) -> None:
    damaged = tmp_path / "damaged"
    for name in ("tilt", "scale"):
        shutil.copytree(perturbed / name, damaged / name)
    shutil.copy(perturbed / "generated.json", damaged)
    first, *_ = sorted((damaged / "tilt").rglob("*.mp4"))
    first.write_bytes(video(np.zeros((30, 224, 224, 3), np.uint8)))
    where: dict[str, Any] = {"engine": "onnxruntime", "out": tmp_path / "run"}
    with pytest.raises(ImageError, match=rf"{first}.* 30 frames, .*31.* --on-error skip"):
        evaluator.score(MODEL, "imagenet-p", damaged, **where)
    run = evaluator.score(MODEL, "imagenet-p", damaged, on_error="skip", **where)
    tilt = read_run(run, IMAGENET_P.conditions).finished[Condition((("perturbation", "tilt"),))]
    rows = [row for row in tilt.to_pylist() if row["frame"] is None]
    assert [row["id"] for row in rows] == [f"{first.parent.name}/{first.name}"]
    assert "30 frames" in rows[0]["error"]
    assert tilt.num_rows == 1 + 31 * (COUNT - 1)
    scores = {(s.metric, s.perturbation): s for s in evaluator.report(run.folder).scores}
    assert (scores["t5d", "tilt"].n, scores["t5d", "tilt"].skipped) == (COUNT - 1, 1)
    assert scores["t5d", "scale"].skipped == 0
    assert str(scores["mfr", None].reason).startswith("8 of 10 perturbations are missing")
    assert str(scores["mfr", None].reason).endswith("--on-error skip")


@pytest.mark.slow  # test_unbreakable.py kills runs of images in the fast tier
@pytest.mark.skipif(os.name != "posix", reason="signals are POSIX")
def test_a_run_that_was_killed_ends_with_the_rows_of_an_undisturbed_one(
    data: Data, tmp_path: Path, bundle: Bundle, expected: dict[str, list[second.Video]]
) -> None:
    out, names = tmp_path / "run", ("snow", "brightness", "rotate")
    words: list[str | Path] = [
        "score", MODEL, "imagenet-p", "--data", data.tree, "--engine", "onnxruntime",
        "--out", out, "--perturbations", ",".join(names),
    ]  # fmt: skip
    command = [sys.executable, "-m", "evaluator", *map(str, words)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not list(out.rglob("part-*.parquet")) and process.poll() is None:
        time.sleep(0.02)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    there = {path: path.stat().st_mtime_ns for path in out.rglob("part-*.parquet")}
    assert 0 < len(there) < data.count * len(names)
    done = run_command(*words)
    assert done.returncode == 0, done.stderr
    assert {path: path.stat().st_mtime_ns for path in there} == there
    finished = read_run(open_run(out), IMAGENET_P.conditions).finished
    assert {str(condition["perturbation"]) for condition in finished} == set(names)
    for condition, table in finished.items():
        videos = expected[str(condition["perturbation"])]
        assert table["top5"].to_pylist() == [f for video in videos for f in video or ()]
    assert "mT5D" in done.stdout or "mt5d" in done.stdout or "mFR" in done.stdout
