"""Data that are generated from the clean photos of a user, by several processes.

    SOURCE/<wnid>/<file>  ->  DIR/<variant>/<wnid>/<file>

A file depends on its photo, the seed and its variant, never on the process that makes it or on the
other variants of a call. So an interrupted call is resumed by calling again, and a second call for
other variants extends the same folder. A ``Recipe`` says what the variants are and how their bytes
are made: ``corruptions.py`` and ``perturbations.py`` each have one.
"""

import difflib
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

from ...contracts import Condition, Item, Progress
from ...errors import InputError, OutputError, UnavailableError, printable
from ...storage.atomic import atomic_write_bytes
from ...storage.digest import file_sha256
from ..sources.folder import FolderSource
from ..sources.generated_marker import marker_above, was_generated
from ..sources.items import select_items
from .write_marker import write_marker


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
    make: Callable[[Photo, bytes, int, Sequence[str]], Iterator[bytes]]


@dataclass(frozen=True)
class _Task:
    """The missing variants of one photo, which one worker makes."""

    photo: Photo
    folder: Path
    seed: int
    missing: tuple[str, ...]
    recipe: Recipe


def write_variants(
    recipe: Recipe,
    source: Path,
    folder: Path,
    variants: Sequence[str],
    *,
    seed: int,
    limit: int | None,
    workers: int | None,
    marker: Callable[[Sequence[Photo], int], Mapping[str, Any]],
    progress: Progress,
) -> int:
    """Write ``generated.json`` and the missing files; returns the number of files of the call.

    Args:
        recipe: How the files are made.
        source: Folder of clean photos, ``<wnid>/<file>``.
        folder: Folder to create or to extend.
        variants: Folders in it, each of which gets a file for each photo.
        seed: Seed of all random numbers.
        limit: Number of photos, evenly spaced over the sorted ids; all if ``None``.
        workers: Number of processes; one for each processor if ``None``.
        marker: Function of the photos and the seed that returns the content of ``generated.json``:
            everything that the files depend on.
        progress: Progress callback.

    Raises:
        InputError: If an argument is refused, a photo cannot be decoded, or the folder was
            generated in another way.
        OutputError: If ``folder`` cannot be written, or a worker process dies.
    """
    _check_places(source, folder, recipe)
    processes = _processes(workers)
    photos = _photos(source, recipe, progress, limit)
    write_marker(folder, marker(photos, seed))
    total = len(photos) * len(variants)
    tasks = []
    for photo in photos:
        missing = [v for v in variants if not os.path.exists(f"{folder}/{v}/{photo.target}")]
        tasks.append(_Task(photo, folder, seed, tuple(missing), recipe))
    _make_all([task for task in tasks if task.missing], recipe, processes, total, progress)
    return total


def seed_of(*words: object) -> int:
    """A seed below 2^32 that depends on all of these words.

    Example:
        >>> seed_of(0, "n01440764/a.JPEG", "fog", 3)
        2775884718
    """
    text = "\0".join(map(str, words))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")


def check_known(name: str, known: Sequence[str], noun: str) -> None:
    """Refuse a name that is not one of the known ones.

    Raises:
        InputError: If the name is unknown; the message suggests similar names, or lists all.
    """
    if name not in known:
        suggestions = difflib.get_close_matches(name, known, n=3)
        expected = f"Expected some of {' '.join(known)}."
        hint = f"Did you mean {' or '.join(suggestions)}?" if suggestions else expected
        raise InputError(f"There is no {noun} {name!r}. {hint}")


def _processes(workers: int | None) -> int:
    if workers is not None and workers < 1:
        raise InputError(f"Invalid number of workers: {workers}. Expected 1 or more.")
    return workers or os.cpu_count() or 1


def _check_places(source: Path, folder: Path, recipe: Recipe) -> None:
    """Refuse a source that was generated, or whose photos would mix with the products."""
    if not source.is_dir():
        raise InputError(
            f"SOURCE {printable(source)} is not a folder. Give the folder that holds <wnid>/<file>."
        )
    clean, target = source.resolve(), folder.resolve()
    if clean == target or clean in target.parents or target in clean.parents:
        raise InputError(
            f"SOURCE {printable(source)} and DIR {printable(folder)} overlap, so "
            f"{recipe.products} would mix with clean photos. Give a DIR outside of SOURCE."
        )
    if (marker := marker_above(clean)) is not None:
        raise _generated_source(source, str(marker), recipe)


def package_version(distribution: str, what: str, extra: str) -> str:
    """The version of an installed package.

    Args:
        distribution: Name of the package.
        what: Purpose of the package, for the error.
        extra: The extra of ``evaluator`` that installs it.

    Raises:
        UnavailableError: If it is not installed.
    """
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError as error:
        raise UnavailableError(
            f"{what} needs the package {distribution}, which is not installed. "
            f"Install it with `pip install 'evaluator[{extra}]'`."
        ) from error


def _photos(source: Path, recipe: Recipe, progress: Progress, limit: int | None) -> list[Photo]:
    """The clean photos, sorted by id; two whose products would have one name are refused."""
    items = select_items(FolderSource(source, [Condition()]).items(Condition()), limit)
    if was_generated(items[0].location):
        raise _generated_source(source, items[0].location, recipe)
    by_target: dict[str, Item] = {}
    for item in items:
        target = _target(item.id, recipe)
        other = by_target.setdefault(target, item)
        if other is not item:
            raise InputError(
                f"{printable(other.location)} and {printable(item.location)} would both become "
                f"{printable(target)}. Rename or remove one of them."
            )
    photos: list[Photo] = []
    for target, item in by_target.items():
        if len(photos) % 100 == 0:
            progress.advance("read", len(photos), len(items), "photos")
        photos.append(Photo(item.id, item.location, target, file_sha256(Path(item.location))))
    progress.advance("read", len(photos), len(items), "photos")
    return photos


def photos_sha256(photos: Sequence[Photo]) -> str:
    """SHA-256 over the ids and bytes of all photos."""
    digest = hashlib.sha256()
    for photo in photos:
        digest.update(f"{photo.id}\0{photo.sha256}\n".encode())
    return digest.hexdigest()


def _generated_source(source: Path, evidence: str, recipe: Recipe) -> InputError:
    return InputError(
        f"SOURCE {printable(source)} was itself generated, according to {printable(evidence)}: "
        f"{recipe.objection}. Give clean photos."
    )


def _target(photo_id: str, recipe: Recipe) -> str:
    """The name of a product: that of its photo if it has a suffix that products may keep."""
    stem, suffix = os.path.splitext(photo_id)
    return photo_id if suffix.lower() in recipe.suffixes else f"{stem}{recipe.suffix}"


def _make_all(
    tasks: Sequence[_Task], recipe: Recipe, processes: int, total: int, progress: Progress
) -> None:
    """Do every task; the first error, or an interrupt, also ends the tasks that are running."""
    done = total - sum(len(task.missing) for task in tasks)
    progress.advance(recipe.verb, done, total, recipe.unit)
    if not tasks:
        return
    # A forked process would inherit the locks of threads that it does not have.
    context = multiprocessing.get_context("spawn")
    stopped = context.Event()
    processes, reported = min(processes, len(tasks)), time.monotonic()
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


def _make(task: _Task) -> int:
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
