"""Work in a process of its own: results, progress and errors come back, interruptions get there."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from evaluator.contracts import NullProgress, Progress
from evaluator.errors import InputError, OutputError
from evaluator.system.child_process import in_child


def tell(argument: Any, progress: Progress) -> Any:
    print("noise of a library")
    progress.note("begun")
    progress.advance("step", 1, 2, "things")
    return {"pid": os.getpid(), "argument": argument}


def refuse(argument: Any, progress: Progress) -> Any:
    raise InputError("one clear line")


def break_down(argument: Any, progress: Progress) -> Any:
    raise ZeroDivisionError("ours")


def die(argument: Any, progress: Progress) -> Any:
    os.kill(os.getpid(), signal.SIGKILL)


def sleep(argument: Any, progress: Progress) -> Any:
    Path(argument).with_suffix(".begun").touch()
    try:
        time.sleep(60)
    finally:
        Path(argument).touch()


def test_the_result_and_what_is_told_come_back_from_another_process() -> None:
    progress = NullProgress()
    result = in_child(tell, [1, 2], progress)
    assert result["pid"] != os.getpid()
    assert result["argument"] == [1, 2]
    assert progress.notes == ["begun"]


def test_an_error_of_the_tool_is_the_same_error_here() -> None:
    with pytest.raises(InputError, match=r"^one clear line$"):
        in_child(refuse, None, NullProgress())


def test_an_answer_is_all_that_a_child_says(capfd: pytest.CaptureFixture[str]) -> None:
    # The parent closes the child's input when it has the answer: no interrupt may follow that.
    for _ in range(5):
        with pytest.raises(InputError):
            in_child(refuse, None, NullProgress())
    assert capfd.readouterr().err == ""


def test_a_bug_keeps_its_traceback() -> None:
    with pytest.raises(RuntimeError, match="ZeroDivisionError: ours") as caught:
        in_child(break_down, None, NullProgress())
    assert "break_down" in str(caught.value)


def test_a_child_that_was_killed_is_one_line() -> None:
    with pytest.raises(OutputError, match=r"ended by signal 9.*memory"):
        in_child(die, None, NullProgress())


PROGRAM = """
import sys
from evaluator.contracts import NullProgress
from evaluator.tests.system.test_child_process import sleep
from evaluator.system.child_process import in_child
in_child(sleep, sys.argv[1], NullProgress())
"""


@pytest.mark.skipif(os.name != "posix", reason="signals are POSIX")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_a_child_cleans_up_when_its_parent_is_interrupted_or_killed(
    number: signal.Signals, tmp_path: Path
) -> None:
    cleaned = tmp_path / "cleaned"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    parent = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(cleaned)], env=environment, stderr=subprocess.PIPE
    )
    assert _appears(tmp_path / "cleaned.begun")
    parent.send_signal(number)  # to the parent alone, as `kill` does
    assert _appears(cleaned)
    parent.communicate()


IMPATIENT = """
import os, signal, subprocess, sys
from evaluator.contracts import NullProgress
from evaluator.system.child_process import in_child
from evaluator.tests.system.test_child_process import {work}

class Interrupted(subprocess.Popen):
    def __init__(self, *words, **options):
        super().__init__(*words, **options)
        self.send_signal(signal.SIGINT)  # as a terminal does, before the child has begun

subprocess.Popen = Interrupted
in_child({work}, sys.argv[1], NullProgress())
"""


def swallow(argument: Any, progress: Progress) -> Any:
    """What a library in C makes of an interrupt while it is imported."""
    Path(argument).touch()
    try:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(60)
    except KeyboardInterrupt as error:
        raise ImportError("initialization failed") from error


@pytest.mark.skipif(os.name != "posix", reason="signals are POSIX")
@pytest.mark.parametrize("work", ["sleep", "swallow"])
def test_a_child_that_is_interrupted_while_it_starts_says_nothing(
    work: str, tmp_path: Path
) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    program = IMPATIENT.format(work=work)
    if work == "swallow":
        program = program.replace("self.send_signal", "signal.Signals")
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "cleaned")],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr.count("Traceback") == 1  # of the parent, which has no command line here
    assert "ended with exit code 1" in done.stderr.splitlines()[-1]


def _appears(path: Path) -> bool:
    deadline = time.monotonic() + 60
    while not path.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    return path.exists()
