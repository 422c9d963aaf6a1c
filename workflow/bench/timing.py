"""The parts of ``evaluator bench``, timed in turns: the engine, the scoring loop, its data side.

The engine alone gets decoded batches. The scoring loop is the one that scores use
(``evaluate/scoring.py``). The data side is that loop with an engine that returns zeros. All three
have as many callers as the engine takes.
"""

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import cycle, islice

import numpy as np

from ...contracts import Engine, ImageBatch, Progress, Shard
from ...engine.engine_io import LoadedEngine, Logits
from ...engine.throughput import Rate, images_until_first_end, rate_of
from ...evaluate.scoring import ScoringJob, score_shard

ROUNDS = 5
"""Rounds of each part; the median is reported."""

FEWEST_BATCHES = 2
"""Fewest batches of a caller in a round, however slow the engine is."""

READY_BATCHES = 4
"""Number of decoded batches that the engine alone gets, again and again."""

WARM_UP_BATCHES = 20
"""Largest number of batches of each caller; fewer if they take long."""

CLASSES = 1000

Advance = Callable[[int], None]
Part = Callable[[int, Advance], None]


@dataclass(frozen=True)
class Bed:
    """The parts that are timed.

    Attributes:
        batches: Decoded batches.
        whole: Scoring loop with the engine.
        data: Scoring loop with an engine that returns zeros.
    """

    batches: Sequence[ImageBatch]
    whole: ScoringJob
    data: ScoringJob


@dataclass(frozen=True)
class Timed:
    """Measured rates and latencies.

    Attributes:
        engine: Rate of the engine alone.
        whole: Rate of the scoring loop.
        data: Rate of its data side.
        latencies: Seconds of each batch of the engine alone.
    """

    engine: Rate
    whole: Rate
    data: Rate
    latencies: Sequence[float]


def bed_of(job: ScoringJob) -> Bed:
    """Prepare the parts of a scoring job of one condition, and decode the first batches.

    Raises:
        ImageError: If an image cannot be read or decoded.
    """
    idle = _Idle(job.engine, job.preprocessing.crop_px)
    data = replace(job, engine=idle)
    loop_part(data, READY_BATCHES * job.batch_size)(0, lambda _: None)
    return Bed(tuple(idle.first), job, data)


def warm_up(bed: Bed, seconds: float) -> list[float]:
    """Seconds of the first caller's first batches, while all callers are busy."""
    until = time.perf_counter() + seconds
    engine = bed.whole.engine
    latencies: list[list[float]] = [[] for _ in range(engine.callers)]

    def batches() -> Iterator[ImageBatch]:
        for position, batch in enumerate(islice(cycle(bed.batches), WARM_UP_BATCHES)):
            if position >= FEWEST_BATCHES and time.perf_counter() > until:
                return
            yield batch

    def work(caller: int, advance: Advance) -> None:
        _run_batches(engine, batches(), latencies[caller], advance)

    rate_of_callers(work, engine.callers)
    return latencies[0]


def timed(bed: Bed, seconds: float, progress: Progress) -> Timed:
    """Time all parts in turns, each for this number of seconds a round."""
    latencies: list[float] = []
    parts: Mapping[str, Callable[[int], Part]] = {
        "engine": lambda images: engine_part(bed, images, latencies),
        "whole": lambda images: loop_part(bed.whole, images),
        "data": lambda images: loop_part(bed.data, images),
    }
    callers, batch = bed.whole.engine.callers, bed.whole.batch_size
    fewest = FEWEST_BATCHES * batch
    # A first, short round is not counted: its pace sets the length of the next one, and so on.
    rounds = {name: [rate_of_callers(part(fewest), callers)] for name, part in parts.items()}
    latencies.clear()
    for turn in range(ROUNDS):
        for name, part in parts.items():
            images = int(rounds[name][-1] * seconds / callers) // batch * batch
            rounds[name].append(rate_of_callers(part(max(images, fewest)), callers))
        progress.advance("bench", turn + 1, ROUNDS, "rounds")
    rates = {name: rate_of(values[1:]) for name, values in rounds.items()}
    return Timed(**rates, latencies=latencies)


def engine_part(bed: Bed, images: int, latencies: list[float]) -> Part:
    """Run the engine on decoded batches, as many images for each caller."""

    def work(caller: int, advance: Advance) -> None:
        batches = islice(cycle(bed.batches), images // bed.whole.batch_size)
        _run_batches(bed.whole.engine, batches, latencies, advance)

    return work


def _run_batches(
    engine: Engine, batches: Iterable[ImageBatch], latencies: list[float], advance: Advance
) -> None:
    """Run batches on an engine; the time of a batch begins when the engine takes it."""
    starts: deque[float] = deque()

    def timed_batches() -> Iterator[ImageBatch]:
        for batch in batches:
            starts.append(time.perf_counter())
            yield batch

    for batch, _ in engine.stream(timed_batches()):
        latencies.append(time.perf_counter() - starts.popleft())
        advance(len(batch.items))


def loop_part(job: ScoringJob, images: int) -> Part:
    """Run the scoring loop on as many images for each caller; the job's items are repeated."""
    ((condition, items),) = job.items.items()
    frames = items[0].frames
    count = -(-images // frames)  # whole items

    def work(caller: int, advance: Advance) -> None:
        positions = range(caller * count, (caller + 1) * count)
        repeated = [items[position % len(items)] for position in positions]
        own_job = replace(job, items={condition: repeated})
        shard = Shard(condition, caller, 0, count)
        score_shard(own_job, shard, lambda done: advance(done * frames))

    return work


def rate_of_callers(part: Part, callers: int) -> float:
    """Images a second of several callers, while all of them are busy."""
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


class _Idle(LoadedEngine):
    """An engine that returns zeros for the inputs of another one, and stores the first batches."""

    def __init__(self, engine: Engine, crop_px: int) -> None:
        super().__init__(
            engine.spec, engine.device, versions=engine.versions, crop_px=crop_px, runtime=None
        )
        self.max_batch, self.callers = engine.max_batch, engine.callers
        self.first: list[ImageBatch] = []

    def _logits(self, batch: ImageBatch) -> Logits:
        if len(self.first) < READY_BATCHES:
            self.first.append(batch)
        return np.zeros((len(batch.items), CLASSES), np.float32)
