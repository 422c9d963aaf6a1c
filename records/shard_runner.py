"""Making the shards of a run with several threads, next to other processes that do the same.

Threads that compute cannot always be interrupted, and a batch may take seconds. So they are daemon
threads that are waited for only briefly: an error or an interrupt surfaces at once, the rest of
their work is discarded, and a shard is written only while nothing has failed. Only a program that
uses the Python interface waits for their batches when it exits.
"""

import atexit
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from ..contracts import Progress, Provenance, Run, Shard, ThreadSafeProgress
from ..storage.atomic import make_folder
from .leases import LEASE_TIMES, Holder, Leases, LeaseTimes
from .shards import shard_path, write_shard

if TYPE_CHECKING:
    import pyarrow as pa

Work = Callable[[Shard, Callable[[int], None]], "tuple[pa.Table, Provenance]"]

GRACE_SECONDS = 1.0
"""Time that threads have to end after an error."""

THREAD_NAME = "shard"


class _StoppedError(Exception):
    """Another worker failed, or the user interrupted: the shard of this worker is discarded."""


def run_shards(
    run: Run,
    shards: Sequence[Shard],
    work: Work,
    *,
    workers: int,
    progress: Progress,
    noun: str = "image",
    verb: str = "score",
    stop: Callable[[], None] = lambda: None,
    times: LeaseTimes = LEASE_TIMES,
) -> None:
    """Make every missing shard with several threads, each one shard at a time.

    Shards that other processes are making are waited for, so all shards are finished at the end.

    Args:
        run: Run of the shards.
        shards: Shards to finish.
        work: Called with a shard and a callback for the number of items just done; it may raise
            anything. The first error ends the run; finished shards are kept.
        workers: Number of threads.
        progress: Progress callback.
        noun: Word for an item.
        verb: Word for the work.
        stop: Called after an error, to end work that is still going on; it may make ``work`` raise.
        times: Times of the leases that divide the shards among processes.

    Raises:
        OutputError: If a shard cannot be written.
    """
    folders = {shard_path(run, shard).parent for shard in shards}
    with Leases(times) as leases:
        for folder in folders:
            leases.tidy(folder)
        missing = [shard for shard in shards if not shard_path(run, shard).is_file()]
        total = sum(shard.size for shard in shards)
        done = total - sum(shard.size for shard in missing)
        tally = _Tally(progress, verb, f"{noun}s", done, total)
        queue = _ShardQueue(run, missing, leases, tally, times.look_s)
        try:
            _WorkerPool(queue, work).run(workers, stop)
        except KeyboardInterrupt:
            finished = sum(shard.size for shard in shards if shard_path(run, shard).is_file())
            progress.note(f"{finished:,} of {total:,} {noun}s are done and kept.")
            raise
        for folder in folders:
            leases.tidy(folder)


class _WorkerPool:
    """Threads that make shards until none is left or one of them fails."""

    def __init__(self, queue: "_ShardQueue", work: Work) -> None:
        self._queue, self._work, self._stopped = queue, work, queue.stopped
        self._threads: list[threading.Thread] = []
        self._running = 0
        self._lock = threading.Lock()
        self._errors: list[BaseException] = []

    def run(self, workers: int, stop: Callable[[], None]) -> None:
        """Return when all shards are made; raise the first error of a worker."""
        self._running = max(1, workers)
        # Native code aborts if its daemon thread is torn down when the interpreter exits.
        atexit.register(self._join)
        try:
            for _ in range(self._running):
                thread = threading.Thread(target=self._make_shards, name=THREAD_NAME, daemon=True)
                self._threads.append(thread)  # before start(), which an interrupt may end
                thread.start()
            # A wait without a timeout cannot be interrupted on every platform.
            while not self._stopped.wait(0.5):
                pass
        finally:
            self._end(stop)
        if self._errors:
            raise self._errors[0]

    def _end(self, stop: Callable[[], None]) -> None:
        self._stopped.set()
        deadline = time.monotonic() + GRACE_SECONDS
        if self._alive_threads():
            stop()
        for thread in self._alive_threads():
            thread.join(max(0.0, deadline - time.monotonic()))
        if not self._alive_threads():
            atexit.unregister(self._join)

    def _join(self) -> None:
        for thread in self._alive_threads():
            thread.join()

    def _alive_threads(self) -> list[threading.Thread]:
        """The threads that can be joined: one that never started cannot."""
        return [thread for thread in self._threads if thread.is_alive()]

    def _make_shards(self) -> None:
        try:
            while (shard := self._queue.next()) is not None:
                table, provenance = self._work(shard, partial(self._queue.advance, shard))
                self._queue.finish(shard, table, provenance)
        except BaseException as error:
            if not self._stopped.is_set():  # later errors follow from the first
                self._errors.append(error)
            self._stopped.set()
        with self._lock:
            self._running -= 1
            if self._running == 0:
                self._stopped.set()


class _ShardQueue:
    """Missing shards, each handed to one worker of one process, until the queue is stopped."""

    def __init__(
        self, run: Run, shards: Sequence[Shard], leases: Leases, tally: "_Tally", look_s: float
    ) -> None:
        self._run, self._leases, self._tally, self._look_s = run, leases, tally, look_s
        self.stopped = threading.Event()
        self._lock = threading.Lock()
        self._reported_waiting = False
        self._left = dict.fromkeys(shards)

    def next(self) -> Shard | None:
        """A shard to make; waits while other processes make all that are left."""
        while not self.stopped.is_set():
            with self._lock:
                shard, holders = self._claim()
                if shard is not None or not self._left:
                    return shard
                if not self._reported_waiting:
                    self._report_waiting(holders)
            self.stopped.wait(self._look_s)
        return None

    def advance(self, shard: Shard, items: int) -> None:
        """Count items of a shard that is being made."""
        self._leases.heartbeat(shard_path(self._run, shard))
        self._check()
        self._tally.count(items)

    def finish(self, shard: Shard, table: "pa.Table", provenance: Provenance) -> None:
        """Write a shard and release its lease."""
        self._check()
        write_shard(self._run, shard, table, provenance)
        self._leases.release(shard_path(self._run, shard))

    def _check(self) -> None:
        """Raise if another worker failed, or the user interrupted."""
        if self.stopped.is_set():
            raise _StoppedError

    def _claim(self) -> tuple[Shard | None, list[Holder]]:
        """A shard whose lease is ours now, or the holders of all that are left."""
        holders = []
        for shard in list(self._left):
            if self._drop_finished(shard):
                continue
            path = shard_path(self._run, shard)
            make_folder(path.parent)
            holder = self._leases.claim(path)
            if holder is not None:
                holders.append(holder)
            elif self._drop_finished(shard):  # finished before the claim
                self._leases.release(path)
            else:
                del self._left[shard]
                return shard, []
        return None, holders

    def _drop_finished(self, shard: Shard) -> bool:
        if not shard_path(self._run, shard).is_file():
            return False
        del self._left[shard]
        self._tally.count(shard.size)
        return True

    def _report_waiting(self, holders: list[Holder]) -> None:
        self._reported_waiting = True
        hosts = ", ".join(sorted({holder.host for holder in holders}))
        count = f"{len(holders)} shards are" if len(holders) > 1 else "shard is"
        self._tally.progress.note(
            f"The last {count} being made by other processes, on {hosts}: waiting."
        )


class _Tally:
    """Counts the items of all workers, and reports them at most ten times a second."""

    def __init__(self, progress: Progress, step: str, unit: str, done: int, total: int) -> None:
        self.progress = ThreadSafeProgress(progress)
        self._step, self._unit, self._done, self._total = step, unit, done, total
        self._lock = threading.Lock()
        self._show()

    def count(self, items: int) -> None:
        """Count items that this process or another one has made."""
        with self._lock:
            self._done += items
            if time.monotonic() - self._shown > 0.1 or self._done == self._total:
                self._show()

    def _show(self) -> None:
        self._shown = time.monotonic()
        self.progress.advance(self._step, self._done, self._total, self._unit)
