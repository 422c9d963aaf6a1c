"""How often the likeliest class changes from frame to frame of a video.

    flips of a video  =  pairs of frames whose likeliest classes differ / pairs
    FP_p              =  mean of that over the videos of perturbation p
    mFR               =  mean over p of FP_p / FP_p,baseline

Source: Hendrycks & Dietterich, "Benchmarking Neural Network Robustness to Common Corruptions and
Perturbations", ICLR 2019, section 4.2. Which frames make a pair: ``frame_pairs.py``; the baselines
are arguments.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from .frame_pairs import Pairs, frame_pairs
from .mean_ratio import mean_ratio


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


def mfr(flip_probability: Mapping[str, float], baseline: Mapping[str, float]) -> float:
    """Mean flip rate, relative to a baseline model.

    Args:
        flip_probability: Flip probability of the model for each perturbation; fractions.
        baseline: Flip probability of the baseline; its keys are the required perturbations.

    Returns:
        A fraction: 1.0 is as unstable as the baseline. Papers print it times 100.

    Raises:
        InputError: If a perturbation is missing, or the baseline never flips.

    Example:
        >>> mfr({"tilt": 0.02, "scale": 0.2}, {"tilt": 0.04, "scale": 0.2})
        0.75
    """
    return mean_ratio(flip_probability, baseline)
