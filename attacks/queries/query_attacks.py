"""Attacks that take no gradients: each query is one forward pass over a changed image.

    noise           x + epsilon u,  u in [-1, 1) anew at each query, clipped to [0, 1]
    gradient-free   Square attack, ``square.py``

They are probes of another attack: an image that only they fool shows that it failed. An image
leaves the batch at the first query that is not classified as its label, or when its queries are
used up, and its place goes to the next one. As in ``pgd.py`` a result depends on its image and its
random numbers, never on the batch; with exact sums it is the same for any batches.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from ...contracts import Item, ProbeSettings
from ...errors import InputError
from ..pgd.attempts import CleanImage
from ..pgd.batches import BatchedAttack, Job, Rows
from ..pgd.losses import margins
from ..pgd.step_metrics import distances
from ..randomness import query_noise
from .square import square_of, with_squares


@dataclass(frozen=True, kw_only=True)
class QueryJob(Job):
    """Queries of a network at one epsilon; fields that are not listed are as in ``Job``.

    Attributes:
        probe: Settings of ``noise`` or ``gradient-free``.
        seed: Seed of the random numbers.
        relative_epsilon: Whether epsilon is a share of the largest value of each image.
        asked: Ids of the images to query about; ``None`` for all. Others are only classified clean.
    """

    probe: ProbeSettings
    seed: int
    relative_epsilon: bool = False
    asked: frozenset[str] | None = None

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


@dataclass
class Queried:
    """Result of the queries about an image; not final while queries are made.

    Queries count from 1; ``None`` if no query did it.

    Attributes:
        item: Id and label of the image.
        clean: Class of the clean image.
        changed_step: First query that is not classified as the label; 0 if the clean image is not.
        last: Class of the best query: the first that fooled, or else that of the smallest margin.
        steps: Number of queries made.
        linf: L-infinity distance of the best query; 0 without a query.
        l2: L2 distance of the best query.
    """

    item: Item
    clean: int
    changed_step: int | None
    last: int
    steps: int = 0
    linf: float = 0.0
    l2: float = 0.0


@dataclass
class Search:
    """State of the search on an image.

    Attributes:
        image: The image.
        result: The result so far.
        margin: Smallest margin so far.
    """

    image: CleanImage
    result: Queried
    margin: float = math.inf

    @property
    def fooled(self) -> bool:
        """Whether a query fooled the network, or the clean image is misclassified."""
        return self.result.changed_step is not None

    def note(self, predicted: int, margin: float) -> bool:
        """Record the result of a query. Returns whether it is the best one so far."""
        result = self.result
        result.steps += 1
        if predicted != self.image.label:
            result.changed_step, result.last = result.steps, predicted
        better = margin < self.margin or self.fooled
        if better:
            self.margin = margin
        return better


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
    return _Queries(job, images, advance).run()


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


class _Queries(BatchedAttack[Search, _Batch, Queried]):
    """A batch under way, and the images that wait for a place in it."""

    unit = "query"
    _job: QueryJob

    def __init__(
        self, job: QueryJob, images: Iterable[CleanImage], advance: Callable[[int], None]
    ) -> None:
        super().__init__(job, images, advance)
        self._queries = job.queries

    def _make_pass(self) -> bool:
        """Make a query of each image, keep those that are better, and end searches."""
        if not self._active:
            return False
        (batch,) = self._active
        numbers = [search.result.steps + 1 for search in batch.searches]
        queries = self._next_queries(batch, numbers)
        names = [search.image for search in batch.searches]
        logits = self._logits(queries, list(zip(names, numbers, strict=True)))
        labels = torch.tensor([image.label for image in names], device=logits.device)
        results = zip(
            batch.searches,
            logits.argmax(dim=1).tolist(),
            margins(logits, labels).tolist(),
            strict=True,
        )
        better = torch.tensor([Search.note(*result) for result in results], device=logits.device)
        best = torch.where(better[:, None, None, None], queries, batch.best)
        ended, remaining = replace(batch, best=best).split(
            [search.fooled or search.result.steps == self._queries for search in batch.searches]
        )
        self._finish(ended)
        self._active = [remaining] if len(remaining) else []
        return True

    def _admit(self, image: CleanImage, clean: int, classes: int) -> None:
        wrong = clean != image.label
        result = Queried(image.item, clean, 0 if wrong else None, clean)
        if wrong or (self._job.asked is not None and image.item.id not in self._job.asked):
            self._end(result)
        else:
            self._ready.append(Search(image, result))

    def _begin(self, states: Sequence[Search]) -> None:
        clean = self._job.tensor([search.image.image for search in states])
        epsilon = self._job.epsilons(clean, relative=self._job.relative_epsilon)
        self._active.append(_Batch(states, clean, clean, epsilon))

    def _next_queries(self, batch: _Batch, numbers: Sequence[int]) -> torch.Tensor:
        """The images of the next queries, whose numbers are given: (N, 3, S, S)."""
        seed, shape = self._job.seed, tuple(batch.clean.shape[1:])
        ids = [search.image.item.id for search in batch.searches]
        if self._job.probe.name == "noise":
            pairs = zip(ids, numbers, strict=True)
            values = np.stack([query_noise(seed, id, number, shape) for id, number in pairs])
            noise = torch.from_numpy(values).to(batch.clean)
            return (batch.clean + noise * batch.epsilon).clamp_(0, 1)
        squares = [
            square_of(seed, id, number, queries=self._queries, image_px=shape[-1])
            for id, number in zip(ids, numbers, strict=True)
        ]
        return with_squares(batch.best, batch.clean, batch.epsilon, squares)

    def _finish(self, batch: _Batch) -> None:
        pairs = distances(batch.best, batch.clean).tolist()
        for search, (linf, l2) in zip(batch.searches, pairs, strict=True):
            search.result.linf, search.result.l2 = linf, l2
            self._end(search.result)

    def _end(self, result: Queried) -> None:
        self._results.append(result)
        self._advance(1)
