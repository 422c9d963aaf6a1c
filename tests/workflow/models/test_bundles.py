"""Having a bundle: exported once, whoever asks at the same time, and whatever was left behind."""

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest

from evaluator.contracts import Bundle, GraphKind, NullProgress
from evaluator.errors import InputError, OutputError
from evaluator.storage.lock import locked
from evaluator.tests.toy import RANDOM, TOY
from evaluator.workflow.models.bundles import bundle_lock, ensure_bundle
from evaluator.workflow.models.options import ModelOptions
from evaluator.workflow.models.resolve import ResolvedModel, resolve_model

SMALL = ModelOptions(TOY, **RANDOM)


@pytest.fixture
def subject(tmp_path: Path) -> ResolvedModel:
    """A small model whose bundle is to be made."""
    return replace(resolve_model(SMALL), folder=tmp_path / "bundles" / "small")


def test_the_second_of_two_processes_waits_and_takes_the_first_ones_bundle(
    toy: Bundle, tmp_path: Path
) -> None:
    subject = replace(resolve_model(SMALL), folder=tmp_path / "bundle")
    progress, found = NullProgress(), []
    waiting = threading.Thread(target=lambda: found.append(ensure_bundle(subject, progress)))
    with locked(bundle_lock(subject.folder)):
        waiting.start()
        deadline = time.monotonic() + 30
        while not progress.notes and time.monotonic() < deadline:
            time.sleep(0.01)
        shutil.copytree(toy.folder, subject.folder)
    waiting.join(60)
    assert progress.notes == [f"Another process is exporting {TOY}; waiting for it."]
    assert found == [(replace(toy, folder=subject.folder), False)]


def test_what_a_killed_export_left_is_removed_by_the_next(subject: ResolvedModel) -> None:
    leftover = subject.folder.parent / ".small.0123abcd.tmp"
    leftover.mkdir(parents=True)
    (leftover / "model.onnx.data").write_bytes(b"half of it")
    (neighbour := subject.folder.parent / ".smaller.0123abcd.tmp").mkdir()
    bundle, created = ensure_bundle(subject, NullProgress())
    assert created
    assert bundle.folder == subject.folder
    assert not leftover.exists()
    assert neighbour.exists()


@pytest.mark.skipif(os.name != "posix", reason="signals are POSIX")
@pytest.mark.parametrize(
    "number", [signal.SIGINT, pytest.param(signal.SIGKILL, marks=pytest.mark.slow)]
)
def test_an_export_that_is_broken_off_leaves_nothing(
    number: signal.Signals, tmp_path: Path
) -> None:
    out = tmp_path / "out" / "bundle"
    words = [sys.executable, "-m", "evaluator", "export", SMALL.model, "--weights", "random"]
    export = subprocess.Popen(
        [*words, "--out", str(out)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert export.stderr is not None
    assert "Exporting" in export.stderr.readline()
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob("out/.bundle.*.tmp")) and time.monotonic() < deadline:
        time.sleep(0.01)
    export.send_signal(number)
    _, told = export.communicate()
    assert export.returncode == (130 if number == signal.SIGINT else -9)
    assert "Traceback" not in told
    while list(tmp_path.glob("out/*")) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not list((tmp_path / "out").iterdir())


def test_a_place_that_holds_something_else_is_refused_before_the_work(
    subject: ResolvedModel,
) -> None:
    subject.folder.mkdir(parents=True)
    (subject.folder / "thesis.txt").write_text("years")
    with pytest.raises(OutputError, match="exists and is not a bundle"):
        ensure_bundle(subject, NullProgress())
    assert (subject.folder / "thesis.txt").read_text() == "years"


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        (GraphKind("fp16"), "in fp32, taking pixels, expected fp16, taking pixels"),
        (GraphKind("fp32", "images"), "expected fp32, taking images"),
    ],
)
def test_another_graph_of_the_same_model_is_not_taken(
    kind: GraphKind, told: str, toy: Bundle
) -> None:
    model = toy.model
    with pytest.raises(InputError, match=told):
        ensure_bundle(ResolvedModel(model.spec, kind, toy.folder), NullProgress())
    with pytest.raises(InputError, match="got the options"):
        resolve_model(
            ModelOptions(str(toy.folder), precision=kind.precision, input_kind=kind.input_kind)
        )


@pytest.mark.parametrize(
    ("choice", "told"),
    [
        (
            ModelOptions("resnet50", precision="fp8"),
            "no precision 'fp8'. Expected fp32 or fp16 or bf16",
        ),
        (ModelOptions("resnet50", input_kind="jpeg"), "no input 'jpeg'. Expected pixels or images"),
    ],
)
def test_a_precision_or_input_that_there_is_none_of_is_refused(
    choice: ModelOptions, told: str
) -> None:
    with pytest.raises(InputError, match=told):
        resolve_model(choice)
