"""Files that are made from photos by several processes.

A file depends on its photo, the seed and its variant, never on the process that makes it.
"""

import hashlib
import importlib.metadata
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

from ...contracts import Progress
from ...errors import InputError, OutputError, UnavailableError, printable
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
    if not tasks:
        return
    # A forked process would inherit the locks of threads that it does not have.
    context = multiprocessing.get_context("spawn")
    stopped = context.Event()
    processes, reported = min(workers or os.cpu_count() or 1, len(tasks)), time.monotonic()
    with ProcessPoolExecutor(processes, context, _start_worker, (stopped,)) as pool:
        try:
            for future in as_completed([pool.submit(_make, task) for task in tasks]):
                done += future.result()
                if done == total or time.monotonic() - reported > 0.1:
                    reported = time.monotonic()
                    progress.advance(recipe.verb, done, total, recipe.unit)
        except BrokenProcessPool as error:
            raise OutputError(
                f"One of {processes} worker processes died, perhaps because memory ran out. "
                "Repeat the call with fewer workers; finished files are kept."
            ) from error
        except BaseException:
            stopped.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise


_stopped: Event | None = None
"""In a worker process: set when the call has ended without waiting for the worker."""

_writing = threading.Lock()
"""In a worker process: held while a file is being written."""


def _start_worker(stopped: Event) -> None:
    global _stopped
    _stopped = stopped
    # Ctrl-C reaches all processes of a terminal; the caller's process handles it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Otherwise OpenCV starts a thread for each processor in each process.
    os.environ["OPENCV_FOR_THREADS_NUM"] = "1"
    threading.Thread(target=_end_with_caller, daemon=True).start()


def _end_with_caller() -> None:
    """End this worker with its caller; after a kill it would wait for tasks for ever."""
    if (caller := multiprocessing.parent_process()) is not None:
        caller.join()
        with _writing:  # otherwise a temporary file could be left behind
            os._exit(1)


def _make(task: Task) -> int:
    """Write the missing variants of one photo; returns how many."""
    products = task.recipe.make(task.photo, _bytes(task.photo), task.seed, task.missing)
    for variant in task.missing:
        if _stopped is not None and _stopped.is_set():
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
