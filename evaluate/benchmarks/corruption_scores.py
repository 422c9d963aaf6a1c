"""What records of corrupted images add up to: of one model, and of two on the same images."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa

from ...contracts import AuxiliaryRecords, Condition, Difference, Score
from ..metrics.mean_interval import mean_interval, weighted_bounds
from .cells import CorruptionGrid, Number
from .pairs import error_differences, outcomes_in_order, pair_of, paired
from .top5 import Outcomes, calibration_scores, error_scores, outcomes_of

Records = Mapping[Condition, pa.Table]

NO_CLEAN = (
    "it needs the clean error: give the imagenet run of the same model and engine beside this one"
)
CLEAN_LACKS = "the imagenet run lacks some of the images scored here"


@dataclass(frozen=True)
class CorruptedImages:
    """A benchmark of corruptions at severities.

    Attributes:
        conditions: Its cells.
        numbers: Over them, in the order of a report.
        published_items: In each cell.
    """

    conditions: tuple[Condition, ...]
    numbers: tuple[Number, ...]
    published_items: int

    def scores(self, records: Records, beside: AuxiliaryRecords) -> Iterator[Score]:
        """Every number of one model."""
        cells = self._cells(records, beside.clean)
        for number, refusal in self._shown(cells):
            score = Score(**self._facts(number, cells), reason=refusal)
            if refusal is None:
                bounds = weighted_bounds(number.error_weights(cells.wanted(number)))
                interval = mean_interval(cells.image_scores(number), bounds)
                low, high = interval or (None, None)
                score = replace(score, value=cells.value(number), low=low, high=high)
            yield score
        for condition, outcomes in cells.outcomes.items():
            for measured in (error_scores, calibration_scores):
                for score in measured(outcomes, self.published_items):
                    yield replace(score, **_place(condition))

    def differences(
        self, a: Records, b: Records, beside_a: AuxiliaryRecords, beside_b: AuxiliaryRecords
    ) -> Iterator[Difference]:
        """Every number of two models, over the images that both scored."""
        first, second = self._paired_cells(a, b, beside_a.clean, beside_b.clean)
        for number, refusal in self._shown(first):
            found = Difference(**self._facts(number, first), reason=refusal)
            if refusal is None:
                low, high = weighted_bounds(number.error_weights(first.wanted(number)))
                scores = second.image_scores(number) - first.image_scores(number)
                interval = mean_interval(scores, (low - high, high - low))
                low_high = interval or (None, None)
                of_a, of_b = first.value(number), second.value(number)
                found = replace(found, a=of_a, b=of_b, difference=of_b - of_a)
                found = replace(found, low=low_high[0], high=low_high[1])
            yield found
        for condition, outcomes in first.outcomes.items():
            other = second.outcomes[condition]
            for difference in error_differences(outcomes, other, self.published_items):
                yield replace(difference, **_place(condition))

    def _cells(self, records: Records, clean: pa.Table | None) -> CorruptionGrid:
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

    def _paired_cells(
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
        first, second = (
            CorruptionGrid(
                self.conditions,
                {condition: pair[side] for condition, pair in pairs.items()},
                same and same[side],
                without,
            )
            for side in (0, 1)
        )
        return first, second

    def _shown(self, cells: CorruptionGrid) -> Iterator[tuple[Number, str | None]]:
        """Each number, and why it is refused if it is; none of a corruption that is not there."""
        for number in self.numbers:
            refusal = cells.refusal(number)
            if number.corruption is not None:
                absent = not cells.begun(number)
                if absent or (number.relative and refusal is not None):
                    continue
            yield number, refusal

    def _facts(self, number: Number, cells: CorruptionGrid) -> dict[str, Any]:
        names = {"metric": number.metric, "corruption": number.corruption}
        return {**names, **cells.counts(number, self.published_items)}


def _clean_pair(
    clean_a: pa.Table, clean_b: pa.Table, ids: pa.ChunkedArray
) -> tuple[Outcomes, Outcomes] | None:
    a, b = (outcomes_in_order(clean, ids) for clean in (clean_a, clean_b))
    return None if a is None or b is None else paired(a, b)


def _place(condition: Condition) -> dict[str, Any]:
    return {"corruption": condition["corruption"], "severity": condition["severity"]}
