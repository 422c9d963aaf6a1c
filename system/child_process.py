"""Running a function in a child process, whose memory is freed when it exits.

torch keeps several gigabytes of a large model in memory after an export. So an export runs in a
fresh interpreter that exits. ``multiprocessing`` would run the user's script again to start one;
this starts Python itself, sends one picklable argument, and passes progress, the result or the
error back through a pipe.
"""

import _thread
import contextlib
import os
import pickle
import signal
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any, BinaryIO, cast

from ..contracts import Progress
from ..errors import EvaluatorError, OutputError

SECONDS_TO_CLEAN_UP = 10.0
"""Time for an interrupted child to remove its incomplete files."""

_START = """
import pickle, sys
try:
    sys.path[:] = pickle.load(sys.stdin.buffer)
except EOFError:  # the parent was interrupted
    sys.exit(1)
from {module} import serve
serve()
"""


def in_child(work: Callable[[Any, Progress], Any], argument: object, progress: Progress) -> Any:
    """Call ``work(argument, progress)`` in a fresh process.

    Args:
        work: Function at the top of a module.
        argument: Argument of ``work``, picklable.
        progress: Progress callback of this process, which the child's progress is passed to.

    Returns:
        What ``work`` returns.

    Raises:
        EvaluatorError: The error that ``work`` raises.
        OutputError: If the child was killed.
    """
    with _interrupts_blocked():  # the child unblocks them when it can handle them
        child = subprocess.Popen(
            [sys.executable, "-c", _START.format(module=__name__)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
    assert child.stdin is not None
    try:
        with contextlib.suppress(BrokenPipeError):  # the child has ended, which is noticed below
            pickle.dump(sys.path, child.stdin)
            pickle.dump((work, argument), child.stdin)
            child.stdin.flush()
        return _receive_result(child, progress)
    finally:
        _end(child)


@contextlib.contextmanager
def _interrupts_blocked() -> Iterator[None]:
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _receive_result(child: "subprocess.Popen[bytes]", progress: Progress) -> Any:
    assert child.stdout is not None
    while True:
        try:
            kind, content = pickle.load(child.stdout)
        except (EOFError, pickle.UnpicklingError):
            code = child.wait()
            reason = f"by signal {-code}" if code < 0 else f"with exit code {code}"
            raise OutputError(
                f"The child process ended {reason} without an error message. If the system killed "
                "it for lack of memory, close other programs, or use a machine with more memory."
            ) from None
        if kind == "result":
            return content
        if kind == "error":
            raise content
        if kind == "crash":
            raise RuntimeError(f"In the child process:\n{content}")
        getattr(progress, kind)(*content)


def _end(child: "subprocess.Popen[bytes]") -> None:
    """Let the child finish or clean up: it ends when its input does."""
    assert child.stdin is not None
    assert child.stdout is not None
    with contextlib.suppress(BrokenPipeError):
        child.stdin.close()
    try:
        child.wait(SECONDS_TO_CLEAN_UP)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()
    child.stdout.close()


# ------------------------------------------------------------------------------- in the child


class _ParentProgress:
    """Progress that is sent to the parent."""

    def __init__(self, pipe: BinaryIO) -> None:
        self._pipe = pipe

    def send(self, kind: str, content: object) -> None:
        pickle.dump((kind, content), self._pipe)
        self._pipe.flush()

    def note(self, text: str) -> None:
        self.send("note", (text,))

    def advance(self, step: str, done: int, total: int, unit: str) -> None:
        self.send("advance", (step, done, total, unit))


def serve() -> None:
    """Do the work that the parent sent, send the result, and exit without cleaning up."""
    # What a library prints must not get into the pipe.
    parent = _ParentProgress(os.fdopen(os.dup(1), "wb"))
    os.dup2(2, 1)
    signal.signal(signal.SIGINT, _interrupt)  # even if the parent ignores it
    try:
        if hasattr(signal, "pthread_sigmask"):
            signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
        outcome = _outcome(parent)
        # The parent closes our input when it has the result: nothing is left to interrupt.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        parent.send(*outcome)
    except (KeyboardInterrupt, BrokenPipeError):
        os._exit(1)  # the parent knows, or is gone
    os._exit(0)


def _outcome(parent: _ParentProgress) -> tuple[str, object]:
    try:
        work, argument = pickle.load(sys.stdin.buffer)
        threading.Thread(target=_end_with_parent, daemon=True).start()
        return "result", work(argument, cast(Progress, parent))
    except BrokenPipeError:
        raise
    except BaseException as error:
        if _interrupted:  # libraries may turn the KeyboardInterrupt into another error
            raise KeyboardInterrupt from error
        if isinstance(error, EvaluatorError):
            return "error", error
        return "crash", traceback.format_exc()


_interrupted: list[int] = []


def _interrupt(number: int, frame: FrameType | None) -> None:
    # Only the first: a terminal and the parent both send one, and the cleanup must not end early.
    if not _interrupted:
        _interrupted.append(number)
        raise KeyboardInterrupt


def _end_with_parent() -> None:
    """Interrupt the work when the parent has ended or closed the pipe."""
    while os.read(0, 1):
        pass
    if hasattr(signal, "pthread_kill"):  # interrupts a system call too
        signal.pthread_kill(cast(int, threading.main_thread().ident), signal.SIGINT)
    else:
        _thread.interrupt_main()
    threading.Event().wait(SECONDS_TO_CLEAN_UP)
    os._exit(1)
