"""Tables with one row a model: its numbers on every benchmark, and its calibration on ImageNet."""

from collections.abc import Iterable, Sequence

from ..metric_info import quantity_of
from ..model_results import ModelResults, NumberKey, ReportContents, refusals
from ..table import Table
from ..table_layout import Row, table_of_rows

COLUMNS: tuple[NumberKey, ...] = (
    ("imagenet", "top1_error", {}),
    ("imagenet", "top5_error", {}),
    ("imagenet-c", "mean_error", {}),
    ("imagenet-c", "mce", {}),
    ("imagenet-c", "relative_mce", {}),
    ("imagenet-p", "mfr", {}),
    ("imagenet-p", "mt5d", {}),
    ("cue-conflict", "shape_bias", {"rule": "mean", "stimuli": 1200}),
)

DEFINITIONS = {
    "mean_error": "mean error: top-1 error, mean over the 75 cells of ImageNet-C",
    "mce": "CE of a corruption: top-1 error, summed over its severities, as a fraction of "
    "AlexNet's; mCE: mean of the 15",
    "relative_mce": "relative CE: the same of what the errors exceed the clean error by (AlexNet's "
    "clean error, 43.5 %, is a fit to results of arXiv 1907.07640); relative mCE: mean of the 15",
    "mfr": "mFR: flip probability as a fraction of AlexNet's, mean of the 10 perturbations",
    "mt5d": "mT5D: the same of T5D, by how many ranks the top-5 predictions move between frames "
    "(by which run: below Table 1)",
    "shape_bias": "shape bias: of the decisions for a stimulus's shape or its texture, those for "
    "the shape; here by the rule mean, over the 1,200 stimuli in which they conflict",
}
"""Note that defines each metric, below the table. The formulas are in docs/protocols.md."""


CALIBRATION: tuple[NumberKey, ...] = (
    ("imagenet", "rms_calibration_error", {}),
    ("imagenet", "ece", {}),
)
CALIBRATION_NOTE = (
    "the probability of the likeliest class against how often it is right: root mean square over "
    "bins of 100 images, and (ECE) mean over 15 bins of equal width; of few images both are large "
    "by chance"
)


def summary_tables(contents: ReportContents) -> list[Table]:
    """First table of a report, the user's models first; empty if there are no numbers for it."""
    models = [*contents.models, *contents.published]
    columns = [
        (benchmark, metric, keys)
        for benchmark, metric, keys in COLUMNS
        if any(e.find(benchmark, metric, **keys) for e in contents.models or contents.published)
    ]
    if not columns:
        return []
    notes = (
        *(DEFINITIONS[metric] for _, metric, _ in columns if metric in DEFINITIONS),
        *refusals(contents.models, columns),
    )
    return [table_of_rows("Robustness", header(columns), rows_of(models, columns), notes)]


def calibration_tables(contents: ReportContents) -> list[Table]:
    """Calibration on ImageNet; the top-1 and top-5 errors are in the first table."""
    models = contents.with_number("imagenet", "ece")
    if not models:
        return []
    rows = rows_of(models, CALIBRATION)
    title = "Calibration on ImageNet validation"
    return [table_of_rows(title, header(CALIBRATION), rows, [CALIBRATION_NOTE])]


def rows_of(models: Iterable[ModelResults], numbers: Sequence[NumberKey]) -> list[Row]:
    """Rows of the models that have one of these numbers."""
    rows = [Row((results.name,), results.cells(numbers)) for results in models]
    return [row for row in rows if any(map(str, row.cells))]


def header(numbers: Iterable[NumberKey]) -> tuple[str, ...]:
    """Headers of a table with one row a model and these columns."""
    return ("model", *(quantity_of(metric).heading for _, metric, _ in numbers))
