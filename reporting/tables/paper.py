"""The paper's Table 1 with the user's models above it.

Its Table 2: ``paper_attack.py``; its Table 3: ``shape_bias.py``.
"""

from collections.abc import Iterator

from ..footnotes import TableCell
from ..metric_info import quantity_of
from ..model_results import ModelResults, Number, ReportContents, refusals
from ..published.paper import SOURCE, printed_table
from ..table import Table
from ..table_layout import Row, table_of_rows

COLUMNS = {
    "mce": "imagenet-c",
    "relative_mce": "imagenet-c",
    "mt5d": "imagenet-p",
    "mfr": "imagenet-p",
}
"""Metrics of the columns of Table 1, in its order, and the benchmark of each."""

PAPERS_BASELINE = (
    "mT5D as printed is normalised by the AlexNet of Hendrycks & Dietterich (2019), whose T5D is "
    "not published"
)


def paper_tables(contents: ReportContents) -> list[Table]:
    """Table 1: the user's models, then all rows as printed; empty without own numbers."""
    rows = [Row((results.name,), _cells(results)) for results in contents.models]
    rows = [row for row in rows if any(map(str, row.cells))]
    if not any(cell.of is not None for row in rows for cell in row.cells):
        return []
    printed = printed_table("table1")
    for name, values in printed.rows.items():
        cells = [TableCell("" if value is None else f"{value:.1f}") for value in values]
        rows.append(Row((f"{name}, as printed",), cells))
    numbers: list[Number] = [(benchmark, metric, {}) for metric, benchmark in COLUMNS.items()]
    return [
        table_of_rows(
            f"Table 1 of {SOURCE}: {printed.caption}",
            ("model", *(quantity_of(metric).heading for metric in COLUMNS)),
            rows,
            (*_baselines(contents), *refusals(contents.models, numbers)),
        )
    ]


def _cells(results: ModelResults) -> list[TableCell]:
    return [results.cell(results.find(benchmark, metric)) for metric, benchmark in COLUMNS.items()]


def _baselines(contents: ReportContents) -> Iterator[str]:
    """Notes on the run by which each mT5D is normalised."""
    own = [(results.name, results.find("imagenet-p", "mt5d")) for results in contents.models]
    for name, score in own:
        if score is not None and score.value is not None:
            yield f"{name}: mT5D is normalised by the run {score.normalize_by}"
    yield PAPERS_BASELINE
