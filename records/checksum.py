"""What a shard's file says of itself, so that a file that was edited or moved is noticed.

The digest is taken over the values of the columns, not over the file's bytes: lengths, validity and
values, each in one canonical form, so that it does not depend on how a version of Arrow or Parquet
cuts, pads or compresses them. It costs about two seconds for the 3.75 million records of
ImageNet-C.
"""

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..contracts import Run, Shard
from .run import key_sha256

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class ShardMark:
    """Which shard a file is, and the digests of what it holds.

    Attributes:
        run: SHA-256 of the run's key.
        condition: Its folder in the run.
        index: Of the shard in its condition.
        start: Of its items.
        stop: Likewise.
        records_sha256: Over the columns.
        provenance_sha256: Over the provenance as it is written.
    """

    run: str
    condition: str
    index: int
    start: int
    stop: int
    records_sha256: str
    provenance_sha256: str

    def fault(self, expected: "ShardMark") -> str | None:
        """What is wrong with a file that has this mark where another is expected, if anything."""
        if self == expected:
            return None
        if self.run != expected.run:
            return "it belongs to another run"
        if self.place != expected.place:
            return f"it holds {self.place}, but lies where {expected.place} belong"
        changed = "provenance" if self.records_sha256 == expected.records_sha256 else "records"
        return f"its {changed} changed after it was written"

    @property
    def place(self) -> str:
        """Which records it marks, in words."""
        condition = self.condition or "the clean images"
        return f"records {self.start:,} to {self.stop:,} (part {self.index}) of {condition}"


def mark_of(run: Run, shard: Shard, table: "pa.Table", provenance: bytes) -> ShardMark:
    """The mark of a shard with these records and this provenance."""
    return mark_with(key_sha256(run.key), shard, records_sha256(table), provenance)


def mark_with(run: str, shard: Shard, records: str, provenance: bytes) -> ShardMark:
    """The same where the digests of the run's key and of the records are known."""
    return ShardMark(
        run=run,
        condition=shard.condition.folder,
        index=shard.index,
        start=shard.start,
        stop=shard.stop,
        records_sha256=records,
        provenance_sha256=hashlib.sha256(provenance).hexdigest(),
    )


def records_sha256(table: "pa.Table") -> str:
    """SHA-256 over the names, types and values of a table's columns, however they are chunked.

    Columns may hold integers, floating-point numbers, booleans, strings, and lists of these.
    """
    digest = hashlib.sha256()
    for name, column in zip(table.column_names, table.columns, strict=True):
        digest.update(f"{name}\0".encode())
        _add(digest, column.combine_chunks())
    return digest.hexdigest()


def _add(digest: Any, array: "pa.Array") -> None:
    import pyarrow as pa

    kind = array.type
    digest.update(f"{'list' if pa.types.is_list(kind) else kind}\0{len(array)}\0".encode())
    digest.update(np.packbits(array.is_valid().to_numpy(zero_copy_only=False)))
    if pa.types.is_list(kind):
        digest.update(array.value_lengths().fill_null(0).to_numpy().astype("<i4"))
        _add(digest, array.flatten())  # without what may lie under a null
    elif pa.types.is_string(kind):
        _add_strings(digest, array.fill_null("").cast(pa.large_string()))
    elif pa.types.is_boolean(kind):
        digest.update(np.packbits(array.fill_null(False).to_numpy(zero_copy_only=False)))
    elif pa.types.is_integer(kind) or pa.types.is_floating(kind):
        values = array.fill_null(0).to_numpy(zero_copy_only=False)
        digest.update(np.ascontiguousarray(values, values.dtype.newbyteorder("<")))
    else:
        raise TypeError(f"a column of records cannot be {kind}")


def _add_strings(digest: Any, array: "pa.Array") -> None:
    """Lengths, then all characters; nothing is null here."""
    if len(array) == 0:
        return
    _, offsets, characters = array.buffers()
    ends = np.frombuffer(offsets, np.int64, len(array) + 1, 8 * array.offset)
    digest.update(np.diff(ends).astype("<i8"))
    if characters is not None:
        digest.update(memoryview(characters)[ends[0] : ends[-1]])
