"""A build in a process of its own: what it gives, how it fails, and that nothing outlives it."""

import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from evaluator.contracts import Bundle, Silence
from evaluator.engine import build_process
from evaluator.engine.build_process import Order, build_in_child
from evaluator.engine.plan_builder import BuildJob
from evaluator.engine.tensorrt_api import find_flavour
from evaluator.errors import EngineError, EngineUnavailableError
from evaluator.tests.engine.plan_keys import plan_key
from evaluator.tests.small_bundle import small_bundle

pytest.importorskip("tensorrt_rtx")

POSIX = pytest.mark.skipif(sys.platform == "win32", reason="needs signals of POSIX")


@pytest.fixture
def order(tmp_path: Path) -> Order:
    return order_of(small_bundle(tmp_path / "bundle"), tmp_path / "out.plan")


def order_of(bundle: Bundle, out: Path) -> Order:
    job = BuildJob(find_flavour("tensorrt-rtx"), plan_key(), bundle.graph, "small")
    return Order(job, out, None)


@dataclass
class Told:
    """Keeps what it is told."""

    done: list[int] = field(default_factory=list)

    def note(self, text: str) -> None:
        raise AssertionError(text)

    def advance(self, step: str, done: int, total: int, unit: str) -> None:
        assert (step, total, unit) == ("plan", 100, "%")
        self.done.append(done)


def children() -> list[int]:
    """The processes that this one started and that are still there."""
    found = []
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            text = status.read_text()
        except OSError:
            continue
        if f"\nPPid:\t{os.getpid()}\n" in text and "\nState:\tZ" not in text:
            found.append(int(status.parent.name))
    return found


def test_the_plan_is_written_and_its_progress_told(order: Order) -> None:
    told = Told()
    assert build_in_child(order, told) == 25
    assert order.out.read_bytes()[:4] == b"vtrt"
    assert told.done[0] == 0
    assert told.done == sorted(told.done)
    assert told.done[-1] == 100


def test_an_error_of_the_child_is_the_parents(order: Order, tmp_path: Path) -> None:
    (tmp_path / "bundle" / "model.onnx").write_bytes(b"no graph")
    told = Told()
    with pytest.raises(EngineError, match=r"cannot take the graph of small: Failed to parse"):
        build_in_child(order, told)
    assert not order.out.exists()
    assert 100 not in told.done


def test_a_plan_that_cannot_be_written_is_an_error_of_the_system(
    order: Order, tmp_path: Path
) -> None:
    nowhere = Order(order.job, tmp_path / "no" / "folder" / "x.plan", None)
    with pytest.raises(FileNotFoundError):
        build_in_child(nowhere, Silence())


def test_a_package_that_the_child_does_not_find_is_told(
    order: Order, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "tensorrt_rtx.py").write_text("raise OSError('libnvinfer is gone')")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(EngineUnavailableError, match="does not load: libnvinfer is gone"):
        build_in_child(order, Silence())


@pytest.fixture
def long(tmp_path: Path) -> Order:
    """An order whose build takes seconds."""
    return order_of(small_bundle(tmp_path / "deep", convolutions=200), tmp_path / "out.plan")


@POSIX
def test_a_child_that_the_system_ends_is_one_line(long: Order) -> None:
    class Killing(Told):
        def advance(self, step: str, done: int, total: int, unit: str) -> None:
            super().advance(step, done, total, unit)
            if done > 0:
                for process in children():
                    os.kill(process, signal.SIGKILL)

    expected = "ended while it built a plan of small, by SIGKILL; the system may have run out"
    with pytest.raises(EngineError, match=expected):
        build_in_child(long, Killing())


@POSIX
def test_an_interrupt_leaves_no_child(long: Order) -> None:
    class Interrupting(Told):
        def advance(self, step: str, done: int, total: int, unit: str) -> None:
            if done > 0:
                assert children()
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build_in_child(long, Interrupting())
    assert children() == []


@pytest.fixture
def child(long: Order) -> "Iterator[subprocess.Popen[bytes]]":
    """A child that has its order."""
    words = [sys.executable, "-m", build_process.__name__]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(pickle.dumps(long))
        process.stdin.flush()
        assert process.stdout.readline() == b'{"done": 0.01}\n'
        yield process
        process.kill()


def test_a_child_ends_with_its_parent(child: "subprocess.Popen[bytes]", long: Order) -> None:
    assert child.stdin is not None
    child.stdin.close()  # what the system does for a parent that was killed
    assert child.wait(timeout=60) == 1
    assert not long.out.exists()


@POSIX
def test_a_child_leaves_the_interrupt_of_the_terminal_to_its_parent(
    child: "subprocess.Popen[bytes]", long: Order
) -> None:
    child.send_signal(signal.SIGINT)
    assert child.stdout is not None
    assert child.stdout.readlines()[-1].startswith(b'{"layers": ')
    assert child.wait(timeout=60) == 0
    assert long.out.exists()
