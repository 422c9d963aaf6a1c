"""Parts of the numbers of benchmarks, which are of one model, or of two on the same items."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from ...contracts import AuxiliaryRecords, Condition, Number
from ..metrics.mean_interval import Bounds, Floats, mean_interval

Records = Mapping[Condition, pa.Table]
"""Finished records of each condition."""

T = TypeVar("T")

Model = tuple[Records, AuxiliaryRecords]
"""The records of one model, and those of other runs that some of its numbers need."""


@dataclass(frozen=True)
class Mean:
    """A value that is a mean over items.

    Attributes:
        value: The value.
        scores: Scores of the items, whose mean is the value: (N,).
        bounds: Smallest and largest possible value.
    """

    value: float
    scores: Floats
    bounds: Bounds


def mean_number(
    fields: Mapping[str, Any], reason: str | None, mean: Callable[[T], Mean], models: Sequence[T]
) -> Number:
    """A number that is a mean over items, with its interval.

    Args:
        fields: Other fields of the number.
        reason: Why the number is refused; `None` if it is not.
        mean: Function of the outcomes of one model.
        models: Outcomes of one model, or of two over the same items.
    """
    if reason is not None:
        return Number({**fields, "reason": reason})
    means = [mean(outcomes) for outcomes in models]
    scores, (low, high) = means[0].scores, means[0].bounds
    if len(means) == 2:
        scores = means[1].scores - scores
        low, high = low - high, high - low
    return Number(fields, [mean.value for mean in means], mean_interval(scores, (low, high)))


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


Items = TypeVar("Items", bound=ScoredItems)


def both_scored(models: Sequence[Items]) -> list[Items]:
    """Every model's items, those skipped that one of the models skipped."""
    scored = np.logical_and.reduce([items.scored for items in models])
    return [replace(items, scored=scored) for items in models]


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
