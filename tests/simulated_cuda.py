"""A simulated GPU: streams whose work is deferred, checked for races, and computed on the CPU.

It shows whether an engine orders its work rightly, not how fast it is. Work of a stream is done as
late as possible, or in an order drawn by a seed. Memory starts as bytes of 0xFF, which are not a
number as floats. Each piece of work reads and writes ranges of memory: two that overlap, one of
them a write, must be ordered by a stream, an event or the host. Whether they are is decided by
vector clocks when the work is given to the stream, so a missing event is an error whatever the
order in which the work happens to be done.
"""

import gc
import os
import weakref
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from random import Random
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt

from evaluator.errors import EngineMemoryError

SEED = 0
"""Added to the seed of each GPU, like the environment variable ``SIMULATED_GPU_SEED``."""

Clock = Counter[str]
"""How much of each stream's work, and of the host's, has happened before something."""


GPUS: "dict[int, SimulatedCuda]" = {}
"""The last GPU that was opened for each index."""


class HazardError(AssertionError):
    """Memory is used while other work may change it."""


@dataclass(frozen=True)
class Access:
    """Use of a range of memory by one piece of work."""

    start: int
    stop: int
    writes: bool
    stream: str
    tick: int


@dataclass
class Work:
    """A piece of work in a stream; ``blocked`` says whether it has to wait."""

    run: Callable[[], None]
    blocked: Callable[[], bool] = lambda: False


class Memory:
    """Memory of the simulated GPU, by its address."""

    def __init__(self, cuda: "SimulatedCuda", size_bytes: int) -> None:
        self.cuda, self.freed = cuda, False
        self.data = np.full(size_bytes, 0xFF, np.uint8)
        self.address = cuda.reserve(size_bytes)

    def copy_from(self, host: npt.NDArray[Any], stream: "Stream") -> None:
        self.cuda.check_pinned(host)
        source, size = as_bytes(host), host.nbytes
        ranges = [(self.address, size, True), (host.ctypes.data, size, False)]

        def copy() -> None:
            self.alive()[:size] = source

        stream.submit(copy, ranges)

    def copy_to(self, host: npt.NDArray[Any], stream: "Stream") -> None:
        self.cuda.check_pinned(host)
        target, size = as_bytes(host), host.nbytes
        ranges = [(self.address, size, False), (host.ctypes.data, size, True)]

        def copy() -> None:
            target[:] = self.alive()[:size]

        stream.submit(copy, ranges)

    def alive(self) -> npt.NDArray[np.uint8]:
        if self.freed:
            raise HazardError("memory is used after it was freed")
        return self.data


class Stream:
    """A queue of deferred work."""

    def __init__(self, cuda: "SimulatedCuda") -> None:
        self.cuda, self.handle = cuda, len(cuda.streams) + 1
        self.name = f"stream {self.handle}"
        self.clock, self.queue = Clock(), deque[Work]()
        cuda.streams.append(self)

    def submit(self, run: Callable[[], None], ranges: list[tuple[int, int, bool]]) -> None:
        """Add work, and check that what it touches is ordered with all earlier work."""
        self.cuda.check_current()
        self.clock |= self.cuda.host
        self.clock[self.name] += 1
        tick = self.clock[self.name]
        for start, size, writes in ranges:
            self.cuda.use(Access(start, start + size, writes, self.name, tick), self.clock)
        self.queue.append(Work(run))
        self.cuda.maybe_work()

    def record(self, event: "Event") -> None:
        event.record(self)

    def wait(self, event: "Event") -> None:
        """As in CUDA, an event that was never recorded is not waited for."""
        self.cuda.check_current()
        if event.done is not None:
            done = event.done
            self.clock |= event.clock
            self.queue.append(Work(lambda: None, lambda: not done.is_set))

    def synchronize(self) -> None:
        self.cuda.check_current()
        self.cuda.work_until(lambda: not self.queue)
        self.cuda.host |= self.clock


class Event:
    """A point in a stream."""

    def __init__(self, cuda: "SimulatedCuda") -> None:
        self.cuda, self.clock = cuda, Clock()
        self.done: SimpleNamespace | None = None

    def record(self, stream: Stream) -> None:
        self.cuda.check_current()
        self.done = done = SimpleNamespace(is_set=False)
        self.clock = stream.clock.copy()
        stream.queue.append(Work(lambda: done.__setattr__("is_set", True)))

    def synchronize(self) -> None:
        self.cuda.check_current()
        if (done := self.done) is not None:
            self.cuda.work_until(lambda: done.is_set)
            self.cuda.host |= self.clock


class SimulatedCuda:
    """One simulated GPU; see ``Cuda``.

    Attributes:
        limit_bytes: Memory of the device; more is out of memory.
        eagerness: How many pieces of work may be done at each call, beyond those that are waited
            for.
    """

    limit_bytes = 2**31
    eagerness = 2

    def __init__(self, index: int = 0, seed: int = 0) -> None:
        self.index, self.depth = index, 0
        self.random = Random(SEED + seed + int(os.environ.get("SIMULATED_GPU_SEED", "0")))
        self.streams: list[Stream] = []
        self.host, self.accesses = Clock(), list[Access]()
        self.memories: list[Memory] = []
        self.contexts: list[weakref.ref[Any]] = []
        self._pinned: list[weakref.ref[Any]] = []
        self.pinned_spans: list[tuple[int, int]] = []
        self.next_address, self.used_bytes = 1 << 60, 0
        GPUS[index] = self

    @contextmanager
    def current(self) -> Iterator[None]:
        self.depth += 1
        try:
            yield
        finally:
            self.depth -= 1

    def check_current(self) -> None:
        if not self.depth:
            raise HazardError("CUDA is called outside `current`")

    def stream(self) -> Stream:
        self.check_current()
        return Stream(self)

    def event(self) -> Event:
        self.check_current()
        return Event(self)

    def pinned(self, shape: tuple[int, ...], dtype: npt.DTypeLike) -> npt.NDArray[Any]:
        self.check_current()
        size_bytes = int(np.prod(shape)) * np.dtype(dtype).itemsize
        owner = np.full(size_bytes, 0xFF, np.uint8)
        array = owner.view(dtype).reshape(shape)
        self._pinned.append(weakref.ref(owner))
        self.pinned_spans.append((array.ctypes.data, array.ctypes.data + array.nbytes))
        return array

    def check_pinned(self, host: npt.NDArray[Any]) -> None:
        first, last = host.ctypes.data, host.ctypes.data + host.nbytes
        if not any(start <= first and last <= stop for start, stop in self.pinned_spans):
            raise HazardError("a copy from or to memory that is not pinned")

    def memory(self, size_bytes: int) -> Memory:
        self.check_current()
        if self.used_bytes + size_bytes > self.limit_bytes:
            raise EngineMemoryError(f"No memory on the simulated GPU for {size_bytes:,} bytes.")
        memory = Memory(self, size_bytes)
        self.memories.append(memory)
        return memory

    def reserve(self, size_bytes: int) -> int:
        address, self.used_bytes = self.next_address, self.used_bytes + size_bytes
        self.next_address += size_bytes + 4096
        return address

    def memory_at(self, address: int) -> Memory:
        return next(memory for memory in self.memories if memory.address == address)

    def pinned_alive(self) -> list[Any]:
        """Pinned memory that somebody still refers to."""
        gc.collect()
        return [reference for reference in self._pinned if reference() is not None]

    def close(self) -> None:
        if any(stream.queue for stream in self.streams):
            raise HazardError("memory is freed that work in flight uses")
        if any(context() is not None for context in self.contexts):
            raise HazardError("memory is freed that an execution context uses")
        for memory in self.memories:
            memory.freed = True
            memory.data[:] = 0xFF

    def use(self, access: Access, clock: Clock) -> None:
        """Record an access, which must come after all that it conflicts with."""
        for other in self.accesses:
            overlap = other.start < access.stop and access.start < other.stop
            if overlap and (other.writes or access.writes) and clock[other.stream] < other.tick:
                raise HazardError(
                    f"{access.stream} {'writes' if access.writes else 'reads'} memory that "
                    f"{other.stream} may still {'write' if other.writes else 'read'}"
                )
        self.accesses = [a for a in self.accesses if self.host[a.stream] < a.tick] + [access]

    def maybe_work(self) -> None:
        for _ in range(self.random.randint(0, self.eagerness)):
            self.work_once()

    def work_until(self, done: Callable[[], bool]) -> None:
        while not done():
            if not self.work_once():
                raise HazardError("the host waits for ever: no stream can go on")

    def work_once(self) -> bool:
        """Do the first work of a stream that need not wait; false if all must."""
        ready = [s for s in self.streams if s.queue and not s.queue[0].blocked()]
        if ready:
            self.random.choice(ready).queue.popleft().run()
        return bool(ready)


def as_bytes(host: npt.NDArray[Any]) -> npt.NDArray[np.uint8]:
    return host.reshape(-1).view(np.uint8)
