"""ImageNet-P: flip probability, flip rate and top-5 distance of each perturbation."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from ...contracts import ALEXNET_FLIP_PROBABILITY
from ..footnotes import TableCell, percent
from ..model_results import ModelResults, ReportContents
from ..table import Table
from ..table_layout import Column, table_of_columns

BENCHMARK = "imagenet-p"


@dataclass(frozen=True)
class Measure:
    """A quantity of each perturbation that is shown in a column.

    Attributes:
        metric: Metric that it is computed from.
        heading: Heading of its column.
        title: Title of its table.
        note: Definition, as a note below the table.
    """

    metric: str
    heading: str
    title: str
    note: str


FLIP_RATE = Measure(
    "flip_probability",
    "flip rate FR %",
    "Flip rate, FR % (AlexNet = 100)",
    "FR: flip probability as a fraction of AlexNet's published one",
)
MEASURES = (
    Measure(
        "flip_probability",
        "flip probability %",
        "Flip probability %",
        "flip probability: how often the likeliest class differs between two frames, mean over the "
        "sequences; under noise each frame is compared with the first, else with the one before",
    ),
    FLIP_RATE,
    Measure(
        "t5d",
        "T5D",
        "Top-5 distance, T5D (ranks; 0: nothing moves, 18: the most)",
        "T5D: by how many ranks the top-5 predictions move between the same frames, summed over "
        "the five",
    ),
)


def perturbation_tables(contents: ReportContents) -> list[Table]:
    """One table of all measures for a single model; for several, one table for each measure."""
    scored = contents.with_number(BENCHMARK, "flip_probability")
    models = [*scored, *contents.published_with(BENCHMARK, "flip_probability")]
    if not scored:
        return []
    measured = list(_measured_mfr(scored))
    names = tuple(ALEXNET_FLIP_PROBABILITY)
    if len(models) == 1:
        columns = [Column(measure.heading, _cells(models[0], measure)) for measure in MEASURES]
        notes = [*(measure.note for measure in MEASURES), *measured]
        title = f"{models[0].name}: ImageNet-P"
        return [table_of_columns(title, "perturbation", names, columns, notes=notes)]
    tables = []
    for measure in MEASURES:
        columns = [Column(model.name, _cells(model, measure)) for model in models]
        notes = [measure.note, *(measured if measure is FLIP_RATE else [])]
        tables.append(table_of_columns(measure.title, "perturbation", names, columns, notes=notes))
    return tables


def _measured_mfr(models: Iterable[ModelResults]) -> Iterator[str]:
    """Notes on mFRs that are normalised by a run, not by AlexNet's published probabilities."""
    for results in models:
        for score in results.of(BENCHMARK, "mfr"):
            if score.normalize_by is not None and score.value is not None:
                cell = results.cell(score)
                label = f"mFR normalised by the run {score.normalize_by}"
                yield f"{results.name}: {label}: {cell.text} %{cell.marks}"


def _cells(results: ModelResults, measure: Measure) -> list[TableCell]:
    """Cells of all perturbations; a cell is empty if its perturbation was not scored."""
    cells = []
    for name in ALEXNET_FLIP_PROBABILITY:
        score = results.find(BENCHMARK, measure.metric, perturbation=name)
        cell = results.cell(score, interval=False)
        if measure is FLIP_RATE and score is not None and score.value is not None:
            rate = score.value / ALEXNET_FLIP_PROBABILITY[name]
            cell = replace(cell, text=percent(rate, None, None))
        cells.append(cell)
    return cells
