"""A build in a process of its own.

A build may say nothing for a minute, take gigabytes, and cannot be broken off from inside. In a
process of its own it ends at once when its parent is interrupted or dies, what it took is given
back, and when the system ends it for want of memory that is one line.

The child is given the order on its standard input, which stays open as long as the parent lives,
and answers with JSON lines: ``done``, a fraction, as it goes on; at the end ``layers``, or
``error`` and its text, or ``errno`` of a plan that could not be written.
"""

import errno
import json
import os
import pickle
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from .. import errors
from ..contracts import Progress
from ..errors import EngineError, EvaluatorError
from .build_progress import BuildProgress
from .plan_builder import BuildJob, plan_from_onnx
from .tensorrt_api import load_tensorrt

TICK_SECONDS = 0.25
"""Between two looks at a build: silence is shown too."""


@dataclass(frozen=True)
class Order:
    """What the child is to do.

    Attributes:
        job: What is built.
        out: Where the plan is written.
        timings: Where measured kernels are kept; none where they are not.
    """

    job: BuildJob
    out: Path
    timings: Path | None


def build_in_child(order: Order, progress: Progress) -> int:
    """Build a plan in a process of its own, and tell how far it is.

    Returns:
        The layers of the network before TensorRT fuses them.

    Raises:
        EngineError: If TensorRT cannot take the graph, or the process ends by itself.
        EngineUnavailableError: If TensorRT does not start.
        OSError: If the plan cannot be written.
    """
    answers: dict[str, Any] = {"done": 0.0}
    with _child() as process:
        assert process.stdin is not None
        assert process.stdout is not None
        reader = threading.Thread(target=_read, args=(process.stdout, answers), daemon=True)
        reader.start()
        try:
            pickle.dump(order, process.stdin)
            process.stdin.flush()
        except BrokenPipeError:  # it ended before it had its order; that is told below
            pass
        while reader.is_alive():
            progress.advance("plan", min(99, int(100 * answers["done"])), 100, "%")
            reader.join(TICK_SECONDS)
    _raise_what_failed(order, answers, process.returncode)
    progress.advance("plan", 100, 100, "%")
    return int(answers["layers"])


@contextmanager
def _child() -> "Iterator[subprocess.Popen[bytes]]":
    """The process; it is gone when the block ends, however that may be."""
    found = os.pathsep.join(path for path in sys.path if path)
    with subprocess.Popen(
        [sys.executable, "-P", "-m", __name__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": found},
    ) as process:
        try:
            yield process
            process.wait()
        finally:
            process.kill()


def _read(pipe: IO[bytes], answers: dict[str, Any]) -> None:
    for line in pipe:
        answers.update(json.loads(line))


def _raise_what_failed(order: Order, answers: dict[str, Any], code: int) -> None:
    if "errno" in answers:
        raise OSError(answers["errno"], os.strerror(answers["errno"]))
    if "error" in answers:
        raise getattr(errors, answers["error"])(answers["text"])
    if "layers" not in answers:
        signal_name = signal.Signals(-code).name if code < 0 else ""
        memory = "; the system may have run out of memory" if signal_name == "SIGKILL" else ""
        raise EngineError(
            f"{order.job.flavour.title} ended while it built a plan of {order.job.model}, by "
            f"{signal_name or f'exit code {code}'}{memory}."
        )


# ---------------------------------------------------------------------------------------- the child


def main() -> None:
    """What the child does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of the whole terminal; the parent decides
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what a library prints is no answer
    order: Order = pickle.load(sys.stdin.buffer)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        layers = _obey(order, _Told(answers))
        print(json.dumps({"layers": layers}), file=answers)
    except EvaluatorError as error:
        answer = {"error": type(error).__name__, "text": str(error)}
        print(json.dumps(answer), file=answers)
    except OSError as error:
        print(json.dumps({"errno": error.errno or errno.EIO}), file=answers)


def _obey(order: Order, progress: BuildProgress) -> int:
    trt = load_tensorrt(order.job.flavour)
    built = plan_from_onnx(trt, order.job, progress, order.timings)
    order.out.write_bytes(built.data)
    return built.layers


class _Told(BuildProgress):
    """Tells the parent of each percent."""

    def __init__(self, answers: IO[str]) -> None:
        super().__init__()
        self._answers, self._percent = answers, 0

    def step(self, phase: str, step: int) -> None:
        super().step(phase, step)
        percent = int(100 * self.fraction)
        if percent > self._percent:
            self._percent = percent
            print(json.dumps({"done": percent / 100}), file=self._answers)


def _end_with_parent() -> None:
    os.read(0, 1)  # comes back when the parent's end is closed, however it died
    os._exit(1)


if __name__ == "__main__":
    main()
