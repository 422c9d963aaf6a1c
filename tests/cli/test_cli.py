"""The command line as a user meets it: what it prints, its exit codes, one line for an error."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from PIL import Image

from evaluator.contracts import Bundle
from evaluator.evaluate.benchmarks.table import BENCHMARKS
from evaluator.tests.command_line import Done, error_of, run, run_process
from evaluator.tests.written_runs import write_run


@pytest.fixture
def tree(photos: Path, tmp_path: Path) -> Path:
    """Three photos that a test may break."""
    folder = tmp_path / "tree"
    for wnid in sorted(path.name for path in photos.iterdir())[:3]:
        shutil.copytree(photos / wnid, folder / wnid)
    return folder


def a_photo(tree: Path) -> Path:
    return sorted(tree.rglob("*.JPEG"))[1]


def score(tree: Path, *more: str | Path) -> Done:
    return run(
        "score", "efficientnet_lite0", "imagenet", "--data", tree, "--engine", "onnxruntime",
        "--out", tree.parent / "run", *more,
    )  # fmt: skip


def test_models_are_listed_for_people_and_programs(tmp_path: Path) -> None:
    shown = run("models")
    assert shown.returncode == 0
    assert "resnext101_32x48d_wsl" in shown.stdout
    assert "CC-BY-NC-4.0" in shown.stdout
    document = json.loads(run("models", "--json", "-").stdout)
    rows = {row["name"]: row for row in document["models"]}
    assert rows["efficientnet_lite0"]["parameters"] == 4_652_008
    assert rows["efficientnet_lite0"]["preprocessing"]["interpolation"] == "bicubic"
    assert rows["resnet50"]["weights"]["url"].endswith("resnet50-0676ba61.pth")


def test_every_command_from_export_to_report(
    bundle: Bundle, photos: Path, three_corrupted: Path, tmp_path: Path
) -> None:
    exported = run("export", "efficientnet_lite0", cwd=tmp_path)
    assert exported.returncode == 0, exported.stderr
    assert exported.stdout.splitlines()[0] == str(bundle.folder)
    assert "exported before" in exported.stderr
    assert "passed" in exported.stdout
    clean = run("score", "efficientnet_lite0", "imagenet", "--data", photos, cwd=tmp_path)
    assert clean.returncode == 0, clean.stderr
    assert "10.0 [2.8, 30.1]*" in clean.stdout
    cells = ("--corruptions", "fog,brightness", "--severities", "1", "--severities", "2")
    words = ("score", "efficientnet_lite0", "imagenet-c", "--data", three_corrupted)
    c = run(*words, *cells, cwd=tmp_path)
    assert c.returncode == 0, c.stderr
    assert "refused: 71 of 75 cells are missing" in c.stdout
    report = run("report", "runs", "--json", "r.json", "--markdown", "r.md", cwd=tmp_path)
    assert report.returncode == 0, report.stderr
    scores = json.loads((tmp_path / "r.json").read_text())["scores"]
    assert {s["metric"] for s in scores} == {
        "top1_error", "top5_error", "mean_error", "ce", "mce", "relative_mce",
            "ece", "rms_calibration_error",
    }  # fmt: skip
    (mce,) = (s for s in scores if s["metric"] == "mce")
    assert mce["value"] is None
    assert "Complete the run with: evaluator score efficientnet_lite0" in mce["reason"]
    assert "| efficientnet\\_lite0 | 10.0 [2.8, 30.1]\\* |" in (tmp_path / "r.md").read_text()
    only_json = run("report", "runs", "--json", "-", cwd=tmp_path)
    assert json.loads(only_json.stdout)["scores"] == scores
    only_json = run_process("report", "runs", "--json", "/dev/stdout", cwd=tmp_path)
    assert json.loads(only_json.stdout)["scores"] == scores
    with (tmp_path / "file").open("w") as file:
        line = ["report", "runs", "--markdown", "/dev/stdout"]
        subprocess.run([sys.executable, "-m", "evaluator", *line], cwd=tmp_path, stdout=file)
    assert (tmp_path / "file").read_text() == (tmp_path / "r.md").read_text()


def test_the_command_that_a_refusal_gives_completes_the_run(
    bundle: Bundle, three_corrupted: Path, tmp_path: Path
) -> None:
    data = tmp_path / "a folder"
    shutil.copytree(three_corrupted / "fog", data / "fog")
    shutil.copy(three_corrupted / "generated.json", data)
    out = tmp_path / "the run"
    first = run(
        "score", "efficientnet_lite0", "imagenet-c", "--data", data, "--severities", "1",
        "--out", out, "--limit", "2",
    )  # fmt: skip
    assert first.returncode == 0, first.stderr
    scores = json.loads(run("report", out, "--json", "-").stdout)["scores"]
    (reason,) = (s["reason"] for s in scores if s["metric"] == "mce")
    command = reason.split("Complete the run with: ")[1]
    for corruption in ("snow", "frost"):  # the rest of the archive arrives
        shutil.copytree(three_corrupted / corruption, data / corruption)
    import shlex

    words = shlex.split(command)[1:]
    words[words.index("--data") + 1] = str(data)
    second = run(*words)
    assert second.returncode == 0, second.stderr
    found = {str(path.parent.relative_to(out / "records")) for path in out.rglob("*.parquet")}
    assert len(found) == 15


def test_parity_exits_with_3_where_a_gate_fails(faulty: Path, tmp_path: Path) -> None:
    done = run("parity", faulty, "--engine", "onnxruntime", "--json", tmp_path / "p.json")
    assert done.returncode == 3
    assert re.search(r"all\s+0\.\d+\s+0\.0001\s+FAIL", done.stdout)
    document = json.loads((tmp_path / "p.json").read_text())
    assert document["passed"] is False
    assert {gate["name"] for gate in document["gates"]} >= {"all", "worst image", "finite"}
    scored = run("score", faulty, "imagenet", "--data", tmp_path, "--engine", "onnxruntime")
    assert scored.returncode == 1  # an empty folder comes before a costly check


def test_scoring_a_faulty_engine_exits_with_3(faulty: Path, photos: Path, tmp_path: Path) -> None:
    done = run(
        "score", faulty, "imagenet", "--data", photos, "--engine", "onnxruntime",
        "--out", tmp_path / "run",
    )  # fmt: skip
    assert "does not agree with PyTorch" in error_of(done, 3)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["export", "resnet51"], r"no model 'resnet51'. Did you mean resnet50"),
        (["export", "torchvision:resnet180"], r"Did you mean torchvision:resnet1\d"),
        (["parity", "no/such/bundle"], r"no/such/bundle is not a bundle"),
        (["score", "resnet50", "imagenet-d", "--data", "."], r"Unknown benchmark 'imagenet-d'"),
        (["score", "resnet50", "imagenet", "--data", "nowhere"], r"nowhere does not exist"),
        (["report", "nowhere"], r"nowhere is not a folder"),
        (["export", "resnet50", "--weights", "nowhere.pth"], r"nowhere\.pth is not a file"),
        (["export", "resnet50", "--weights", "random", "--crop-px", "7"], r"crop of 7 px"),
        (["data", "corrupt", "nowhere", "out"], r"nowhere is not a folder"),
        (["data", "corrupt", ".", "out", "--corruptions", ""], r"--corruptions is empty"),
        (["data", "corrupt", ".", "out", "--severities", ","], r"--severities is empty"),
        (["data", "perturb", "nowhere", "out"], r"nowhere is not a folder"),
        (["data", "perturb", ".", "out", "--perturbations", "tild"], r"Did you mean tilt"),
        (["data", "perturb", ".", "out", "--perturbations", ""], r"--perturbations is empty"),
        (["score", "resnet50", "imagenet-c", "--data", ".", "--severities", ""], r"is empty"),
        (["score", "resnet50", "imagenet-c", "--data", ".", "--corruptions", " "], r"is empty"),
        (["score", "resnet50", "imagenet", "--data", ".", "--severities", "1"], r"no severity to"),
        # A place that cannot be written comes before the work: here nothing could be scored.
        (["score", "resnet50", "imagenet", "--data", ".", "--json", "."], r"\. cannot be written"),
        (["score", "resnet50", "imagenet", "--data", ".", "--out", "/dev/null/r"], r"be written"),
        (["report", "nowhere", "--markdown", "/dev/null/r.md"], r"r\.md cannot be written"),
    ],
)
def test_a_wrong_word_is_one_line(words: list[str], message: str, tmp_path: Path) -> None:
    assert re.search(message, error_of(run(*words, cwd=tmp_path)))
    assert list(tmp_path.iterdir()) == []


def test_the_help_names_every_benchmark() -> None:
    assert set(re.findall(r"[\w-]+", run("score", "--help").stdout)) >= BENCHMARKS.keys()


def test_a_wrong_option_is_a_usage_error() -> None:
    assert run("score", "resnet50").returncode == 2
    assert run("score", "resnet50", "imagenet", "--data", ".", "--limit", "0").returncode == 2
    assert run("nonsense").returncode == 2


def test_an_empty_folder_is_named(tmp_path: Path, bundle: Bundle) -> None:
    (tmp_path / "tree").mkdir()
    assert re.search(
        r"tree holds no images. Expected <wnid>/<file>", error_of(score(tmp_path / "tree"))
    )


def test_an_unknown_wnid_is_named(tree: Path, bundle: Bundle) -> None:
    (tree / "n00000000").mkdir()
    message = error_of(score(tree))
    assert "n00000000 is not a class folder: expected the WordNet id" in message


def test_a_folder_above_the_class_folders_gets_a_hint(tree: Path, bundle: Bundle) -> None:
    (tree.parent / "imagenet").mkdir()
    tree.rename(tree.parent / "imagenet" / "val")
    message = error_of(score(tree.parent / "imagenet"))
    assert f"Did you mean {tree.parent}/imagenet/val?" in message


def test_a_tree_of_imagenet_c_is_known_for_what_it_is(
    three_corrupted: Path, tmp_path: Path
) -> None:
    message = error_of(score(three_corrupted, "--out", tmp_path / "run"))
    assert "It looks like a part of ImageNet-C, which is scored as `imagenet-c`." in message
    assert "emove" not in message


def corrupt(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[:3] = b"\0\0\0"
    path.write_bytes(data)


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:5000])


def replace_by_text(path: Path) -> None:
    path.write_text("<html>404</html>")


def deepen(path: Path) -> None:
    import numpy as np

    Image.fromarray(np.zeros((300, 300), np.uint16)).save(path, format="PNG")


def bomb(path: Path) -> None:
    Image.new("1", (20_000, 20_000)).save(path, format="PNG")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (corrupt, "is not an image that Pillow can identify"),
        (truncate, "truncated"),
        (replace_by_text, "is not an image that Pillow can identify"),
        (deepen, "has 16 bits a channel"),
        (bomb, "decompression bomb"),
    ],
)
def test_a_broken_image_is_named(damage: object, message: str, tree: Path, bundle: Bundle) -> None:
    victim = a_photo(tree)
    assert callable(damage)
    damage(victim)
    line = error_of(score(tree))
    assert str(victim) in line
    assert message in line


def test_a_name_that_is_not_utf8_is_named(tree: Path, bundle: Bundle) -> None:
    bad = os.fsencode(a_photo(tree).parent) + b"/\xff\xfe.JPEG"
    shutil.copy(os.fsencode(a_photo(tree)), bad)
    line = error_of(score(tree))
    assert r"\udcff\udcfe.JPEG has a name that is not UTF-8" in line


def test_a_dangling_link_is_named(tree: Path, bundle: Bundle) -> None:
    victim = a_photo(tree)
    victim.unlink()
    victim.symlink_to("gone.JPEG")
    assert f"{victim} is a broken link" in error_of(score(tree))


def test_a_text_file_among_images_is_named(tree: Path, bundle: Bundle) -> None:
    (a_photo(tree).parent / "notes.txt").write_text("notes")
    assert "notes.txt is not an image" in error_of(score(tree))


def test_an_output_that_cannot_be_written_is_named(tree: Path, bundle: Bundle) -> None:
    (tree.parent / "file").write_text("")
    done = run(
        "score", "efficientnet_lite0", "imagenet", "--data", tree, "--engine", "onnxruntime",
        "--out", tree.parent / "file" / "run",
    )  # fmt: skip
    assert "cannot be written" in error_of(done)
    assert score(tree).returncode == 0
    done = run("report", tree.parent / "run", "--json", tree.parent / "file" / "r.json")
    assert "cannot be written" in error_of(done)


def test_unusual_images_and_names_are_scored(tree: Path, bundle: Bundle) -> None:
    folder = a_photo(tree).parent
    photo = Image.open(a_photo(tree))
    photo.convert("L").save(folder / "grey ' \" $HOME.JPEG")
    photo.convert("CMYK").save(folder / "cmyk\nnewline.JPEG")
    photo.convert("P").save(folder / "palette [red].png")
    for hidden in (".DS_Store", "._photo.JPEG", "Thumbs.db"):
        (folder / hidden).write_bytes(b"\0")
    done = score(tree)
    assert done.returncode == 0, done.stderr
    import pyarrow.parquet as pq

    ids = [
        row
        for path in sorted((tree.parent / "run").rglob("*.parquet"))
        for row in pq.read_table(path, partitioning=None)["id"].to_pylist()
    ]
    assert len(ids) == 6
    assert f"{folder.name}/cmyk\nnewline.JPEG" in ids


@pytest.mark.parametrize(
    "sent", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)]
)
def test_an_interrupt_ends_at_once_and_says_how_to_continue(
    bundle: Bundle, three_corrupted: Path, tmp_path: Path, sent: signal.Signals
) -> None:
    words = ["score", "efficientnet_lite0", "imagenet-c", "--data", three_corrupted]
    words += ["--engine", "torch"]
    out = tmp_path / "run"
    process = subprocess.Popen(
        [sys.executable, "-m", "evaluator", *map(str, words), "--out", str(out)],
        stderr=subprocess.PIPE,
        text=True,
    )
    while not any(out.rglob("*.parquet")):
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(sent)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "continue with the same command: evaluator score efficientnet_lite0" in stderr
    assert "Traceback" not in stderr
    assert not list(out.rglob("*.tmp"))


@pytest.mark.skipif(sys.platform == "win32", reason="needs a POSIX terminal")
def test_a_terminal_shows_a_bar_and_a_pipe_plain_lines(
    bundle: Bundle, three_corrupted: Path, tmp_path: Path
) -> None:
    import pty

    words: list[str | Path] = ["score", "efficientnet_lite0", "imagenet-c"]
    words += ["--data", three_corrupted, "--engine", "onnxruntime", "--severities", "1,2"]
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "evaluator", *map(str, words), "--out", str(tmp_path / "terminal")],
        stdout=subprocess.DEVNULL,
        stderr=theirs,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "120"},
    )
    os.close(theirs)
    shown = b""
    while True:
        try:
            shown += os.read(ours, 65_536)
        except OSError:  # the other end was closed: the process has ended
            break
    os.close(ours)
    assert process.wait(timeout=60) == 0
    assert b"/90" in shown
    assert b"images/s" in shown
    assert b"\x1b[" in shown
    piped = run(*words, "--out", tmp_path / "pipe")
    assert "score: 90 of 90 images" in piped.stderr
    assert "\x1b[" not in piped.stderr


def test_weights_that_cannot_be_had_say_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # No proxy leads anywhere: the same as a machine without a network.
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    line = error_of(run("export", "resnet50", "--out", tmp_path / "bundle"))
    assert "resnet50-0676ba61.pth" in line
    assert "--weights random" in line
    assert list(tmp_path.iterdir()) == []


PRINTING = [["models"], ["models", "--json", "-"], ["--help"], ["--version"]]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("words", PRINTING)
def test_a_full_disk_behind_standard_output_is_one_line(words: list[str], unbuffered: str) -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "evaluator", *words],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
            check=False,
        )
    assert error_of(done).startswith("Standard output cannot be written: No space left on device")
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("words", PRINTING)
def test_a_pipe_that_nobody_reads_ends_the_command_without_a_word(words: list[str]) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "evaluator", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait(timeout=60) == 1


@pytest.mark.skipif(sys.platform == "win32", reason="needs a POSIX shell")
def test_standard_output_may_be_closed() -> None:
    done = subprocess.run(
        ["sh", "-c", 'exec "$0" -m evaluator models >&-', sys.executable],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.skipif(sys.platform == "win32", reason="needs named pipes")
def test_tables_are_shown_before_files_are_written(tmp_path: Path) -> None:
    folder, pipe = write_run(tmp_path / "run"), tmp_path / "pipe"
    os.mkfifo(pipe)
    process = subprocess.Popen(
        [sys.executable, "-m", "evaluator", "report", str(folder), "--json", str(pipe)],
        stdout=subprocess.PIPE,
        text=True,
    )
    patience = threading.Timer(60, process.kill)  # it waits for ever where the file comes first
    patience.start()
    with process:
        assert process.stdout is not None
        assert any("What ran" in line for line in iter(process.stdout.readline, ""))
        assert json.loads(pipe.read_text())["schema"] == 1
    patience.cancel()
    assert process.returncode == 0


def test_two_things_do_not_go_to_standard_output_together() -> None:
    done = run("report", "runs", "--json", "-", "--markdown", "-")
    assert (done.returncode, done.stdout) == (1, "")
    assert "Only one result can go to standard output" in done.stderr
