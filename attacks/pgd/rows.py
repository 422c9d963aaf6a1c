"""Batches whose images come and go: rows are removed, and batches are joined."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Self, TypeVar

import torch


@dataclass(frozen=True)
class Rows:
    """Base class of batches.

    The first field is a sequence of the states of N images, each other field a tensor of N rows.
    """

    def __len__(self) -> int:
        return len(next(iter(self.columns().values())))

    def columns(self) -> dict[str, Any]:
        """The fields by name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def index(self, rows: Sequence[int]) -> torch.Tensor:
        """Indices of rows, on the device of the tensors."""
        *_, tensor = self.columns().values()
        return torch.tensor(rows, dtype=torch.int64, device=tensor.device)

    def rows(self, rows: Sequence[int]) -> Self:
        """A batch of some of the rows; the batch itself if they are all."""
        if len(rows) == len(self):
            return self
        index = self.index(rows)
        columns = {
            name: column.index_select(0, index)
            if isinstance(column, torch.Tensor)
            else [column[row] for row in rows]
            for name, column in self.columns().items()
        }
        return replace(self, **columns)


Batch = TypeVar("Batch", bound=Rows)


def joined(batches: Sequence[Batch]) -> Batch:
    """One batch with the rows of all batches, of which there is at least one."""
    if len(batches) == 1:
        return batches[0]
    columns = {}
    for name, column in batches[0].columns().items():
        parts = [batch.columns()[name] for batch in batches]
        is_tensor = isinstance(column, torch.Tensor)
        columns[name] = torch.cat(parts) if is_tensor else [row for part in parts for row in part]
    return replace(batches[0], **columns)


def epsilons_of(clean: torch.Tensor, epsilon: float, *, relative: bool) -> torch.Tensor:
    """Epsilon of each image, (N, 1, 1, 1), which may be relative to its largest value.

    Args:
        clean: Clean images, (N, 3, S, S).
        epsilon: Epsilon in (0, 1].
        relative: Whether epsilon is a fraction of each image's largest value.
    """
    largest = clean.amax((1, 2, 3), keepdim=True)
    return (largest if relative else torch.ones_like(largest)) * epsilon
