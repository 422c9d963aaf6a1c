"""By how much records prefer their likeliest class to another one, in logits.

A record holds five probabilities, and the ratio of two of them is the difference of their logits.
A class that is not among the five is less likely than the fifth, so its margin is larger.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from .top5 import matrix_of

SMALLEST = float(np.finfo(np.float32).smallest_subnormal)
"""A probability that is recorded as 0 is smaller."""


@dataclass(frozen=True)
class Margins:
    """What N records say of a class each.

    Attributes:
        likeliest: Their likeliest classes: (N,).
        margin: The logit of that less the other's: (N,).
        at_least: Whether the margin is more than that: (N,).
    """

    likeliest: npt.NDArray[np.int32]
    margin: npt.NDArray[np.float64]
    at_least: npt.NDArray[np.bool_]


def margins_over(records: pa.Table, classes: npt.NDArray[np.int32]) -> Margins:
    """How far each record's likeliest class is from another one.

    Args:
        records: N of them, none skipped.
        classes: The other class of each: (N,).
    """
    top5 = matrix_of(records["top5"])
    logs = np.log(np.maximum(matrix_of(records["probability"]).astype(np.float64), SMALLEST))
    is_it = top5 == classes[:, None]
    among = is_it.any(axis=1)
    place = np.where(among, is_it.argmax(axis=1), top5.shape[1] - 1)
    other = np.take_along_axis(logs, place[:, None], 1)[:, 0]
    at_least = ~among | (other <= np.log(SMALLEST))
    return Margins(top5[:, 0], logs[:, 0] - other, at_least)
