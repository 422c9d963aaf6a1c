"""Having the shards of a run made, by several threads and beside other processes.

Threads that compute cannot always be interrupted, and may be in the middle of a batch of seconds.
So they are daemons that nobody waits for long: an error or an interrupt surfaces at once, what they
still compute is thrown away, and a shard is written only while nothing has gone wrong. Only a
program that used the Python interface, and that ends, waits for their batch.
"""

import atexit
import threading
import time
from collections.abc import Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING

from ..contracts import Progress, Provenance, Run, Shard
from ..storage.atomic import make_folder
from .leases import LEASE_TIMES, Holder, Leases, LeaseTimes
from .shards import shard_path, write_shard

if TYPE_CHECKING:
    import pyarrow as pa

Work = Callable[[Shard, Callable[[int], None]], "tuple[pa.Table, Provenance]"]

GRACE_SECONDS = 1.0
"""What threads get to end in when something went wrong."""

THREAD_NAME = "shard"


class _StoppedError(Exception):
    """Another worker failed, or the user interrupted: this one's shard is dropped."""


def run_shards(
    run: Run,
    shards: Iterable[Shard],
    work: Work,
    *,
    workers: int,
    progress: Progress,
    noun: str = "image",
    verb: str = "score",
    stop: Callable[[], None] = lambda: None,
    times: LeaseTimes = LEASE_TIMES,
) -> None:
    """Make every shard that is not there, from several threads, one shard each.

    What other processes make is waited for, so that every shard is there at the end.

    Args:
        run: Where they belong.
        shards: Those that are wanted.
        work: Called with a shard and a function that it calls with each number of items done; it
            may raise anything. The first error ends the run: shards that were finished stay.
        workers: How many threads.
        progress: Is told how many items are done, and who is waited for.
        noun: What it calls an item.
        verb: What it calls the work.
        stop: Called when work that goes on has become useless; it may make ``work`` raise.
        times: Of the leases that share the shards among processes.

    Raises:
        OutputError: If a shard cannot be written.
    """
    wanted = list(shards)
    tally = _Tally(progress, total=sum(shard.size for shard in wanted), noun=noun, verb=verb)
    folders = {shard_path(run, shard).parent for shard in wanted}
    with Leases(times) as leases:
        for folder in folders:
            leases.tidy(folder)
        crew = _WorkerPool(_ShardQueue(run, wanted, leases, tally, times.look_s), work, tally)
        tally.show()
        try:
            crew.work(workers)
        except KeyboardInterrupt:
            progress.note(f"{tally.kept:,} of {tally.total:,} {noun}s are done and kept.")
            raise
        finally:
            crew.end(stop)
        crew.raise_first()
        for folder in folders:
            leases.tidy(folder)


class _WorkerPool:
    """Threads that make shards until none is left, or one of them fails."""

    def __init__(self, todo: "_ShardQueue", work: Work, tally: "_Tally") -> None:
        self._todo, self._work, self._tally = todo, work, tally
        self._threads: list[threading.Thread] = []
        self._running = 0
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._errors: list[BaseException] = []

    def work(self, workers: int) -> None:
        """Until all is done, or something failed."""
        self._running = max(1, workers)
        # Of a program that ends in order: native code aborts when its daemon thread is torn down.
        atexit.register(self._join)
        for _ in range(self._running):
            thread = threading.Thread(target=self._labour, name=THREAD_NAME, daemon=True)
            self._threads.append(thread)  # before an interrupt can come while it starts
            thread.start()
        # A wait without an end cannot be interrupted everywhere.
        while not self._over.wait(0.5):
            pass

    def end(self, stop: Callable[[], None]) -> None:
        self._tally.stop()
        deadline = time.monotonic() + GRACE_SECONDS
        if self._alive():
            stop()
        for thread in self._alive():
            thread.join(max(0.0, deadline - time.monotonic()))
        if not self._alive():
            atexit.unregister(self._join)

    def _join(self) -> None:
        for thread in self._alive():
            thread.join()

    def _alive(self) -> list[threading.Thread]:
        """Those that can be waited for: one that never started cannot."""
        return [thread for thread in self._threads if thread.is_alive()]

    def raise_first(self) -> None:
        if self._errors:
            raise self._errors[0]

    def _labour(self) -> None:
        try:
            while (shard := self._todo.next()) is not None:
                table, provenance = self._work(shard, partial(self._todo.advance, shard))
                self._todo.finish(shard, table, provenance)
        except BaseException as error:
            if not self._tally.stopped.is_set():  # what comes after the first is its consequence
                self._errors.append(error)
            self._tally.stop()
        with self._lock:
            self._running -= 1
            if self._errors or self._running == 0:
                self._over.set()


class _ShardQueue:
    """The shards that are not there yet, and whose turn it is to make them."""

    def __init__(
        self, run: Run, shards: Iterable[Shard], leases: Leases, tally: "_Tally", look_s: float
    ) -> None:
        self._run, self._leases, self._tally, self._look_s = run, leases, tally, look_s
        self._lock = threading.Lock()
        self._told = False
        self._left = dict.fromkeys(shards)
        for shard in list(self._left):
            self._drop_finished(shard)

    def next(self) -> Shard | None:
        """A shard that is ours to make; waits while all that are left are others'."""
        while not self._tally.stopped.is_set():
            with self._lock:
                shard, holders = self._claimed()
                if shard is not None or not self._left:
                    return shard
                self._tell(holders)
            self._tally.stopped.wait(self._look_s)
        return None

    def advance(self, shard: Shard, items: int) -> None:
        """So many more items of a shard that is being made."""
        self._leases.heartbeat(shard_path(self._run, shard))
        self._tally.add(items)

    def finish(self, shard: Shard, table: "pa.Table", provenance: Provenance) -> None:
        """Write a shard that was made, and give back its lease."""
        self._tally.check()
        write_shard(self._run, shard, table, provenance)
        self._leases.release(shard_path(self._run, shard))
        self._tally.keep(shard.size)

    def _claimed(self) -> tuple[Shard | None, list[Holder]]:
        """The first shard that nobody makes, or who makes those that are left."""
        holders = []
        for shard in list(self._left):
            if self._drop_finished(shard):
                continue
            path = shard_path(self._run, shard)
            make_folder(path.parent)
            holder = self._leases.claim(path)
            if holder is not None:
                holders.append(holder)
            elif self._drop_finished(shard):  # between the look and the claim
                self._leases.release(path)
            else:
                del self._left[shard]
                return shard, []
        return None, holders

    def _drop_finished(self, shard: Shard) -> bool:
        if not shard_path(self._run, shard).is_file():
            return False
        del self._left[shard]
        self._tally.found(shard.size)
        return True

    def _tell(self, holders: list[Holder]) -> None:
        if self._told or not holders:
            return
        self._told = True
        hosts = ", ".join(sorted({holder.host for holder in holders}))
        count = f"{len(holders)} shards are" if len(holders) > 1 else "shard is"
        self._tally.note(f"The last {count} being made by other processes, on {hosts}: waiting.")


class _Tally:
    """Counts items for all workers, and tells them to stop."""

    def __init__(self, progress: Progress, *, total: int, noun: str, verb: str) -> None:
        self._progress, self.total, self._noun, self._verb = progress, total, noun, verb
        self._done = self.kept = 0
        self._lock = threading.Lock()
        self.stopped = threading.Event()
        self._shown: float | None = None

    def add(self, items: int) -> None:
        """So many items of a shard that is being made."""
        self.check()
        self._count(items)

    def check(self) -> None:
        """End the work if it has become useless."""
        if self.stopped.is_set():
            raise _StoppedError

    def keep(self, items: int) -> None:
        with self._lock:
            self.kept += items

    def found(self, items: int) -> None:
        """A shard that is there: from before, or made by another process."""
        self.keep(items)
        self._count(items)

    def stop(self) -> None:
        self.stopped.set()

    def note(self, text: str) -> None:
        with self._lock:
            self._progress.note(text)

    def show(self) -> None:
        """The first time gives the starting point."""
        with self._lock:
            self._show()

    def _count(self, items: int) -> None:
        with self._lock:
            self._done += items
            if self._shown is None:
                return
            if time.monotonic() - self._shown > 0.1 or self._done == self.total:
                self._show()

    def _show(self) -> None:
        self._shown = time.monotonic()
        self._progress.advance(self._verb, self._done, self.total, f"{self._noun}s")
