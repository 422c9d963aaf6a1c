"""Pairs of frames of a video that are compared.

    consecutive:  every frame with the one before it: (1, 2), (2, 3), ...
    first:        every frame with the first one:     (1, 2), (1, 3), ...

A perturbation that progresses from frame to frame is compared consecutively. Noise is drawn anew
for each frame, so every frame is compared with the first one, which has none.

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
        frames: F frames of each of N videos: (N, F, ...).
        pairs: Pairs of frames that are compared.

    Returns:
        The earlier frames, (N, F - 1, ...), or (N, 1, ...) if they are all the first one; and the
        later frames, (N, F - 1, ...).

    Raises:
        InputError: If a video has fewer than two frames.

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
