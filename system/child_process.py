"""Work in a process of its own, whose memory is given back whole when it ends.

torch keeps several gigabytes of a large model alive after an export, whatever is deleted. So an
export runs in a fresh interpreter that exits. ``multiprocessing`` would run the user's script a
second time to start one; this starts Python itself, hands over one picklable argument, and passes
progress, the result or the error back through a pipe.
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
from collections.abc import Callable
from typing import Any, BinaryIO, cast

from ..contracts import Progress
from ..errors import EvaluatorError, OutputError

SECONDS_TO_CLEAN_UP = 10.0
"""What an interrupted child may take to remove what it had half written."""

_START = (
    "import pickle, sys; sys.path[:] = pickle.load(sys.stdin.buffer); "
    "from {module} import serve; serve()"
)


def in_child(work: Callable[[Any, Progress], Any], argument: object, progress: Progress) -> Any:
    """Call ``work(argument, progress)`` in a fresh process.

    Args:
        work: A function at the top of a module.
        argument: Picklable.
        progress: Is told what the child tells.

    Returns:
        What ``work`` returns.

    Raises:
        EvaluatorError: What ``work`` raises.
        OutputError: If the child was killed.
    """
    child = subprocess.Popen(
        [sys.executable, "-c", _START.format(module=__name__)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert child.stdin is not None
    assert child.stdout is not None
    try:
        pickle.dump(sys.path, child.stdin)
        pickle.dump((work, argument), child.stdin)
        child.stdin.flush()
        return _answer(child, progress)
    except BrokenPipeError:
        return _answer(child, progress)
    finally:
        _end(child)


def _answer(child: "subprocess.Popen[bytes]", progress: Progress) -> Any:
    assert child.stdout is not None
    while True:
        try:
            kind, content = pickle.load(child.stdout)
        except (EOFError, pickle.UnpicklingError):
            raise _killed(child.wait()) from None
        if kind == "result":
            return content
        if kind == "error":
            raise content
        if kind == "crash":
            raise RuntimeError(f"In the child process:\n{content}")
        getattr(progress, kind)(*content)


def _killed(code: int) -> OutputError:
    how = f"by signal {-code}" if code < 0 else f"with exit code {code}"
    return OutputError(
        f"The process that did the work ended {how}, without a word. If the system killed it for "
        "lack of memory, close other programs, or use a machine with more."
    )


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


class _Told:
    """Progress that is told to the parent."""

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
    """Do the work that the parent sent, answer, and end at once: there is nothing to tidy up."""
    # What a library prints must not get between the answers.
    told = _Told(os.fdopen(os.dup(1), "wb"))
    os.dup2(2, 1)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # also where the parent ignores it
    try:
        answer = _answer_of(told)
        # The parent closes our input when it has the answer: nothing is left to be interrupted.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        told.send(*answer)
    except (KeyboardInterrupt, BrokenPipeError):
        os._exit(1)  # the parent knows, or is gone
    os._exit(0)


def _answer_of(told: _Told) -> tuple[str, object]:
    work, argument = pickle.load(sys.stdin.buffer)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        return "result", work(argument, cast(Progress, told))
    except EvaluatorError as error:
        return "error", error
    except (KeyboardInterrupt, BrokenPipeError):
        raise
    except BaseException:
        return "crash", traceback.format_exc()


def _end_with_parent() -> None:
    """Interrupt the work when the parent is gone, whatever became of it."""
    while os.read(0, 1):
        pass
    if hasattr(signal, "pthread_kill"):  # also out of a system call, which the other does not
        signal.pthread_kill(cast(int, threading.main_thread().ident), signal.SIGINT)
    else:
        _thread.interrupt_main()
    threading.Event().wait(SECONDS_TO_CLEAN_UP)
    os._exit(1)
