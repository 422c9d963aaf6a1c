"""The first table of a report: one row a model, its numbers on every benchmark."""

from ..metric_info import quantity_of
from ..model_results import Number, ReportContents, refusals
from ..table import Table
from ..table_layout import Row, table_of_rows

COLUMNS: tuple[Number, ...] = (
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


def summary_tables(contents: ReportContents) -> list[Table]:
    """The table, the user's models first; empty if there are no numbers for it."""
    models = [*contents.models, *contents.published]
    columns = [
        (benchmark, metric, keys)
        for benchmark, metric, keys in COLUMNS
        if any(e.find(benchmark, metric, **keys) for e in contents.models or contents.published)
    ]
    if not columns:
        return []
    rows = [
        Row((results.name,), [results.cell(results.find(b, m, **keys)) for b, m, keys in columns])
        for results in models
    ]
    rows = [row for row in rows if any(map(str, row.cells))]
    notes = (
        *(DEFINITIONS[metric] for _, metric, _ in columns if metric in DEFINITIONS),
        *refusals(contents.models, columns),
    )
    header = ("model", *(quantity_of(metric).heading for _, metric, _ in columns))
    return [table_of_rows("Robustness", header, rows, notes)]
