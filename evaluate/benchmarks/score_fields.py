"""Fields of a score: from counts, from an interval, and from a difference with its interval."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Interval = tuple[float, float]


@dataclass(frozen=True)
class ScoredItems:
    """Items of one condition, in the order of their ids.

    Attributes:
        scored: Whether each item was scored, not skipped: (N,).
    """

    scored: npt.NDArray[np.bool_]

    @property
    def n(self) -> int:
        """Number of items that were scored."""
        return int(np.count_nonzero(self.scored))

    @property
    def skipped(self) -> int:
        """Number of items that were skipped."""
        return self.scored.size - self.n


def count_fields(groups: Sequence[ScoredItems], published_items: int) -> dict[str, Any]:
    """How many items of each condition a number is computed from, and how many are skipped in all.

    Args:
        groups: Items of each condition that the number covers.
        published_items: Number of items in each condition of the published benchmark.
    """
    return {
        "n": min((group.n for group in groups), default=0),
        "skipped": sum(group.skipped for group in groups),
        "complete": bool(groups) and all(group.n == published_items for group in groups),
    }


def interval_fields(interval: Interval | None) -> dict[str, Any]:
    """Both ends; `None` each if there is no interval."""
    low, high = interval or (None, None)
    return {"low": low, "high": high}


def difference_fields(a: float, b: float, interval: Interval | None) -> dict[str, Any]:
    """The values of two models, their difference and its interval."""
    return {"a": a, "b": b, "difference": b - a, **interval_fields(interval)}
