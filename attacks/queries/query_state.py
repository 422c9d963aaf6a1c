"""Images that the network is queried about: the state of each search, and its result."""

import math
from dataclasses import dataclass

from ...contracts import Item
from ..pgd.attempts import CleanImage


@dataclass(frozen=True)
class Queried:
    """Result of the queries about an image. Queries count from 1; ``None`` if no query did it.

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
    steps: int
    linf: float
    l2: float


@dataclass
class Search:
    """State of the search on an image.

    Attributes:
        image: The image.
        clean: Class of the clean image.
        queries: Number of queries made.
        margin: Smallest margin so far.
        changed: Class of the query that fooled; ``None`` if none did.
    """

    image: CleanImage
    clean: int
    queries: int = 0
    margin: float = math.inf
    changed: int | None = None

    @property
    def wrong(self) -> bool:
        """Whether the clean image is misclassified, so that there is nothing to find."""
        return self.clean != self.image.label

    def note(self, predicted: int, margin: float) -> bool:
        """Record the result of a query. Returns whether it is the best one so far."""
        self.queries += 1
        if predicted != self.image.label:
            self.changed = predicted
        better = margin < self.margin or self.changed is not None
        if better:
            self.margin = margin
        return better

    def is_over(self, queries: int) -> bool:
        """Whether a query fooled the network, or this number of queries was made."""
        return self.changed is not None or self.queries == queries

    def result(self, linf: float = 0.0, l2: float = 0.0) -> Queried:
        """Result of the search, with the distances of the best query."""
        fooled = self.changed is not None
        return Queried(
            item=self.image.item,
            clean=self.clean,
            changed_step=0 if self.wrong else self.queries if fooled else None,
            last=self.clean if self.changed is None else self.changed,
            steps=self.queries,
            linf=linf,
            l2=l2,
        )
