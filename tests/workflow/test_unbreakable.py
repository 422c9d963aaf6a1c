"""Runs that are killed, shared, interrupted, short of disk, or fed bad images."""

import contextlib
import json
import os
import random
import re
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import evaluator
from evaluator.cli.interrupts import PATIENCE_SECONDS
from evaluator.contracts import Bundle, Condition, ImageBatch, NullProgress, Run
from evaluator.engine.onnx_engine import OnnxEngine
from evaluator.errors import (
    EngineMemoryError,
    ImageError,
    InputError,
    OutputError,
    RunMismatchError,
)
from evaluator.records.reading import read_run
from evaluator.records.run import open_run
from evaluator.tests.small_bundle import small_bundle
from evaluator.tests.tiny_tree import tiny_tree

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals and limits are POSIX")

COUNT = 240


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return small_bundle(tmp_path_factory.mktemp("small") / "bundle")


@pytest.fixture(scope="module")
def slow(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """Some seconds for a batch of 64."""
    return small_bundle(tmp_path_factory.mktemp("slow") / "bundle", convolutions=1500)


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_tree(tmp_path_factory.mktemp("data") / "tree", COUNT)


@pytest.fixture(scope="module")
def whole(small: Bundle, tree: Path, tmp_path_factory: pytest.TempPathFactory) -> list[object]:
    """The rows of an undisturbed run."""
    return rows(score(small, tree, tmp_path_factory.mktemp("whole") / "run"))


def score(bundle: Bundle, data: Path, out: Path, **more: object) -> Run:
    options = {"engine": "onnxruntime", "device": "cpu", "parity": False, "out": out, **more}
    return evaluator.score(str(bundle.folder), "imagenet", data, **options)  # type: ignore[arg-type]


def rows(run: Run) -> list[object]:
    paths = sorted((run.folder / "records").glob("part-*.parquet"))
    found: list[object] = pa.concat_tables([pq.read_table(path) for path in paths]).to_pylist()
    return found


def words_of(bundle: Bundle, data: Path, out: Path, *more: str) -> list[str]:
    words = ["score", bundle.folder, "imagenet", "--data", data, "--out", out, "--no-parity"]
    words += ["--engine", "onnxruntime", "--device", "cpu", *more]
    return [sys.executable, "-m", "evaluator", *map(str, words)]


def begin(words: list[str], **options: object) -> "subprocess.Popen[str]":
    options.setdefault("preexec_fn", lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
    options.setdefault("stderr", subprocess.PIPE)
    return subprocess.Popen(  # type: ignore[call-overload,no-any-return]
        words, stdout=subprocess.PIPE, text=True, **options
    )


def no_leftovers(folder: Path) -> bool:
    return not [p for p in folder.rglob(".*") if p.name.endswith((".lease", ".tmp"))]


# ------------------------------------------------------------------------ killed, shared


@pytest.mark.parametrize(
    "seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, 4))]
)
def test_commands_killed_at_random_end_with_the_rows_of_an_undisturbed_run(
    small: Bundle, tree: Path, tmp_path: Path, whole: list[object], seed: int
) -> None:
    chance, out = random.Random(seed), tmp_path / "run"
    words = words_of(small, tree, out, "--batch-size", "4")
    for _ in range(3):
        pair = [begin(words) for _ in range(2)]
        for process in pair:
            deadline = time.monotonic() + 60
            while not any(out.glob("records/*")) and time.monotonic() < deadline:
                time.sleep(0.01)
            time.sleep(chance.uniform(0, 0.1))
            process.send_signal(chance.choice([signal.SIGKILL, signal.SIGTERM]))
        for process in pair:
            process.communicate()
    last = begin(words)
    _, stderr = last.communicate()
    assert last.returncode == 0, stderr
    assert rows(open_run(out)) == whole
    assert no_leftovers(out)


def test_an_interrupt_in_the_middle_of_a_batch_ends_the_command_and_names_the_next(
    slow: Bundle, tree: Path, tmp_path: Path
) -> None:
    out = tmp_path / "a run"
    words = words_of(slow, tree, out, "--batch-size", "64")
    process = begin(words)
    assert process.stderr is not None
    for line in process.stderr:
        if line.startswith("score: 0 of"):
            break
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate()
    assert process.returncode == 130
    assert f"0 of {COUNT} images are done and kept." in stderr
    assert stderr.count("continue with the same command: evaluator score ") == 1
    assert f"--out '{out}'" in stderr
    assert "Traceback" not in stderr
    files = {path.name for path in out.rglob("*") if path.is_file()}
    assert files == {"run.json", "fingerprint.json"}


WATCHED = (
    "from evaluator.cli import interrupts\n"
    "interrupts.PATIENCE_SECONDS = 0.3\n"
    "interrupts.watch_interrupts()\n"
)
COMPUTING = """
import hashlib, os, threading, time

def tell():
    begin = time.process_time()
    while time.process_time() < begin + 0.1:
        time.sleep(0.01)
    os.write(1, b"begun\\n")

threading.Thread(target=tell, daemon=True).start()
hashlib.pbkdf2_hmac("sha256", b"", b"", 10**9)
"""
"""Says that it has begun once the process has computed for a while: it is in the library."""


def test_an_interrupt_is_given_less_than_two_seconds() -> None:
    assert 0 < PATIENCE_SECONDS < 2


def test_an_interrupt_ends_a_command_also_while_a_library_computes() -> None:
    program = "import sys; sys.argv = ['evaluator', 'score', 'a model']\n" + WATCHED + COMPUTING
    process = begin([sys.executable, "-c", program], env={**os.environ})
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    process.send_signal(signal.SIGTERM)
    _, stderr = process.communicate()
    assert process.returncode == 130
    assert "continue with the same command: evaluator score 'a model'" in stderr


def test_an_interrupt_ends_a_command_also_while_a_bar_is_shown() -> None:
    import pty

    program = (
        "import sys; sys.argv = ['evaluator', 'score', 'a model']\n"
        + WATCHED
        + "from evaluator.cli.console import TerminalProgress\n"
        "progress = TerminalProgress()\n"
        "progress.__enter__()\n"
        "progress.advance('score', 1, 10, 'images')\n" + COMPUTING
    )
    ours, theirs = pty.openpty()
    process = begin(
        [sys.executable, "-c", program], stderr=theirs, env={**os.environ, "TERM": "xterm"}
    )
    os.close(theirs)
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    process.send_signal(signal.SIGINT)
    try:
        assert process.wait(timeout=60) == 130
    finally:
        process.kill()
        process.stdout.close()
    shown = b""
    with (
        open(ours, "rb", buffering=0) as terminal,
        contextlib.suppress(OSError),  # the other end was closed: the process has ended
    ):
        while chunk := terminal.read(65_536):
            shown += chunk
    assert b"continue with the same command: evaluator score 'a model'" in shown
    assert shown.rindex(b"\x1b[?25h") > shown.rindex(b"\x1b[?25l")  # the cursor is back


def test_a_signal_to_a_forked_child_does_not_end_its_parent() -> None:
    program = (
        "import multiprocessing, time\n" + WATCHED + ""
        "for _ in range(20):\n"  # some of them have the signal before they are under way
        "    child = multiprocessing.get_context('fork').Process(target=time.sleep, args=(60,))\n"
        "    child.start(); child.terminate(); child.join()\n"
        "time.sleep(1); print(child.exitcode)"
    )
    process = begin([sys.executable, "-c", program], env={**os.environ})
    stdout, stderr = process.communicate()
    assert (process.returncode, stdout, stderr) == (0, "-15\n", "")


# ------------------------------------------------------------------------ disks


def test_a_disk_that_is_full_is_one_line_and_the_run_goes_on_afterwards(
    small: Bundle, tree: Path, tmp_path: Path, whole: list[object]
) -> None:
    words = words_of(small, tree, tmp_path / "run")
    run = score(small, tree, tmp_path / "run")  # to know how large a shard is
    sizes = [path.stat().st_size for path in run.folder.rglob("*.parquet")]
    for path in list(run.folder.rglob("*.parquet"))[1:]:
        path.unlink()

    def little() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (min(sizes) - 100,) * 2)

    done = begin(words, preexec_fn=little)
    _, stderr = done.communicate()
    assert done.returncode == 1
    assert "Traceback" not in stderr
    assert stderr.splitlines()[-1].startswith("error: ")
    assert re.search("cannot be written: .*File too large", stderr)
    assert no_leftovers(run.folder)
    assert len(list(run.folder.rglob("*.parquet"))) == 1
    assert rows(score(small, tree, run.folder)) == whole


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_full_disk_behind_the_progress_stops_nothing(
    small: Bundle, tree: Path, tmp_path: Path
) -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            words_of(small, tree, tmp_path / "run", "--limit", "8"),
            stdout=subprocess.PIPE,
            stderr=full,
            text=True,
        )
    assert done.returncode == 0
    assert "top-1" in done.stdout
    assert len(rows(open_run(tmp_path / "run"))) == 8


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write everywhere")
def test_a_default_folder_that_cannot_be_written_is_told_before_the_work(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    tmp_path.chmod(0o500)
    with pytest.raises(OutputError, match="cannot be written"):
        evaluator.score("resnet50", "imagenet", tree, weights="random")


def test_a_file_where_the_default_folder_should_be_is_told_before_the_work(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").write_text("")
    heard = NullProgress()
    with pytest.raises(OutputError, match=r"runs/.* cannot be written"):
        evaluator.score("resnet50", "imagenet", tree, weights="random", progress=heard)
    assert all("Images are prepared as" in note for note in heard.notes)


# ------------------------------------------------------------------------ bad images


def test_skipped_images_are_rows_and_counted_everywhere(
    small: Bundle, tmp_path: Path, whole: list[object]
) -> None:
    tree, out = tiny_tree(tmp_path / "tree", COUNT), tmp_path / "run"
    bad = [tree / "n01440764" / "photo-00003.JPEG", tree / "n15075141" / "photo-00233.JPEG"]
    for path in bad:
        path.unlink()  # a hard link: the others stay as they are
        path.write_bytes(b"no image")
    with pytest.raises(ImageError, match=r"photo-00\d+\.JPEG is not an image"):
        score(small, tree, out)
    heard = NullProgress()
    run = score(small, tree, out, on_error="skip", progress=heard)
    (note,) = [note for note in heard.notes if "were skipped" in note]
    assert note.startswith("2 images were skipped; every number counts them. The first: ")
    assert f"{bad[0]} is not an image" in note
    assert note.count(".parquet") == 2
    skipped = [row["id"] for row in rows(run) if row["error"]]  # type: ignore[index]
    assert skipped == [f"{path.parent.name}/{path.name}" for path in bad]
    kept = [row for row in rows(run) if row["id"] not in skipped]  # type: ignore[index]
    expected = [row for row in whole if row["id"] not in skipped]  # type: ignore[index]
    assert [row["top5"] for row in kept] == [row["top5"] for row in expected]  # type: ignore[index]
    scores = evaluator.report([run.folder]).scores
    assert {s.metric for s in scores} >= {"top1_error", "top5_error"}
    assert {(s.n, s.skipped) for s in scores} == {(COUNT - 2, 2)}
    # What was skipped stays so, and is told again, until its shard is removed.
    tiny_tree(tmp_path / "good", COUNT)
    again = NullProgress()
    score(small, tmp_path / "good", out, progress=again)
    assert [n for n in again.notes if "were skipped" in n] == [note]
    for word in note.split():
        if ".parquet" in word:
            Path(word.strip(",")).unlink()
    assert rows(score(small, tmp_path / "good", out)) == whole


def test_an_unknown_way_to_deal_with_errors_is_refused(
    small: Bundle, tree: Path, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=r"--on-error must be fail or skip, not 'ignore'"):
        score(small, tree, tmp_path / "run", on_error="ignore")


def test_data_that_changed_under_a_run_are_told_by_number_and_name(
    small: Bundle, tmp_path: Path
) -> None:
    tree = tiny_tree(tmp_path / "tree", 30)
    score(small, tree, tmp_path / "run")
    (tree / "n01440764" / "photo-00003.JPEG").unlink()
    with pytest.raises(RunMismatchError) as caught:
        score(small, tree, tmp_path / "run")
    assert "29 in each condition, 30 before" in str(caught.value)
    missing = "scored but missing now: 1, first n01440764/photo-00003.JPEG"
    assert missing in str(caught.value)
    os.link(tree / "n01440764" / "photo-00000.JPEG", tree / "n01440764" / "photo-00004.JPEG")
    with pytest.raises(RunMismatchError, match=r"new: 1, first n01440764/photo-00004\.JPEG"):
        score(small, tree, tmp_path / "run")


# ------------------------------------------------------------------------ memory


def test_a_shard_says_the_batch_that_there_was_memory_for(
    small: Bundle, tree: Path, tmp_path: Path, whole: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = OnnxEngine._logits

    def little_memory(self: OnnxEngine, batch: ImageBatch) -> object:
        if len(batch.items) > 3:
            raise EngineMemoryError("no memory")
        return real(self, batch)

    monkeypatch.setattr(OnnxEngine, "_logits", little_memory)
    heard = NullProgress()
    run = score(small, tree, tmp_path / "run", batch_size=16, progress=heard)
    warnings = [note for note in heard.notes if "Out of memory with" in note]
    assert [note.split()[4] for note in warnings] == ["16", "8", "4"]
    records = read_run(run, (Condition(),))
    assert {made.batch_size for made in records.provenance} == {2}
    assert [(r["id"], r["top5"]) for r in rows(run)] == [(r["id"], r["top5"]) for r in whole]  # type: ignore[index]


PEAK = """
import json, resource, sys
import evaluator
evaluator.score(sys.argv[1], "imagenet", sys.argv[2], engine="onnxruntime", device="cpu",
                out=sys.argv[3], parity=False)
print(json.dumps(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024))
"""


@pytest.mark.slow
def test_memory_does_not_grow_with_the_set(small: Bundle, tmp_path: Path) -> None:
    peaks = []
    for count in (500, 50_000):
        tree = tiny_tree(tmp_path / f"tree{count}", count)
        words = [str(small.folder), str(tree), str(tmp_path / f"run{count}")]
        done = subprocess.run(
            [sys.executable, "-c", PEAK, *words], capture_output=True, text=True, check=True
        )
        peaks.append(json.loads(done.stdout))
    assert peaks[1] - peaks[0] < 100e6, [f"{peak / 1e6:.0f} MB" for peak in peaks]
