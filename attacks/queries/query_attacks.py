"""Attacks that take no gradients: each query is one forward pass over a changed image.

    noise           x + epsilon u,  u in [-1, 1) anew at each query, clipped to [0, 1]
    gradient-free   Square attack, ``square.py``

They are probes of another attack: what they find and it missed was there. An image leaves the batch
at the first query that is not classified as its label, or when its queries are used up, and its
place goes to the next one. As in ``pgd.py`` an outcome belongs to its image and its random numbers,
never to the batch; with exact sums it is the same for any batches.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np
import torch
from torch import nn

from ...contracts import ProbeSettings
from ...errors import InputError
from ...system.batch_limit import BatchLimit
from ..pgd.attempts import CleanImage
from ..pgd.forward import check_finite, logits_in_room
from ..pgd.losses import margins
from ..pgd.step_metrics import distances
from ..protocols import check_epsilon
from ..randomness import query_noise
from .query_state import Queried, Search
from .square import square_of, with_squares

__all__ = ["Queried", "QueryJob", "run_queries"]


@dataclass(frozen=True)
class QueryJob:
    """What a network is asked about images.

    Attributes:
        network: Takes images (N, 3, S, S) in [0, 1]; in evaluation mode, frozen, on the device.
        probe: ``noise`` or ``gradient-free``, and how many queries an image has.
        seed: Of the random numbers.
        epsilon: In (0, 1].
        room: The batch size, smaller once there was no memory for it.
        device: As PyTorch calls it.
        note: Callback that is given the sentence to print when the batch size becomes smaller.
        relative_epsilon: Whether epsilon is a share of the largest value of each image.
        asked: The ids that are worth a query; none for all. The others get a clean pass alone.
    """

    network: nn.Module
    probe: ProbeSettings
    seed: int
    epsilon: float
    room: BatchLimit
    device: str = "cpu"
    relative_epsilon: bool = False
    asked: frozenset[str] | None = None
    note: Callable[[str], None] = lambda text: None

    @property
    def queries(self) -> int:
        """How many an image has at most.

        Raises:
            InputError: If the probe is none of queries.
        """
        if self.probe.name not in ("noise", "gradient-free") or self.probe.queries is None:
            raise InputError(
                f"The probe {self.probe.name} with {self.probe.queries} queries asks no network: "
                "expected noise or gradient-free, with 1 query or more."
            )
        return self.probe.queries


def run_queries(
    job: QueryJob,
    images: Iterable[CleanImage],
    advance: Callable[[int], None] = lambda count: None,
) -> Iterator[Queried]:
    """What became of each image, as it ends.

    Args:
        job: What is asked of which network.
        images: Are asked for as places in the batch become free.
        advance: Is told how many more images are done, after each pass: 0 where it is none.

    Raises:
        InputError: If epsilon is outside (0, 1], the probe is none of queries, or an image has no
            label.
        EngineError: If a logit is not finite.
        EngineMemoryError: If there is no memory for a single image.
    """
    check_epsilon(job.epsilon)
    queries = _Queries(job, iter(images), advance)
    more = True
    while more:
        more = queries.go_on()
        advance(0)  # one pass of a large network may take seconds, and an image hundreds of them
        yield from queries.taken()


@dataclass(frozen=True)
class _Batch:
    """Images under way: N of them, each a row.

    Attributes:
        searches: What is noted of each.
        clean: (N, 3, S, S).
        best: Those of the least margin: (N, 3, S, S).
        epsilon: (N, 1, 1, 1).
    """

    searches: Sequence[Search]
    clean: torch.Tensor
    best: torch.Tensor
    epsilon: torch.Tensor

    def __len__(self) -> int:
        return len(self.searches)

    def rows(self, rows: Sequence[int]) -> "_Batch":
        """Some of them; itself where they are all."""
        if len(rows) == len(self):
            return self
        index = self._index(rows)
        parts = (part.index_select(0, index) for part in (self.clean, self.best, self.epsilon))
        return _Batch([self.searches[row] for row in rows], *parts)

    def improved(self, rows: Sequence[int], images: torch.Tensor) -> "_Batch":
        """With other best images in some rows: those of (N, 3, S, S)."""
        index = self._index(rows)
        return replace(self, best=self.best.index_copy(0, index, images.index_select(0, index)))

    def joined(self, other: "_Batch") -> "_Batch":
        """With the rows of another one below."""
        mine, others = ((b.clean, b.best, b.epsilon) for b in (self, other))
        parts = (torch.cat(pair) for pair in zip(mine, others, strict=True))
        return _Batch([*self.searches, *other.searches], *parts)

    def _index(self, rows: Sequence[int]) -> torch.Tensor:
        return torch.tensor(rows, dtype=torch.int64, device=self.clean.device)


class _Queries:
    """A batch under way, and what waits for a place in it."""

    def __init__(
        self, job: QueryJob, images: Iterator[CleanImage], advance: Callable[[int], None]
    ) -> None:
        self._job, self._images, self._advance = job, images, advance
        self._queries = job.queries
        self._ready: deque[Search] = deque()
        self._batch: _Batch | None = None
        self._ended: list[Queried] = []

    def taken(self) -> list[Queried]:
        """What ended since it was asked before."""
        ended, self._ended = self._ended, []
        return ended

    def go_on(self) -> bool:
        """One query of every image in the batch; whether there was any."""
        self._fill()
        if self._batch is None:
            return False
        self._ask(self._batch)
        return True

    def _fill(self) -> None:
        """Give the free places to images."""
        while (free := self._job.room.size - len(self._batch or ())) > 0:
            if self._ready:
                due = min(free, len(self._ready))
                started = self._started([self._ready.popleft() for _ in range(due)])
                self._batch = self._batch.joined(started) if self._batch else started
            elif not self._load():
                break

    def _load(self) -> bool:
        """Take a batch of images and see what they are without a query; whether any was left."""
        images = list(islice(self._images, self._job.room.size))
        if not images:
            return False
        classes, _ = self._answers(self._tensor(images), [(image, 0) for image in images])
        for image, clean in zip(images, classes, strict=True):
            search = Search(image, clean)
            asked = self._job.asked is None or image.item.id in self._job.asked
            if asked and not search.wrong:
                self._ready.append(search)
            else:
                self._end(search.ended())
        return True

    def _started(self, searches: Sequence[Search]) -> _Batch:
        clean = self._tensor([search.image for search in searches])
        largest = clean.amax((1, 2, 3), keepdim=True)
        share = largest if self._job.relative_epsilon else torch.ones_like(largest)
        return _Batch(searches, clean, clean, share * self._job.epsilon)

    def _ask(self, batch: _Batch) -> None:
        """Make a query of each, keep what is better, and end what is over."""
        proposed = self._proposed(batch)
        places = [(search.image, search.asked + 1) for search in batch.searches]
        classes, found = self._answers(proposed, places)
        answered = map(Search.answered, batch.searches, classes, found)
        batch = batch.improved(
            [row for row, is_better in enumerate(answered) if is_better], proposed
        )
        over = [search.over(self._queries) for search in batch.searches]
        self._finish(batch.rows([row for row, is_over in enumerate(over) if is_over]))
        stay = [row for row, is_over in enumerate(over) if not is_over]
        self._batch = batch.rows(stay) if stay else None

    def _proposed(self, batch: _Batch) -> torch.Tensor:
        """The images of the next queries: (N, 3, S, S)."""
        seed, shape = self._job.seed, batch.clean.shape[1:]
        named = [(search.image.item.id, search.asked + 1) for search in batch.searches]
        if self._job.probe.name == "noise":
            drawn = np.stack([query_noise(seed, *name, tuple(shape)) for name in named])
            noise = torch.from_numpy(drawn).to(batch.clean)
            return (batch.clean + noise * batch.epsilon).clamp_(0, 1)
        squares = [
            square_of(seed, *name, queries=self._queries, image_px=shape[-1]) for name in named
        ]
        return with_squares(batch.best, batch.clean, batch.epsilon, squares)

    def _answers(
        self, images: torch.Tensor, places: Sequence[tuple[CleanImage, int]]
    ) -> tuple[list[int], list[float]]:
        """The class of each image and its margin, in one transfer."""
        job, names = self._job, [image for image, _ in places]
        logits = logits_in_room(
            job.network, images, names, room=job.room, device=job.device, note=job.note
        )
        labels = torch.tensor([image.label for image in names], device=logits.device)
        columns = torch.isfinite(logits).all(dim=1), logits.argmax(dim=1), margins(logits, labels)
        finite, classes, found = torch.stack([column.double() for column in columns]).tolist()
        check_finite(finite, "logit", places, "query")
        return [int(predicted) for predicted in classes], found

    def _finish(self, batch: _Batch) -> None:
        if not len(batch):
            return
        measured = distances(batch.best, batch.clean).tolist()
        for search, (linf, l2) in zip(batch.searches, measured, strict=True):
            self._end(search.ended(linf, l2))

    def _end(self, ended: Queried) -> None:
        self._ended.append(ended)
        self._advance(1)

    def _tensor(self, images: Sequence[CleanImage]) -> torch.Tensor:
        return torch.from_numpy(np.stack([image.image for image in images])).to(self._job.device)
