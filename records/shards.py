"""Cutting a run into shards, and writing one of them; ``running.py`` has them made."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..contracts import Condition, Provenance, Run, Shard
from ..errors import OutputError
from ..storage.atomic import atomic_write
from ..storage.documents import canonical_bytes
from .checksum import mark_of
from .run import RECORDS

if TYPE_CHECKING:
    import pyarrow as pa

PROVENANCE_KEY = b"evaluator.provenance"
MARK_KEY = b"evaluator.shard"
SHARD_SECONDS = 60
SHARDS_A_WORKER = 4


@dataclass(frozen=True)
class Pace:
    """What a shard's size is chosen from, when a run is made.

    Attributes:
        items_per_second: Of one worker.
        workers: How many shards are made at once.
    """

    items_per_second: float
    workers: int


def shard_size(items: int, conditions: int, batch_size: int, pace: Pace) -> int:
    """Items in a shard: about a minute of one worker's time, and whole batches.

    Small jobs are cut finer, so that no worker idles while another finishes the last shard. Where
    a batch takes more than the minute, a shard is smaller than one: a minute is all that a run that
    is killed should lose.

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
    """Every shard of these conditions, in order.

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
    """Where a finished shard lies."""
    return run.folder / RECORDS / shard.condition.folder / f"part-{shard.index:05d}.parquet"


def write_shard(run: Run, shard: Shard, table: "pa.Table", provenance: Provenance) -> None:
    """Write one finished shard, with its provenance and its mark in the file's metadata.

    Raises:
        OutputError: If it cannot be written.
    """
    made = canonical_bytes(provenance)
    mark = canonical_bytes(mark_of(run, shard, table, made))
    metadata: Mapping[bytes, bytes] = {PROVENANCE_KEY: made, MARK_KEY: mark}
    marked = table.replace_schema_metadata(metadata)
    try:
        _write(shard_path(run, shard), marked)
    except OutputError as error:
        if not isinstance(error.__cause__, FileNotFoundError):
            raise
        # Stopped while it was written, this process was taken for dead, and its file removed.
        _write(shard_path(run, shard), marked)


def _write(path: Path, table: "pa.Table") -> None:
    import pyarrow.parquet as pq

    with atomic_write(path) as temporary:
        pq.write_table(table, str(temporary), compression="zstd")


def recorded_ids(run: Run) -> list[str]:
    """The ids that stand in the records of the run, once each, in order; of damaged files none."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    ids: dict[str, None] = {}
    for path in sorted((run.folder / RECORDS).glob("**/part-*.parquet")):
        try:
            with path.open("rb") as file:
                ids.update(dict.fromkeys(pq.read_table(file, columns=["id"])["id"].to_pylist()))
        except (OSError, pa.ArrowException, KeyError):
            continue
    return sorted(ids)
