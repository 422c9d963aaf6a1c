"""Fingerprints of a run's data: ``RUN/fingerprints/<condition>/fingerprint.json``.

A fingerprint is written before the first shard of a condition. If several processes start a
condition at once, the first one writes it, and the others compare theirs with it.
"""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from ..contracts import Condition, DataFingerprint, Run
from ..errors import InputError, OutputError, printable, unreadable
from ..storage.atomic import remove, remove_leftovers
from ..storage.documents import read_sealed, sealed, write_document
from .run import RECORDS

FINGERPRINTS = "fingerprints"
FINGERPRINT = "fingerprint.json"

SAMPLE = 32
"""Number of files of a condition that are compared whenever it is used again."""

_ADVICE = (
    "It describes the data of the records next to it: restore the original file, or remove it and "
    "repeat the command with --verify-data, which compares every file and writes it again."
)


@dataclass(frozen=True)
class FileComparison:
    """Comparison of files that have the same ids in two places.

    Attributes:
        same: Number of files with the same content.
        different: Ids of files with different content.
        unread: Ids of files that could not be read here.
    """

    same: int
    different: tuple[str, ...]
    unread: tuple[str, ...]


def fingerprint_path(run: Run, condition: Condition) -> Path:
    """The path of a condition's fingerprint."""
    return run.folder / FINGERPRINTS / condition.folder / FINGERPRINT


def has_fingerprint(run: Run, condition: Condition) -> bool:
    """Whether a condition has a fingerprint.

    Raises:
        InputError: If that is unknown, for lack of permission for instance.
    """
    path = fingerprint_path(run, condition)
    try:
        os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise unreadable(path, error) from error
    return True


def read_fingerprint(run: Run, condition: Condition) -> DataFingerprint:
    """Read the fingerprint of a condition.

    Raises:
        InputError: If its file is missing or damaged, or was edited.
    """
    return read_sealed(fingerprint_path(run, condition), DataFingerprint, advice=_ADVICE)


def begin_fingerprint(run: Run, condition: Condition, fingerprint: DataFingerprint) -> None:
    """Write the fingerprint of a condition unless it has one.

    Raises:
        InputError: If the one that it has is damaged or was edited.
        OutputError: If it cannot be written.
    """
    try:
        write_document(fingerprint_path(run, condition), sealed(fingerprint), first=True)
    except OutputError:
        if not has_fingerprint(run, condition):  # another process may have tidied up meanwhile
            raise
    read_fingerprint(run, condition)


def tidy(run: Run, condition: Condition) -> None:
    """Remove leftovers of killed processes that were writing a fingerprint, if it exists now."""
    if has_fingerprint(run, condition):
        remove_leftovers(fingerprint_path(run, condition))


def remove_unused(run: Run, condition: Condition) -> None:
    """Remove the fingerprint of a condition that has no shards, and so describes nothing.

    Raises:
        OutputError: If it cannot be removed.
    """
    if has_fingerprint(run, condition) and not is_used(run, condition):
        remove(fingerprint_path(run, condition))


def leave_out(run: Run, condition: Condition, ids: Iterable[str]) -> None:
    """Leave damaged files out of a fingerprint, since they may be repaired.

    Raises:
        OutputError: If it cannot be written.
    """
    fingerprint = read_fingerprint(run, condition)
    files = {**fingerprint.files, **dict.fromkeys(ids)}
    if files != fingerprint.files:
        changed = sealed(replace(fingerprint, files=files))
        write_document(fingerprint_path(run, condition), changed)


def is_used(run: Run, condition: Condition) -> bool:
    """Whether a shard of the condition is finished, or is being made by some process.

    For the condition without values any shard of the run counts: an attack's shards are those of
    its epsilons.
    """
    folder = run.folder / RECORDS / condition.folder
    return any(any(folder.glob(f"**/{name}")) for name in ("part-*.parquet", ".part-*.lease"))


def recorded_places(run: Run) -> set[str]:
    """The folders and tar files that the images of the run were read from.

    Raises:
        InputError: If a fingerprint is damaged or was edited.
    """
    paths = (run.folder / FINGERPRINTS).glob(f"**/{FINGERPRINT}")
    fingerprints = (read_sealed(path, DataFingerprint, advice=_ADVICE) for path in paths)
    return {place for fingerprint in fingerprints for place in fingerprint.data}


def lacks_fingerprints(run: Run) -> bool:
    """Whether a condition of a run has finished shards but no fingerprint.

    Raises:
        InputError: If one is missing although the run's format has fingerprints.
    """
    if has_fingerprint(run, Condition()):
        return False
    records = run.folder / RECORDS
    folders = sorted({path.parent for path in records.glob("**/part-*.parquet")})
    paths = [run.folder / FINGERPRINTS / f.relative_to(records) / FINGERPRINT for f in folders]
    missing = [path for path in paths if not path.is_file()]
    if missing and run.has_fingerprints:
        raise InputError(f"{printable(missing[0])} is missing. {_ADVICE}")
    return bool(missing)


def different_files(one: Run, other: Run, conditions: Iterable[Condition]) -> tuple[str, ...]:
    """Ids of files in the samples of both runs that differ, in the first condition with any.

    Raises:
        InputError: If a fingerprint is damaged or was edited.
    """
    for condition in conditions:
        if has_fingerprint(one, condition) and has_fingerprint(other, condition):
            files = read_fingerprint(other, condition).files
            comparison = compare_files(read_fingerprint(one, condition), files)
            if comparison.different:
                return comparison.different
    return ()


def compare_files(fingerprint: DataFingerprint, files: Mapping[str, str | None]) -> FileComparison:
    """Compare digests of files with those of a fingerprint.

    Args:
        fingerprint: Recorded digests.
        files: Digests by id; ``None`` for files that cannot be read. Ids without a recorded digest
            are left out.
    """
    recorded = {n: d for n, d in fingerprint.files.items() if d is not None and n in files}
    unread = tuple(name for name in recorded if files[name] is None)
    different = tuple(n for n, digest in recorded.items() if files[n] not in (None, digest))
    return FileComparison(len(recorded) - len(different) - len(unread), different, unread)
