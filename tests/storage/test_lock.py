"""Locks between processes: one at a time, and free when their holder dies."""

import errno
import fcntl
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from evaluator.errors import OutputError
from evaluator.storage.lock import locked

HOLD = """
import sys
from pathlib import Path
from evaluator.storage.lock import locked
with locked(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""
COUNT = """
import sys
from pathlib import Path
from evaluator.storage.lock import locked
path = Path(sys.argv[1])
for _ in range(50):
    with locked(path):
        path.write_text(str(int(path.read_text()) + 1))
"""


@contextmanager
def holder(path: Path) -> Iterator["subprocess.Popen[str]"]:
    """Another process that holds the lock until its standard input ends."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_a_lock_that_nobody_holds_is_had_without_waiting(tmp_path: Path) -> None:
    path, waited = tmp_path / "a" / "plan", threading.Event()
    for _ in range(2):
        with locked(path, waiting=waited.set):
            assert (tmp_path / "a" / "plan.lock").is_file()
            assert not path.exists()
    assert not waited.is_set()


def test_a_lock_that_another_process_holds_is_waited_for(tmp_path: Path) -> None:
    calls: list[str] = []
    with holder(tmp_path / "plan") as process:

        def waiting() -> None:
            calls.append("waiting")
            assert process.stdin is not None
            process.stdin.close()

        with locked(tmp_path / "plan", waiting=waiting):
            process.wait()
    assert calls == ["waiting"]


def test_the_lock_of_a_killed_process_is_free(tmp_path: Path) -> None:
    with holder(tmp_path / "plan") as process:
        process.kill()
        process.wait()
        with locked(tmp_path / "plan"):
            pass
    assert (tmp_path / "plan.lock").is_file()


def test_locks_of_different_files_do_not_meet(tmp_path: Path) -> None:
    waited = threading.Event()
    with holder(tmp_path / "plan"), locked(tmp_path / "other", waiting=waited.set):
        assert not waited.is_set()


def test_an_error_inside_frees_the_lock(tmp_path: Path) -> None:
    waited = threading.Event()
    with pytest.raises(ZeroDivisionError), locked(tmp_path / "plan"):
        raise ZeroDivisionError
    with locked(tmp_path / "plan", waiting=waited.set):
        assert not waited.is_set()


def test_four_processes_lose_no_count(tmp_path: Path) -> None:
    path = tmp_path / "count"
    path.write_text("0")
    processes = [subprocess.Popen([sys.executable, "-c", COUNT, str(path)]) for _ in range(4)]
    assert [process.wait() for process in processes] == [0] * 4
    assert path.read_text() == "200"


def test_threads_exclude_each_other(tmp_path: Path) -> None:
    entered, waiting = threading.Event(), threading.Event()

    def second() -> None:
        with locked(tmp_path / "plan", waiting=waiting.set):
            entered.set()

    thread = threading.Thread(target=second)
    with locked(tmp_path / "plan"):
        thread.start()
        assert waiting.wait(timeout=60)
        assert not entered.is_set()
    thread.join()
    assert entered.is_set()


@pytest.mark.parametrize("code", [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP])
def test_a_file_system_without_locks_is_named(
    code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_locks(*_: object) -> None:
        raise OSError(code, "no locks on this file system")

    monkeypatch.setattr(fcntl, "flock", no_locks)
    with pytest.raises(OutputError, match=r"plan cannot be locked .*: no locks .*EVALUATOR_CACHE"):
        locked(tmp_path / "plan").__enter__()


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OutputError, match=r"file cannot be written"):
        locked(tmp_path / "file" / "plan").__enter__()
    (tmp_path / "plan.lock").mkdir()
    with pytest.raises(OutputError, match=r"plan cannot be locked .*irectory"):
        locked(tmp_path / "plan").__enter__()
