"""Splitting a run into shards, and the file of a shard; ``shard_runner.py`` makes them.

Everything that is read from a file is compared with the checksums in it.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..contracts import Condition, Provenance, Run, Shard
from ..errors import InputError, OutputError, printable, reason_of
from ..storage.atomic import atomic_write
from ..storage.documents import canonical_bytes, document_from_bytes
from .checksum import records_sha256
from .run import RECORDS, key_sha256

if TYPE_CHECKING:
    import pyarrow as pa

PROVENANCE_KEY = b"evaluator.provenance"
MARK_KEY = b"evaluator.shard"
SHARD_SECONDS = 60
SHARDS_A_WORKER = 4

NUMBER_SUFFIX = "_value"
"""Suffix of the columns that repeat numbers of the condition, such as ``epsilon_value``.

Readers of Hive folders make text of ``epsilon=0.01``, and fail if a column has the folder's name.
"""

PARTS = ("frame", "attempt")
"""Columns that number the rows of an item: one row for each frame, or for each attack attempt."""


@dataclass(frozen=True)
class Pace:
    """Speed of the work, from which the shard size of a new run is chosen.

    Attributes:
        items_per_second: Items per second of one worker.
        workers: Number of shards that are made at once.
    """

    items_per_second: float
    workers: int


def shard_size(items: int, conditions: int, batch_size: int, pace: Pace) -> int:
    """Number of items in a shard: about a minute of one worker's time, in whole batches.

    The shards of small jobs are smaller, so that no worker idles while another finishes the last
    one. If a batch takes more than a minute, a shard is smaller than a batch: a run that is killed
    should not lose more than a minute.

    Example:
        >>> shard_size(50_000, 75, 4, Pace(items_per_second=100, workers=2))
        6000
        >>> shard_size(20, 1, 4, Pace(items_per_second=100, workers=2))
        4
        >>> shard_size(50_000, 75, 64, Pace(items_per_second=0.3, workers=2))
        18
    """
    minute = max(1, int(pace.items_per_second * SHARD_SECONDS))
    if minute < batch_size:
        return minute
    fair = items * conditions / (pace.workers * SHARDS_A_WORKER)
    return max(1, int(min(minute, fair) / batch_size)) * batch_size


def shards_of(conditions: Sequence[Condition], items: int, size: int) -> list[Shard]:
    """All shards of these conditions, in order.

    Example:
        >>> [(s.start, s.stop) for s in shards_of([Condition()], 10, 4)]
        [(0, 4), (4, 8), (8, 10)]
    """
    return [
        Shard(condition, index, start, min(start + size, items))
        for condition in conditions
        for index, start in enumerate(range(0, items, size))
    ]


def shard_path(run: Run, shard: Shard) -> Path:
    """The path of a finished shard."""
    return run.folder / RECORDS / shard.condition.folder / f"part-{shard.index:05d}.parquet"


@dataclass(frozen=True)
class ShardMark:
    """The shard that a file holds, and digests of its content.

    Attributes:
        run: SHA-256 of the run's key.
        condition: Folder of the condition in the run.
        index: Index of the shard in its condition.
        start: Index of the first item.
        stop: Index after the last item.
        records_sha256: SHA-256 over the columns.
        provenance_sha256: SHA-256 over the provenance as it is written.
    """

    run: str
    condition: str
    index: int
    start: int
    stop: int
    records_sha256: str
    provenance_sha256: str

    def fault(self, expected: "ShardMark") -> str | None:
        """Fault of a file with this mark; ``None`` if the mark is the expected one."""
        if self == expected:
            return None
        if self.run != expected.run:
            return "it belongs to another run"
        if self.place != expected.place:
            return f"it contains {self.place}, expected {expected.place}"
        changed = "provenance" if self.records_sha256 == expected.records_sha256 else "records"
        return f"its {changed} changed after it was written"

    @property
    def place(self) -> str:
        """The records that it marks, in words."""
        condition = self.condition or "the clean images"
        return f"records {self.start:,} to {self.stop:,} (part {self.index}) of {condition}"


def shard_mark(run: Run, shard: Shard, records: str, provenance: bytes) -> ShardMark:
    """The mark of a shard.

    Args:
        run: Run of the shard.
        shard: The shard.
        records: SHA-256 of the shard's records.
        provenance: Provenance of the shard as it is written.
    """
    return ShardMark(
        run=key_sha256(run.key),
        condition=shard.condition.folder,
        index=shard.index,
        start=shard.start,
        stop=shard.stop,
        records_sha256=records,
        provenance_sha256=hashlib.sha256(provenance).hexdigest(),
    )


def write_shard(run: Run, shard: Shard, table: "pa.Table", provenance: Provenance) -> None:
    """Write one finished shard, with its provenance and its mark in the file's metadata.

    Raises:
        OutputError: If it cannot be written.
    """
    table = _with_numbers(table, shard.condition)
    document = canonical_bytes(provenance)
    mark = shard_mark(run, shard, records_sha256(table), document)
    table = table.replace_schema_metadata(
        {PROVENANCE_KEY: document, MARK_KEY: canonical_bytes(mark)}
    )
    try:
        _write(shard_path(run, shard), table)
    except OutputError as error:
        if not isinstance(error.__cause__, FileNotFoundError):
            raise
        # While this process was stopped, another one took it for dead and removed its file.
        _write(shard_path(run, shard), table)


def _with_numbers(table: "pa.Table", condition: Condition) -> "pa.Table":
    """The records with a column for each floating-point number of their condition."""
    import pyarrow as pa

    for name, value in _numbers(condition).items():
        table = table.append_column(name, pa.repeat(pa.scalar(value, pa.float64()), len(table)))
    return table


def _numbers(condition: Condition) -> dict[str, float]:
    """The floating-point numbers of a condition, by the name of their column."""
    values = dict(condition.values).items()
    return {f"{key}{NUMBER_SUFFIX}": value for key, value in values if isinstance(value, float)}


def _write(path: Path, table: "pa.Table") -> None:
    import pyarrow.parquet as pq

    with atomic_write(path) as temporary:
        pq.write_table(table, str(temporary), compression="zstd")


def check_finished(run: Run, shards: Iterable[Shard]) -> None:
    """Check that the finished shards can be read, before hours are spent on the others.

    Only the metadata of each file is read. A file that is truncated, was written by another
    program, or belongs to another shard is noticed; an edited value is noticed when the records are
    read.

    Raises:
        InputError: If the file of a finished shard is damaged or belongs to another shard.
    """
    for shard in shards:
        if shard_path(run, shard).is_file():
            read_provenance(run, shard)


def read_provenance(run: Run, shard: Shard) -> Provenance:
    """The provenance of a finished shard.

    Raises:
        InputError: If its file is damaged or belongs to another shard.
    """
    path = shard_path(run, shard)
    with open_shard(path) as parquet:
        _check_mark(run, shard, parquet)
        rows = parquet.metadata.num_rows
        has_parts = any(part in parquet.schema_arrow.names for part in PARTS)
        if rows < shard.size or (rows > shard.size and not has_parts):
            raise damaged(path, f"it has {rows} rows, expected {shard.size}")
        document = parquet.metadata.metadata[PROVENANCE_KEY]
    return document_from_bytes(document, Provenance, printable(path))


def read_records(run: Run, shard: Shard) -> "pa.Table":
    """The records of a finished shard, without what its folder says.

    Raises:
        InputError: If its file is damaged, was edited or belongs to another shard.
    """
    path = shard_path(run, shard)
    with open_shard(path) as parquet:
        table = parquet.read()
        _check_mark(run, shard, parquet, records_sha256(table))
        if (items := len(ids_of_items(table))) != shard.size:
            raise damaged(path, f"it has {items} items, expected {shard.size}")
    # Shards of earlier versions do not have these columns.
    repeated = [name for name in _numbers(shard.condition) if name in table.column_names]
    return table.drop_columns(repeated).replace_schema_metadata(None)


@contextmanager
def open_shard(path: Path) -> "Iterator[Any]":
    """Open the file of a shard; an error in reading it is reported as damage."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with path.open("rb") as file, pq.ParquetFile(file) as parquet:
            yield parquet
    except (OSError, ValueError, pa.ArrowException) as error:  # ValueError: a name is not UTF-8
        raise damaged(path, reason_of(error)) from error


def _check_mark(run: Run, shard: Shard, parquet: Any, records: str | None = None) -> None:
    """Compare the mark of a file with the expected one.

    ``records`` is the digest of the records; ``None`` if they have not been read.
    """
    path, metadata = shard_path(run, shard), parquet.metadata.metadata or {}
    if PROVENANCE_KEY not in metadata or MARK_KEY not in metadata:
        raise damaged(path, "it has no provenance or no checksum")
    mark = document_from_bytes(metadata[MARK_KEY], ShardMark, printable(path))
    digest = mark.records_sha256 if records is None else records
    fault = mark.fault(shard_mark(run, shard, digest, metadata[PROVENANCE_KEY]))
    if fault is not None:
        raise damaged(path, fault)


def ids_of_items(table: "pa.Table") -> "pa.ChunkedArray":
    """The id of each item; of several rows of an item only the first counts, 0 or null."""
    import pyarrow.compute as pc

    part = next((name for name in PARTS if name in table.column_names), None)
    if part is None:
        return table["id"]
    return table["id"].filter(pc.equal(pc.fill_null(table[part], 0), 0))


def damaged(path: Path, reason: str) -> InputError:
    """The error for a file or folder of records that is damaged."""
    return InputError(
        f"{printable(path)} is damaged: {reason}. Remove it and run the command again; only "
        "what is missing is made."
    )
