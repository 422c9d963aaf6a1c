"""Projected gradient descent over a stream of images: every iterate tested, the batch kept full.

One forward and one backward pass a step: the pass that gives the gradient at an iterate is its test
as well, and only the last iterate of an attempt takes a pass of its own. An attempt ends at its
first success; its place in the batch goes to the next image, so that all passes are over full
batches. Images of the traced sample make all their steps.

An attempt is bound to its image and its random numbers, never to the batch: with exact sums, all
outcomes are the same for any batches. In float32 a sum depends on the batch by a rounding, which
can turn the sign of a gradient near zero; for the same images in the same order at the same batch
size everything is bitwise the same.
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
from .pgd_step import Batch, Descent, joined
from .step_metrics import distances, gradient_norms, shares_at_bound, turned_shares, zero_shares


@dataclass(frozen=True)
class AttackJob:
    """What images are attacked with.

    Attributes:
        network: Takes images (N, 3, S, S) in [0, 1]; in evaluation mode, frozen, on the device.
        settings: Of the attack.
        epsilon: In (0, 1].
        room: The batch size, smaller once there was no memory for it.
        device: As PyTorch calls it.
        note: Callback that is given the sentence to print when the batch size becomes smaller.
        traced: The ids of the traced sample, ``randomness.traced_sample``.
        keep_images: Whether attempts hold the image that is judged.
        keep_last: Whether they hold the last iterate instead; then every attempt makes its steps,
            also where its goal is reached without one. To be had of traced images only.
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
    """Every attempt on the images, each as it ends; an image has one at least.

    Args:
        job: What they are attacked with.
        images: Are asked for as places in the batch become free.
        advance: Is told how many more images are done, after each pass: 0 where it is none.

    Raises:
        InputError: If epsilon is outside (0, 1], or an image has no label.
        EngineError: If a logit, a loss or a gradient is not finite.
        EngineMemoryError: If there is no memory for a single image.
    """
    check_epsilon(job.epsilon)
    attack = _Attack(job, iter(images), advance)
    more = True
    while more:
        more = attack.go_on()
        advance(0)  # one pass of a large network may take seconds, and an image hundreds of them
        yield from attack.taken()


class _Attack:
    """A batch under way, and what waits for a place in it."""

    def __init__(
        self, job: AttackJob, images: Iterator[CleanImage], advance: Callable[[int], None]
    ) -> None:
        self._job, self._images, self._advance = job, images, advance
        self._ready: deque[ImageState] = deque()
        self._active: list[Batch] = []  # joined to one before each pass
        self._parked: list[Batch] = []  # for lack of memory
        self._last: list[Batch] = []  # all steps made, the last iterate not yet tested
        self._ended: list[AttemptResult] = []
        self._descent = Descent()

    def taken(self) -> list[AttemptResult]:
        """The attempts that ended since it was asked before."""
        ended, self._ended = self._ended, []
        return ended

    def go_on(self) -> bool:
        """One pass through the network; whether there was anything left for it."""
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
        """Give the free places to what was parked, to attempts that are due, to new images."""
        while (free := self._job.room.size - _count(self._active)) > 0:
            if self._parked:
                self._active.append(_cut(self._parked, free))
            elif self._ready:
                due = min(free, len(self._ready))
                self._begin([self._ready.popleft() for _ in range(due)])
            elif not self._load():
                break
        if self._active:
            self._active = [joined(self._active)]

    def _load(self) -> bool:
        """Take a batch of images and see what they are without an attack; whether any was left."""
        images = list(islice(self._images, self._job.room.size))
        if not images:
            return False
        logits = self._logits(self._tensor([image.image for image in images]), images)
        check_finite(torch.isfinite(logits).all(dim=1).tolist(), "logit", [(i, 0) for i in images])
        for image, clean in zip(images, logits.argmax(dim=1).tolist(), strict=True):
            self._ready.append(ImageState(image, clean, logits.shape[1], self._job.settings))
        return True

    def _begin(self, cases: Sequence[ImageState]) -> None:
        """Start the next attempt of each, but of those that need none."""
        tracks = []
        for case in cases:
            idle = not case.left
            track = case.next_attempt(case.image.item.id in self._job.traced)
            if idle or (track.success is not None and not self._job.keep_last):
                self._end(track, None)
            else:
                tracks.append(track)
        if tracks:
            self._active.append(self._started(tracks))

    def _started(self, tracks: Sequence[AttemptState]) -> Batch:
        settings = self._job.settings
        clean = self._tensor([track.case.image.image for track in tracks])
        noise = self._tensor([_noise_of(track, settings.seed) for track in tracks])
        largest = clean.amax((1, 2, 3), keepdim=True)
        share = largest if settings.relative_epsilon else torch.ones_like(largest)
        epsilon = share * self._job.epsilon
        fixed = settings.step_size is not None
        step = (torch.ones_like(epsilon) if fixed else epsilon) * settings.step_px(1.0)
        start = Descent(noise).start(clean, epsilon, clip=settings.clip_start)
        return Batch(tracks, clean, start, torch.zeros_like(clean), epsilon, step)

    def _step(self) -> None:
        """Test all iterates, and make a step from those that are not over."""
        (batch,) = self._active
        found = self._gradients(batch)
        if found is None:
            return
        directions = self._descent.directions(batch.iterates, found.gradients)
        classes, *numbers = _numbers(batch, found, directions)
        over = set(self._tested(batch, [int(predicted) for predicted in classes]))
        self._finish(batch.rows(sorted(over)))
        stay = [row for row in range(len(batch)) if row not in over]
        for row in stay:
            batch.tracks[row].note(*(values[row] for values in numbers))
        self._active = []
        if stay:
            self._move(replace(batch, before=directions).rows(stay))

    def _move(self, batch: Batch) -> None:
        sign = -1.0 if self._job.settings.targeted else 1.0
        batch = replace(batch, iterates=self._descent.stepped(batch, batch.before, sign))
        done = [track.steps == track.limit for track in batch.tracks]
        for batches, wanted in ((self._last, True), (self._active, False)):
            if rows := [row for row, is_done in enumerate(done) if is_done == wanted]:
                batches.append(batch.rows(rows))

    def _test_last(self) -> None:
        """Test the last iterates, which need no gradient."""
        batch, self._last = joined(self._last), []
        logits = self._logits(batch.iterates, [track.case.image for track in batch.tracks])
        check_finite(torch.isfinite(logits).all(dim=1).tolist(), "logit", _places(batch))
        self._tested(batch, logits.argmax(dim=1).tolist())
        self._finish(batch)

    def _tested(self, batch: Batch, classes: Sequence[int]) -> list[int]:
        """Note what the iterates are classified as; the rows of attempts that end by it."""
        tracks = batch.tracks
        hits = [row for row, track in enumerate(tracks) if track.tested(classes[row])]
        self._judge(batch.rows(hits))
        return [row for row, t in enumerate(tracks) if t.success is not None and not t.traced]

    def _judge(self, batch: Batch) -> None:
        """Note how far these iterates are, and keep them where images are kept."""
        if not len(batch):
            return
        measured = distances(batch.iterates, batch.clean).tolist()
        for row, (track, (linf, l2)) in enumerate(zip(batch.tracks, measured, strict=True)):
            track.judged = linf, l2
            if self._job.keep_images:
                track.adversarial = batch.iterates[row].cpu().numpy().copy()

    def _finish(self, batch: Batch) -> None:
        """End attempts at the iterates where they are."""
        if not len(batch):
            return
        failed = [row for row, track in enumerate(batch.tracks) if track.judged is None]
        self._judge(batch.rows(failed))
        if self._job.keep_last:
            for row, track in enumerate(batch.tracks):
                track.adversarial = batch.iterates[row].cpu().numpy().copy()
        for track, at_bound in zip(batch.tracks, shares_at_bound(batch).tolist(), strict=True):
            self._end(track, at_bound)

    def _end(self, track: AttemptState, at_bound: float | None) -> None:
        self._ended.append(track.ended(at_bound))
        if track.case.left:
            self._ready.appendleft(track.case)
        else:
            self._advance(1)

    def _gradients(self, batch: Batch) -> Gradients | None:
        """None where there was no memory: the batch is then parked, to go on in parts."""
        losses = [track.loss_name for track in batch.tracks]
        try:
            return gradients_of(self._job.network, batch.iterates, losses, batch.classes())
        except EngineMemoryError as error:
            refuse_single(len(batch), batch.tracks[0].case.image, self._job.device, error)
        # Outside of the handler, whose exception keeps the graph of the pass in memory.
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


def _noise_of(track: AttemptState, seed: int) -> npt.NDArray[Any]:
    image = track.case.image
    noise = start_noise(seed, image.item.id, track.restart, image.image.shape)
    return noise.astype(image.image.dtype)


def _numbers(batch: Batch, found: Gradients, directions: torch.Tensor) -> list[list[float]]:
    """Of each row its class and what is noted of its gradient, in one transfer.

    Raises:
        EngineError: If something is not finite.
    """
    norms = gradient_norms(found.gradients)
    finite = [torch.isfinite(value) for value in (found.logits, found.losses, norms)]
    columns = [
        finite[0].all(dim=1),
        *finite[1:],
        found.logits.argmax(dim=1),
        found.losses,
        norms,
        zero_shares(directions),
        turned_shares(directions, batch.before),
    ]
    numbers: list[list[float]] = torch.stack([column.double() for column in columns]).tolist()
    for what, good in zip(("logit", "loss", "gradient"), numbers, strict=False):
        check_finite(good, what, _places(batch))
    return numbers[3:]


def _places(batch: Batch) -> list[tuple[CleanImage, int]]:
    return [(track.case.image, track.steps) for track in batch.tracks]


def _count(batches: Sequence[Batch]) -> int:
    return sum(len(batch) for batch in batches)


def _cut(batches: list[Batch], size: int) -> Batch:
    """The first rows of what is kept there; the others stay."""
    batch = batches.pop(0)
    if len(batch) > size:
        batches.insert(0, batch.rows(range(size, len(batch))))
    return batch.rows(range(min(size, len(batch))))
