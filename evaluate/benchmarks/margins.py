"""How far the likeliest class in a record is from another class, in logits.

A record holds five probabilities, and the ratio of two of them is the difference of their logits.
A class that is not among the five is less likely than the fifth, so its margin is larger.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from .top5 import matrix_of

SMALLEST = float(np.finfo(np.float32).smallest_subnormal)
"""Upper bound of a probability that is recorded as 0."""


@dataclass(frozen=True)
class Margins:
    """Margins of N records, each over one other class.

    Attributes:
        likeliest: Likeliest class of each record: (N,).
        margin: Logit of the likeliest class less that of the other class: (N,).
        at_least: Whether ``margin`` is only a lower bound: (N,).
    """

    likeliest: npt.NDArray[np.int32]
    margin: npt.NDArray[np.float64]
    at_least: npt.NDArray[np.bool_]


def margins_over(records: pa.Table, classes: npt.NDArray[np.int32]) -> Margins:
    """How far each record's likeliest class is from another one.

    Args:
        records: Table of N records, none of them skipped.
        classes: Other class for each record: (N,).
    """
    top5 = matrix_of(records["top5"])
    logs = np.log(np.maximum(matrix_of(records["probability"]).astype(np.float64), SMALLEST))
    is_other = top5 == classes[:, None]
    recorded = is_other.any(axis=1)
    rank = np.where(recorded, is_other.argmax(axis=1), top5.shape[1] - 1)
    other = np.take_along_axis(logs, rank[:, None], 1)[:, 0]
    at_least = ~recorded | (other <= np.log(SMALLEST))
    return Margins(top5[:, 0], logs[:, 0] - other, at_least)
