"""Table of a benchmark without a module of its own: one column a metric, one row a model.

With it, a new benchmark is in the report before a module is written for it.
"""

from collections.abc import Iterator, Sequence

from ...contracts import BENCHMARK_INFO, SCORE_KEYS
from ..footnotes import TableCell
from ..metric_info import quantity_of
from ..model_results import ModelResults, ReportContents, keys_of, refusals
from ..table import Table
from ..table_layout import Row, table_of_rows


def generic_tables(contents: ReportContents, benchmark: str) -> list[Table]:
    """All numbers of a benchmark; a model has a row for each condition of its numbers."""
    models = [e for e in (*contents.models, *contents.published) if any(e.of(benchmark))]
    scores = [score for model in models for score in model.of(benchmark)]
    metrics = list(dict.fromkeys(score.metric for score in scores))
    rows = [row for model in models for row in _rows(model, benchmark, metrics)]
    words = ("model", "condition") if any(row.words[1] for row in rows) else ("model",)
    numbers = [
        (benchmark, s.metric, dict(zip(SCORE_KEYS, keys_of(s), strict=True))) for s in scores
    ]
    return [
        table_of_rows(
            BENCHMARK_INFO[benchmark].title,
            (*words, *(quantity_of(metric).heading for metric in metrics)),
            [Row(row.words[: len(words)], row.cells) for row in rows],
            refusals(contents.models, numbers),
        )
    ]


def _rows(results: ModelResults, benchmark: str, metrics: Sequence[str]) -> Iterator[Row]:
    cells: dict[tuple[object, ...], dict[str, TableCell]] = {}
    for score in results.of(benchmark):
        cells.setdefault(keys_of(score), {}).setdefault(score.metric, results.cell(score))
    for keys, cells_by_metric in cells.items():
        condition = ", ".join(str(key) for key in keys if key is not None)
        yield Row(
            (results.name, condition),
            [cells_by_metric.get(metric, TableCell()) for metric in metrics],
        )
