"""Projected gradient descent over a stream of images: every iterate tested, the batch kept full.

A step is one forward and one backward pass: the pass that gives the gradient at an iterate also
tests it, and only the last iterate of an attempt takes a pass of its own. An attempt ends at its
first success; its place in the batch goes to the next image, so that all passes are over full
batches. Images of the traced sample make all their steps.

An attempt depends on its image and its random numbers, never on the batch: with exact sums, all
results are the same for any batches. In float32 a sum depends on the batch by a rounding, which
can change the sign of a gradient near zero; for the same images in the same order at the same batch
size all results are bitwise the same.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from ...contracts import AttackSettings
from ...errors import EngineMemoryError
from ...system.batch_limit import BatchLimit
from ..protocols import check_epsilon
from ..randomness import start_noise
from .attempts import AttemptResult, AttemptState, CleanImage, ImageState
from .forward import check_finite, halve, logits_in_room, refuse_single
from .gradients import Gradients, gradients_of
from .pgd_step import Batch, Descent
from .rows import epsilons_of, joined
from .step_metrics import distances, gradient_norms, shares_at_bound, turned_shares, zero_shares


@dataclass(frozen=True)
class AttackJob:
    """An attack at one epsilon.

    Attributes:
        network: Network of images (N, 3, S, S) in [0, 1]; in evaluation mode, frozen, on the
            device.
        settings: Settings of the attack.
        epsilon: Largest L-infinity distance, in (0, 1]; relative to each image if ``settings`` say
            so.
        room: Batch size, which gets smaller when the device is out of memory.
        device: Name of the device in PyTorch.
        note: Callback that is given the sentence to print when the batch size becomes smaller.
        traced: Ids of the traced sample, ``randomness.traced_sample``.
        keep_images: Whether results contain the first success, or else the last iterate.
        keep_last: Whether results of traced images contain the last iterate, also after a success.
            Then every attempt makes its steps, also if the clean image is a success already.
    """

    network: nn.Module
    settings: AttackSettings
    epsilon: float
    room: BatchLimit
    device: str = "cpu"
    traced: frozenset[str] = field(default_factory=frozenset)
    keep_images: bool = False
    keep_last: bool = False
    note: Callable[[str], None] = lambda text: None


def run_pgd(
    job: AttackJob,
    images: Iterable[CleanImage],
    advance: Callable[[int], None] = lambda count: None,
) -> Iterator[AttemptResult]:
    """The result of every attempt on the images, as it ends; each image has at least one.

    Args:
        job: The attack.
        images: Images, which are read as places in the batch become free.
        advance: Function that is called after each pass with the number of images that are done.

    Raises:
        InputError: If epsilon is outside (0, 1], or an image has no label.
        EngineError: If a logit, a loss or a gradient is not finite.
        EngineMemoryError: If a single image does not fit into memory.
    """
    check_epsilon(job.epsilon)
    attack = _Attack(job, iter(images), advance)
    more = True
    while more:
        more = attack.make_pass()
        advance(0)  # one pass of a large network may take seconds, and an image hundreds of them
        yield from attack.take_results()


class _Attack:
    """A batch under way, and the images that wait for a place in it."""

    def __init__(
        self, job: AttackJob, images: Iterator[CleanImage], advance: Callable[[int], None]
    ) -> None:
        self._job, self._images, self._advance = job, images, advance
        self._ready: deque[ImageState] = deque()
        self._active: list[Batch] = []  # joined to one before each pass
        self._parked: list[Batch] = []  # out of memory
        self._last: list[Batch] = []  # all steps made, the last iterate not yet tested
        self._results: list[AttemptResult] = []
        self._descent = Descent()

    def take_results(self) -> list[AttemptResult]:
        """The results since the last call."""
        results, self._results = self._results, []
        return results

    def make_pass(self) -> bool:
        """Make one pass through the network. Returns whether there was anything to do."""
        self._fill()
        active, last = _count(self._active), _count(self._last)
        room = self._job.room.size
        may_follow = self._job.settings.attempts > 1 and active < room
        if last and (last >= room or not active or may_follow):
            self._test_last()
        elif active:
            self._step()
        return bool(active or last)

    def _fill(self) -> None:
        """Fill free places with parked attempts, then with new ones, then with new images."""
        while (free := self._job.room.size - _count(self._active)) > 0:
            if self._parked:
                self._active.append(_take_rows(self._parked, free))
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
        logits = self._logits(self._tensor([image.image for image in images]), images)
        check_finite(torch.isfinite(logits).all(dim=1).tolist(), "logit", [(i, 0) for i in images])
        for image, clean in zip(images, logits.argmax(dim=1).tolist(), strict=True):
            self._ready.append(ImageState(image, clean, logits.shape[1], self._job.settings))
        return True

    def _begin(self, images: Sequence[ImageState]) -> None:
        """Start the next attempt on each image, if it needs one."""
        attempts = []
        for image in images:
            idle = not image.left
            attempt = image.next_attempt(image.image.item.id in self._job.traced)
            if idle or (attempt.success is not None and not self._job.keep_last):
                self._end(attempt, None)
            else:
                attempts.append(attempt)
        if attempts:
            self._active.append(self._start(attempts))

    def _start(self, attempts: Sequence[AttemptState]) -> Batch:
        settings = self._job.settings
        clean = self._tensor([attempt.image.image.image for attempt in attempts])
        noise = self._tensor([_noise_of(attempt, settings.seed) for attempt in attempts])
        epsilon = epsilons_of(clean, self._job.epsilon, relative=settings.relative_epsilon)
        fixed = settings.step_size is not None
        step = (torch.ones_like(epsilon) if fixed else epsilon) * settings.step_px(1.0)
        start = Descent(noise).start(clean, epsilon, clip=settings.clip_start)
        return Batch(attempts, clean, start, torch.zeros_like(clean), epsilon, step)

    def _step(self) -> None:
        """Test all iterates, and make a step from those of attempts that go on."""
        (batch,) = self._active
        result = self._gradients(batch)
        if result is None:
            return
        directions = self._descent.directions(batch.iterates, result.gradients)
        classes, *numbers = _numbers(batch, result, directions)
        ended = set(self._test(batch, [int(predicted) for predicted in classes]))
        self._finish(batch.rows(sorted(ended)))
        remaining = [row for row in range(len(batch)) if row not in ended]
        for row in remaining:
            batch.attempts[row].note(*(values[row] for values in numbers))
        self._active = []
        if remaining:
            self._move(replace(batch, before=directions).rows(remaining))

    def _move(self, batch: Batch) -> None:
        sign = -1.0 if self._job.settings.targeted else 1.0
        batch = replace(batch, iterates=self._descent.stepped(batch, batch.before, sign))
        done = [attempt.steps == attempt.limit for attempt in batch.attempts]
        for batches, is_last in ((self._last, True), (self._active, False)):
            if rows := [row for row, is_done in enumerate(done) if is_done == is_last]:
                batches.append(batch.rows(rows))

    def _test_last(self) -> None:
        """Test the last iterates, which need no gradient."""
        batch, self._last = joined(self._last), []
        logits = self._logits(batch.iterates, [attempt.image.image for attempt in batch.attempts])
        check_finite(torch.isfinite(logits).all(dim=1).tolist(), "logit", _places(batch))
        self._test(batch, logits.argmax(dim=1).tolist())
        self._finish(batch)

    def _test(self, batch: Batch, classes: Sequence[int]) -> list[int]:
        """Record the classes of the iterates. Returns the rows of attempts that end with them."""
        attempts = batch.attempts
        hits = [row for row, attempt in enumerate(attempts) if attempt.test(classes[row])]
        self._measure(batch.rows(hits))
        return [row for row, a in enumerate(attempts) if a.success is not None and not a.traced]

    def _measure(self, batch: Batch) -> None:
        """Record the distances of these iterates, and their images if the job keeps them."""
        if not len(batch):
            return
        pairs = distances(batch.iterates, batch.clean).tolist()
        for row, (attempt, (linf, l2)) in enumerate(zip(batch.attempts, pairs, strict=True)):
            attempt.distances = linf, l2
            if self._job.keep_images:
                attempt.adversarial = batch.iterates[row].cpu().numpy().copy()

    def _finish(self, batch: Batch) -> None:
        """End attempts at their current iterates."""
        if not len(batch):
            return
        failed = [row for row, attempt in enumerate(batch.attempts) if attempt.distances is None]
        self._measure(batch.rows(failed))
        if self._job.keep_last:
            for row, attempt in enumerate(batch.attempts):
                attempt.adversarial = batch.iterates[row].cpu().numpy().copy()
        for attempt, at_bound in zip(batch.attempts, shares_at_bound(batch).tolist(), strict=True):
            self._end(attempt, at_bound)

    def _end(self, attempt: AttemptState, at_bound: float | None) -> None:
        self._results.append(attempt.end(at_bound))
        if attempt.image.left:
            self._ready.appendleft(attempt.image)
        else:
            self._advance(1)

    def _gradients(self, batch: Batch) -> Gradients | None:
        """Gradients of a batch; ``None`` if out of memory: it is then parked, to go on in parts."""
        losses = [attempt.loss_name for attempt in batch.attempts]
        try:
            return gradients_of(self._job.network, batch.iterates, losses, batch.classes())
        except EngineMemoryError as error:
            refuse_single(len(batch), batch.attempts[0].image.image, self._job.device, error)
        # Outside the handler, whose exception keeps the graph of the pass in memory.
        halve(self._job.room, len(batch), self._job.note)
        self._active, self._parked = [], [batch, *self._parked]
        return None

    def _logits(self, images: torch.Tensor, names: Sequence[CleanImage]) -> torch.Tensor:
        job = self._job
        return logits_in_room(
            job.network, images, names, room=job.room, device=job.device, note=job.note
        )

    def _tensor(self, arrays: Sequence[npt.NDArray[Any]]) -> torch.Tensor:
        return torch.from_numpy(np.stack(arrays)).to(self._job.device)


def _noise_of(attempt: AttemptState, seed: int) -> npt.NDArray[Any]:
    image = attempt.image.image
    noise = start_noise(seed, image.item.id, attempt.restart, image.image.shape)
    return noise.astype(image.image.dtype)


def _numbers(batch: Batch, result: Gradients, directions: torch.Tensor) -> list[list[float]]:
    """Class of each row and the numbers of its gradient, in one transfer from the device.

    Raises:
        EngineError: If a logit, a loss or a gradient is not finite.
    """
    norms = gradient_norms(result.gradients)
    finite = [torch.isfinite(value) for value in (result.logits, result.losses, norms)]
    columns = [
        finite[0].all(dim=1),
        *finite[1:],
        result.logits.argmax(dim=1),
        result.losses,
        norms,
        zero_shares(directions),
        turned_shares(directions, batch.before),
    ]
    numbers: list[list[float]] = torch.stack([column.double() for column in columns]).tolist()
    for noun, is_finite in zip(("logit", "loss", "gradient"), numbers, strict=False):
        check_finite(is_finite, noun, _places(batch))
    return numbers[3:]


def _places(batch: Batch) -> list[tuple[CleanImage, int]]:
    return [(attempt.image.image, attempt.steps) for attempt in batch.attempts]


def _count(batches: Sequence[Batch]) -> int:
    return sum(len(batch) for batch in batches)


def _take_rows(batches: list[Batch], size: int) -> Batch:
    """Remove up to ``size`` rows from the first of the batches and return them."""
    batch = batches.pop(0)
    if len(batch) > size:
        batches.insert(0, batch.rows(range(size, len(batch))))
    return batch.rows(range(min(size, len(batch))))
