"""Networks of users whose code raises or prints, as every command meets them."""

import json
from pathlib import Path

import pytest
import torch

from evaluator.tests.command_line import Done, error_of, run, run_process
from evaluator.tests.ready_graphs import description
from evaluator.tests.toy import TOY

NETS = """
import atexit
import os
import sys
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 8, 8, 8)
        self.head = nn.Linear(8, 1000)

    def forward(self, images):
        return self.head(torch.relu(self.conv(images)).mean((2, 3)))


class NoBackward(torch.autograd.Function):
    @staticmethod
    def forward(ctx, images):
        return images * 1

    @staticmethod
    def backward(ctx, gradient):
        raise NotImplementedError("no backward for this op")


class custom(Net):
    def forward(self, images):
        return super().forward(NoBackward.apply(images))


class single(Net):
    def forward(self, images):
        if len(images) > 1:
            raise RuntimeError("batch of one only")
        return super().forward(images)


class strict(Net):
    def forward(self, images):
        if torch.is_grad_enabled():
            raise ValueError("inference only")
        return super().forward(images)


class later(Net):
    def forward(self, images):
        self.calls = getattr(self, "calls", 0) + 1
        if self.calls > 3:
            raise KeyError("later")
        return super().forward(images)


class at_call(Net):
    def forward(self, images):
        left = os.environ["CALLS_LEFT"] = str(int(os.environ["CALLS_LEFT"]) - 1)
        if int(left) <= 0:
            raise KeyError("at a call")
        return super().forward(images)


class leaves(Net):
    def forward(self, images):
        if images.abs().sum() > 0:
            sys.exit("enough")
        return super().forward(images)


class maxpool(Net):
    def __init__(self):
        super().__init__()
        self.pool = nn.AdaptiveMaxPool2d(3)

    def forward(self, images):
        return self.head(torch.relu(self.pool(self.conv(images))).mean((2, 3)))


class branch(Net):
    def forward(self, images):
        return super().forward(images if images.mean() > -100 else -images)


class loud(Net):
    def __init__(self):
        super().__init__()
        print("built")

    def forward(self, images):
        print("ran")
        os.system("echo as a process")
        os.write(1, b"as C code\\n")
        return super().forward(images)


class parting(loud):
    def __init__(self):
        super().__init__()
        atexit.register(print, "gone")


print("imported")
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A user's folder: networks, a description, and weights that fit all of them."""
    folder = tmp_path_factory.mktemp("home")
    (folder / "nets.py").write_text(NETS)
    description(folder / "net.toml", "", "mean = [0.4, 0.5, 0.6]\nstd = [0.2, 0.25, 0.3]\n")
    draw = torch.Generator().manual_seed(0)
    shapes = {"conv.weight": (8, 3, 8, 8), "conv.bias": (8,)}
    shapes |= {"head.weight": (1000, 8), "head.bias": (1000,)}
    weights = {name: torch.randn(shape, generator=draw) / 8 for name, shape in shapes.items()}
    torch.save(weights, folder / "w.pth")
    return folder


def command(home: Path, words: list[str], name: str, *more: str | Path) -> Done:
    model = f"nets:{name}"
    options = ["--description", "net.toml", "--weights", "w.pth", *more]
    return run(*[word.format(model=model) for word in words], *options, cwd=home)


def place(text: str) -> str:
    (number,) = [n for n, line in enumerate(NETS.splitlines(), 1) if text in line]
    return f"nets.py, line {number})"


SCORE = ["score", "{model}", "imagenet", "--engine", "torch", "--device", "cpu"]
ATTACK = ["attack", "whitebox", "{model}", "--epsilon", "2/255", "--steps", "3", "--limit", "2"]
ATTACK += ["--device", "cpu"]
TRANSFER = ["attack", "transfer", *ATTACK[2:], "--source", TOY, "--source-weights", "random"]
TRANSFER += ["--source-crop-px", "64", "--engine", "torch"]
MAXIMIZE = ["maximize", "{model}", "--units", "1,2", "--steps", "2", "--device", "cpu"]
BENCH = [
    "bench",
    "{model}",
    "--benchmark",
    "imagenet",
    "--engine",
    "torch",
    "--device",
    "cpu",
    "--seconds",
    "1",
]
PARITY = ["parity", "{model}", "--engine", "onnxruntime", "--device", "cpu"]

RAISED = {
    "custom": ("NotImplementedError: no backward for this op", "no backward for this op"),
    "single": ("RuntimeError: batch of one only", "batch of one only"),
    "strict": ("ValueError: inference only", "inference only"),
    "later": ("KeyError: 'later'", 'KeyError("later")'),
    "leaves": ("SystemExit: enough", "sys.exit"),
}


@pytest.mark.parametrize(
    ("words", "name"),
    [
        (SCORE, "single"),
        (SCORE, "later"),
        (SCORE, "leaves"),
        (ATTACK, "custom"),
        (ATTACK, "single"),
        (ATTACK, "strict"),
        (ATTACK, "leaves"),
        (MAXIMIZE, "custom"),
        (MAXIMIZE, "single"),
        (MAXIMIZE, "strict"),
        (MAXIMIZE, "leaves"),
        (BENCH, "single"),
        (BENCH, "later"),
        *(
            pytest.param(words, name, marks=pytest.mark.slow)
            for words, names in (
                (TRANSFER, ("single", "later")),
                (PARITY, ("leaves",)),
            )
            for name in names
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(value[:2]),
)
def test_what_a_network_raises_is_one_line_in_every_command(
    words: list[str], name: str, home: Path, three_photos: Path, tmp_path: Path
) -> None:
    more: list[str | Path] = [] if words in (PARITY, MAXIMIZE) else ["--data", three_photos]
    more += ["--out", tmp_path / "out"] if words not in (PARITY, BENCH) else []
    line = error_of(command(home, words, name, *more))
    reason, text = RAISED[name]
    assert line.startswith(f"nets:{name} ")
    assert reason in line
    assert place(text) in line
    assert "cannot be exported" not in line
    assert "images of 64 px" not in line or words is MAXIMIZE
    assert ("--batch-size 1" in line) == (name == "single")


@pytest.mark.parametrize("words", [SCORE, ATTACK, MAXIMIZE], ids=lambda words: words[0])
def test_an_exception_at_any_call_is_one_line(
    words: list[str],
    home: Path,
    three_photos: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    more: list[str | Path] = [] if words is MAXIMIZE else ["--data", three_photos]
    for call in range(1, 30):
        monkeypatch.setenv("CALLS_LEFT", str(call))
        monkeypatch.setenv("EVALUATOR_CACHE", str(tmp_path / f"cache{call}"))
        done = command(home, words, "at_call", *more, "--out", tmp_path / str(call))
        if not done.returncode:
            break
        assert "KeyError: 'at a call'" in error_of(done)
        assert place('KeyError("at a call")') in error_of(done)
    assert call > 6, "nothing was raised in the command itself"


def test_the_way_out_for_single_images_works(
    home: Path, three_photos: Path, tmp_path: Path
) -> None:
    for words in (SCORE, ATTACK):
        out = tmp_path / words[0]
        more: list[str | Path] = ["--data", three_photos, "--batch-size", "1", "--out", out]
        done = command(home, words, "single", *more)
        assert done.returncode == 0, done.stderr


def test_weights_that_are_drawn_do_not_blame_the_size(home: Path, three_photos: Path) -> None:
    done = command(home, SCORE, "single", "--data", three_photos, "--weights", "random")
    assert "px" not in error_of(done)


def test_a_run_of_another_network_is_refused_before_it_is_exported(
    home: Path, three_photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    more: list[str | Path] = ["--data", three_photos, "--out", tmp_path / "run"]
    assert command(home, SCORE, "Net", *more, "--weights", "random").returncode == 0
    monkeypatch.setattr("evaluator.workflow.score.select_engine", None)
    words = ["score", "{model}", "imagenet", "--device", "cpu"]
    start = f"{tmp_path / 'run'} is a run of nets:Net"
    line = error_of(command(home, words, "branch", *more))
    assert line.startswith(f"{start}, not of nets:branch: weights_sha256 is ")
    line = error_of(command(home, words, "Net", *more))
    assert line.startswith(f"{start} (random, seed 0), not ({home / 'w.pth'}): weights_sha256 is ")
    line = error_of(command(home, words, "Net", *more, "--weights", "random", "--limit", "2"))
    assert line.startswith(f"{tmp_path / 'run'} is a run of another identity: limit is none there")
    line = error_of(command(home, ATTACK, "Net", *more))
    assert line.startswith(f"{tmp_path / 'run'} is a run of another identity: attack is none there")
    assert "benchmark is imagenet there, whitebox here" in line


@pytest.mark.slow
def test_the_way_out_of_an_export_works(home: Path, three_photos: Path, tmp_path: Path) -> None:
    words = ["score", "{model}", "imagenet", "--device", "cpu"]
    more: list[str | Path] = ["--data", three_photos, "--out", tmp_path / "run"]
    line = error_of(command(home, words, "maxpool", *more))
    assert line.startswith("nets:maxpool cannot be exported to ONNX: AdaptiveMaxPool2d has no")
    assert line.endswith("Score it with --engine torch.")
    done = command(home, words, "maxpool", *more, "--engine", "torch")
    assert done.returncode == 0, done.stderr


def test_what_a_network_prints_is_not_in_the_result(
    home: Path, three_photos: Path, tmp_path: Path
) -> None:
    more: list[str | Path] = ["--data", three_photos, "--out", tmp_path / "run", "--json", "-"]
    done = command(home, SCORE, "loud", *more)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["scores"]
    for text in ("imported", "built", "ran"):
        assert text in done.stderr


@pytest.mark.slow
def test_neither_is_what_its_processes_its_c_code_and_its_exit_handlers_print(
    home: Path, three_photos: Path, tmp_path: Path
) -> None:
    words = ["score", "nets:parting", "imagenet", "--engine", "torch", "--device", "cpu"]
    words += ["--description", "net.toml", "--weights", "w.pth", "--json", "-"]
    done = run_process(*words, "--data", three_photos, "--out", tmp_path / "run", cwd=home)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["scores"]
    for text in ("imported", "built", "ran", "as a process", "as C code", "gone"):
        assert text in done.stderr
