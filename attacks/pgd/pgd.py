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

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import torch

from ...contracts import AttackSettings
from ...errors import EngineMemoryError
from ..randomness import start_noise
from .attempts import AttemptResult, AttemptState, CleanImage, Image, ImageState
from .batches import BatchedAttack, Job, Place, joined, row_count
from .gradients import Gradients, gradients_of
from .pgd_step import Batch, Descent
from .step_metrics import distances, gradient_norms, shares_at_bound, turned_shares, zero_shares


@dataclass(frozen=True, kw_only=True)
class AttackJob(Job):
    """An attack at one epsilon; fields that are not listed are as in ``Job``.

    Attributes:
        settings: Settings of the attack. Epsilon is relative to each image if they say so.
        traced: Ids of the traced sample, ``randomness.traced_sample``.
        keep_images: Whether results contain the first success, or else the last iterate.
        keep_last: Whether results of traced images contain the last iterate, also after a success.
            Then every attempt makes its steps, also if the clean image is a success already.
    """

    settings: AttackSettings
    traced: frozenset[str] = field(default_factory=frozenset)
    keep_images: bool = False
    keep_last: bool = False


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
    return _Attack(job, images, advance).run()


class _Attack(BatchedAttack[ImageState, Batch, AttemptResult]):
    """A batch under way, and the images that wait for a place in it."""

    unit = "step"
    _job: AttackJob

    def __init__(
        self, job: AttackJob, images: Iterable[CleanImage], advance: Callable[[int], None]
    ) -> None:
        super().__init__(job, images, advance)
        self._last: list[Batch] = []  # all steps made, the last iterate not yet tested
        self._descent = Descent()

    def _make_pass(self) -> bool:
        active, last = row_count(self._active), row_count(self._last)
        room = self._job.room.size
        may_follow = self._job.settings.attempts > 1 and active < room
        if last and (last >= room or not active or may_follow):
            self._test_last()
        elif active:
            self._step()
        return bool(active or last)

    def _admit(self, image: CleanImage, clean: int, classes: int) -> None:
        self._ready.append(ImageState(image, clean, classes, self._job.settings))

    def _begin(self, states: Sequence[ImageState]) -> None:
        """Start the next attempt on each image, if it needs one."""
        attempts = []
        for image in states:
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
        clean = self._job.tensor([attempt.image.image.image for attempt in attempts])
        noise = self._job.tensor([_noise(attempt, settings.seed) for attempt in attempts])
        epsilon = self._job.epsilons(clean, relative=settings.relative_epsilon)
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
        classes, *numbers = self._numbers(batch, result, directions)
        ended = self._test(batch, [int(predicted) for predicted in classes])
        for attempt, has_ended, *values in zip(batch.attempts, ended, *numbers, strict=True):
            if not has_ended:
                attempt.note(*values)
        over, remaining = replace(batch, before=directions).split(ended)
        self._finish(over)
        self._active = []
        if len(remaining):
            self._move(remaining)

    def _move(self, batch: Batch) -> None:
        sign = -1.0 if self._job.settings.targeted else 1.0
        batch = replace(batch, iterates=self._descent.stepped(batch, batch.before, sign))
        parts = batch.split([attempt.result.steps == attempt.limit for attempt in batch.attempts])
        for batches, part in zip((self._last, self._active), parts, strict=True):
            if len(part):
                batches.append(part)

    def _test_last(self) -> None:
        """Test the last iterates, which need no gradient."""
        batch, self._last = joined(self._last), []
        logits = self._logits(batch.iterates, _places(batch))
        self._test(batch, logits.argmax(dim=1).tolist())
        self._finish(batch)

    def _test(self, batch: Batch, classes: Sequence[int]) -> list[bool]:
        """Record the classes of the iterates. Returns whether each attempt ends with them."""
        # The start is not tested.
        hits = [
            attempt.result.steps > 0 and attempt.test(predicted)
            for attempt, predicted in zip(batch.attempts, classes, strict=True)
        ]
        self._measure(batch.where(hits))
        return [attempt.has_ended for attempt in batch.attempts]

    def _measure(self, batch: Batch) -> None:
        """Record the distances of these iterates, and their images if the job keeps them."""
        pairs = distances(batch.iterates, batch.clean).tolist()
        for attempt, (linf, l2) in zip(batch.attempts, pairs, strict=True):
            attempt.result.linf, attempt.result.l2 = linf, l2
        if self._job.keep_images:
            _keep_iterates(batch)

    def _finish(self, batch: Batch) -> None:
        """End attempts at their current iterates."""
        # The distances of a success, unless it is the clean image, are those of its own iterate.
        self._measure(batch.where([not attempt.success for attempt in batch.attempts]))
        if self._job.keep_last:
            _keep_iterates(batch)
        at_bounds = shares_at_bound(batch.iterates, batch.clean, batch.epsilon).tolist()
        for attempt, at_bound in zip(batch.attempts, at_bounds, strict=True):
            self._end(attempt, at_bound)

    def _end(self, attempt: AttemptState, at_bound: float | None) -> None:
        self._results.append(attempt.end(at_bound))
        if attempt.image.left:
            self._ready.appendleft(attempt.image)
        else:
            self._advance(1)

    def _gradients(self, batch: Batch) -> Gradients | None:
        """Gradients of a batch; ``None`` if out of memory: it is then parked, to go on in parts."""
        losses = [attempt.result.loss_name for attempt in batch.attempts]
        try:
            return gradients_of(self._job.network, batch.iterates, losses, batch.classes())
        except EngineMemoryError as error:
            self._job.halve([attempt.image.image for attempt in batch.attempts], error)
        self._active, self._parked = [], [batch, *self._parked]
        return None

    def _numbers(
        self, batch: Batch, result: Gradients, directions: torch.Tensor
    ) -> list[list[float]]:
        """Class of each row and the numbers of its gradient, in one transfer from the device.

        Raises:
            EngineError: If a logit, a loss or a gradient is not finite.
        """
        norms = gradient_norms(result.gradients)
        columns = [
            torch.isfinite(result.logits).all(dim=1),
            torch.isfinite(result.losses),
            torch.isfinite(norms),
            result.logits.argmax(dim=1),
            result.losses,
            norms,
            zero_shares(directions),
            turned_shares(directions, batch.before),
        ]
        numbers: list[list[float]] = torch.stack([column.double() for column in columns]).tolist()
        for noun, is_finite in zip(("logit", "loss", "gradient"), numbers, strict=False):
            self._check_finite(is_finite, noun, _places(batch))
        return numbers[3:]


def _noise(attempt: AttemptState, seed: int) -> Image:
    image = attempt.image.image
    noise = start_noise(seed, image.item.id, attempt.result.restart, image.image.shape)
    return noise.astype(image.image.dtype)


def _keep_iterates(batch: Batch) -> None:
    for attempt, iterate in zip(batch.attempts, batch.iterates, strict=True):
        attempt.result.adversarial = iterate.cpu().numpy().copy()


def _places(batch: Batch) -> list[Place]:
    return [(attempt.image.image, attempt.result.steps) for attempt in batch.attempts]
