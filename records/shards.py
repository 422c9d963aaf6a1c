"""Cutting a run into shards, and running those that are not there yet."""

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..contracts import Condition, Progress, Provenance, Run, Shard
from ..storage.atomic import file_written_whole
from ..storage.documents import canonical_bytes
from .run import RECORDS
from .seal import mark_of

if TYPE_CHECKING:
    import pyarrow as pa

PROVENANCE_KEY = b"evaluator.provenance"
MARK_KEY = b"evaluator.shard"
SHARD_SECONDS = 60
SHARDS_A_WORKER = 4

Work = Callable[[Shard, Callable[[int], None]], "tuple[pa.Table, Provenance]"]


class _StoppedError(Exception):
    """Another worker failed, or the user interrupted: this one's shard is dropped."""


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

    Small jobs are cut finer, so that no worker idles while another finishes the last shard.

    Example:
        >>> shard_size(50_000, 75, 4, Pace(items_per_second=100, workers=2))
        6000
        >>> shard_size(20, 1, 4, Pace(items_per_second=100, workers=2))
        4
    """
    minute = pace.items_per_second * SHARD_SECONDS
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


def run_shards(
    run: Run, shards: Iterable[Shard], work: Work, *, workers: int, progress: Progress
) -> None:
    """Make every shard that is not there, from several threads, one shard each.

    ``work`` is called with a shard and a function that it calls with each number of items done;
    it may raise anything. The first error ends the run: shards that were finished stay.

    Raises:
        OutputError: If a shard cannot be written.
    """
    all_shards = list(shards)
    missing = [shard for shard in all_shards if not shard_path(run, shard).is_file()]
    tally = _Tally(
        progress,
        done=sum(s.size for s in all_shards) - sum(s.size for s in missing),
        total=sum(s.size for s in all_shards),
    )
    tally.show()
    queue = iter(missing)

    def labour() -> None:
        while (shard := tally.next_of(queue)) is not None:
            try:
                table, provenance = work(shard, tally.add)
                write_shard(run, shard, table, provenance)
            except BaseException:
                tally.stop()
                raise

    with ThreadPoolExecutor(max(1, workers), thread_name_prefix="shard") as pool:
        futures = [pool.submit(labour) for _ in range(max(1, workers))]
        try:
            wait(futures, return_when=FIRST_EXCEPTION)
        finally:
            tally.stop()
    _raise_first(futures)


def write_shard(run: Run, shard: Shard, table: "pa.Table", provenance: Provenance) -> None:
    """Write one finished shard, with its provenance and its mark in the file's metadata."""
    import pyarrow.parquet as pq

    made = canonical_bytes(provenance)
    mark = canonical_bytes(mark_of(run, shard, table, made))
    metadata: Mapping[bytes, bytes] = {PROVENANCE_KEY: made, MARK_KEY: mark}
    with file_written_whole(shard_path(run, shard)) as temporary:
        pq.write_table(table.replace_schema_metadata(metadata), str(temporary), compression="zstd")


def _raise_first(futures: Sequence["Future[None]"]) -> None:
    errors = [error for future in futures if (error := future.exception()) is not None]
    for error in sorted(errors, key=lambda error: isinstance(error, _StoppedError)):
        raise error


class _Tally:
    """Counts items for all workers, and tells them to stop."""

    def __init__(self, progress: Progress, *, done: int, total: int) -> None:
        self._progress, self._done, self._total = progress, done, total
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._shown = 0.0

    def next_of(self, queue: "Iterable[Shard]") -> Shard | None:
        with self._lock:
            return None if self._stopped.is_set() else next(iter(queue), None)

    def add(self, items: int) -> None:
        if self._stopped.is_set():
            raise _StoppedError
        with self._lock:
            self._done += items
            if time.monotonic() - self._shown > 0.1 or self._done == self._total:
                self.show()

    def stop(self) -> None:
        self._stopped.set()

    def show(self) -> None:
        self._shown = time.monotonic()
        self._progress.advance("score", self._done, self._total, "images")
