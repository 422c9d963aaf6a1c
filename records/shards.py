"""Splitting a run into shards, and writing a shard; ``shard_runner.py`` makes them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..contracts import Condition, Provenance, Run, Shard
from ..errors import OutputError
from ..storage.atomic import atomic_write
from ..storage.documents import canonical_bytes
from .checksum import records_sha256, shard_mark
from .run import RECORDS, key_sha256

if TYPE_CHECKING:
    import pyarrow as pa

PROVENANCE_KEY = b"evaluator.provenance"
MARK_KEY = b"evaluator.shard"
SHARD_SECONDS = 60
SHARDS_A_WORKER = 4


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


def write_shard(run: Run, shard: Shard, table: "pa.Table", provenance: Provenance) -> None:
    """Write one finished shard, with its provenance and its mark in the file's metadata.

    Raises:
        OutputError: If it cannot be written.
    """
    document = canonical_bytes(provenance)
    mark = shard_mark(key_sha256(run.key), shard, records_sha256(table), document)
    metadata: Mapping[bytes, bytes] = {PROVENANCE_KEY: document, MARK_KEY: canonical_bytes(mark)}
    table = table.replace_schema_metadata(metadata)
    try:
        _write(shard_path(run, shard), table)
    except OutputError as error:
        if not isinstance(error.__cause__, FileNotFoundError):
            raise
        # While this process was stopped, another one took it for dead and removed its file.
        _write(shard_path(run, shard), table)


def _write(path: Path, table: "pa.Table") -> None:
    import pyarrow.parquet as pq

    with atomic_write(path) as temporary:
        pq.write_table(table, str(temporary), compression="zstd")


def recorded_ids(run: Run) -> list[str]:
    """The sorted ids of all records of a run; damaged files are left out."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    ids: set[str] = set()
    for path in (run.folder / RECORDS).glob("**/part-*.parquet"):
        try:
            with path.open("rb") as file:
                ids.update(pq.read_table(file, columns=["id"])["id"].to_pylist())
        except (OSError, pa.ArrowException, KeyError):
            continue
    return sorted(ids)
