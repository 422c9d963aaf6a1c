"""The parts of a benchmark, timed in turns: the engine alone, the scoring loop, its data side.

The engine alone gets batches that were decoded before. The scoring loop is the product's own
(``evaluate/scoring.py``). The data side is that loop with an engine that answers at once. All three
have as many callers as the engine takes.
"""

import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import cycle, islice
from typing import Self, overload

import numpy as np
import numpy.typing as npt

from ...contracts import Benchmark, Engine, ImageBatch, Item, Preprocessing, Progress, Shard, Source
from ...engine.throughput import images_until_first_end
from ...evaluate.scoring import ScoringJob, decoder_pool, score_shard

ROUNDS = 5
"""Of each part; the median is told."""

FEWEST_BATCHES = 2
"""Of a caller in a round, however slow the engine."""

READY_BATCHES = 4
"""How many decoded batches the engine alone is given, over and over."""

WARM_UP_BATCHES = 20
"""Of each caller; fewer where they take long."""

CLASSES = 1000

Advance = Callable[[int], None]
Part = Callable[[int, Advance], None]


@dataclass(frozen=True)
class Bed:
    """What is timed, and on what.

    Attributes:
        engine: The engine.
        batches: Ready-made.
        whole: The scoring loop on the engine.
        data: The same on an engine that answers at once.
    """

    engine: Engine
    batches: Sequence[ImageBatch]
    whole: ScoringJob
    data: ScoringJob


@dataclass(frozen=True)
class Timed:
    """What was measured.

    Attributes:
        engine: Images a second of the engine alone, round by round.
        whole: Of the scoring loop.
        data: Of its data side.
        latencies: Seconds of each batch of the engine alone.
    """

    engine: Sequence[float]
    whole: Sequence[float]
    data: Sequence[float]
    latencies: Sequence[float]


def bed_of(
    benchmark: Benchmark,
    engine: Engine,
    source: Source,
    items: Sequence[Item],
    *,
    preprocessing: Preprocessing,
    batch_size: int,
    stack: ExitStack,
) -> Bed:
    """Make everything ready, and decode the first batches.

    Raises:
        ImageError: If an image cannot be read or decoded.
    """
    condition, idle = benchmark.conditions[0], _Idle(engine)
    data = ScoringJob(
        benchmark=benchmark,
        engine=idle,
        source=source,
        items={condition: _Endless(items)},
        preprocessing=preprocessing,
        batch_size=batch_size,
        decoders=stack.enter_context(decoder_pool(engine)),
        read_ahead=2 * (os.cpu_count() or 1),
    )
    score_shard(data, _shard(data, 0, READY_BATCHES * batch_size), lambda _: None)
    return Bed(engine, tuple(idle.first), replace(data, engine=engine), data)


def warm_up(bed: Bed, seconds: float) -> list[float]:
    """Seconds of the first batches of the first caller, with all callers at work."""
    until = time.perf_counter() + seconds
    latencies: list[list[float]] = [[] for _ in range(bed.engine.callers)]

    def batches() -> Iterator[ImageBatch]:
        for position, batch in enumerate(islice(cycle(bed.batches), WARM_UP_BATCHES)):
            if position >= FEWEST_BATCHES and time.perf_counter() > until:
                return
            yield batch

    def work(caller: int, advance: Advance) -> None:
        _through(bed.engine, batches(), latencies[caller], advance)

    rate_of_callers(work, bed.engine.callers)
    return latencies[0]


def timed(bed: Bed, seconds: float, progress: Progress) -> Timed:
    """All parts in turns, each for so many seconds a round."""
    latencies: list[float] = []
    parts: Mapping[str, Callable[[int], Part]] = {
        "engine": lambda images: engine_part(bed, images, latencies),
        "whole": lambda images: loop_part(bed.whole, images),
        "data": lambda images: loop_part(bed.data, images),
    }
    callers, batch = bed.engine.callers, bed.whole.batch_size
    fewest = FEWEST_BATCHES * batch
    # How fast each part is must be known to make it last: a first, short round tells it.
    pace = {name: rate_of_callers(part(fewest), callers) for name, part in parts.items()}
    latencies.clear()
    rounds: Mapping[str, list[float]] = {name: [] for name in parts}
    for turn in range(ROUNDS):
        for name, part in parts.items():
            images = int(pace[name] * seconds / callers) // batch * batch
            pace[name] = rate_of_callers(part(max(images, fewest)), callers)
            rounds[name].append(pace[name])
        progress.advance("bench", turn + 1, ROUNDS, "rounds")
    return Timed(rounds["engine"], rounds["whole"], rounds["data"], latencies)


def engine_part(bed: Bed, images: int, latencies: list[float]) -> Part:
    """Ready-made batches, as many images for each caller."""

    def work(caller: int, advance: Advance) -> None:
        batches = islice(cycle(bed.batches), images // bed.whole.batch_size)
        mine: list[float] = []
        _through(bed.engine, batches, mine, advance)
        latencies.extend(mine)

    return work


def _through(
    engine: Engine, batches: Iterable[ImageBatch], latencies: list[float], advance: Advance
) -> None:
    """Batches through an engine; a batch's time begins when the engine takes it."""
    taken: deque[float] = deque()

    def handed() -> Iterator[ImageBatch]:
        for batch in batches:
            taken.append(time.perf_counter())
            yield batch

    for batch, _ in engine.stream(handed()):
        latencies.append(time.perf_counter() - taken.popleft())
        advance(len(batch.items))


def loop_part(job: ScoringJob, images: int) -> Part:
    """The scoring loop, a shard of as many images for each caller."""

    def work(caller: int, advance: Advance) -> None:
        shard = _shard(job, caller, images)
        score_shard(job, shard, lambda items: advance(items * _frames(job)))

    return work


def _shard(job: ScoringJob, position: int, images: int) -> Shard:
    """Items that have as many frames, or a little more."""
    (condition,) = job.items
    items = -(-images // _frames(job))
    return Shard(condition, position, position * items, (position + 1) * items)


def _frames(job: ScoringJob) -> int:
    (items,) = job.items.values()
    return items[0].frames


def rate_of_callers(part: Part, callers: int) -> float:
    """Images a second of several callers, while all of them are at work."""
    marks: list[tuple[float, int]] = []

    def advance(images: int) -> None:
        marks.append((time.perf_counter(), images))

    def work(caller: int) -> float:
        part(caller, advance)
        return time.perf_counter()

    with ThreadPoolExecutor(callers, "caller") as pool:
        began = time.perf_counter()
        ends = list(pool.map(work, range(callers)))
    return images_until_first_end(marks, ends, began)


class _Endless(Sequence[Item]):
    """Items, over and over again."""

    def __init__(self, items: Sequence[Item]) -> None:
        self._items = items

    def __len__(self) -> int:
        return 2**62

    @overload
    def __getitem__(self, index: int) -> Item: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Item]: ...
    def __getitem__(self, index: int | slice) -> Item | Sequence[Item]:
        count = len(self._items)
        if isinstance(index, slice):
            return [self._items[i % count] for i in range(index.start, index.stop)]
        return self._items[index % count]


class _Idle:
    """An engine that takes what another takes, and answers at once; it keeps the first batches."""

    def __init__(self, engine: Engine) -> None:
        self.spec, self.device, self.versions = engine.spec, engine.device, engine.versions
        self.max_batch, self.callers = engine.max_batch, engine.callers
        self.allocate = engine.allocate
        self.first: list[ImageBatch] = []

    def stream(
        self, batches: Iterable[ImageBatch]
    ) -> Iterator[tuple[ImageBatch, npt.NDArray[np.float32]]]:
        """Zeros (N, C), in order."""
        for batch in batches:
            if len(self.first) < READY_BATCHES:
                self.first.append(batch)
            yield batch, np.zeros((len(batch.items), CLASSES), np.float32)

    def stop(self) -> None:
        """There is nothing to stop."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass
