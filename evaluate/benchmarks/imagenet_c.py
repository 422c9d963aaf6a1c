"""ImageNet-C: 15 corruptions at 5 severities of the 50,000 validation photos, stored at 224 px.

The four extra corruptions of the archive (speckle_noise, spatter, gaussian_blur, saturate) are for
validation only and are never part of mCE.

A cell is one corruption at one severity. The images are the same in all cells. A metric is linear
in the errors of its cells, so it is also the mean of one score per image. Where a cell is missing
the metric is refused; it is never computed from the other cells.

Source: Hendrycks & Dietterich, "Benchmarking Neural Network Robustness to Common Corruptions and
Perturbations", ICLR 2019.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

from ...contracts import ALEXNET_ERROR, BENCHMARK_INFO, Benchmark, Condition, Number
from ..decode import decode_stimulus
from ..layouts import CORRUPTIONS, IMAGES_IN_CLASS_FOLDERS, SEVERITIES
from ..metrics.corruption_error import CorruptionError, mce, mean_error, relative_mce
from ..metrics.mean_interval import weighted_bounds, weighted_scores
from .image_metrics import TOP_ERRORS
from .numbers import Mean, Model, both_scored, count_fields, mean_number
from .pairs import outcomes_in_order, paired_outcomes
from .top5 import ALL_SKIPPED, SCHEMA, Outcomes, record_top5

INFO = BENCHMARK_INFO["imagenet-c"]

ALEXNET_CLEAN_ERROR = 0.435
"""AlexNet's top-1 error on the clean images. A fit, not a printed figure: every value from 0.4345
to 0.4355 reproduces the relative mCE that Orhan (2019) printed. torchvision's AlexNet: 0.4348."""

CONDITIONS = tuple(
    Condition((("corruption", corruption), ("severity", severity)))
    for corruption in CORRUPTIONS
    for severity in SEVERITIES
)

NO_CLEAN = (
    "it needs the clean error: give the imagenet run of the same model and engine beside this one"
)
CLEAN_LACKS = "the imagenet run lacks some of the images scored here"


@dataclass(frozen=True)
class CellMetric:
    """A metric over cells.

    Attributes:
        name: Name in reports.
        corruption: Corruption whose cells it covers; `None` if it covers all corruptions.
        error: Its arithmetic.
    """

    name: str
    corruption: str | None
    error: CorruptionError

    @property
    def cells(self) -> list[Condition]:
        """The cells that it covers."""
        return [cell for cell in CONDITIONS if cell["corruption"] in self.error.baseline]

    def mean(self, outcomes: Sequence[Outcomes]) -> Mean:
        """The value for one model, and a score per image.

        Args:
            outcomes: Outcomes of the same images in each of its cells, then without corruption if
                it needs the clean error.
        """
        cells, cell_weights = self.cells, self.error.cell_weights
        errors = {name: np.zeros(len(SEVERITIES)) for name in self.error.baseline}
        for cell, in_cell in zip(cells, outcomes, strict=False):
            errors[str(cell["corruption"])][int(cell["severity"]) - 1] = in_cell.error
        weights = [cell_weights[str(cell["corruption"])] for cell in cells]
        if self.error.relative:
            weights.append(self.error.clean_weight)
        wrong = ~np.stack([group.top1 for group in outcomes])
        scored = np.stack([group.scored for group in outcomes])
        return Mean(
            self.error.value(errors, clean_error=outcomes[-1].error),
            weighted_scores(wrong, scored, np.array(weights)),
            weighted_bounds(np.array(weights)),
        )


@dataclass(frozen=True)
class CorruptionGrid:
    """Outcomes of the same N images in each cell, of each model.

    Attributes:
        outcomes: Outcomes in each cell that all models have finished.
        clean: Outcomes of the same images without corruption, in the same order; `None` if those of
            a model are not known.
        without_clean: Reason why ``clean`` is `None`.
    """

    outcomes: Mapping[Condition, Sequence[Outcomes]]
    clean: Sequence[Outcomes] | None
    without_clean: str

    def outcomes_in(self, metric: CellMetric) -> dict[str, Sequence[Outcomes]]:
        """The outcomes in the finished cells of a metric, and the clean ones if it needs them."""
        cells = [cell for cell in metric.cells if cell in self.outcomes]
        outcomes = {str(cell): self.outcomes[cell] for cell in cells}
        if metric.error.relative and self.clean is not None:
            outcomes["the clean images"] = self.clean
        return outcomes

    def refusal(self, metric: CellMetric) -> str | None:
        """Why a metric cannot be computed; `None` if it can."""
        missing = [cell for cell in metric.cells if cell not in self.outcomes]
        if missing:
            return _missing(missing)
        if metric.error.relative and self.clean is None:
            return self.without_clean
        outcomes = self.outcomes_in(metric)
        empty = [name for name, (first, *_) in outcomes.items() if first.n == 0]
        return f"{ALL_SKIPPED} in {empty[0]}" if empty else None


def _numbers(*models: Model) -> Iterator[Number]:
    """The metrics over cells, then those of each cell.

    Metrics of absent corruptions are left out. A relative metric of one corruption is left out
    as well where it is refused: that of all corruptions gives the reason.
    """
    grid = _grid(models)
    for metric in METRICS:
        refusal = grid.refusal(metric)
        if metric.corruption is not None:
            absent = not grid.outcomes.keys() & metric.cells
            if absent or (metric.error.relative and refusal is not None):
                continue
        outcomes = grid.outcomes_in(metric).values()
        counts = count_fields([first for first, *_ in outcomes], INFO.published_items)
        fields = {"metric": metric.name, "corruption": metric.corruption, **counts}
        by_model = list(zip(*outcomes, strict=True))
        yield mean_number(fields, refusal, metric.mean, by_model)
    for condition, in_cell in grid.outcomes.items():
        for number in TOP_ERRORS.numbers(in_cell, INFO.published_items):
            yield replace(number, fields={**number.fields, **dict(condition.values)})


def _grid(models: Sequence[Model]) -> CorruptionGrid:
    outcomes: dict[Condition, Sequence[Outcomes]] = {}
    clean = None
    for condition in CONDITIONS:
        if all(condition in records for records, _ in models):
            tables = [records[condition] for records, _ in models]
            if not outcomes:
                clean = _clean_outcomes(models, tables[0]["id"])
            outcomes[condition] = paired_outcomes(tables)
    known = all(auxiliary.clean is not None for _, auxiliary in models)
    return CorruptionGrid(outcomes, clean, CLEAN_LACKS if known else NO_CLEAN)


def _clean_outcomes(models: Sequence[Model], ids: pa.ChunkedArray) -> Sequence[Outcomes] | None:
    """The outcomes of each model for the images with these ids; `None` if one is missing."""
    tables = [auxiliary.clean for _, auxiliary in models if auxiliary.clean is not None]
    in_order = [outcomes_in_order(table, ids) for table in tables]
    outcomes = [of_model for of_model in in_order if of_model is not None]
    return both_scored(outcomes) if len(outcomes) == len(models) else None


def _missing(missing: Sequence[Condition]) -> str:
    """Which cells are missing: ``2 of 75 cells are missing: fog, snow at severity 3``."""
    groups: dict[tuple[int, ...], list[str]] = {}
    for corruption in CORRUPTIONS:
        severities = tuple(int(c["severity"]) for c in missing if c["corruption"] == corruption)
        if severities:
            groups.setdefault(severities, []).append(corruption)
    parts = []
    for severities, names in groups.items():
        part = "every corruption" if len(names) == len(CORRUPTIONS) else ", ".join(names)
        if len(severities) < len(SEVERITIES):
            part += f" at severity {', '.join(map(str, severities))}"
        parts.append(part)
    return f"{len(missing)} of {len(CONDITIONS)} cells are missing: {'; '.join(parts)}"


def _metrics() -> Iterator[CellMetric]:
    """The means over all corruptions, then the CE and the relative CE of each corruption."""
    yield CellMetric("mean_error", None, mean_error(CORRUPTIONS))
    yield CellMetric("mce", None, mce(ALEXNET_ERROR))
    yield CellMetric("relative_mce", None, relative_mce(ALEXNET_ERROR, ALEXNET_CLEAN_ERROR))
    for name, error in ALEXNET_ERROR.items():
        yield CellMetric("ce", name, mce({name: error}))
        yield CellMetric("relative_ce", name, relative_mce({name: error}, ALEXNET_CLEAN_ERROR))


METRICS = tuple(_metrics())

IMAGENET_C = Benchmark(
    info=INFO,
    conditions=CONDITIONS,
    stimuli_px=224,
    layout=IMAGES_IN_CLASS_FOLDERS,
    protocol="imagenet-c-1",
    schema=SCHEMA,
    decode=decode_stimulus,
    record=record_top5,
    numbers=_numbers,
)
