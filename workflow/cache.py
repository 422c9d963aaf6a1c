"""What lies in the cache, and removing some of it. All of it can be made or fetched again."""

import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..contracts import NullProgress, ParityResult, Progress
from ..engine.plans.cache import PLANS, TIMING
from ..engine.plans.plan import PlanManifest, manifest_path
from ..errors import EvaluatorError, InputError
from ..evaluate.sources.tar_index import INDEXES, index_lock
from ..exporter.bundle import read_manifest
from ..storage.atomic import remove, target_of_temporary
from ..storage.cache import cache_folder
from ..storage.documents import read_document, read_sealed
from ..storage.hash_cache import STAMPS, Stamp
from ..storage.lock import locked
from .models.bundles import LOCKS, bundle_lock

DAY_SECONDS = 24 * 60 * 60
LOCK = ".lock"
PART = ".part"

HALF_WRITTEN = "half-written: left by a killed process, or being written now"

QUIET_SECONDS = 60 * 60
"""Where writers take no lock, what nobody wrote to for so long was left by a killed process."""


@dataclass(frozen=True)
class Room:
    """A row of the table of rooms.

    Attributes:
        name: Of its folder.
        pattern: How the names of entries look; what has another name is not ours, and stays.
        describe: What an entry is, in words.
        companion: What belongs to an entry and goes with it.
        lock: What is locked while an entry is written; none where nothing is.
    """

    name: str
    pattern: str
    describe: Callable[[Path], str]
    companion: Callable[[Path], Path] | None = None
    lock: Callable[[Path], Path] | None = None

    @property
    def folder(self) -> Path:
        """It may not exist."""
        return cache_folder(self.name)


@dataclass(frozen=True)
class Entry:
    """One thing in the cache.

    Attributes:
        room: Where it lies.
        path: A file or a folder.
        what: It is, in words.
        size_bytes: With what belongs to it.
        age_days: Since it was last written to.
        leftover: Whether it is half-written, and nothing but a lock says that it still grows.
    """

    room: Room
    path: Path
    what: str
    size_bytes: int
    age_days: float
    leftover: bool = False

    @property
    def lock(self) -> Path:
        """What is locked while it is written; a half-written one has another name by then."""
        target = self.path.with_name(target_of_temporary(self.path.name) or self.path.name)
        return self.room.lock(target) if self.room.lock is not None else target


def list_cache() -> tuple[Entry, ...]:
    """All that lies in the cache, room by room."""
    return tuple(entry for room in ROOMS.values() for entry in _entries(room))


def prune_cache(
    *,
    older_than_days: float | None = None,
    rooms: Sequence[str] | None = None,
    dry_run: bool = False,
    progress: Progress | None = None,
) -> tuple[Entry, ...]:
    """Remove entries of the cache: what killed processes left, and what is asked for.

    Args:
        older_than_days: Remove what was not written to for so long.
        rooms: Remove from these only; without ``older_than_days``, all that is in them.
        dry_run: Remove nothing.
        progress: Is told what another process is at, which stays.

    Returns:
        What was removed, or would be.

    Raises:
        InputError: If there is no such room.
        OutputError: If something cannot be removed.
    """
    progress = progress or NullProgress()
    chosen = [_room(name) for name in (ROOMS if rooms is None else rooms)]
    everything = rooms is not None and older_than_days is None
    removed = []
    for room in chosen:
        for entry in list(_entries(room)):
            old = older_than_days is not None and entry.age_days > older_than_days
            if not (entry.leftover or old or everything):
                continue
            if dry_run or _removed(entry, progress):
                removed.append(entry)
    if not dry_run:
        for folder in (*(room.folder for room in chosen), cache_folder(LOCKS)):
            _remove_locks(folder)
    return tuple(removed)


def _room(name: str) -> Room:
    if name not in ROOMS:
        raise InputError(f"The cache has no room {name!r}. Expected {', '.join(ROOMS)}.")
    return ROOMS[name]


def _entries(room: Room) -> Iterator[Entry]:
    paths = sorted(room.folder.iterdir()) if room.folder.is_dir() else []
    companion = room.companion or (lambda path: path)
    belonging = {companion(path) for path in paths if companion(path) != path}
    for path in paths:
        if path.name.endswith(LOCK) or path in belonging:
            continue
        if not (re.fullmatch(room.pattern, path.name) or target_of_temporary(path.name)):
            continue
        try:
            yield _entry(room, path)
        except FileNotFoundError:  # removed meanwhile
            continue


def _entry(room: Room, path: Path) -> Entry:
    files = {path, room.companion(path) if room.companion is not None else path}
    inside = [f for file in files if file.exists() for f in (file, *file.rglob("*"))]
    states = [file.lstat() for file in inside or [path]]
    age = max(0.0, time.time() - max(state.st_mtime for state in states))
    size = sum(state.st_size for state, file in zip(states, inside, strict=True) if file.is_file())
    temporary = target_of_temporary(path.name) is not None
    leftover = temporary and (room.lock is not None or age > QUIET_SECONDS)
    what = HALF_WRITTEN if temporary else _described(room, path)
    return Entry(room, path, what, size, age / DAY_SECONDS, leftover)


def _described(room: Room, path: Path) -> str:
    try:
        return room.describe(path)
    except EvaluatorError as error:
        return f"damaged: {error}"


class _InUseError(Exception):
    """Another process holds the lock."""


def _removed(entry: Entry, progress: Progress) -> bool:
    """Remove an entry unless another process is at it."""
    companion = entry.room.companion
    try:
        with locked(entry.lock, waiting=_refuse):
            remove(entry.path)
            if companion is not None:
                remove(companion(entry.path))
    except _InUseError:
        progress.note(f"{entry.path.name} stays: another process is at it.")
        return False
    return True


def _refuse() -> None:
    raise _InUseError


def _remove_locks(folder: Path) -> None:
    """Lock files of what is not there: empty, but many. What is held stays."""
    for lock in sorted(folder.glob(f"*{LOCK}")):
        target = lock.with_name(lock.name.removesuffix(LOCK))
        if target.exists():
            continue
        try:
            with locked(target, waiting=_refuse):
                lock.unlink(missing_ok=True)
        except (_InUseError, PermissionError):  # Windows removes no file that is open
            continue


def _bundle(path: Path) -> str:
    model = read_manifest(path)
    weights = model.spec.weights
    return f"{model.spec.name} ({weights}), {model.precision}, {model.input_kind}"


def _parity(path: Path) -> str:
    result = read_document(path, ParityResult)
    verdict = "passed" if result.passed else "FAILED"
    return (
        f"{result.model}: {result.candidate.backend} {result.candidate.precision} on "
        f"{result.candidate_device}, {verdict}"
    )


def _plan(path: Path) -> str:
    manifest = read_sealed(manifest_path(path), PlanManifest)
    key = manifest.key
    return (
        f"{manifest.model}: {key.backend} {key.version}, {key.precision}"
        f"{', TF32' if key.tf32 else ''}, batches {key.profile}, for {key.made_for}"
    )


def _stamp(path: Path) -> str:
    return f"the SHA-256 of {read_sealed(path, Stamp).path}"


def _weights(path: Path) -> str:
    return "half fetched: the same command goes on" if path.suffix == PART else "weights, fetched"


def _resumed_from(path: Path) -> Path:
    """What remembers how a fetch goes on."""
    return path.with_name(path.name + ".json") if path.suffix == PART else path


def _fetched(path: Path) -> Path:
    """The file that a half fetched one will be."""
    return path.with_name(path.name.removesuffix(".json").removesuffix(PART))


def _evidence(result: Path) -> Path:
    return result.with_suffix(".npz")


def _itself(path: Path) -> Path:
    return path


ROOMS = {
    room.name: room
    for room in (
        Room("bundles", r".+-[0-9a-f]+", _bundle, lock=bundle_lock),
        Room("weights", r".+", _weights, companion=_resumed_from, lock=_fetched),
        Room("parity", r"[0-9a-f]+\.(json|npz)", _parity, companion=_evidence),
        Room(PLANS, r".+\.plan", _plan, companion=manifest_path, lock=_itself),
        Room(STAMPS, r"[0-9a-f]+\.json", _stamp),
        Room(TIMING, r".+\.cache", lambda path: "kernels measured by TensorRT", lock=_itself),
        Room(INDEXES, r"[0-9a-f]{32}", lambda path: "where what is in a tar", lock=index_lock),
    )
}
