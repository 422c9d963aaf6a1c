"""Which frames of a video are compared with which.

    consecutive:  every frame with the one before it: (1, 2), (2, 3), ...
    first:        every frame with the first one:     (1, 2), (1, 3), ...

A perturbation that moves on from frame to frame is compared consecutively. Noise is drawn anew for
each frame, so that the first one, which has none, is what it is compared with.

Source: Hendrycks & Dietterich, "Benchmarking Neural Network Robustness to Common Corruptions and
Perturbations", ICLR 2019, section 4.1.
"""

from typing import Any, Literal

import numpy.typing as npt

from ...errors import InputError

Pairs = Literal["consecutive", "first"]
Frames = npt.NDArray[Any]


def frame_pairs(frames: Frames, pairs: Pairs) -> tuple[Frames, Frames]:
    """The earlier and the later frame of every pair, as views.

    Args:
        frames: F of each of N videos: (N, F, ...).
        pairs: Which are compared.

    Returns:
        The earlier ones, (N, F - 1, ...), or (N, 1, ...) where all are the first; and the later
        ones, (N, F - 1, ...).

    Raises:
        InputError: If a video has fewer than two frames, which make no pair.

    Example:
        >>> import numpy as np
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
