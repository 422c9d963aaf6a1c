"""ImageNet-C: CE and relative CE of each corruption, and the error at each severity."""

from collections.abc import Sequence

from ...contracts import Score
from ..footnotes import common_marks, legend
from ..model_results import ModelResults, ReportContents, refused_conditions
from ..table import Table
from ..table_layout import Column, table_of_columns

BENCHMARK = "imagenet-c"
SEVERITIES = (1, 2, 3, 4, 5)
CE_TITLES = {
    "ce": "Corruption error, CE % (AlexNet = 100)",
    "relative_ce": "Relative corruption error, relative CE % (AlexNet = 100)",
}


def corruption_tables(contents: ReportContents) -> list[Table]:
    """CE and relative CE, models side by side; then one table by severity for each model."""
    tables = []
    for metric in CE_TITLES:
        known = contents.with_number(BENCHMARK, metric)
        published = contents.published_with(BENCHMARK, metric)
        if known and len(known) + len(published) > 1:
            tables.append(_side_by_side([*known, *published], metric))
    return [*tables, *(_by_severity(results) for results in contents.with_number(BENCHMARK, "ce"))]


def _side_by_side(models: Sequence[ModelResults], metric: str) -> Table:
    """One metric of each corruption, ``ce`` or ``relative_ce``, with a column for each model."""
    scores = (score for results in models for score in results.of(BENCHMARK, metric))
    corruptions = list(dict.fromkeys(str(score.corruption) for score in scores))
    columns = []
    for results in models:
        scores_of_model = (results.find(BENCHMARK, metric, corruption=name) for name in corruptions)
        columns.append(
            Column(results.name, [results.cell(s, interval=False) for s in scores_of_model])
        )
    return table_of_columns(CE_TITLES[metric], "corruption", corruptions, columns)


def _by_severity(results: ModelResults) -> Table:
    """Top-1 error of each corruption at each severity, its CE, and its relative CE if known."""
    errors = {
        (score.corruption, score.severity): score
        for score in results.of(BENCHMARK, "top1_error")
        if score.severity is not None
    }
    summary_titles = {
        metric: title
        for metric, title in (("ce", "CE"), ("relative_ce", "relative CE"))
        if any(results.of(BENCHMARK, metric))
    }
    rows = {}
    for corruption in dict.fromkeys(corruption for corruption, _ in errors):
        cells = [results.cell(errors.get((corruption, s)), interval=False) for s in SEVERITIES]
        summaries = (
            results.find(BENCHMARK, metric, corruption=corruption) for metric in summary_titles
        )
        rows[str(corruption)] = [*cells, *(results.cell(s, interval=False) for s in summaries)]
    everything = [cell for cells in rows.values() for cell in cells]
    shared = common_marks(everything)
    return Table(
        f"{results.name}: {', '.join(('top-1 error by severity', *summary_titles.values()))}, in %"
        f"{' ' + shared if shared else ''}",
        ("corruption", *map(str, SEVERITIES), *summary_titles.values()),
        tuple((name, *(c.without(shared) for c in cells)) for name, cells in rows.items()),
        (*legend(everything), *refused_conditions(errors.values(), _cell_text)),
    )


def _cell_text(score: Score) -> str:
    return f"{score.corruption} {score.severity} ({score.skipped:,} images)"
