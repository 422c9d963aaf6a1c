"""ImageNet-C: CE and relative CE of each corruption, and the error at each severity."""

from collections.abc import Mapping, Sequence

from ...contracts import Score
from ..footnotes import TableCell, common_marks, legend
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
    numbers = [(BENCHMARK, metric, {"corruption": name}) for name in corruptions]
    columns = [Column(results.name, results.cells(numbers, interval=False)) for results in models]
    return table_of_columns(CE_TITLES[metric], "corruption", corruptions, columns)


def _by_severity(results: ModelResults) -> Table:
    """Top-1 error of each corruption at each severity, its CE, and its relative CE if known."""
    errors = [score for score in results.of(BENCHMARK, "top1_error") if score.severity is not None]
    summaries = {
        metric: title
        for metric, title in (("ce", "CE"), ("relative_ce", "relative CE"))
        if any(results.of(BENCHMARK, metric))
    }
    rows = {}
    for corruption in dict.fromkeys(str(score.corruption) for score in errors):
        keys: dict[str, object] = {"corruption": corruption}
        numbers = [
            *((BENCHMARK, "top1_error", {**keys, "severity": s}) for s in SEVERITIES),
            *((BENCHMARK, metric, keys) for metric in summaries),
        ]
        rows[corruption] = results.cells(numbers, interval=False)
    titles = tuple(summaries.values())
    title = f"{results.name}: {', '.join(('top-1 error by severity', *titles))}, in %"
    return table_by_severity(title, rows, titles, refused_conditions(errors, _cell_text))


def table_by_severity(
    title: str,
    rows: Mapping[str, Sequence[TableCell]],
    summaries: Sequence[str] = (),
    notes: Sequence[str] = (),
) -> Table:
    """Table with one row for each corruption; marks that all its numbers share are in its title.

    Args:
        title: Title of the table.
        rows: Cells of each corruption: one for each severity, then the summaries.
        summaries: Headers of the summaries.
        notes: Notes below the table, after the meaning of the marks.
    """
    cells = [cell for row in rows.values() for cell in row]
    shared = common_marks(cells)
    return Table(
        f"{title} {shared}".rstrip(),
        ("corruption", *map(str, SEVERITIES), *summaries),
        tuple((name, *(cell.without(shared) for cell in row)) for name, row in rows.items()),
        (*legend(cells), *notes),
        numbers=tuple((None, *(cell.number for cell in row)) for row in rows.values()),
    )


def _cell_text(score: Score) -> str:
    return f"{score.corruption} {score.severity} ({score.skipped:,} images)"
