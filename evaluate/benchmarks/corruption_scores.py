"""Metrics from records of corrupted images: of one model, and of two on the same images."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa

from ...contracts import AuxiliaryRecords, Condition, Difference, Score
from ..metrics.mean_interval import mean_interval, weighted_bounds
from .corruption_grid import CorruptionGrid, GridMetric
from .image_metrics import TOP_ERRORS
from .pairs import outcomes_in_order, pair_of, paired
from .score_fields import count_fields, difference_fields, interval_fields
from .top5 import Outcomes, Records, outcomes_of

NO_CLEAN = (
    "it needs the clean error: give the imagenet run of the same model and engine beside this one"
)
CLEAN_LACKS = "the imagenet run lacks some of the images scored here"


@dataclass(frozen=True)
class CorruptedImages:
    """A benchmark of corruptions at severities.

    Attributes:
        conditions: Cells of the benchmark.
        metrics: Metrics over the cells, in the order of a report.
        published_items: Number of images in each cell of the published benchmark.
    """

    conditions: tuple[Condition, ...]
    metrics: tuple[GridMetric, ...]
    published_items: int

    def scores(self, records: Records, auxiliary: AuxiliaryRecords) -> Iterator[Score]:
        """Every score of one model."""
        grid = self._grid(records, auxiliary.clean)
        for metric, refusal in self._reported(grid):
            score = Score(**self._facts(metric, grid), reason=refusal)
            if refusal is None:
                bounds = weighted_bounds(metric.error_weights(grid.cells(metric)))
                interval = interval_fields(mean_interval(grid.image_scores(metric), bounds))
                score = replace(score, value=grid.value(metric), **interval)
            yield score
        for condition, outcomes in grid.outcomes.items():
            for score in TOP_ERRORS.scores(outcomes, self.published_items):
                yield replace(score, **_keys(condition))

    def differences(
        self, a: Records, b: Records, auxiliary_a: AuxiliaryRecords, auxiliary_b: AuxiliaryRecords
    ) -> Iterator[Difference]:
        """Every difference of two models, over the images that both scored."""
        grid_a, grid_b = self._paired_grids(a, b, auxiliary_a.clean, auxiliary_b.clean)
        for metric, refusal in self._reported(grid_a):
            difference = Difference(**self._facts(metric, grid_a), reason=refusal)
            if refusal is None:
                difference = replace(difference, **_paired_values(metric, grid_a, grid_b))
            yield difference
        for condition, outcomes in grid_a.outcomes.items():
            other = grid_b.outcomes[condition]
            for difference in TOP_ERRORS.differences(outcomes, other, self.published_items):
                yield replace(difference, **_keys(condition))

    def _grid(self, records: Records, clean: pa.Table | None) -> CorruptionGrid:
        outcomes: dict[Condition, Outcomes] = {}
        same = None
        for condition in self.conditions:
            if condition in records:
                table = records[condition]
                if not outcomes and clean is not None:
                    same = outcomes_in_order(clean, table["id"])
                outcomes[condition] = outcomes_of(table)
        return CorruptionGrid(
            self.conditions, outcomes, same, NO_CLEAN if clean is None else CLEAN_LACKS
        )

    def _paired_grids(
        self, a: Records, b: Records, clean_a: pa.Table | None, clean_b: pa.Table | None
    ) -> tuple[CorruptionGrid, CorruptionGrid]:
        """Both models' cells that both have, over the images that both scored."""
        pairs: dict[Condition, tuple[Outcomes, Outcomes]] = {}
        same: tuple[Outcomes, Outcomes] | None = None
        for condition in self.conditions:
            if condition in a and condition in b:
                table = a[condition]
                if not pairs and clean_a is not None and clean_b is not None:
                    same = _clean_pair(clean_a, clean_b, table["id"])
                pairs[condition] = pair_of(table, b[condition])
        without = NO_CLEAN if clean_a is None or clean_b is None else CLEAN_LACKS
        grid_a, grid_b = (
            CorruptionGrid(
                self.conditions,
                {condition: pair[side] for condition, pair in pairs.items()},
                same and same[side],
                without,
            )
            for side in (0, 1)
        )
        return grid_a, grid_b

    def _reported(self, grid: CorruptionGrid) -> Iterator[tuple[GridMetric, str | None]]:
        """Each metric, with the reason if it is refused; those of absent corruptions are left out.

        A relative metric of one corruption is left out as well where it is refused: that of all
        corruptions gives the reason.
        """
        for metric in self.metrics:
            refusal = grid.refusal(metric)
            if metric.corruption is not None:
                absent = not grid.has_any(metric)
                if absent or (metric.relative and refusal is not None):
                    continue
            yield metric, refusal

    def _facts(self, metric: GridMetric, grid: CorruptionGrid) -> dict[str, Any]:
        counts = count_fields(grid.outcomes_in(metric), self.published_items)
        return {"metric": metric.name, "corruption": metric.corruption, **counts}


def _paired_values(metric: GridMetric, a: CorruptionGrid, b: CorruptionGrid) -> dict[str, Any]:
    low, high = weighted_bounds(metric.error_weights(a.cells(metric)))
    gains = b.image_scores(metric) - a.image_scores(metric)
    interval = mean_interval(gains, (low - high, high - low))
    return difference_fields(a.value(metric), b.value(metric), interval)


def _clean_pair(
    clean_a: pa.Table, clean_b: pa.Table, ids: pa.ChunkedArray
) -> tuple[Outcomes, Outcomes] | None:
    a, b = (outcomes_in_order(clean, ids) for clean in (clean_a, clean_b))
    return None if a is None or b is None else paired(a, b)


def _keys(condition: Condition) -> dict[str, Any]:
    """The condition, as the fields of a score or a difference."""
    return dict(condition.values)
