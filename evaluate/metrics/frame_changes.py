"""How often and how far the likeliest classes change from frame to frame of a video.

    flips of a video  =  pairs of frames whose likeliest classes differ / pairs
    FP_p              =  mean of that over the videos of perturbation p
    T5D of a pair     =  sum over i = 1..5 of |i - min(r_i, 6)|
    T5D of a video    =  mean over its pairs
    T5D_p             =  mean over the videos of perturbation p
    mFR, mT5D         =  mean over p of FP_p / FP_p,baseline and of T5D_p / T5D_p,baseline

r_i is the rank in the later frame of the class that is i-th in the earlier one; 6 stands for every
rank below the five. The distance is not symmetric. It is 0 for the same five classes in the same
order, 15 for no class in common, and at most 18, for example if the last two come first and the
others are gone. The two means are in ``mean_ratio.py``. No baseline's T5D is published.

The pairs of frames that are compared:

    consecutive:  every frame with the one before it: (1, 2), (2, 3), ...
    first:        every frame with the first one:     (1, 2), (1, 3), ...

A perturbation that progresses from frame to frame is compared consecutively. Noise is drawn anew
for each frame, so every frame is compared with the first one, which has none.

Source: Hendrycks & Dietterich, "Benchmarking Neural Network Robustness to Common Corruptions and
Perturbations", ICLR 2019, sections 4.1 and 4.2, and appendix.
"""

import itertools
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from ...errors import InputError

Pairs = Literal["consecutive", "first"]
Frames = npt.NDArray[Any]

PLACES = 5
LARGEST = 18
"""Largest distance of a pair of frames, and so of any mean."""

DISJOINT = 15
"""Distance of a pair of frames that have no class in common."""

VIDEOS_AT_ONCE = 1024
"""So that the compared data fit into the processor's cache: 64 kB for one rank of 31 frames."""


def frame_pairs(frames: Frames, pairs: Pairs) -> tuple[Frames, Frames]:
    """The earlier and the later frame of every pair, as views.

    Args:
        frames: F frames of each of N videos: (N, F, ...).
        pairs: Pairs of frames that are compared.

    Returns:
        The earlier frames, (N, F - 1, ...), or (N, 1, ...) if they are all the first one; and the
        later frames, (N, F - 1, ...).

    Raises:
        InputError: If a video has fewer than two frames.

    Example:
        >>> [side.tolist() for side in frame_pairs(np.array([[3, 4, 5]]), "consecutive")]
        [[[3, 4]], [[4, 5]]]
        >>> [side.tolist() for side in frame_pairs(np.array([[3, 4, 5]]), "first")]
        [[[3]], [[4, 5]]]
    """
    if frames.ndim < 2 or frames.shape[1] < 2:
        raise InputError(
            f"Frames are compared in pairs: expected videos of at least two, got {frames.shape}."
        )
    return frames[:, : 1 if pairs == "first" else -1], frames[:, 1:]


def flip_rates(
    likeliest: npt.NDArray[np.integer[Any]], pairs: Pairs = "consecutive"
) -> npt.NDArray[np.float64]:
    """The fraction of each video's pairs of frames that differ.

    Args:
        likeliest: Likeliest class of each frame: (N, F), F at least 2.
        pairs: Pairs of frames that are compared.

    Returns:
        (N,) fractions; their mean is the flip probability.

    Raises:
        InputError: If there are no pairs.

    Example:
        >>> flip_rates(np.array([[7, 7, 3, 7, 7]])).tolist()
        [0.5]
        >>> flip_rates(np.array([[7, 7, 3, 7, 7]]), "first").tolist()
        [0.25]
    """
    earlier, later = frame_pairs(likeliest, pairs)
    return np.asarray(np.count_nonzero(earlier != later, axis=1) / later.shape[1])


def _matches_by_gain() -> dict[int, list[tuple[int, int]]]:
    """Moves from rank i to rank j, from 0, by how much each lowers ``DISJOINT``."""
    matches: dict[int, list[tuple[int, int]]] = {}
    for i, j in itertools.product(range(1, PLACES + 1), repeat=2):
        matches.setdefault((6 - i) - abs(i - j), []).append((i - 1, j - 1))
    return {gain: places for gain, places in matches.items() if gain}


MATCHES_BY_GAIN = _matches_by_gain()


def top5_distances(
    top5: npt.NDArray[np.integer[Any]], pairs: Pairs = "consecutive"
) -> npt.NDArray[np.float64]:
    """The mean distance over the pairs of frames of each video.

    Args:
        top5: Five likeliest classes of each frame, likeliest first: (N, F, 5), F at least 2;
            class indices below 32,768.
        pairs: Pairs of frames that are compared.

    Returns:
        (N,) distances in ranks, 0 to 18; their mean is T5D.

    Raises:
        InputError: If there are no pairs, or not five classes per frame.

    Example:
        >>> top5_distances(np.array([[[1, 2, 3, 4, 5], [2, 1, 3, 4, 5], [6, 7, 8, 9, 0]]])).tolist()
        [8.5]
    """
    if top5.ndim != 3 or top5.shape[2] != PLACES:
        raise InputError(f"T5D needs five classes per frame, (N, F, 5), got {top5.shape}.")
    means = np.empty(len(top5))
    for start in range(0, len(top5), VIDEOS_AT_ONCE):
        videos = slice(start, start + VIDEOS_AT_ONCE)
        means[videos] = _distances(top5[videos].astype(np.int16), pairs)
    return means


def _distances(top5: npt.NDArray[np.int16], pairs: Pairs) -> npt.NDArray[np.float64]:
    """The mean distances of (N, F, 5): ``DISJOINT``, less the gain of each class in common."""
    # Videos last, so that one rank of one frame is contiguous.
    places = np.ascontiguousarray(top5.transpose(2, 1, 0))
    earlier, later = zip(*(frame_pairs(place.T, pairs) for place in places), strict=True)
    match = np.empty(later[0].T.shape, np.bool_)
    total = np.full(match.shape, DISJOINT, np.int8)
    for gain, together in MATCHES_BY_GAIN.items():
        count = np.zeros(match.shape, np.int8)
        for i, j in together:
            np.equal(earlier[i].T, later[j].T, out=match)
            count += match.view(np.int8)
        total -= count * np.int8(gain)
    return np.asarray(total.sum(axis=0, dtype=np.int64) / len(total))
