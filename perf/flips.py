"""Claim: flips and T5D of 50,000 videos take a fraction of a second, about a hundredth of loops.

Made-up lists of the five likeliest classes, whose frames resemble each other as a video's do. The
peers are plain Python, over lists, and the form in which the numbers were published: ranks of all
1000 classes in numpy, pair by pair. Both are run on fewer videos, and their time is taken as many
times as there are more. All sides start from arrays, in turns.
"""

import statistics
import time
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from evaluator.evaluate.metrics.frame_changes import Pairs, flip_rates, top5_distances

ROUNDS = 5
VIDEOS, FRAMES, CLASSES = 50_000, 31, 1000
Top5 = npt.NDArray[np.int32]
Numbers = tuple[float, float]


def made_up(videos: int, frames: int = FRAMES) -> Top5:
    """(videos, frames, 5): the classes of a video keep their logits, but for a little noise."""
    chance = np.random.default_rng(0)
    candidates = 20
    classes = chance.integers(0, CLASSES // candidates, (videos, candidates)) * candidates
    classes += np.arange(candidates)
    logits = np.sort(chance.normal(size=(videos, 1, candidates)).astype(np.float32))[..., ::-1]
    noise = chance.normal(scale=0.1, size=(videos, frames, candidates)).astype(np.float32)
    likeliest = np.argsort(-(logits + noise), axis=2)[..., :5]
    return np.take_along_axis(classes[:, None], likeliest, 2).astype(np.int32)


def vectorised(top5: Top5, pairs: Pairs) -> Numbers:
    flips = flip_rates(top5[..., 0], pairs)
    return float(flips.mean()), float(top5_distances(top5, pairs).mean())


def looped(top5: Top5, pairs: Pairs) -> Numbers:
    flip_probability = t5d = 0.0
    for video in top5.tolist():
        flips = distance = 0
        for number, later in enumerate(video[1:]):
            earlier = video[0] if pairs == "first" else video[number]
            flips += earlier[0] != later[0]
            for place, name in enumerate(earlier):
                rank = later.index(name) if name in later else 5
                distance += abs(place - rank)
        flip_probability += flips / (len(video) - 1) / len(top5)
        t5d += distance / (len(video) - 1) / len(top5)
    return flip_probability, t5d


def by_ranks(top5: Top5, pairs: Pairs) -> Numbers:
    steps = np.minimum(np.arange(CLASSES), 5)
    flip_probability = t5d = 0.0
    for video in top5:
        flips, distances = [], []
        for number, later in enumerate(video[1:]):
            earlier = video[0] if pairs == "first" else video[number]
            flips.append(earlier[0] != later[0])
            ranks = np.full(CLASSES, 5)
            ranks[later] = np.arange(5)
            distances.append(np.abs(steps[:5] - steps[ranks[earlier]]).sum())
        flip_probability += float(np.mean(flips)) / len(top5)
        t5d += float(np.mean(distances)) / len(top5)
    return flip_probability, t5d


def measured(
    numbers: Callable[[Top5, Pairs], Numbers], top5: Top5, pairs: Pairs
) -> tuple[float, Numbers]:
    """Seconds for all videos, and the numbers."""
    began = time.perf_counter()
    found = numbers(top5, pairs)
    return (time.perf_counter() - began) * VIDEOS / len(top5), found


def compare(name: str, peer: Callable[[Top5, Pairs], Numbers], top5: Top5, fewer: int) -> None:
    pairs: tuple[Pairs, ...] = ("consecutive", "first")
    for which in pairs:
        rounds = []
        for _ in range(ROUNDS):
            ours, _ = measured(vectorised, top5, which)
            theirs, expected = measured(peer, top5[:fewer], which)
            rounds.append((ours, theirs))
        np.testing.assert_allclose(vectorised(top5[:fewer], which), expected)
        ratios = [theirs / ours for ours, theirs in rounds]
        ours, theirs = (statistics.median(side) for side in zip(*rounds, strict=True))
        print(
            f"flips and T5D of {VIDEOS:,} x {FRAMES} frames, {which}: {ours:.3f} s; {name} (of "
            f"{fewer:,} videos, scaled) {theirs:.1f} s: {statistics.median(ratios):.0f}x "
            f"(from {min(ratios):.0f} to {max(ratios):.0f})"
        )


def main() -> None:
    top5 = made_up(VIDEOS)
    vectorised(top5, "first")  # once, so that no side is the first to touch the memory
    compare("plain loops", looped, top5, 5_000)
    compare("ranks of all classes in numpy, pair by pair", by_ranks, top5, 1_000)


if __name__ == "__main__":
    main()
