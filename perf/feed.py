"""Claim: the scoring loop around a fast GPU costs little beside reading and decoding.

An engine with one caller answers at once, as one GPU that is never the limit, in batches of 64.
Three loops over the same 6,000 stimuli of 224x224 pixels, by the same threads, in turns:

    whole    ``score_shard``, as ``evaluator score`` runs it: read, hash, decode, batch, record
    feed     reading, hashing and decoding only: what the threads can do at most
    rest     ``score_shard`` without reading and decoding: what the loop itself takes

The share is feed's time over whole's. The rest is in microseconds an image.
"""

import hashlib
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from evaluator.contracts import ImageBatch, Item, Shard
from evaluator.engine.engine_io import buffer
from evaluator.evaluate.benchmarks.table import find_benchmark
from evaluator.evaluate.scoring import ScoringJob, score_shard
from evaluator.evaluate.sources.folder import FolderSource

from .decoding import FOG, HOW, IMAGES, NoEngine, write_stimuli

BATCH, REPEATS, ROUNDS = 64, 4, 7
EXPECTED_SHARE, EXPECTED_MICROSECONDS = 0.9, 20


class InstantGpu(NoEngine):
    """Answers at once, from a single caller, with logits that were drawn before."""

    callers = 1

    def __init__(self) -> None:
        self._logits = np.random.default_rng(0).normal(size=(BATCH, 1000)).astype(np.float32)
        self._buffers = [buffer(BATCH, HOW.crop_px, "pixels") for _ in range(16)]
        self._next = 0

    def allocate(self, n: int) -> Any:
        """One of a few buffers, as pinned memory is used again."""
        self._next += 1
        return self._buffers[self._next % len(self._buffers)][:n]

    def stream(self, batches: Iterable[ImageBatch]) -> Iterator[tuple[ImageBatch, Any]]:
        """Each batch with its logits."""
        for batch in batches:
            yield batch, self._logits[: len(batch.items)]


def main() -> None:
    """Measure all three in turns."""
    threads = os.cpu_count() or 1
    with tempfile.TemporaryDirectory() as name, ThreadPoolExecutor(threads) as pool:
        write_stimuli(Path(name))
        source = FolderSource(Path(name), [FOG])
        items = list(source.items(FOG)) * REPEATS
        items = [replace(item, id=f"{item.id}#{i}") for i, item in enumerate(items)]
        benchmark, shard = find_benchmark("imagenet-c"), Shard(FOG, 0, 0, len(items))
        job = ScoringJob(benchmark, InstantGpu(), source, {FOG: items}, HOW, BATCH, decoders=pool)

        class Nothing:
            """A source without bytes."""

            def read(self, item: Item) -> bytes:
                return b""

        idle: Any = Nothing()
        undecoded = replace(job, source=idle, benchmark=replace(benchmark, decode=lambda *_: None))

        engine = InstantGpu()

        def decode(part: list[Item]) -> None:
            for item, row in zip(part, engine.allocate(len(part)), strict=True):
                data = source.read(item)
                hashlib.sha256(data).digest()
                benchmark.decode(data, item, HOW, [row])

        def feed() -> None:
            for _ in pool.map(decode, parts):
                pass

        parts = [items[i : i + BATCH] for i in range(0, len(items), BATCH)]
        loops: dict[str, Callable[[], object]] = {
            "whole": lambda: score_shard(job, shard, lambda n: None),
            "feed": feed,
            "rest": lambda: score_shard(undecoded, shard, lambda n: None),
        }
        times: dict[str, list[float]] = {name: [] for name in loops}
        for _ in range(ROUNDS):
            for name, loop in loops.items():
                began = time.perf_counter()
                loop()
                times[name].append((time.perf_counter() - began) / len(items) * 1e6)
    shares = [feed / whole for feed, whole in zip(times["feed"], times["whole"], strict=True)]
    for name, values in times.items():
        print(f"  {name}: {statistics.median(values):.1f} microseconds an image on {threads} cores")
    print(
        f"share of the feed: {statistics.median(shares):.2f} (from {min(shares):.2f} to "
        f"{max(shares):.2f}), expected at least {EXPECTED_SHARE}; the loop itself "
        f"{statistics.median(times['rest']):.1f} microseconds, expected at most "
        f"{EXPECTED_MICROSECONDS}; {IMAGES * REPEATS:,} images"
    )


if __name__ == "__main__":
    main()
