"""One step of projected gradient descent: foolbox's hooks, driven from outside, row by row.

    start      x_0     = x + epsilon u,  u in [-1, 1)                       clipped to [0, 1] or not
    step       x_(k+1) = clip(x + clip(x_k +- s sign(gradient) - x, -epsilon, epsilon), 0, 1)

foolbox's loop makes all steps and judges the last iterate. Ours tests every iterate and lets images
come and go, so a batch holds attempts at different steps, each with its own epsilon and step.
Sources: Madry et al., ICLR 2018; Rauber et al., foolbox 3.3,
``LinfProjectedGradientDescentAttack``.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from .attempts import AttemptState

with warnings.catch_warnings():  # foolbox imports a module of SciPy by its former name
    warnings.simplefilter("ignore", DeprecationWarning)
    import eagerpy as ep
    from foolbox.attacks import LinfProjectedGradientDescentAttack
    from foolbox.types import Bounds

BOUNDS = Bounds(0, 1)


class Descent(LinfProjectedGradientDescentAttack):
    """foolbox's attack with a start that is given, and with steps that can be made one by one.

    Args:
        noise: In [-1, 1), for each image: (N, 3, S, S).
    """

    def __init__(self, noise: torch.Tensor | None = None, **options: Any) -> None:
        super().__init__(**options)
        self._noise = noise

    def get_random_start(self, x0: ep.Tensor, epsilon: Any) -> ep.Tensor:
        """The hook for it: the clean images, and epsilon times the noise."""
        started: ep.Tensor = x0 + ep.astensor(self._noise) * epsilon
        return started

    def start(self, clean: torch.Tensor, epsilon: torch.Tensor, *, clip: bool) -> torch.Tensor:
        """Where the descent begins: (N, 3, S, S)."""
        started = self.get_random_start(ep.astensor(clean), ep.astensor(epsilon))
        return _raw(ep.clip(started, *BOUNDS) if clip else started)

    def directions(self, iterates: torch.Tensor, gradients: torch.Tensor) -> torch.Tensor:
        """What a step goes along, or against: (N, 3, S, S)."""
        wrapped = ep.astensor(gradients)
        return _raw(self.normalize(wrapped, x=ep.astensor(iterates), bounds=BOUNDS))

    def stepped(self, batch: "Batch", directions: torch.Tensor, sign: float) -> torch.Tensor:
        """The next iterates: inside epsilon and [0, 1]."""
        moved = ep.astensor(batch.iterates + sign * (batch.step * directions))
        # Of each image its own epsilon: foolbox asks for a number, PyTorch takes tensors as well.
        within: Any = batch.epsilon
        projected = self.project(moved, ep.astensor(batch.clean), within)
        return _raw(ep.clip(projected, *BOUNDS))


def _raw(wrapped: ep.Tensor) -> torch.Tensor:
    tensor: torch.Tensor = wrapped.raw
    return tensor


@dataclass(frozen=True)
class Batch:
    """Attempts under way: N of them, each a row.

    Attributes:
        tracks: What is noted of each.
        clean: (N, 3, S, S).
        iterates: Where each one is: (N, 3, S, S).
        before: The directions of the last step, zeros before the first: (N, 3, S, S).
        epsilon: (N, 1, 1, 1).
        step: Its size: (N, 1, 1, 1).
    """

    tracks: Sequence[AttemptState]
    clean: torch.Tensor
    iterates: torch.Tensor
    before: torch.Tensor
    epsilon: torch.Tensor
    step: torch.Tensor

    def __len__(self) -> int:
        return len(self.tracks)

    def rows(self, rows: Sequence[int]) -> "Batch":
        """Some of them; itself where they are all."""
        if len(rows) == len(self):
            return self
        index = torch.tensor(rows, dtype=torch.int64, device=self.clean.device)
        parts = [part.index_select(0, index) for part in self._tensors()]
        return Batch([self.tracks[row] for row in rows], *parts)

    def classes(self) -> torch.Tensor:
        """The class that each loss is about: (N,)."""
        return torch.tensor([track.classes for track in self.tracks], device=self.clean.device)

    def _tensors(self) -> tuple[torch.Tensor, ...]:
        return self.clean, self.iterates, self.before, self.epsilon, self.step


def joined(batches: Sequence[Batch]) -> Batch:
    """Several as one; at least one."""
    if len(batches) == 1:
        return batches[0]
    parts = zip(*(batch._tensors() for batch in batches), strict=True)
    tracks = [track for batch in batches for track in batch.tracks]
    return Batch(tracks, *(torch.cat(part) for part in parts))
