"""Images that make one unit of the penultimate layer stand out, by projected gradient descent.

    loss = -log p_j,   p = softmax over the units,   goal: p_j > 1 - 1e-6
    x <- clip(start + clip(x - step_size sign(gradient) - start, -epsilon, epsilon), 0, 1)

from the start itself, without noise. All steps are made, and of the iterates that pass, the start
among them, the one closest to the start in L-infinity is the image: the first of equals. Where none
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
        steps: All are made.
        step_size: In [0, 1] pixel units.
        epsilon: Largest change of a pixel's channel; from 1 on it bounds nothing.
        probability: That the unit must exceed under a softmax over all units.
    """

    steps: int = 500
    step_size: float = 1 / 255
    epsilon: float = 4.0
    probability: float = 1 - 1e-6

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise InputError(f"{self.steps} steps are none. Expected 1 or more; the paper has 500.")
        for name, value in (("step size", self.step_size), ("epsilon", self.epsilon)):
            if not SMALLEST_FLOAT32 <= value < math.inf:
                raise InputError(
                    f"The {name} {value:g} moves nothing. Expected a number above 0, in [0, 1] "
                    "pixel units."
                )


@dataclass(frozen=True)
class Maximized:
    """What came of N pairs of start and unit, or, as a table, of K starts and U units: (K, U).

    Attributes:
        images: (N, 3, S, S), the passing iterates closest to their starts; else the best ones.
        last: (N, 3, S, S), the last iterates.
        reached: (N,), whether an iterate passed.
        first_step: (N,), the first iterate that passed, 0 the start; ``NEVER``.
        image_step: (N,), which iterate the image is.
        linf: (N,), the largest change between start and image.
        probability: (N,), of the unit in the image, under a softmax over all units.
        dead_steps: (N,), steps whose whole gradient was zero, so that nothing moved: float32 has
            no smaller numbers where the softmax is very sure.
        traces: (N, steps + 1), the unit's activation in each iterate, from the start on.
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
    """Maximize units from starts, batch after batch: the pairs of each, and what came of them.

    Args:
        units_of: From images in [0, 1] to the units (N, width), as ``PenultimateUnits``.
        starts: (K, 3, S, S) in [0, 1], of the network's dtype.
        pairs: Which unit from which start: (k, unit).
        settings: How.
        batch_size: How many images are made at a time, which bounds the memory of the gradients.
        lacks_memory: Which exceptions say that a smaller batch may fit; it is then halved.
        advance: Is told how many steps of images are made, of all pairs' steps.

    Raises:
        EngineError: If an activation is not finite.
    """
    done = 0
    while done < len(pairs):
        batch = pairs[done : done + batch_size]
        told = partial(_told, advance, done * settings.steps)
        try:
            made = _Climb(units_of, starts, batch, settings).climbed(told)
        except Exception as error:
            if len(batch) == 1 or not lacks_memory(error):
                raise
            batch_size = (len(batch) + 1) // 2
        else:
            yield batch, made
            done += len(batch)


def as_table(rows: Sequence[Maximized], starts: int, units: int) -> Maximized:
    """Results behind each other, K starts times U units of them, as arrays that begin with (K, U).

    The units of the first start come first.
    """
    columns = {
        field.name: np.concatenate([getattr(part, field.name) for part in rows])
        for field in fields(Maximized)
    }
    return Maximized(
        **{name: rows.reshape(starts, units, *rows.shape[1:]) for name, rows in columns.items()}
    )


def rows_of(made: Maximized) -> Iterator[Maximized]:
    """Each pair of a batch on its own, as arrays that begin with (1,)."""
    for row in range(len(made.reached)):
        cut = {field.name: getattr(made, field.name)[row : row + 1] for field in fields(made)}
        yield Maximized(**cut)


def why_impossible(bounds: Bounds | None, width: int, settings: MaximizingSettings) -> str | None:
    """Why no image can pass, where the bounds of the units say so.

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


def _told(advance: Callable[[int], None], before: int, made: int) -> None:
    advance(before + made)


class _Climb:
    """A batch of pairs of start and unit on their way."""

    def __init__(
        self,
        units_of: nn.Module,
        starts: Array,
        pairs: Sequence[Pair],
        settings: MaximizingSettings,
    ) -> None:
        place = next(units_of.parameters())
        self._units_of, self._settings, self._pairs = units_of, settings, pairs
        self._start = torch.from_numpy(starts[[start for start, _ in pairs]]).to(place.device)
        self._units = torch.tensor([unit for _, unit in pairs], device=place.device)
        self._images = self._start
        self._made = 0
        self._trace: list[torch.Tensor] = []
        self._kept = _Kept(self._start, settings.probability)
        self._dead = torch.zeros_like(self._units)

    def climbed(self, advance: Callable[[int], None]) -> Maximized:
        """All steps, and what came of them; each array begins with the pairs."""
        for step in range(1, self._settings.steps + 1):
            self._step()
            advance(step * len(self._pairs))
        with torch.no_grad():
            self._looked_at(self._images)
        kept = self._kept
        return Maximized(
            images=kept.images.cpu().numpy(),
            last=self._images.cpu().numpy(),
            reached=kept.passed.cpu().numpy(),
            first_step=kept.first_step.cpu().numpy(),
            image_step=kept.step.cpu().numpy(),
            linf=kept.linf.cpu().numpy(),
            probability=kept.probability.cpu().numpy(),
            dead_steps=self._dead.cpu().numpy(),
            traces=torch.stack(self._trace, 1).cpu().numpy(),
        )

    def _step(self) -> None:
        """Look at the iterate, and make the next one."""
        images = self._images.detach().requires_grad_()
        activations = self._looked_at(images)
        loss = nn.functional.cross_entropy(activations, self._units, reduction="sum")
        (gradient,) = torch.autograd.grad(loss, images)
        self._dead += (gradient == 0).flatten(1).all(1)
        start, epsilon = self._start, self._settings.epsilon
        moved = images.detach() - self._settings.step_size * gradient.sign()
        self._images = (start + (moved - start).clamp(-epsilon, epsilon)).clamp(0, 1)
        self._made += 1

    def _looked_at(self, images: torch.Tensor) -> torch.Tensor:
        """The units of an iterate (N, width), which is kept where it is the best until now."""
        activations: torch.Tensor = self._units_of(images)
        known = activations.detach()
        if not bool(known.isfinite().all()):
            bad = int((~known.isfinite().all(1)).nonzero()[0])
            start, unit = self._pairs[bad]
            raise EngineError(
                f"An activation is not finite at step {self._made} of unit {unit} from start "
                f"{start + 1}. Are the weights damaged?"
            )
        own = self._units[:, None]
        self._trace.append(known.gather(1, own)[:, 0])
        probability = known.double().softmax(1).gather(1, own)[:, 0]
        self._kept.look(images.detach(), probability, self._made)
        return activations


class _Kept:
    """Of each image of a batch, the iterate that is the answer so far."""

    def __init__(self, start: torch.Tensor, threshold: float) -> None:
        self._start, self._threshold = start, threshold
        none = torch.full((len(start),), NEVER, device=start.device)
        self.images = start.clone()
        self.passed = none > 0
        self.first_step, self.step = none, none.clone()
        self.linf = none.double()
        self.probability = none.double()

    def look(self, images: torch.Tensor, probability: torch.Tensor, step: int) -> None:
        """Take an iterate in the place of the one kept, where it is better."""
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
