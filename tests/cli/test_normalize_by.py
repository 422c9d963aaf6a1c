"""``evaluator report --normalize-by`` from the command line."""

import json
from pathlib import Path

from evaluator.contracts import Condition
from evaluator.tests.command_line import run
from evaluator.tests.written_runs import write_run
from evaluator.tests.written_videos import random_videos, write_videos


def test_mt5d_by_a_run_that_is_named(tmp_path: Path) -> None:
    ours = write_videos(tmp_path / "ours", random_videos(1, 4))
    baseline = write_videos(tmp_path / "b", random_videos(2, 4, restless=0.8), model="alexnet")
    done = run("report", ours, "--normalize-by", baseline, "--json", "-")
    assert (done.returncode, done.stderr) == (0, "")
    scores = json.loads(done.stdout)["scores"]
    found = {(s["metric"], s["normalize_by"]) for s in scores if s["perturbation"] is None}
    assert found == {("mfr", None), ("mfr", str(baseline)), ("mt5d", str(baseline))}


def test_a_run_of_another_benchmark_is_one_line(tmp_path: Path) -> None:
    ours = write_videos(tmp_path / "ours", random_videos(1, 4))
    clean = write_run(tmp_path / "clean", conditions=(Condition(),))
    done = run("report", ours, "--normalize-by", clean)
    assert done.returncode == 1
    assert done.stderr == (
        f"error: --normalize-by needs a run of imagenet-p, and {clean} holds one of imagenet.\n"
    )
