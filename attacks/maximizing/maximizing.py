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

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from ...contracts import SMALLEST_FLOAT32
from ...errors import EngineError, InputError, lacks_memory
from ...system.users_code import ONE_AT_A_TIME, network_code
from ..image_gradient import gradients_of_images, image_gradient
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
    advance: Callable[[int], None] = lambda _: None,
) -> Iterator[tuple[Pair, Maximized]]:
    """Maximize units from starts, batch after batch: each pair, and its result (N = 1).

    A batch that does not fit into memory is halved.

    Args:
        units_of: Module from images in [0, 1] to units (N, width), as ``PenultimateUnits``.
        starts: Starts in [0, 1], of the network's dtype: (K, 3, S, S).
        pairs: Pairs of a start and a unit, by their numbers.
        settings: How images are maximized.
        batch_size: Number of images in a batch, which bounds the memory of the gradients.
        advance: Function that is called with the number of steps that are done, of all pairs.

    Raises:
        EngineError: If an activation is not finite.
    """
    done = 0
    while done < len(pairs):
        batch = pairs[done : done + batch_size]
        try:
            result = _Climb(units_of, starts, batch, settings).run(advance, done * settings.steps)
        except Exception as error:
            if len(batch) == 1 or not lacks_memory(error):
                raise
            batch_size = (len(batch) + 1) // 2
        else:
            for row, pair in enumerate(batch):
                columns = {name: rows[row : row + 1] for name, rows in vars(result).items()}
                yield pair, Maximized(**columns)
            done += len(batch)


def as_table(rows: Sequence[Maximized], starts: int, units: int) -> Maximized:
    """Concatenated results as arrays that begin with (K, U); the units of the first start first."""
    columns = {}
    for field in fields(Maximized):
        column = np.concatenate([getattr(part, field.name) for part in rows])
        columns[field.name] = column.reshape(starts, units, *column.shape[1:])
    return Maximized(**columns)


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


class _Climb:
    """A batch of pairs of start and unit under way; tensors are named as in ``Maximized``."""

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
        self._traces: list[torch.Tensor] = []
        none = torch.full((len(pairs),), NEVER, device=device)
        self.images, self.last = self._start.clone(), self._start
        self.reached = none > 0
        self.first_step, self.image_step = none, none
        self.linf, self.probability = none.double(), none.double()
        self.dead_steps = torch.zeros_like(none)

    def run(self, advance: Callable[[int], None], steps_before: int) -> Maximized:
        """Make all steps, after those of earlier batches. Arrays begin with the pairs."""
        for step in range(1, self._settings.steps + 1):
            self._step()
            advance(steps_before + step * len(self._pairs))
        with torch.no_grad():
            self._evaluate(self.last)
        self.traces = torch.stack(self._traces, 1)
        names = [field.name for field in fields(Maximized)]
        return Maximized(**{name: getattr(self, name).cpu().numpy() for name in names})

    def _step(self) -> None:
        """Evaluate the last iterate, and make the next one."""
        with gradients_of_images(self._units_of):
            images = self.last.detach().requires_grad_()
            activations = self._evaluate(images)
            loss = nn.functional.cross_entropy(activations, self._units, reduction="sum")
            with network_code(self._units_of, images, ONE_AT_A_TIME):
                gradient = image_gradient(loss, images)
        self.dead_steps += (gradient == 0).flatten(1).all(1)
        start, epsilon = self._start, self._settings.epsilon
        moved = images.detach() - self._settings.step_size * gradient.sign()
        self.last = (start + (moved - start).clamp(-epsilon, epsilon)).clamp(0, 1)

    def _evaluate(self, images: torch.Tensor) -> torch.Tensor:
        """The units of an iterate (N, width), which is the image of pairs where it is better."""
        with network_code(self._units_of, images, ONE_AT_A_TIME):
            activations: torch.Tensor = self._units_of(images)
        values, step = activations.detach(), len(self._traces)
        if not bool(values.isfinite().all()):
            row = int((~values.isfinite().all(1)).nonzero()[0])
            start, unit = self._pairs[row]
            raise EngineError(
                f"An activation is not finite at step {step} of unit {unit} from start "
                f"{start + 1}. Are the weights damaged?"
            )
        unit_indices = self._units[:, None]
        self._traces.append(values.gather(1, unit_indices)[:, 0])
        probability = values.double().softmax(1).gather(1, unit_indices)[:, 0]
        passes = probability > self._settings.probability
        linf = (images.detach() - self._start).abs().flatten(1).amax(1).double()
        better = torch.where(passes, linf < self.linf, probability > self.probability)
        better = torch.where(self.reached == passes, better, passes)
        self.first_step = torch.where(passes & ~self.reached, step, self.first_step)
        self.image_step = torch.where(better, step, self.image_step)
        self.linf = torch.where(better, linf, self.linf)
        self.probability = torch.where(better, probability, self.probability)
        self.images[better] = images.detach()[better]
        self.reached = self.reached | passes
        return activations
