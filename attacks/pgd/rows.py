"""Batches of which images come and go: rows that are taken out, and put together."""

from collections.abc import Sequence
from dataclasses import fields
from typing import Any, Self, TypeVar

import torch


class Rows:
    """Base of dataclasses with a sequence of N states, and then tensors of N rows.

    A state is what is noted of an image that is under way.
    """

    def __len__(self) -> int:
        return len(self.columns()[0])

    def columns(self) -> list[Any]:
        """The states, and the tensors."""
        return [getattr(self, field.name) for field in fields(self)]  # type: ignore[arg-type]

    def index(self, rows: Sequence[int]) -> torch.Tensor:
        """Indices of rows, on the device of the tensors."""
        return torch.tensor(rows, dtype=torch.int64, device=self.columns()[1].device)

    def rows(self, rows: Sequence[int]) -> Self:
        """Some of the rows; the batch itself if they are all."""
        if len(rows) == len(self):
            return self
        states, *tensors = self.columns()
        index = self.index(rows)
        parts = [tensor.index_select(0, index) for tensor in tensors]
        return type(self)([states[row] for row in rows], *parts)


Batch = TypeVar("Batch", bound=Rows)


def joined(batches: Sequence[Batch]) -> Batch:
    """At least one batch as one."""
    if len(batches) == 1:
        return batches[0]
    states, *tensors = zip(*(batch.columns() for batch in batches), strict=True)
    every = [state for some in states for state in some]
    return type(batches[0])(every, *(torch.cat(parts) for parts in tensors))


def epsilons_of(clean: torch.Tensor, epsilon: float, *, relative: bool) -> torch.Tensor:
    """Epsilon of each image, (N, 1, 1, 1), of which it may be a share of the largest value.

    Args:
        clean: (N, 3, S, S).
        epsilon: In (0, 1].
        relative: Whether it is a share of each image's largest value.
    """
    largest = clean.amax((1, 2, 3), keepdim=True)
    return (largest if relative else torch.ones_like(largest)) * epsilon
