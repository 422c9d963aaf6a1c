"""Files that are made from photos by several processes.

A file depends on its photo, the seed and its variant, never on the process that makes it.

A process gets its tasks, one after the other, through a pipe, which is closed to end it. A pool of
the standard library has semaphores, which an interrupted command leaves behind with a warning.
"""

import hashlib
import importlib.metadata
import multiprocessing
import os
import signal
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from ...contracts import Progress
from ...errors import EvaluatorError, InputError, OutputError, UnavailableError, printable
from ...storage.atomic import atomic_write_bytes


@dataclass(frozen=True)
class Photo:
    """A clean photo.

    Attributes:
        id: ``<wnid>/<file>``.
        location: Path of the file.
        target: Path of each file made from it, below the folder of a variant.
        sha256: SHA-256 of its bytes.
    """

    id: str
    location: str
    target: str
    sha256: str


@dataclass(frozen=True)
class Recipe:
    """How files are made from each photo.

    Attributes:
        verb: Name of the command: ``corrupt``.
        unit: Word for the files in progress: ``images``.
        products: Words for the files in messages: ``corrupted images``.
        objection: Reason why products cannot be a source, for messages.
        suffixes: Suffixes that the files may keep.
        suffix: Suffix of files that cannot keep theirs.
        packages: Packages whose versions can change a byte of the files.
        extra: The extra of ``evaluator`` that installs them.
        facts: Function that returns everything else that all files depend on; it is called before
            the photos are read. Raises UnavailableError if something is not installed.
        check: Function that is called before the first file of a folder is written. Raises
            UnavailableError if something that is installed cannot be used.
        make: Function of a photo, its bytes, the seed and some variants that yields the bytes of
            each variant, in order. It must be at the top level of a module, since worker processes
            import it by name.
    """

    verb: str
    unit: str
    products: str
    objection: str
    suffixes: tuple[str, ...]
    suffix: str
    packages: tuple[str, ...]
    extra: str
    facts: Callable[[], Mapping[str, Any]]
    check: Callable[[], object]
    make: Callable[[Photo, bytes, int, Sequence[str]], Iterator[bytes]]

    def version(self, distribution: str) -> str:
        """The version of an installed package.

        Raises:
            UnavailableError: If it is not installed.
        """
        try:
            return importlib.metadata.version(distribution)
        except importlib.metadata.PackageNotFoundError as error:
            raise UnavailableError(
                f"{self.verb.capitalize()}ing photos needs the package {distribution}, which is "
                f"not installed. Install it with `pip install 'evaluator[{self.extra}]'`."
            ) from error


@dataclass(frozen=True)
class Task:
    """The missing variants of one photo, which one worker makes."""

    photo: Photo
    folder: Path
    seed: int
    missing: tuple[str, ...]
    recipe: Recipe


def make_all(
    tasks: Sequence[Task], recipe: Recipe, workers: int | None, total: int, progress: Progress
) -> None:
    """Do every task; the first error, or an interrupt, also ends the tasks that are running."""
    done = total - sum(len(task.missing) for task in tasks)
    progress.advance(recipe.verb, done, total, recipe.unit)
    reported = time.monotonic()
    for count in _counts(tasks, min(workers or os.cpu_count() or 1, len(tasks))):
        done += count
        if done == total or time.monotonic() - reported > 0.1:
            reported = time.monotonic()
            progress.advance(recipe.verb, done, total, recipe.unit)


def _counts(tasks: Sequence[Task], processes: int) -> Iterator[int]:
    """The number of files of each task, as soon as it is done by one of several processes."""
    # A forked process would inherit the locks of threads that it does not have.
    context = multiprocessing.get_context("spawn")
    waiting = deque(tasks)
    busy: list[Connection] = []
    try:
        for _ in range(processes):
            ours, theirs = context.Pipe()
            with _without_interrupts():
                context.Process(target=_work, args=(theirs,)).start()
            theirs.close()
            busy.append(ours)
            _send(ours, waiting.popleft(), processes)
        while busy:
            for connection in wait(busy, timeout=0.5):
                assert isinstance(connection, Connection)
                yield _received(connection, processes)
                if waiting:
                    _send(connection, waiting.popleft(), processes)
                else:
                    busy.remove(connection)
                    connection.close()
    finally:
        for connection in busy:
            connection.close()  # the process ends after the file that it is making


def _send(connection: Connection, task: Task, processes: int) -> None:
    try:
        connection.send(task)
    except OSError as error:
        raise _died(processes) from error


def _received(connection: Connection, processes: int) -> int:
    """The number of files that a process made; raises what it raised."""
    try:
        result = connection.recv()
    except (EOFError, OSError) as error:
        raise _died(processes) from error
    if isinstance(result, Exception):
        raise result
    return int(result)


def _died(processes: int) -> OutputError:
    return OutputError(
        f"One of {processes} worker processes died, perhaps because memory ran out. Repeat the "
        "call with fewer workers; finished files are kept."
    )


@contextmanager
def _without_interrupts() -> Iterator[None]:
    """Let Ctrl-C, which reaches all processes of a terminal, wait; a new process inherits that."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


_writing = threading.Lock()
"""In a worker process: held while a file is being written."""


def _work(connection: Connection) -> None:
    """What a worker process does: one task after the other, until its caller closes the pipe."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the caller's process handles it
    # Otherwise OpenCV starts a thread for each processor in each process.
    os.environ["OPENCV_FOR_THREADS_NUM"] = "1"
    threading.Thread(target=_end_with_caller, daemon=True).start()
    with suppress(EOFError, OSError):
        while True:
            connection.send(_result(connection.recv(), connection))


def _result(task: Task, connection: Connection) -> int | Exception:
    """The number of files of a task, or what it raised."""
    try:
        return _make(task, connection)
    except EvaluatorError as error:
        return error
    except Exception as error:  # a bug, whose place is in this process
        return RuntimeError(f"{error!r} in a worker process:\n{traceback.format_exc()}")


def _end_with_caller() -> None:
    """End this worker with its caller, whatever it is doing."""
    if (caller := multiprocessing.parent_process()) is not None:
        caller.join()
        with _writing:  # otherwise a temporary file could be left behind
            os._exit(1)


def _make(task: Task, connection: Connection) -> int:
    """Write the missing variants of one photo, unless the pipe is closed; returns how many."""
    products = task.recipe.make(task.photo, _bytes(task.photo), task.seed, task.missing)
    for variant in task.missing:
        if connection.poll():  # no task comes before the result of this one
            break
        data = next(products)
        with _writing:
            atomic_write_bytes(Path(f"{task.folder}/{variant}/{task.photo.target}"), data)
    return len(task.missing)


def _bytes(photo: Photo) -> bytes:
    """The bytes of a photo, which must be those whose hash ``generated.json`` holds."""
    data = b""
    with suppress(OSError):
        data = Path(photo.location).read_bytes()
    if hashlib.sha256(data).hexdigest() != photo.sha256:
        raise InputError(
            f"{printable(photo.location)} changed, or cannot be read any more, since the command "
            "started. Do not change SOURCE while it runs; if it changed, give another DIR."
        )
    return data
