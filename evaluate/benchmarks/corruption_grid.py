"""Metrics over the cells of a benchmark of corruptions: a cell is one corruption at one severity.

The images are the same in all cells. A metric is linear in the errors of its cells, so it is also
the mean of one score per image. Where a cell is missing the metric is refused; it is never computed
from the other cells.
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
class GridMetric:
    """A metric over cells.

    Attributes:
        name: Name in reports.
        corruption: Corruption whose cells it covers; `None` if it covers all corruptions.
        value: Value from the errors of each corruption and the clean error.
        weights: Weight of each error in the value.
    """

    name: str
    corruption: str | None
    value: Callable[[Errors, float], float]
    weights: Weights

    @property
    def relative(self) -> bool:
        """Whether it needs the clean error."""
        return self.weights.clean != 0

    def error_weights(self, cells: Sequence[Condition]) -> npt.NDArray[np.float64]:
        """The weight of the error of each cell, then that of the clean error if it is needed."""
        weights = [self.weights.cells[str(cell["corruption"])] for cell in cells]
        return np.array([*weights, self.weights.clean] if self.relative else weights)


@dataclass(frozen=True)
class CorruptionGrid:
    """Outcomes of the same N images in each cell of a benchmark.

    Attributes:
        conditions: All cells of the benchmark.
        outcomes: Outcomes in each finished cell.
        clean: Outcomes of the same images without corruption, in the same order; `None` if they
            are not known.
        without_clean: Reason why ``clean`` is `None`.
    """

    conditions: tuple[Condition, ...]
    outcomes: Mapping[Condition, Outcomes] = field(default_factory=dict)
    clean: Outcomes | None = None
    without_clean: str = ""

    def cells(self, metric: GridMetric) -> list[Condition]:
        """The cells that a metric covers, finished or not."""
        return [c for c in self.conditions if c["corruption"] in metric.weights.cells]

    def has_any(self, metric: GridMetric) -> bool:
        """Whether at least one cell of a metric is finished."""
        return any(cell in self.outcomes for cell in self.cells(metric))

    def refusal(self, metric: GridMetric) -> str | None:
        """Why a metric cannot be computed; `None` if it can."""
        cells = self.cells(metric)
        missing = [cell for cell in cells if cell not in self.outcomes]
        if missing:
            return _missing(missing, self.conditions)
        if metric.relative and self.clean is None:
            return self.without_clean
        names = [*map(str, cells), "the clean images"]
        outcomes = self.outcomes_in(metric)
        empty = [name for name, o in zip(names, outcomes, strict=False) if o.n == 0]
        return f"{ALL_SKIPPED} in {empty[0]}" if empty else None

    def value(self, metric: GridMetric) -> float:
        """The value of a metric that is not refused."""
        errors: Errors = {name: np.zeros(SEVERITIES) for name in metric.weights.cells}
        for cell in self.cells(metric):
            error = self.outcomes[cell].error
            errors[str(cell["corruption"])][int(cell["severity"]) - 1] = error
        clean = self.clean.error if metric.relative and self.clean is not None else 0.0
        return metric.value(errors, clean)

    def image_scores(self, metric: GridMetric) -> npt.NDArray[np.float64]:
        """One score per image, whose mean is the value: (N,)."""
        outcomes = self.outcomes_in(metric)
        wrong = ~np.stack([o.top1 for o in outcomes])
        scored = np.stack([o.scored for o in outcomes])
        return weighted_scores(wrong, scored, metric.error_weights(self.cells(metric)))

    def outcomes_in(self, metric: GridMetric) -> list[Outcomes]:
        """The outcomes in the finished cells of a metric, then the clean ones if it needs them."""
        outcomes = [self.outcomes[c] for c in self.cells(metric) if c in self.outcomes]
        if metric.relative and self.clean is not None:
            outcomes.append(self.clean)
        return outcomes


def _missing(missing: Sequence[Condition], conditions: Sequence[Condition]) -> str:
    """Which cells are missing: ``2 of 75 cells are missing: fog, snow at severity 3``."""
    corruptions = dict.fromkeys(str(c["corruption"]) for c in conditions)
    groups: dict[tuple[int, ...], list[str]] = {}
    for corruption in corruptions:
        severities = tuple(int(c["severity"]) for c in missing if c["corruption"] == corruption)
        if severities:
            groups.setdefault(severities, []).append(corruption)
    parts = []
    for severities, names in groups.items():
        part = "every corruption" if len(names) == len(corruptions) else ", ".join(names)
        if len(severities) < SEVERITIES:
            part += f" at severity {', '.join(map(str, severities))}"
        parts.append(part)
    return f"{len(missing)} of {len(conditions)} cells are missing: {'; '.join(parts)}"
