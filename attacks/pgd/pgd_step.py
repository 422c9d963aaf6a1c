"""One step of projected gradient descent, by foolbox's methods, on rows with their own epsilons.

    start      x_0     = x + epsilon u,  u in [-1, 1)                       clipped to [0, 1] or not
    step       x_(k+1) = clip(x + clip(x_k +- s sign(gradient) - x, -epsilon, epsilon), 0, 1)

foolbox's loop makes all steps and tests the last iterate. Ours tests every iterate and lets images
come and go, so a batch holds attempts at different steps, each with its own epsilon and step size.
Sources: Madry et al., ICLR 2018; Rauber et al., foolbox 3.3,
``LinfProjectedGradientDescentAttack``.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from .attempts import AttemptState
from .batches import Rows

with warnings.catch_warnings():  # foolbox imports a module of SciPy by its former name
    warnings.simplefilter("ignore", DeprecationWarning)
    import eagerpy as ep
    from foolbox.attacks import LinfProjectedGradientDescentAttack
    from foolbox.types import Bounds

BOUNDS = Bounds(0, 1)


class Descent(LinfProjectedGradientDescentAttack):
    """foolbox's attack, with given starts and single steps.

    Args:
        noise: Noise of each start, in [-1, 1): (N, 3, S, S).
    """

    def __init__(self, noise: torch.Tensor | None = None, **options: Any) -> None:
        super().__init__(**options)
        self._noise = noise

    def get_random_start(self, x0: ep.Tensor, epsilon: Any) -> ep.Tensor:
        """Hook of foolbox: the clean images plus epsilon times the noise."""
        starts: ep.Tensor = x0 + ep.astensor(self._noise) * epsilon
        return starts

    def start(self, clean: torch.Tensor, epsilon: torch.Tensor, *, clip: bool) -> torch.Tensor:
        """Starts of the descent: (N, 3, S, S)."""
        starts = self.get_random_start(ep.astensor(clean), ep.astensor(epsilon))
        return _raw(ep.clip(starts, *BOUNDS) if clip else starts)

    def directions(self, iterates: torch.Tensor, gradients: torch.Tensor) -> torch.Tensor:
        """Directions of the steps, up to their sign: (N, 3, S, S)."""
        wrapped = ep.astensor(gradients)
        return _raw(self.normalize(wrapped, x=ep.astensor(iterates), bounds=BOUNDS))

    def stepped(self, batch: "Batch", directions: torch.Tensor, sign: float) -> torch.Tensor:
        """The next iterates, within epsilon and [0, 1]."""
        moved = ep.astensor(batch.iterates + sign * (batch.step * directions))
        # Each image has its own epsilon: foolbox expects a number, PyTorch takes tensors as well.
        epsilon: Any = batch.epsilon
        projected = self.project(moved, ep.astensor(batch.clean), epsilon)
        return _raw(ep.clip(projected, *BOUNDS))


def _raw(wrapped: ep.Tensor) -> torch.Tensor:
    tensor: torch.Tensor = wrapped.raw
    return tensor


@dataclass(frozen=True)
class Batch(Rows):
    """N attempts under way, each a row.

    Attributes:
        attempts: State of each attempt.
        clean: Clean images: (N, 3, S, S).
        iterates: Current iterates: (N, 3, S, S).
        before: Directions of the last step, zeros before the first: (N, 3, S, S).
        epsilon: Epsilons: (N, 1, 1, 1).
        step: Step sizes: (N, 1, 1, 1).
    """

    attempts: Sequence[AttemptState]
    clean: torch.Tensor
    iterates: torch.Tensor
    before: torch.Tensor
    epsilon: torch.Tensor
    step: torch.Tensor

    def classes(self) -> torch.Tensor:
        """Class that the loss of each attempt refers to: (N,)."""
        return torch.tensor([each.loss_class for each in self.attempts], device=self.clean.device)
