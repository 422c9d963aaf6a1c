"""Fingerprints of a run's data: ``RUN/fingerprints/<condition>/fingerprint.json``.

A fingerprint is written when a condition is begun and never changed. Of several processes that
begin a condition at once, the first one's stays, and the others compare theirs with it.
"""

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from ..contracts import Condition, DataFingerprint, Run
from ..errors import InputError, shown
from ..storage.documents import read_sealed, sealed, write_document
from .run import RECORDS

FINGERPRINTS = "fingerprints"
FINGERPRINT = "fingerprint.json"

SAMPLE = 32
"""Files of a condition whose bytes are compared whenever it is used again."""

_ADVICE = (
    "It describes the data of the records next to it: restore the original file, or remove "
    "the run and make it again."
)


def fingerprint_path(run: Run, condition: Condition) -> Path:
    """Where the fingerprint of a condition is."""
    return run.folder / FINGERPRINTS / condition.folder / FINGERPRINT


def has_fingerprint(run: Run, condition: Condition) -> bool:
    """Whether the fingerprint of a condition is there."""
    return fingerprint_path(run, condition).is_file()


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
    write_document(fingerprint_path(run, condition), sealed(fingerprint), first=True)
    return read_fingerprint(run, condition)


def has_shards(run: Run, condition: Condition) -> bool:
    """Whether a shard of the condition is finished; of no condition, any shard of the run."""
    folder = run.folder / RECORDS / condition.folder
    return any(folder.glob("**/part-*.parquet"))


def can_be_compared(run: Run, condition: Condition) -> bool:
    """Whether the images of a condition are known; not in a run of a format without fingerprints.

    Raises:
        InputError: If the run's format has fingerprints, and this one is missing.
    """
    if has_fingerprint(run, condition) or not has_shards(run, condition):
        return True
    if run.has_fingerprints:
        raise InputError(f"{shown(fingerprint_path(run, condition))} is missing. {_ADVICE}")
    return False


def differing_file(one: Run, other: Run, conditions: Iterable[Condition]) -> str | None:
    """The first file whose bytes differ between two runs under the same name.

    Only files in the samples of both are compared; ``None`` if none of them differs.

    Raises:
        InputError: If a fingerprint is damaged or was edited.
    """
    for condition in conditions:
        if has_fingerprint(one, condition) and has_fingerprint(other, condition):
            files = read_fingerprint(other, condition).files
            for name in differences(read_fingerprint(one, condition), files):
                return name
    return None


def differences(fingerprint: DataFingerprint, files: Mapping[str, str | None]) -> Iterator[str]:
    """The ids whose digests differ; files that could not be read are not compared."""
    for name, digest in fingerprint.files.items():
        other = files.get(name)
        if digest is not None and other is not None and digest != other:
            yield name
