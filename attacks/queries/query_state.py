"""Images that are asked about: how far each search is, and what becomes of it."""

import math
from dataclasses import dataclass

from ...contracts import Item
from ..pgd.attempts import CleanImage


@dataclass(frozen=True)
class Queried:
    """What became of an image. Queries count from 1, none is never.

    Attributes:
        item: The image.
        clean: The class that is predicted without a query.
        changed_step: The first query that is not classified as the label; 0 where the clean image
            is not.
        last: The class of the judged image.
        steps: How many queries were made.
        linf: Distance of the judged image, the first that fooled or else the one of the least
            margin; 0 without a query.
        l2: The same in L2.
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
    """An image under way.

    Attributes:
        image: The image.
        clean: Its class without a query.
        asked: How many queries were made.
        margin: The least so far.
        changed: The class that fooled.
    """

    image: CleanImage
    clean: int
    asked: int = 0
    margin: float = math.inf
    changed: int | None = None

    @property
    def wrong(self) -> bool:
        """Whether there is nothing to find."""
        return self.clean != self.image.label

    def answered(self, predicted: int, margin: float) -> bool:
        """Note what a query gave; whether it is the best one so far."""
        self.asked += 1
        if predicted != self.image.label:
            self.changed = predicted
        better = margin < self.margin or self.changed is not None
        if better:
            self.margin = margin
        return better

    def over(self, queries: int) -> bool:
        """Whether its label was left, or so many queries were made."""
        return self.changed is not None or self.asked == queries

    def ended(self, linf: float = 0.0, l2: float = 0.0) -> Queried:
        """The image as it is recorded."""
        fooled = self.changed is not None
        return Queried(
            item=self.image.item,
            clean=self.clean,
            changed_step=0 if self.wrong else self.asked if fooled else None,
            last=self.clean if self.changed is None else self.changed,
            steps=self.asked,
            linf=linf,
            l2=l2,
        )
