"""Numbers over the cells of a benchmark of corruptions, each the mean of one score an image.

The images are the same in all cells. A number over cells is linear in their errors; where a cell is
missing it is refused, never made of the others.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from ...contracts import Condition
from ..metrics.corruption_error import SEVERITIES, Errors, Weights
from ..metrics.mean_interval import weighted_scores
from .top5 import ALL_SKIPPED, Outcomes


@dataclass(frozen=True)
class Number:
    """A number over cells.

    Attributes:
        metric: Its name.
        corruption: None where it is over all of them.
        value: From the errors of each corruption, and the clean error, to the number.
        weights: What each error counts in it.
    """

    metric: str
    corruption: str | None
    value: Callable[[Errors, float], float]
    weights: Weights

    @property
    def relative(self) -> bool:
        """Whether it needs the clean error."""
        return self.weights.clean != 0

    def error_weights(self, conditions: Sequence[Condition]) -> npt.NDArray[np.float64]:
        """What each cell's error counts, then what the clean error does if it does."""
        cells = [self.weights.cells[str(c["corruption"])] for c in conditions]
        return np.array([*cells, self.weights.clean] if self.relative else cells)


@dataclass(frozen=True)
class CorruptionGrid:
    """What became of the same N images in each cell of a benchmark.

    Attributes:
        conditions: All that the benchmark has.
        outcomes: Of the cells that are there.
        clean: Of the same images without corruption, in the same order, where they are at hand.
        without_clean: Why they are not.
    """

    conditions: tuple[Condition, ...]
    outcomes: Mapping[Condition, Outcomes] = field(default_factory=dict)
    clean: Outcomes | None = None
    without_clean: str = ""

    def wanted(self, number: Number) -> list[Condition]:
        """The cells that a number is over."""
        return [c for c in self.conditions if c["corruption"] in number.weights.cells]

    def begun(self, number: Number) -> bool:
        """Whether one of them is there."""
        return any(c in self.outcomes for c in self.wanted(number))

    def refusal(self, number: Number) -> str | None:
        """Why a number cannot be had, if so."""
        wanted = self.wanted(number)
        missing = [c for c in wanted if c not in self.outcomes]
        if missing:
            return _missing(missing, self.conditions)
        empty = [str(c) for c in wanted if self.outcomes[c].n == 0]
        if number.relative and self.clean is None:
            return self.without_clean
        if number.relative and self.clean is not None and self.clean.n == 0:
            empty.append("the clean images")
        return f"{ALL_SKIPPED} in {empty[0]}" if empty else None

    def counts(self, number: Number, published_items: int) -> dict[str, int | bool]:
        """On how many images of each condition a number stands, and how many were skipped."""
        those = self._outcomes(number)
        return {
            "n": min((o.n for o in those), default=0),
            "skipped": sum(o.skipped for o in those),
            "complete": bool(those) and all(o.n == published_items for o in those),
        }

    def value(self, number: Number) -> float:
        """A number that is not refused."""
        errors: Errors = {name: np.zeros(SEVERITIES) for name in number.weights.cells}
        for condition in self.wanted(number):
            cell = self.outcomes[condition]
            errors[str(condition["corruption"])][int(condition["severity"]) - 1] = cell.error
        clean = self.clean.error if number.relative and self.clean is not None else 0.0
        return number.value(errors, clean)

    def image_scores(self, number: Number) -> npt.NDArray[np.float64]:
        """One score an image, whose mean is the value: (N,)."""
        those = self._outcomes(number)
        wrong, scored = ~np.stack([o.top1 for o in those]), np.stack([o.scored for o in those])
        return weighted_scores(wrong, scored, number.error_weights(self.wanted(number)))

    def _outcomes(self, number: Number) -> list[Outcomes]:
        cells = [self.outcomes[c] for c in self.wanted(number) if c in self.outcomes]
        return [*cells, self.clean] if number.relative and self.clean is not None else cells


def _missing(missing: Sequence[Condition], conditions: Sequence[Condition]) -> str:
    """Which cells are missing: ``2 of 75 cells are missing: fog, snow at severity 3``."""
    corruptions = dict.fromkeys(str(c["corruption"]) for c in conditions)
    groups: dict[tuple[int, ...], list[str]] = {}
    for corruption in corruptions:
        lacking = tuple(int(c["severity"]) for c in missing if c["corruption"] == corruption)
        if lacking:
            groups.setdefault(lacking, []).append(corruption)
    parts = []
    for lacking, names in groups.items():
        what = "every corruption" if len(names) == len(corruptions) else ", ".join(names)
        where = f" at severity {', '.join(map(str, lacking))}" if len(lacking) < SEVERITIES else ""
        parts.append(what + where)
    return f"{len(missing)} of {len(conditions)} cells are missing: {'; '.join(parts)}"
