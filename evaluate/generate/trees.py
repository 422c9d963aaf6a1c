"""Trees of files that are made from the clean photos of a user, by several processes.

    SOURCE/<wnid>/<file>  ->  DIR/<variant>/<wnid>/<file>

A file depends on its photo, the seed and its variant, never on the process that made it or on what
else was asked for. So a killed call is continued by calling again, and a second call for other
variants extends the same tree. What the variants are, and how their bytes are made, a ``Recipe``
says: ``corruptions.py`` and ``perturbations.py`` each have one.
"""

import difflib
import hashlib
import importlib.metadata
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
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
from ..sources.generated_marker import mark_above, was_generated
from ..sources.items import select_items
from .write_marker import mark_tree


@dataclass(frozen=True)
class Photo:
    """A clean photo: its id, where it is, the name of what is made of it, and its bytes' hash."""

    id: str
    location: str
    target: str
    sha256: str


@dataclass(frozen=True)
class Recipe:
    """What is made of each photo.

    Attributes:
        verb: What is done, as the command is called: ``corrupt``.
        files: What the files are, for progress: ``images``.
        made: What the files are, for messages: ``corrupted images``.
        again: What comes of doing it twice.
        suffixes: That the files may keep.
        suffix: That they get otherwise.
        make: From a photo, its bytes, the seed and some variants to the bytes of each, in order. A
            function of a module: worker processes are told its name.
    """

    verb: str
    files: str
    made: str
    again: str
    suffixes: tuple[str, ...]
    suffix: str
    make: Callable[[Photo, bytes, int, Sequence[str]], Iterator[bytes]]


@dataclass(frozen=True)
class _Task:
    """What one worker does at a time: the missing variants of one photo."""

    photo: Photo
    folder: Path
    seed: int
    missing: tuple[str, ...]
    recipe: Recipe


def write_tree(
    recipe: Recipe,
    photos: Sequence[Photo],
    folder: Path,
    variants: Sequence[str],
    *,
    seed: int,
    mark: dict[str, Any],
    processes: int,
    progress: Progress,
) -> int:
    """Mark a tree and make what it lacks; returns how many files were asked for.

    Args:
        recipe: How they are made.
        photos: Of what.
        folder: The tree to make or to extend.
        variants: Folders in it, each of which gets a file of each photo.
        seed: Of all that is random.
        mark: All that the files depend on beside the photos, for ``generated.json``.
        processes: How many work.
        progress: Is told how many files are there.

    Raises:
        InputError: If a photo cannot be decoded, or the tree was made in another way.
        OutputError: If ``folder`` cannot be written, or a worker process dies.
    """
    mark_tree(folder, mark)
    total = len(photos) * len(variants)
    tasks = []
    for photo in photos:
        missing = [v for v in variants if not os.path.exists(f"{folder}/{v}/{photo.target}")]
        tasks.append(_Task(photo, folder, seed, tuple(missing), recipe))
    _make_all([task for task in tasks if task.missing], recipe, processes, total, progress)
    return total


def seed_of(*words: object) -> int:
    """A seed below 2^32 for what these words name.

    Example:
        >>> seed_of(0, "n01440764/a.JPEG", "fog", 3)
        2775884718
    """
    text = "\0".join(map(str, words))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")


def check_known(name: str, known: Sequence[str], noun: str) -> None:
    """Refuse a name that is none of the known ones.

    Raises:
        InputError: With near ones, or all.
    """
    if name not in known:
        near = difflib.get_close_matches(name, known, n=3)
        expected = f"Expected some of {' '.join(known)}."
        hint = f"Did you mean {' or '.join(near)}?" if near else expected
        raise InputError(f"There is no {noun} {name!r}. {hint}")


def checked_processes(workers: int | None) -> int:
    """How many worker processes to use.

    Raises:
        InputError: If fewer than one was asked for.
    """
    if workers is not None and workers < 1:
        raise InputError(f"There cannot be {workers} workers. Expected 1 or more.")
    return workers or os.cpu_count() or 1


def refuse_places(source: Path, folder: Path, recipe: Recipe) -> None:
    """Refuse a source and a tree that cannot be told apart afterwards.

    Raises:
        InputError: If SOURCE is no folder, was itself generated, or lies in DIR or around it.
    """
    if not source.is_dir():
        raise InputError(
            f"SOURCE {printable(source)} is no folder. Give the folder that holds <wnid>/<file>."
        )
    clean, made = source.resolve(), folder.resolve()
    if clean == made or clean in made.parents or made in clean.parents:
        raise InputError(
            f"SOURCE {printable(source)} and DIR {printable(folder)} lie in each other, so "
            f"{recipe.made} would mix with clean photos. Give a DIR beside SOURCE."
        )
    if (mark := mark_above(clean)) is not None:
        raise _generated_source(source, str(mark), recipe)


def version_of(distribution: str, what: str, extra: str) -> str:
    """The version of a package that must be there.

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


def photos_of(
    source: Path, recipe: Recipe, progress: Progress, limit: int | None = None
) -> list[Photo]:
    """The clean photos, sorted by id, once each is known to have a name of its own in the tree.

    Args:
        source: A folder that holds them in class folders.
        recipe: What is made of them.
        progress: Is told how many are read.
        limit: So many, evenly spaced over the sorted ids.

    Raises:
        InputError: If there are none, two would get one name, or they were themselves generated.
    """
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
    """Over the ids and bytes of all."""
    digest = hashlib.sha256()
    for photo in photos:
        digest.update(f"{photo.id}\0{photo.sha256}\n".encode())
    return digest.hexdigest()


def _generated_source(source: Path, evidence: str, recipe: Recipe) -> InputError:
    return InputError(
        f"SOURCE {printable(source)} was itself generated, says {printable(evidence)}: "
        f"{recipe.again}. Give clean photos."
    )


def _target(photo_id: str, recipe: Recipe) -> str:
    """The name that a file gets: its photo's where that has the right suffix."""
    stem, suffix = os.path.splitext(photo_id)
    return photo_id if suffix.lower() in recipe.suffixes else f"{stem}{recipe.suffix}"


def _make_all(
    tasks: Sequence[_Task], recipe: Recipe, processes: int, total: int, progress: Progress
) -> None:
    """Do every task; the first error, or an interrupt, ends those that are running as well."""
    done = total - sum(len(task.missing) for task in tasks)
    progress.advance(recipe.verb, done, total, recipe.files)
    if not tasks:
        return
    # A process that was forked would inherit the locks of threads that it does not have.
    context = multiprocessing.get_context("spawn")
    stopped = context.Event()
    processes, told = min(processes, len(tasks)), time.monotonic()
    with ProcessPoolExecutor(processes, context, _begin_worker, (stopped,)) as pool:
        try:
            for future in as_completed([pool.submit(_make, task) for task in tasks]):
                done += future.result()
                if done == total or time.monotonic() - told > 0.1:
                    told = time.monotonic()
                    progress.advance(recipe.verb, done, total, recipe.files)
        except BrokenProcessPool as error:
            raise OutputError(
                f"One of {processes} worker processes died, perhaps for lack of memory. "
                "Call again, with fewer workers: what is there is kept."
            ) from error
        except BaseException:
            stopped.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise


_stopped: Event | None = None
"""In a worker process: whether the call has ended without waiting for it."""

_writing = threading.Lock()
"""In a worker process: held while a file is half written."""


def _begin_worker(stopped: Event) -> None:
    global _stopped
    _stopped = stopped
    # Ctrl-C reaches all processes of a terminal; the caller's own decides.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # OpenCV would start a thread for each processor in each process.
    os.environ["OPENCV_FOR_THREADS_NUM"] = "1"
    threading.Thread(target=_end_with_caller, daemon=True).start()


def _end_with_caller() -> None:
    """Without this, the workers of a call that was killed would wait for tasks for ever."""
    if (caller := multiprocessing.parent_process()) is not None:
        caller.join()
        with _writing:  # what is half written would be left there under its temporary name
            os._exit(1)


def _make(task: _Task) -> int:
    """Make what is missing of one photo; returns how many files."""
    made = task.recipe.make(task.photo, _bytes(task.photo), task.seed, task.missing)
    for variant in task.missing:
        if _stopped is not None and _stopped.is_set():
            break
        data = next(made)
        with _writing:
            atomic_write_bytes(Path(f"{task.folder}/{variant}/{task.photo.target}"), data)
    return len(task.missing)


def _bytes(photo: Photo) -> bytes:
    """The bytes that the mark speaks of, and no others."""
    data = b""
    with suppress(OSError):
        data = Path(photo.location).read_bytes()
    if hashlib.sha256(data).hexdigest() != photo.sha256:
        raise InputError(
            f"{printable(photo.location)} changed, or cannot be read any more, while the tree was "
            "made. Leave SOURCE as it is until the end; if it changed, give another DIR."
        )
    return data
