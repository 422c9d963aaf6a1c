"""Images that make one unit of the penultimate layer stand out, by projected gradient descent.

    loss = -log p_j,   p = softmax over the units,   goal: p_j > 1 - 1e-6
    x <- clip(start + clip(x - step_size sign(gradient) - start, -epsilon, epsilon), 0, 1)

from the start itself, without noise. All steps are made. Of the iterates that pass, including the
start, the result is the one closest to the start in L-infinity: the first of equals. If none
passes, it is the one with the greatest p_j.

Source: Orhan, arXiv 1907.07640, section on maximizing images; its method is that of foolbox 1.8
(``ProjectedGradientDescentAttack`` with ``TargetClassProbability``, ``return_early=False``). The
arithmetic of a step is also that of foolbox 3, so that last iterates are the same bit for bit.
Probabilities are taken in float64: float32 has 17 numbers between 1 - 1e-6 and 1.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from functools import partial

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from ...contracts import SMALLEST_FLOAT32
from ...errors import EngineError, InputError
from .penultimate import Bounds

NEVER = -1
Array = npt.NDArray[np.floating]
Whole = npt.NDArray[np.int64]
Pair = tuple[int, int]


@dataclass(frozen=True)
class MaximizingSettings:
    """How images are maximized; the defaults are the paper's.

    Attributes:
        steps: Number of steps, all of which are made.
        step_size: Size of a step, in [0, 1] pixel units.
        epsilon: Largest change of a pixel's channel; 1 or more leaves it free.
        probability: Probability that the unit must exceed, under a softmax over all units.
    """

    steps: int = 500
    step_size: float = 1 / 255
    epsilon: float = 4.0
    probability: float = 1 - 1e-6

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise InputError(
                f"Invalid number of steps: {self.steps}. Expected 1 or more; the paper has 500."
            )
        for name, value in (("step size", self.step_size), ("epsilon", self.epsilon)):
            if not SMALLEST_FLOAT32 <= value < math.inf:
                raise InputError(
                    f"Invalid {name}: {value:g}. Expected a number above 0, in [0, 1] pixel units."
                )


@dataclass(frozen=True)
class Maximized:
    """Results for N pairs of start and unit, or, as a table, for K starts and U units: (K, U).

    Attributes:
        images: Passing iterates closest to their starts, or else the best ones: (N, 3, S, S).
        last: Last iterates: (N, 3, S, S).
        reached: Whether an iterate passed: (N,).
        first_step: First iterate that passed, 0 for the start, or ``NEVER``: (N,).
        image_step: Number of the iterate that is the image: (N,).
        linf: Largest change between start and image: (N,).
        probability: Probability of the unit in the image, under a softmax over all units: (N,).
        dead_steps: Number of steps whose whole gradient was zero, so that nothing moved, as float32
            has no smaller numbers if the softmax is near 1: (N,).
        traces: Activation of the unit in each iterate, from the start on: (N, steps + 1).
    """

    images: Array
    last: Array
    reached: npt.NDArray[np.bool_]
    first_step: Whole
    image_step: Whole
    linf: npt.NDArray[np.float64]
    probability: npt.NDArray[np.float64]
    dead_steps: Whole
    traces: Array


def climbs(
    units_of: nn.Module,
    starts: Array,
    pairs: Sequence[Pair],
    settings: MaximizingSettings,
    *,
    batch_size: int,
    lacks_memory: Callable[[Exception], bool] = lambda _: False,
    advance: Callable[[int], None] = lambda _: None,
) -> Iterator[tuple[Sequence[Pair], Maximized]]:
    """Maximize units from starts, batch after batch: the pairs of each batch, and their results.

    Args:
        units_of: Module from images in [0, 1] to units (N, width), as ``PenultimateUnits``.
        starts: Starts in [0, 1], of the network's dtype: (K, 3, S, S).
        pairs: Pairs of a start and a unit, by their numbers.
        settings: How images are maximized.
        batch_size: Number of images in a batch, which bounds the memory of the gradients.
        lacks_memory: Function that tells whether an exception is an out-of-memory error; the batch
            is then halved.
        advance: Function that is called with the number of steps that are done, of all pairs.

    Raises:
        EngineError: If an activation is not finite.
    """
    done = 0
    while done < len(pairs):
        batch = pairs[done : done + batch_size]
        advance_batch = partial(_advance, advance, done * settings.steps)
        try:
            result = _Climb(units_of, starts, batch, settings).run(advance_batch)
        except Exception as error:
            if len(batch) == 1 or not lacks_memory(error):
                raise
            batch_size = (len(batch) + 1) // 2
        else:
            yield batch, result
            done += len(batch)


def as_table(rows: Sequence[Maximized], starts: int, units: int) -> Maximized:
    """Concatenated results as arrays that begin with (K, U); the units of the first start first."""
    columns = {
        field.name: np.concatenate([getattr(part, field.name) for part in rows])
        for field in fields(Maximized)
    }
    return Maximized(
        **{name: rows.reshape(starts, units, *rows.shape[1:]) for name, rows in columns.items()}
    )


def rows_of(batch: Maximized) -> Iterator[Maximized]:
    """The results of each pair of a batch, as arrays that begin with (1,)."""
    for row in range(len(batch.reached)):
        rows = {field.name: getattr(batch, field.name)[row : row + 1] for field in fields(batch)}
        yield Maximized(**rows)


def why_impossible(bounds: Bounds | None, width: int, settings: MaximizingSettings) -> str | None:
    """The reason why no image can pass; ``None`` if the bounds of the units give none.

    Example:
        >>> why_impossible(Bounds(0, 6), 1280, MaximizingSettings())
        'units lie between 0 and 6, so none of 1280 can exceed p = 0.24'
        >>> why_impossible(Bounds(0, 60), 1280, MaximizingSettings()) is None
        True
    """
    if bounds is None:
        return None
    greatest = bounds.greatest_probability(width)
    if greatest > settings.probability:
        return None
    return (
        f"units lie between {bounds.low:g} and {bounds.high:g}, so none of {width} can exceed "
        f"p = {greatest:.2g}"
    )


def _advance(advance: Callable[[int], None], before: int, done: int) -> None:
    advance(before + done)


class _Climb:
    """A batch of pairs of start and unit under way."""

    def __init__(
        self,
        units_of: nn.Module,
        starts: Array,
        pairs: Sequence[Pair],
        settings: MaximizingSettings,
    ) -> None:
        device = next(units_of.parameters()).device
        self._units_of, self._settings, self._pairs = units_of, settings, pairs
        self._start = torch.from_numpy(starts[[start for start, _ in pairs]]).to(device)
        self._units = torch.tensor([unit for _, unit in pairs], device=device)
        self._images = self._start
        self._steps = 0
        self._trace: list[torch.Tensor] = []
        self._best = _Best(self._start, settings.probability)
        self._dead = torch.zeros_like(self._units)

    def run(self, advance: Callable[[int], None]) -> Maximized:
        """Make all steps. Arrays of the result begin with the pairs."""
        for step in range(1, self._settings.steps + 1):
            self._step()
            advance(step * len(self._pairs))
        with torch.no_grad():
            self._evaluate(self._images)
        best = self._best
        return Maximized(
            images=best.images.cpu().numpy(),
            last=self._images.cpu().numpy(),
            reached=best.passed.cpu().numpy(),
            first_step=best.first_step.cpu().numpy(),
            image_step=best.step.cpu().numpy(),
            linf=best.linf.cpu().numpy(),
            probability=best.probability.cpu().numpy(),
            dead_steps=self._dead.cpu().numpy(),
            traces=torch.stack(self._trace, 1).cpu().numpy(),
        )

    def _step(self) -> None:
        """Evaluate the iterate, and make the next one."""
        images = self._images.detach().requires_grad_()
        activations = self._evaluate(images)
        loss = nn.functional.cross_entropy(activations, self._units, reduction="sum")
        (gradient,) = torch.autograd.grad(loss, images)
        self._dead += (gradient == 0).flatten(1).all(1)
        start, epsilon = self._start, self._settings.epsilon
        moved = images.detach() - self._settings.step_size * gradient.sign()
        self._images = (start + (moved - start).clamp(-epsilon, epsilon)).clamp(0, 1)
        self._steps += 1

    def _evaluate(self, images: torch.Tensor) -> torch.Tensor:
        """The units of an iterate (N, width), which is kept if it is the best so far."""
        activations: torch.Tensor = self._units_of(images)
        values = activations.detach()
        if not bool(values.isfinite().all()):
            row = int((~values.isfinite().all(1)).nonzero()[0])
            start, unit = self._pairs[row]
            raise EngineError(
                f"An activation is not finite at step {self._steps} of unit {unit} from start "
                f"{start + 1}. Are the weights damaged?"
            )
        unit_indices = self._units[:, None]
        self._trace.append(values.gather(1, unit_indices)[:, 0])
        probability = values.double().softmax(1).gather(1, unit_indices)[:, 0]
        self._best.update(images.detach(), probability, self._steps)
        return activations


class _Best:
    """The best iterate so far for each image of a batch."""

    def __init__(self, start: torch.Tensor, threshold: float) -> None:
        self._start, self._threshold = start, threshold
        none = torch.full((len(start),), NEVER, device=start.device)
        self.images = start.clone()
        self.passed = none > 0
        self.first_step, self.step = none, none.clone()
        self.linf = none.double()
        self.probability = none.double()

    def update(self, images: torch.Tensor, probability: torch.Tensor, step: int) -> None:
        """Replace the best iterate by this one for images where this is better."""
        passes = probability > self._threshold
        linf = (images - self._start).abs().flatten(1).amax(1).double()
        better = torch.where(passes, linf < self.linf, probability > self.probability)
        better = torch.where(self.passed == passes, better, passes)
        self.first_step = torch.where(passes & ~self.passed, step, self.first_step)
        self.step = torch.where(better, step, self.step)
        self.linf = torch.where(better, linf, self.linf)
        self.probability = torch.where(better, probability, self.probability)
        self.images[better] = images[better]
        self.passed = self.passed | passes
