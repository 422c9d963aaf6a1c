"""``evaluator compile`` and ``evaluator cache`` as a user meets them, interrupted too."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from evaluator.contracts import Bundle
from evaluator.engine.devices import cuda_devices
from evaluator.tests.command_line import Done, error_of, run
from evaluator.tests.small_bundle import small_bundle

pytest.importorskip("tensorrt_rtx")


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVALUATOR_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def small(tmp_path: Path) -> Bundle:
    return small_bundle(tmp_path / "bundle")


def compile_(bundle: Bundle, *more: str | Path) -> Done:
    return run("compile", bundle.folder, "--engine", "tensorrt-rtx", *more)


def left_in(cache: Path) -> list[str]:
    return sorted(path.name for path in cache.rglob("*") if path.is_file())


def processes_of(folder: Path) -> list[int]:
    """The processes that use the cache in this folder."""
    mark, found = f"EVALUATOR_CACHE={folder / 'cache'}\0".encode(), []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if mark in (process / "environ").read_bytes():
                found.append(int(process.name))
    return found


@pytest.fixture
def building(tmp_path: Path) -> Iterator["subprocess.Popen[str]"]:
    """A process in the middle of a build that takes a while."""
    bundle = small_bundle(tmp_path / "deep", convolutions=300)
    words = ["compile", str(bundle.folder), "--engine", "tensorrt-rtx"]
    with subprocess.Popen(
        [sys.executable, "-m", "evaluator", *words],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stderr is not None
        assert process.stderr.readline().startswith("Building a TensorRT-RTX")
        assert process.stderr.readline().startswith("plan: 0 of 100 %")
        yield process
        process.kill()


def test_a_plan_is_shown_for_people_and_programs(small: Bundle, tmp_path: Path) -> None:
    done = compile_(small, "--target", "sm89", "--max-batch", "8", "--json", tmp_path / "p.json")
    assert done.returncode == 0, done.stderr
    document = json.loads((tmp_path / "p.json").read_text())
    plan = Path(document["plan"])
    assert plan.stat().st_size == document["plan_bytes"]
    assert document["built"] is True
    assert document["key"]["profile"] == {"smallest": 1, "best": 8, "largest": 8}
    rows = dict(
        line.split(maxsplit=1) for line in done.stdout.splitlines() if len(line.split()) > 1
    )
    assert rows["plan"].strip() == str(plan)
    assert rows["bytes"].strip() == f"{document['plan_bytes']:,}"
    assert rows["layers"].strip() == "25"
    assert rows["precision"].strip() == "fp32"
    assert rows["TF32"].strip() == "off"
    assert rows["batches"].strip() == "1 to 8, best 8"
    assert rows["for"].strip() == "sm89"
    assert rows["from"].strip() == "built now"
    assert "plan: 100 of 100 %" in done.stderr
    again = compile_(small, "--target", "sm89", "--max-batch", "8", "--json", "-")
    assert json.loads(again.stdout) == {**document, "built": False}
    assert again.stderr == ""


def test_the_cache_is_listed_and_pruned(small: Bundle, tmp_path: Path) -> None:
    assert compile_(small).returncode == 0
    (tmp_path / "cache" / "plans" / ".x.plan.0123abcd.tmp").write_bytes(b"half")
    listed = run("cache", "list")
    assert "leftover of a killed process" in listed.stdout
    assert "small: tensorrt-rtx" in listed.stdout
    rows = json.loads(run("cache", "list", "--json", "-").stdout)["entries"]
    assert [(row["kind"], row["leftover"]) for row in rows] == [("plans", True), ("plans", False)]
    dry = run("cache", "prune", "--kind", "plans", "--dry-run")
    assert "Would be removed" in dry.stdout
    assert len(json.loads(run("cache", "list", "--json", "-").stdout)["entries"]) == 2
    removed = run("cache", "prune", "--json", "-")
    assert [row["leftover"] for row in json.loads(removed.stdout)["entries"]] == [True]
    assert run("cache", "prune", "--older-than", "1").returncode == 0
    assert len(json.loads(run("cache", "list", "--json", "-").stdout)["entries"]) == 1
    assert run("cache", "prune", "--kind", "plans").returncode == 0
    assert left_in(tmp_path / "cache") == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["compile", "resnet50", "--engine", "trt"], "no plans of 'trt'"),
        (["compile", "resnet51", "--engine", "tensorrt-rtx"], "no model 'resnet51'"),
        (["compile", "resnet50", "--engine", "tensorrt-rtx", "--target", "sm90"], "H100 (sm90)"),
        (["cache", "prune", "--kind", "attic"], "Unknown kind of cache entry: 'attic'"),
        pytest.param(
            ["compile", "resnet50", "--engine", "tensorrt"],
            "this machine has no NVIDIA GPU",
            marks=pytest.mark.skipif(bool(cuda_devices()), reason="this machine has a GPU"),
        ),
    ],
)
def test_a_wrong_word_is_one_line(words: list[str], message: str, tmp_path: Path) -> None:
    assert message in error_of(run(*words, cwd=tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_option_is_a_usage_error() -> None:
    assert run("compile", "resnet50").returncode == 2
    rtx = ("compile", "resnet50", "--engine", "tensorrt-rtx")
    assert run(*rtx, "--target").returncode == 2
    assert run(*rtx, "--max-batch", "0").returncode == 2
    assert run("cache", "prune", "--older-than", "-1").returncode == 2


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")
def test_a_killed_build_leaves_nothing_half_written_and_no_lock(
    building: "subprocess.Popen[str]", tmp_path: Path
) -> None:
    assert len(processes_of(tmp_path)) == 2  # the build has one of its own
    building.kill()
    building.wait(timeout=60)
    deadline = time.monotonic() + 60
    while processes_of(tmp_path):
        assert time.monotonic() < deadline
    assert [name for name in left_in(tmp_path / "cache") if not name.endswith(".lock")] == []
    done = run("compile", tmp_path / "deep", "--engine", "tensorrt-rtx")
    assert done.returncode == 0, done.stderr
    assert "waiting" not in done.stderr
    assert "built now" in done.stdout


def test_an_interrupted_build_leaves_nothing_half_written(
    building: "subprocess.Popen[str]", tmp_path: Path
) -> None:
    building.send_signal(signal.SIGINT)
    _, stderr = building.communicate(timeout=60)
    assert building.returncode == 130
    assert stderr.splitlines()[-1].startswith("Interrupted.")
    assert "Traceback" not in stderr
    assert [name for name in left_in(tmp_path / "cache") if not name.endswith(".lock")] == []
    assert run("compile", tmp_path / "deep", "--engine", "tensorrt-rtx").returncode == 0


def test_a_second_process_waits_for_the_first_and_takes_its_plan(
    building: "subprocess.Popen[str]", tmp_path: Path
) -> None:
    second = run("compile", tmp_path / "deep", "--engine", "tensorrt-rtx", "--json", "-")
    first, stderr = building.communicate(timeout=60)
    assert building.returncode == 0, stderr
    assert "built now" in first
    assert json.loads(second.stdout)["built"] is False
    assert Path(json.loads(second.stdout)["plan"]).name in first
