"""Throughput from timings: rates, percentiles, the end of the warm-up, and the bottleneck.

Only arithmetic lives here: the clock is read in ``workflow/bench/timing.py``.
"""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

STEADY_WITHIN = 0.1
"""A batch is steady if it takes at most this fraction longer than those of the second half."""

LOOP_SHARE = 0.85
"""Below this share of what the parts allow, the loop between them is the bottleneck."""

Part = Literal["engine", "data", "loop"]


@dataclass(frozen=True)
class Rate:
    """Images a second over several rounds.

    Attributes:
        images_per_second: Median of the rounds.
        low: Slowest round.
        high: Fastest round.
        rounds: Number of rounds.
    """

    images_per_second: float
    low: float
    high: float
    rounds: int


@dataclass(frozen=True)
class Latency:
    """Latency of a batch, from the engine taking it to its logits."""

    p50_ms: float
    p90_ms: float
    p99_ms: float
    batches: int


@dataclass(frozen=True)
class Bottleneck:
    """The part that limits the scoring loop, and a sentence that explains it."""

    part: Part
    sentence: str


def rate_of(rounds: Sequence[float]) -> Rate:
    """Median and range of the rounds' images a second.

    Example:
        >>> rate_of([100.0, 90.0, 110.0])
        Rate(images_per_second=100.0, low=90.0, high=110.0, rounds=3)
    """
    return Rate(statistics.median(rounds), min(rounds), max(rounds), len(rounds))


def latency_of(seconds: Sequence[float]) -> Latency:
    """Percentiles over batches, interpolated linearly."""
    p50, p90, p99 = np.percentile(np.asarray(seconds) * 1000, (50, 90, 99)).tolist()
    return Latency(p50, p90, p99, len(seconds))


def images_until_first_end(
    marks: Sequence[tuple[float, int]], ends: Sequence[float], began: float
) -> float:
    """Images a second while all callers were busy.

    A caller that has finished leaves its core to the others, so what follows is not measured.

    Args:
        marks: Times at which images were done, and their numbers.
        ends: Time at which each caller finished.
        began: Time at which all began; seconds of the same clock.

    Example:
        >>> images_until_first_end([(1.0, 4), (2.0, 4), (5.0, 4)], [2.0, 5.0], 0.0)
        4.0
    """
    first_end = min(ends)
    return sum(n for done_at, n in marks if done_at <= first_end) / max(first_end - began, 1e-9)


def steady_from(seconds: Sequence[float]) -> int:
    """Index of the first batch from which three in a row take no longer than the later ones.

    Args:
        seconds: Seconds of each batch, in order.

    Example:
        >>> steady_from([9.0, 3.0, 1.0, 1.05, 1.0, 1.0, 1.0, 1.0])
        2
        >>> steady_from([1.0, 1.0])
        0
    """
    usual = statistics.median(seconds[len(seconds) // 2 :])
    for first in range(len(seconds)):
        if statistics.median(seconds[first : first + 3]) > usual * (1 + STEADY_WITHIN):
            continue
        if seconds[first] <= usual * (1 + STEADY_WITHIN):
            return first
    return len(seconds) - 1


def bottleneck(engine: float, whole: float, data: float, *, shared: bool) -> Bottleneck:
    """What limits the scoring loop.

    Args:
        engine: Images a second of the engine alone, on decoded batches.
        whole: Images a second of the scoring loop.
        data: Images a second of reading, decoding and recording alone.
        shared: Whether both sides use the same cores, so that their times add up; otherwise the
            slower one decides.

    Example:
        >>> bottleneck(200, 190, 4000, shared=True).part
        'engine'
        >>> bottleneck(4000, 950, 1000, shared=False).part
        'data'
        >>> bottleneck(4000, 500, 1000, shared=False).part
        'loop'
    """
    possible = 1 / (1 / engine + 1 / data) if shared else min(engine, data)
    share = f"{100 * whole / engine:.0f} % of what it reaches alone"
    if whole < LOOP_SHARE * possible:
        return Bottleneck(
            "loop",
            f"Neither side alone: the engine and the data side together allow {possible:,.0f} "
            f"images/s, and the loop reaches {whole:,.0f}. Another program uses the processor, "
            "or the sides wait for each other.",
        )
    if engine <= data:
        if whole > engine:
            share = "more than it reaches alone, which is noise of the measurement"
        return Bottleneck(
            "engine",
            f"The engine: end to end it reaches {share}; the data side alone could feed "
            f"{data / engine:.1f} times as much.",
        )
    return Bottleneck(
        "data",
        f"The data side, reading and decoding: the engine reaches {share}, and could take "
        f"{engine / data:.1f} times what the data side alone gives.",
    )
