"""Attacks that take no gradients: each query is one forward pass over a changed image.

    noise           x + epsilon u,  u in [-1, 1) anew at each query, clipped to [0, 1]
    gradient-free   Square attack, ``square.py``

They are probes of another attack: an image that only they fool shows that it failed. An image
leaves the batch at the first query that is not classified as its label, or when its queries are
used up, and its place goes to the next one. As in ``pgd.py`` a result depends on its image and its
random numbers, never on the batch; with exact sums it is the same for any batches.
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
from ..pgd.rows import Rows, epsilons_of, joined
from ..pgd.step_metrics import distances
from ..protocols import check_epsilon
from ..randomness import query_noise
from .query_state import Queried, Search
from .square import square_of, with_squares

__all__ = ["Queried", "QueryJob", "run_queries"]


@dataclass(frozen=True)
class QueryJob:
    """Queries of a network at one epsilon.

    Attributes:
        network: Network of images (N, 3, S, S) in [0, 1]; in evaluation mode, frozen, on the
            device.
        probe: Settings of ``noise`` or ``gradient-free``.
        seed: Seed of the random numbers.
        epsilon: Epsilon in (0, 1].
        room: Batch size, which gets smaller when the device is out of memory.
        device: Name of the device in PyTorch.
        note: Callback that is given the sentence to print when the batch size becomes smaller.
        relative_epsilon: Whether epsilon is a share of the largest value of each image.
        asked: Ids of the images to query about; ``None`` for all. Others are only classified clean.
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
        """Largest number of queries about an image.

        Raises:
            InputError: If the probe makes no queries.
        """
        if self.probe.name not in ("noise", "gradient-free") or self.probe.queries is None:
            raise InputError(
                f"The probe {self.probe.name} with {self.probe.queries} queries cannot be made of "
                "queries: expected noise or gradient-free, with at least 1 query."
            )
        return self.probe.queries


def run_queries(
    job: QueryJob,
    images: Iterable[CleanImage],
    advance: Callable[[int], None] = lambda count: None,
) -> Iterator[Queried]:
    """The result of each image, as it ends.

    Args:
        job: The queries.
        images: Images, which are read as places in the batch become free.
        advance: Function that is called after each pass with the number of images that are done.

    Raises:
        InputError: If epsilon is outside (0, 1], the probe makes no queries, or an image has no
            label.
        EngineError: If a logit is not finite.
        EngineMemoryError: If a single image does not fit into memory.
    """
    check_epsilon(job.epsilon)
    queries = _Queries(job, iter(images), advance)
    more = True
    while more:
        more = queries.make_pass()
        advance(0)  # one pass of a large network may take seconds, and an image hundreds of them
        yield from queries.take_results()


@dataclass(frozen=True)
class _Batch(Rows):
    """N searches under way, each a row.

    Attributes:
        searches: State of each search.
        clean: Clean images: (N, 3, S, S).
        best: Queries of the smallest margin: (N, 3, S, S).
        epsilon: Epsilons: (N, 1, 1, 1).
    """

    searches: Sequence[Search]
    clean: torch.Tensor
    best: torch.Tensor
    epsilon: torch.Tensor

    def improved(self, rows: Sequence[int], images: torch.Tensor) -> "_Batch":
        """The batch with new best queries in some rows, taken from (N, 3, S, S)."""
        index = self.index(rows)
        return replace(self, best=self.best.index_copy(0, index, images.index_select(0, index)))


class _Queries:
    """A batch under way, and the images that wait for a place in it."""

    def __init__(
        self, job: QueryJob, images: Iterator[CleanImage], advance: Callable[[int], None]
    ) -> None:
        self._job, self._images, self._advance = job, images, advance
        self._queries = job.queries
        self._ready: deque[Search] = deque()
        self._batch: _Batch | None = None
        self._results: list[Queried] = []

    def take_results(self) -> list[Queried]:
        """The results since the last call."""
        results, self._results = self._results, []
        return results

    def make_pass(self) -> bool:
        """Make one query of every image in the batch. Returns whether there was any."""
        self._fill()
        if self._batch is None:
            return False
        self._query(self._batch)
        return True

    def _fill(self) -> None:
        """Fill free places with images."""
        while (free := self._job.room.size - len(self._batch or ())) > 0:
            if self._ready:
                due = min(free, len(self._ready))
                started = self._start([self._ready.popleft() for _ in range(due)])
                self._batch = joined([self._batch, started]) if self._batch else started
            elif not self._load():
                break

    def _load(self) -> bool:
        """Classify a batch of clean images. Returns whether any was left."""
        images = list(islice(self._images, self._job.room.size))
        if not images:
            return False
        classes, _ = self._classify(self._tensor(images), [(image, 0) for image in images])
        for image, clean in zip(images, classes, strict=True):
            search = Search(image, clean)
            queried = self._job.asked is None or image.item.id in self._job.asked
            if queried and not search.wrong:
                self._ready.append(search)
            else:
                self._end(search.result())
        return True

    def _start(self, searches: Sequence[Search]) -> _Batch:
        clean = self._tensor([search.image for search in searches])
        epsilon = epsilons_of(clean, self._job.epsilon, relative=self._job.relative_epsilon)
        return _Batch(searches, clean, clean, epsilon)

    def _query(self, batch: _Batch) -> None:
        """Make a query of each image, keep those that are better, and end searches."""
        queries = self._next_queries(batch)
        places = [(search.image, search.queries + 1) for search in batch.searches]
        results = zip(batch.searches, *self._classify(queries, places), strict=True)
        better = [row for row, result in enumerate(results) if Search.note(*result)]
        batch = batch.improved(better, queries)
        over = [search.is_over(self._queries) for search in batch.searches]
        self._finish(batch.rows([row for row, is_over in enumerate(over) if is_over]))
        remaining = [row for row, is_over in enumerate(over) if not is_over]
        self._batch = batch.rows(remaining) if remaining else None

    def _next_queries(self, batch: _Batch) -> torch.Tensor:
        """The images of the next queries: (N, 3, S, S)."""
        seed, shape = self._job.seed, batch.clean.shape[1:]
        numbers = [(search.image.item.id, search.queries + 1) for search in batch.searches]
        if self._job.probe.name == "noise":
            values = np.stack([query_noise(seed, *each, tuple(shape)) for each in numbers])
            noise = torch.from_numpy(values).to(batch.clean)
            return (batch.clean + noise * batch.epsilon).clamp_(0, 1)
        squares = [
            square_of(seed, *each, queries=self._queries, image_px=shape[-1]) for each in numbers
        ]
        return with_squares(batch.best, batch.clean, batch.epsilon, squares)

    def _classify(
        self, images: torch.Tensor, places: Sequence[tuple[CleanImage, int]]
    ) -> tuple[list[int], list[float]]:
        """The class of each image and its margin, in one transfer."""
        job, names = self._job, [image for image, _ in places]
        logits = logits_in_room(
            job.network, images, names, room=job.room, device=job.device, note=job.note
        )
        labels = torch.tensor([image.label for image in names], device=logits.device)
        columns = torch.isfinite(logits).all(dim=1), logits.argmax(dim=1), margins(logits, labels)
        finite, classes, values = torch.stack([column.double() for column in columns]).tolist()
        check_finite(finite, "logit", places, "query")
        return [int(predicted) for predicted in classes], values

    def _finish(self, batch: _Batch) -> None:
        if not len(batch):
            return
        pairs = distances(batch.best, batch.clean).tolist()
        for search, (linf, l2) in zip(batch.searches, pairs, strict=True):
            self._end(search.result(linf, l2))

    def _end(self, result: Queried) -> None:
        self._results.append(result)
        self._advance(1)

    def _tensor(self, images: Sequence[CleanImage]) -> torch.Tensor:
        return torch.from_numpy(np.stack([image.image for image in images])).to(self._job.device)
