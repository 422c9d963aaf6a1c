"""Listing and pruning the cache, whose content can all be made or downloaded again."""

import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..contracts import NullProgress, ParityResult, Progress, SelfCheck
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
from .models.self_check import SELF_CHECKS

DAY_SECONDS = 24 * 60 * 60
LOCK = ".lock"
PART = ".part"

HALF_WRITTEN = "leftover of a killed process, or being written now"

QUIET_SECONDS = 60 * 60
"""Age at which a temporary file is a leftover, if its writer takes no lock."""


def _itself(path: Path) -> Path:
    return path


@dataclass(frozen=True)
class CacheKind:
    """One kind of entries, which have a folder of the cache.

    Attributes:
        name: Name of the folder.
        pattern: Pattern of the names of entries; files with other names are not ours and are kept.
        describe: Function that describes an entry in words.
        companion: Function that returns the file that is removed with an entry; the entry itself
            if there is none.
        lock: Function that returns the path that is locked while an entry is written; ``None`` if
            writers take no lock.
    """

    name: str
    pattern: str
    describe: Callable[[Path], str]
    companion: Callable[[Path], Path] = _itself
    lock: Callable[[Path], Path] | None = None

    @property
    def folder(self) -> Path:
        """Path of the folder; it may not exist."""
        return cache_folder(self.name)


@dataclass(frozen=True)
class Entry:
    """An entry of the cache.

    Attributes:
        kind: Kind of the entry, whose folder contains it.
        path: Path of the file or folder.
        what: Description in words.
        size_bytes: Size, with its companion.
        age_days: Days since it was last written.
        leftover: Whether it is the leftover of a killed process, unless its lock is held.
    """

    kind: CacheKind
    path: Path
    what: str
    size_bytes: int
    age_days: float
    leftover: bool = False

    @property
    def lock(self) -> Path:
        """Path that is locked while the entry is written under a temporary name."""
        target = self.path.with_name(target_of_temporary(self.path.name) or self.path.name)
        return self.kind.lock(target) if self.kind.lock is not None else target


def list_cache() -> tuple[Entry, ...]:
    """All entries of the cache, folder by folder."""
    return tuple(entry for kind in KINDS.values() for entry in _entries(kind))


def prune_cache(
    *,
    older_than_days: float | None = None,
    kinds: Sequence[str] | None = None,
    dry_run: bool = False,
    progress: Progress | None = None,
) -> tuple[Entry, ...]:
    """Remove leftovers of killed processes from the cache, and selected entries.

    Args:
        older_than_days: Remove entries that were not written for so many days.
        kinds: Remove only entries of these kinds; without ``older_than_days``, all of them.
        dry_run: Whether to remove nothing.
        progress: Progress callback; it gets the entries that other processes use, which are kept.

    Returns:
        Entries that were removed, or would be.

    Raises:
        InputError: If there is no such kind.
        OutputError: If an entry cannot be removed.
    """
    progress = progress or NullProgress()
    for name in kinds or ():
        if name not in KINDS:
            expected = ", ".join(KINDS)
            raise InputError(f"Unknown kind of cache entry: {name!r}. Expected one of {expected}.")
    selected = [KINDS[name] for name in (KINDS if kinds is None else kinds)]
    everything = kinds is not None and older_than_days is None
    removed = []
    for kind in selected:
        for entry in list(_entries(kind)):
            old = older_than_days is not None and entry.age_days > older_than_days
            if not (entry.leftover or old or everything):
                continue
            if dry_run or _remove(entry, progress):
                removed.append(entry)
    if not dry_run:
        for folder in (*(kind.folder for kind in selected), cache_folder(LOCKS)):
            _remove_unused_locks(folder)
    return tuple(removed)


def _entries(kind: CacheKind) -> Iterator[Entry]:
    paths = sorted(kind.folder.iterdir()) if kind.folder.is_dir() else []
    companions = {kind.companion(path) for path in paths if kind.companion(path) != path}
    for path in paths:
        if path.name.endswith(LOCK) or path in companions:
            continue
        if not (re.fullmatch(kind.pattern, path.name) or target_of_temporary(path.name)):
            continue
        try:
            yield _entry(kind, path)
        except FileNotFoundError:  # removed meanwhile
            continue


def _entry(kind: CacheKind, path: Path) -> Entry:
    files = {path, kind.companion(path)}
    inside = [f for file in files if file.exists() for f in (file, *file.rglob("*"))]
    states = [file.lstat() for file in inside or [path]]
    age = max(0.0, time.time() - max(state.st_mtime for state in states))
    size = sum(state.st_size for state, file in zip(states, inside, strict=True) if file.is_file())
    temporary = target_of_temporary(path.name) is not None
    leftover = temporary and (kind.lock is not None or age > QUIET_SECONDS)
    what = HALF_WRITTEN if temporary else _description(kind, path)
    return Entry(kind, path, what, size, age / DAY_SECONDS, leftover)


def _description(kind: CacheKind, path: Path) -> str:
    try:
        return kind.describe(path)
    except EvaluatorError as error:
        return f"damaged: {error}"


class _InUseError(Exception):
    """Another process holds the lock."""


def _remove(entry: Entry, progress: Progress) -> bool:
    """Remove an entry unless another process uses it; return whether it was removed."""
    try:
        with locked(entry.lock, waiting=_raise_in_use):
            remove(entry.path)
            remove(entry.kind.companion(entry.path))
    except _InUseError:
        progress.note(f"{entry.path.name} is kept: another process is using it.")
        return False
    return True


def _raise_in_use() -> None:
    raise _InUseError


def _remove_unused_locks(folder: Path) -> None:
    """Remove the lock files of files that do not exist, unless they are held."""
    for lock in sorted(folder.glob(f"*{LOCK}")):
        target = lock.with_name(lock.name.removesuffix(LOCK))
        if target.exists():
            continue
        try:
            with locked(target, waiting=_raise_in_use):
                lock.unlink(missing_ok=True)
        except (_InUseError, PermissionError):  # Windows cannot remove a file that is open
            continue


def _bundle_text(path: Path) -> str:
    model = read_manifest(path)
    weights = model.spec.weights
    return f"{model.spec.name} ({weights}), {model.precision}, {model.input_kind}"


def _parity_text(path: Path) -> str:
    result = read_document(path, ParityResult)
    verdict = "passed" if result.passed else "FAILED"
    return (
        f"{result.model}: {result.candidate.backend} {result.candidate.precision} on "
        f"{result.candidate_device}, {verdict}"
    )


def _self_check_text(path: Path) -> str:
    result = read_document(path, SelfCheck)
    return f"{result.model}: self-check on {result.device}, {result.status}"


def _plan_text(path: Path) -> str:
    manifest = read_sealed(manifest_path(path), PlanManifest)
    key = manifest.key
    return (
        f"{manifest.model}: {key.backend} {key.version}, {key.precision}"
        f"{', TF32' if key.tf32 else ''}, batches {key.profile}, for {key.made_for}"
    )


def _stamp_text(path: Path) -> str:
    return f"SHA-256 of {read_sealed(path, Stamp).path}"


def _weights_text(path: Path) -> str:
    if path.suffix == PART:
        return "partial download; run the command again to resume"
    return "downloaded weights"


def _part_version(path: Path) -> Path:
    """The file that says how a partial download is resumed."""
    return path.with_name(path.name + ".json") if path.suffix == PART else path


def _download_of(path: Path) -> Path:
    """The file that a partial download becomes."""
    return path.with_name(path.name.removesuffix(".json").removesuffix(PART))


def _logits(result: Path) -> Path:
    return result.with_suffix(".npz")


KINDS = {
    kind.name: kind
    for kind in (
        CacheKind("bundles", r".+-[0-9a-f]+", _bundle_text, lock=bundle_lock),
        CacheKind("weights", r".+", _weights_text, companion=_part_version, lock=_download_of),
        CacheKind("parity", r"[0-9a-f]+\.(json|npz)", _parity_text, companion=_logits),
        CacheKind(SELF_CHECKS, r"[0-9a-f]+\.json", _self_check_text),
        CacheKind(PLANS, r".+\.plan", _plan_text, companion=manifest_path, lock=_itself),
        CacheKind(STAMPS, r"[0-9a-f]+\.json", _stamp_text),
        CacheKind(TIMING, r".+\.cache", lambda path: "kernel timings of TensorRT", lock=_itself),
        CacheKind(INDEXES, r"[0-9a-f]{32}", lambda path: "tar index", lock=index_lock),
    )
}
