"""``evaluator maximize`` as a user meets it: tables, one line for an error, a kill half-way."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from evaluator.cli.options import parse_fraction
from evaluator.errors import InputError
from evaluator.tests.command_line import Done, error_of, run

MODEL = ("torchvision:resnet18", "--weights", "random", "--crop-px", "32", "--device", "cpu")


def maximize(out: Path, *more: str | Path) -> Done:
    return run("maximize", *MODEL, "--out", out, *more)


def test_a_command_makes_the_images_and_tells_of_them(tmp_path: Path) -> None:
    out = tmp_path / "a folder"
    words = ("--units", "7,300", "--start", "noise", "--steps", "3", "--step-size", "2/255")
    done = maximize(out, *words)
    assert done.returncode == 0, done.stderr
    assert "torchvision:resnet18 (random, seed 0): units before fc, 512 of them" in done.stdout
    assert "0 of 2 reached p > 1 - 1e-6" in done.stdout
    assert "maximize: 6 of 6 steps" in done.stderr
    assert f"Grids, arrays and maximized.json: {out}" in done.stderr
    arrays = np.load(out / "maximized.npz")
    assert arrays["units"].tolist() == [7, 300]
    assert np.abs(arrays["last"] - arrays["starts"][:, None]).max() <= 6 / 255 + 1e-6
    again = maximize(out, *words)
    assert again.returncode == 0
    assert again.stdout == done.stdout
    assert "made before; the existing files are used" in again.stderr
    message = error_of(maximize(out, *words, "--epsilon", "1/255"))
    assert "contains other maximizing images: settings.epsilon is 4.0 there, 0.003" in message


def test_epsilon_bounds_the_change(tmp_path: Path) -> None:
    words = ("--units", "7", "--start", "noise", "--steps", "3", "--epsilon", "1/255")
    assert maximize(tmp_path / "out", *words).returncode == 0
    arrays = np.load(tmp_path / "out" / "maximized.npz")
    change = np.abs(arrays["last"] - arrays["starts"][:, None]).max()
    assert change == pytest.approx(1 / 255, rel=1e-4)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--units", "512"], "There is no unit 512 in torchvision:resnet18: fc reads 512 units"),
        (["--start", "nowhere.png"], "--start nowhere.png is not a file."),
        (["--step-size", "2/0"], "--step-size takes a number such as 0.01 or 8/255; got '2/0'."),
    ],
)
def test_bad_input_is_one_line(tmp_path: Path, words: list[str], message: str) -> None:
    assert message in error_of(maximize(tmp_path / "out", *words))
    assert not (tmp_path / "out").exists()


@pytest.mark.slow  # workflow/test_maximize.py has the same without a process
def test_a_command_that_was_killed_leaves_whole_files_and_is_continued(tmp_path: Path) -> None:
    out = tmp_path / "out"
    words = ["maximize", *MODEL, "--out", str(out), "--units", "1,2,3"]
    words += ["--steps", "20", "--batch-size", "1"]
    process = subprocess.Popen(
        [sys.executable, "-m", "evaluator", *words], stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 120
    while len(list(out.glob("part-*.npz"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    parts = sorted(out.glob("part-*.npz"))
    assert 2 <= len(parts) < 9
    for part in parts:
        with np.load(part) as file:
            assert file["traces"].shape == (1, 21)
    assert not (out / "maximized.json").exists()
    assert parts[0].name == "part-000-000001.npz"
    done = run(*words)
    assert done.returncode == 0, done.stderr
    assert f"maximize: {20 * len(parts)} of 180 steps" in done.stderr
    assert sorted(path.name for path in out.iterdir()) == [
        "last.png", "maximized.json", "maximized.npz", "maximized.png",
    ]  # fmt: skip


def test_numbers_in_pixel_units_are_read_as_written() -> None:
    assert parse_fraction("8/255", "--epsilon") == 8 / 255
    assert parse_fraction("0.01", "--epsilon") == 0.01
    for text in ("", "1/", "/255", "1/2/3", "8 255"):
        with pytest.raises(InputError, match="--epsilon takes a number"):
            parse_fraction(text, "--epsilon")
