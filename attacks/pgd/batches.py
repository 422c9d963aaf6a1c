"""Attacks on a stream of images, in batches that are kept full and fit into memory.

A batch holds images at different steps. Its rows are removed as their attacks end, and other images
take their places.
"""

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from itertools import chain, compress, islice
from typing import Any, ClassVar, Generic, Self, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from ...errors import EngineError, EngineMemoryError, printable, reason_of
from ...system.batch_limit import BatchLimit
from ..protocols import check_epsilon
from .attempts import CleanImage
from .gradients import logits_of

Place = tuple[CleanImage, int]
"""An image, and its current step; 0 without an attack."""


@dataclass(frozen=True)
class Job:
    """What all attacks need, at one epsilon.

    Attributes:
        network: Network of images (N, 3, S, S) in [0, 1]; in evaluation mode, frozen, on the
            device.
        epsilon: Largest L-infinity distance, in (0, 1].
        room: Batch size, which gets smaller when the device is out of memory.
        device: Name of the device in PyTorch.
        note: Callback that is given the sentence to print when the batch size becomes smaller.
    """

    network: nn.Module
    epsilon: float
    room: BatchLimit
    device: str = "cpu"
    note: Callable[[str], None] = lambda text: None

    def tensor(self, arrays: Sequence[npt.NDArray[Any]]) -> torch.Tensor:
        """Arrays as one batch on the device."""
        return torch.from_numpy(np.stack(arrays)).to(self.device)

    def epsilons(self, clean: torch.Tensor, *, relative: bool) -> torch.Tensor:
        """Epsilon of each image, (N, 1, 1, 1), which may be relative to its largest value.

        Args:
            clean: Clean images, (N, 3, S, S).
            relative: Whether epsilon is a fraction of each image's largest value.
        """
        largest = clean.amax((1, 2, 3), keepdim=True)
        return (largest if relative else torch.ones_like(largest)) * self.epsilon

    def logits(self, images: torch.Tensor, names: Sequence[CleanImage]) -> torch.Tensor:
        """The logits (N, C) of images; in parts if the device is out of memory for all at once.

        Args:
            images: Images, (N, 3, S, S).
            names: Clean image of each image, for messages: N.

        Raises:
            EngineMemoryError: If a single image does not fit into memory.
        """
        parts: list[torch.Tensor] = []
        while (done := sum(len(part) for part in parts)) < len(images):
            batch = images[done : done + self.room.size]
            try:
                parts.append(logits_of(self.network, batch))
            except EngineMemoryError as error:
                self.halve(names[done : done + len(batch)], error)
            # The next pass is outside the handler, whose exception keeps what this one held.
        return torch.cat(parts)

    def halve(self, images: Sequence[CleanImage], error: EngineMemoryError) -> None:
        """Make the batch size smaller than a batch that did not fit into memory, and report it.

        Raises:
            EngineMemoryError: If it has a single image.
        """
        if len(images) == 1:
            raise EngineMemoryError(
                f"{self.device} is out of memory for a single image, "
                f"{printable(images[0].item.id)}: {reason_of(error)}. Close other programs that "
                "use the device, or choose another --device."
            ) from error
        if (size := self.room.halve(len(images))) is not None:
            self.note(
                f"Out of memory with {len(images)} images per batch; continuing with {size}. "
                f"Use --batch-size {size} to start there."
            )


@dataclass(frozen=True)
class Rows:
    """Base class of batches.

    The first field is a list of the states of N images, each other field a tensor of N rows.
    """

    def __len__(self) -> int:
        return len(next(iter(self.columns().values())))

    def columns(self) -> dict[str, Any]:
        """The fields by name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def rows(self, rows: Sequence[int]) -> Self:
        """A batch of some of the rows; the batch itself if they are all."""
        if len(rows) == len(self):
            return self
        (name, states), *tensors = self.columns().items()
        index = torch.tensor(rows, dtype=torch.int64, device=tensors[0][1].device)
        columns = {name: column.index_select(0, index) for name, column in tensors}
        return replace(self, **{name: [states[row] for row in rows]}, **columns)

    def where(self, mask: Sequence[bool]) -> Self:
        """A batch of the rows whose entry in the mask is true."""
        return self.rows(list(compress(range(len(self)), mask)))

    def split(self, mask: Sequence[bool]) -> tuple[Self, Self]:
        """The rows whose entry in the mask is true, and the others."""
        return self.where(mask), self.where([not entry for entry in mask])


State = TypeVar("State")
Batch = TypeVar("Batch", bound=Rows)
Result = TypeVar("Result")


class BatchedAttack(ABC, Generic[State, Batch, Result]):
    """A batch under way, and the images that wait for a place in it.

    Args:
        job: The attack.
        images: Images, which are read as places in the batch become free.
        advance: Function that is called after each pass with the number of images that are done.

    Raises:
        InputError: If epsilon is outside (0, 1].
    """

    unit: ClassVar[str]
    """Name of a step."""

    def __init__(
        self, job: Job, images: Iterable[CleanImage], advance: Callable[[int], None]
    ) -> None:
        check_epsilon(job.epsilon)
        self._job, self._images, self._advance = job, iter(images), advance
        self._ready: deque[State] = deque()
        self._active: list[Batch] = []  # joined to one before each pass
        self._parked: list[Batch] = []  # out of memory
        self._results: list[Result] = []

    def run(self) -> Iterator[Result]:
        """The results, as they become known."""
        more = True
        while more:
            self._fill()
            more = self._make_pass()
            self._advance(
                0
            )  # a pass of a large network may take seconds, an image hundreds of them
            yield from self._results
            self._results.clear()

    @abstractmethod
    def _make_pass(self) -> bool:
        """Make one pass through the network. Returns whether there was anything to do."""

    @abstractmethod
    def _admit(self, image: CleanImage, clean: int, classes: int) -> None:
        """Take an image whose clean class, of a number of classes, is known."""

    @abstractmethod
    def _begin(self, states: Sequence[State]) -> None:
        """Begin with images that have got a place in the batch."""

    def _fill(self) -> None:
        """Fill free places with parked rows, then with waiting images, then with new images."""
        while (free := self._job.room.size - row_count(self._active)) > 0:
            if self._parked:
                batch = self._parked.pop(0)
                self._active.append(batch.rows(range(min(free, len(batch)))))
                if len(batch) > free:
                    self._parked.insert(0, batch.rows(range(free, len(batch))))
            elif self._ready:
                count = min(free, len(self._ready))
                self._begin([self._ready.popleft() for _ in range(count)])
            elif not self._load():
                break
        if self._active:
            self._active = [joined(self._active)]

    def _load(self) -> bool:
        """Classify a batch of clean images. Returns whether any was left."""
        images = list(islice(self._images, self._job.room.size))
        if not images:
            return False
        clean = self._job.tensor([image.image for image in images])
        logits = self._logits(clean, [(image, 0) for image in images])
        for image, predicted in zip(images, logits.argmax(dim=1).tolist(), strict=True):
            self._admit(image, predicted, logits.shape[1])
        return True

    def _logits(self, images: torch.Tensor, places: Sequence[Place]) -> torch.Tensor:
        logits = self._job.logits(images, [image for image, _ in places])
        self._check_finite(torch.isfinite(logits).all(dim=1).tolist(), "logit", places)
        return logits

    def _check_finite(self, finite: Sequence[float], noun: str, places: Sequence[Place]) -> None:
        """Refuse numbers that are not finite.

        Args:
            finite: Whether the number of each image is finite.
            noun: Name of the number.
            places: Each image, and its current step.

        Raises:
            EngineError: If a number is not finite.
        """
        for is_finite, (image, count) in zip(finite, places, strict=True):
            if not is_finite:
                raise EngineError(
                    f"PyTorch gave a {noun} that is not finite for {printable(image.item.id)} at "
                    f"{self.unit} {count}: an attack on such a network is not "
                    "reliable. Check its weights, and whether it divides by zero."
                )


def joined(batches: Sequence[Batch]) -> Batch:
    """One batch with the rows of all batches, of which there is at least one."""
    if len(batches) == 1:
        return batches[0]
    first, *_ = batches
    (name, _), *tensors = first.columns().items()
    states = chain.from_iterable(getattr(batch, name) for batch in batches)
    columns = {key: torch.cat([getattr(batch, key) for batch in batches]) for key, _ in tensors}
    return replace(first, **{name: list(states)}, **columns)


def row_count(batches: Sequence[Rows]) -> int:
    """Number of rows of all batches."""
    return sum(len(batch) for batch in batches)
