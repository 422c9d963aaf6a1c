"""Fingerprints of a run's data: ``RUN/fingerprints/<condition>/fingerprint.json``.

A fingerprint is written before the first shard of a condition. Of several processes that begin a
condition at once, the first one's stays, and the others compare theirs with it.
"""

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from ..contracts import Condition, DataFingerprint, Run
from ..errors import InputError, OutputError, printable, reason_of
from ..storage.atomic import remove, remove_leftovers
from ..storage.documents import read_sealed, sealed, write_document
from .run import RECORDS

FINGERPRINTS = "fingerprints"
FINGERPRINT = "fingerprint.json"

SAMPLE = 32
"""Files of a condition whose bytes are compared whenever it is used again."""

_ADVICE = (
    "It describes the data of the records next to it: restore the original file, or remove it and "
    "repeat the command with --verify-data, which compares every file and writes it again."
)


@dataclass(frozen=True)
class FileComparison:
    """Files that have the same names in two places.

    Attributes:
        same: How many have the same bytes.
        different: Ids of those that have other bytes.
        unread: Ids of those that could not be read here.
    """

    same: int = 0
    different: tuple[str, ...] = ()
    unread: tuple[str, ...] = ()

    @property
    def compared(self) -> bool:
        """Whether any file was compared."""
        return bool(self.same or self.different)


def fingerprint_path(run: Run, condition: Condition) -> Path:
    """Where the fingerprint of a condition is."""
    return run.folder / FINGERPRINTS / condition.folder / FINGERPRINT


def has_fingerprint(run: Run, condition: Condition) -> bool:
    """Whether the fingerprint of a condition is there.

    Raises:
        InputError: If that cannot be found out, for lack of permission say.
    """
    path = fingerprint_path(run, condition)
    try:
        os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise InputError(f"{printable(path)} cannot be read: {reason_of(error)}.") from error
    return True


def read_fingerprint(run: Run, condition: Condition) -> DataFingerprint:
    """The fingerprint of a condition.

    Raises:
        InputError: If its file is missing, damaged or was edited.
    """
    return read_sealed(fingerprint_path(run, condition), DataFingerprint, advice=_ADVICE)


def begin_fingerprint(
    run: Run, condition: Condition, fingerprint: DataFingerprint
) -> DataFingerprint:
    """Write the fingerprint of a condition unless it has one; the one that it has now.

    Raises:
        OutputError: If it cannot be written.
    """
    try:
        write_document(fingerprint_path(run, condition), sealed(fingerprint), first=True)
    except OutputError:
        if not has_fingerprint(run, condition):  # another process may have tidied meanwhile
            raise
    return read_fingerprint(run, condition)


def tidy(run: Run, condition: Condition) -> None:
    """Remove what killed processes had half written of a fingerprint that is there."""
    if has_fingerprint(run, condition):
        remove_leftovers(fingerprint_path(run, condition))


def remove_unused(run: Run, condition: Condition) -> None:
    """Remove the fingerprint of a condition that has no shard: it describes nothing.

    Raises:
        OutputError: If it cannot be removed.
    """
    if has_fingerprint(run, condition) and not is_used(run, condition):
        remove(fingerprint_path(run, condition))


def leave_out(run: Run, condition: Condition, ids: Iterable[str]) -> None:
    """Take files that turned out to be damaged out of a fingerprint: they may be repaired.

    Raises:
        OutputError: If it cannot be written.
    """
    fingerprint = read_fingerprint(run, condition)
    files = {**fingerprint.files, **dict.fromkeys(ids)}
    if files != fingerprint.files:
        changed = sealed(replace(fingerprint, files=files))
        write_document(fingerprint_path(run, condition), changed)


def is_used(run: Run, condition: Condition) -> bool:
    """Whether a shard of the condition is finished, or some process makes one now.

    Of a condition without values, any shard of the run: those of an attack are its epsilons.
    """
    folder = run.folder / RECORDS / condition.folder
    return any(any(folder.glob(f"**/{name}")) for name in ("part-*.parquet", ".part-*.lease"))


def recorded_places(run: Run) -> set[str]:
    """The folders and tar files that the images of the run's conditions came from.

    Raises:
        InputError: If a fingerprint is damaged or was edited.
    """
    paths = (run.folder / FINGERPRINTS).glob(f"**/{FINGERPRINT}")
    read = (read_sealed(path, DataFingerprint, advice=_ADVICE) for path in paths)
    return {place for fingerprint in read for place in fingerprint.data}


def conditions_without_fingerprint(run: Run) -> list[str]:
    """The folders of conditions that have finished shards, and whose images are not known.

    Raises:
        InputError: If the run's format has fingerprints, and one is missing.
    """
    if has_fingerprint(run, Condition()):
        return []
    records = run.folder / RECORDS
    folders = sorted({path.parent for path in records.glob("**/part-*.parquet")})
    paths = {f: run.folder / FINGERPRINTS / f.relative_to(records) / FINGERPRINT for f in folders}
    missing = {folder: path for folder, path in paths.items() if not path.is_file()}
    if missing and run.has_fingerprints:
        raise InputError(f"{printable(next(iter(missing.values())))} is missing. {_ADVICE}")
    return [str(folder.relative_to(records)) for folder in missing]


def compare_runs(one: Run, other: Run, conditions: Iterable[Condition]) -> FileComparison:
    """Compare the files that are in the samples of both runs, until one of them differs.

    Raises:
        InputError: If a fingerprint is damaged or was edited.
    """
    same = 0
    for condition in conditions:
        if has_fingerprint(one, condition) and has_fingerprint(other, condition):
            files = read_fingerprint(other, condition).files
            result = compare_files(read_fingerprint(one, condition), files)
            if result.different:
                return result
            same += result.same
    return FileComparison(same)


def compare_files(fingerprint: DataFingerprint, files: Mapping[str, str | None]) -> FileComparison:
    """Compare digests of files with those of a fingerprint.

    Args:
        fingerprint: What was recorded.
        files: Digests by id; ``None`` for files that cannot be read. Other ids are left out.
    """
    pairs = {
        name: (digest, files[name])
        for name, digest in fingerprint.files.items()
        if digest is not None and name in files
    }
    return FileComparison(
        same=sum(there == here for there, here in pairs.values()),
        different=tuple(n for n, (there, here) in pairs.items() if here not in (None, there)),
        unread=tuple(name for name, (_, here) in pairs.items() if here is None),
    )
