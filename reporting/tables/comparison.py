"""Tables of a comparison: differences of model B from model A on the same images."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ...contracts import Difference
from ..footnotes import TableCell, marks_of, united_marks
from ..metric_info import quantity_of
from ..table import Table
from ..table_layout import Column, table_of_columns
from .corruption import SEVERITIES, table_by_severity

DIFFERENCE = "B - A"
INTERVAL = (
    "[low, high]: 95 % interval of the difference, paired: over the images that both scored; "
    "not given if both models answer alike"
)
MEANING = {
    "lower": "a difference below zero: B is better",
    "higher": "a difference above zero: B is better",
    "": "neither sign is called better",
}
"""What the sign of a difference means, by the values of a metric that are better."""

OF_CONDITIONS = {
    "ce": "CE % (AlexNet = 100)",
    "relative_ce": "Relative CE % (AlexNet = 100)",
    "flip_probability": "Flip probability %",
    "t5d": "T5D, ranks",
}
"""Metrics that have a table of their own, a row for each corruption or perturbation."""


@dataclass(frozen=True)
class Compared:
    """Two models and their differences.

    Attributes:
        a: Name of model A.
        b: Name of model B.
        differences: Differences on all benchmarks that both have.
        statuses: Parities of the engines of A, and of B, and self-checks of their references.
        marks: Marks of all numbers of A, and of B.
    """

    a: str
    b: str
    differences: tuple[Difference, ...]
    statuses: tuple[tuple[str, ...], tuple[str, ...]] = ((), ())
    marks: tuple[str, str] = ("", "")


def comparison_tables(compared: Compared) -> list[Table]:
    """All tables of a comparison except the one of its runs."""
    tables = [_summary(compared)]
    for metric, title in OF_CONDITIONS.items():
        rows = [d for d in compared.differences if d.metric == metric]
        if rows:
            named = [(str(d.corruption or d.perturbation), d) for d in rows]
            tables.append(_table(compared, title, named))
    cells = [d for d in compared.differences if d.severity and d.metric == "top1_error"]
    return [*tables, *([_by_severity(compared, cells)] if cells else [])]


def _summary(compared: Compared) -> Table:
    rows = [
        (_heading(difference), difference)
        for difference in compared.differences
        if difference.metric not in OF_CONDITIONS and difference.corruption is None
    ]
    reasons: dict[str, list[str]] = {}
    for title, difference in rows:
        if difference.reason:
            reasons.setdefault(difference.reason, []).append(title.replace(" %", ""))
    refused = [f"{', '.join(titles)} refused: {reason}" for reason, titles in reasons.items()]
    better = _which_is_better([difference.metric for _, difference in rows])
    table = _table(compared, "Comparison", rows)
    names = f"A: {compared.a}; B: {compared.b}{better}"
    return replace(table, notes=(names, *table.notes, *refused))


def _which_is_better(metrics: Sequence[str]) -> str:
    """What the sign of a difference means.

    Example:
        >>> _which_is_better(["accuracy"])
        '; of accuracy, a difference above zero: B is better'
        >>> _which_is_better(["mce", "new_number"])
        '; a difference below zero: B is better; of new number, neither sign is called better'
    """
    titles: dict[str, dict[str, None]] = {better: {} for better in MEANING}
    for metric in metrics:
        quantity = quantity_of(metric)
        titles[quantity.better][quantity.title] = None
    text = ""
    for better, meaning in MEANING.items():
        if names := titles[better]:
            of_names = "" if better == "lower" else f"of {', '.join(names)}, "
            text += f"; {of_names}{meaning}"
    return text


def _heading(difference: Difference) -> str:
    """Heading of a row, with the rule and the stimuli if the metric has several."""
    heading = quantity_of(difference.metric).heading
    if difference.rule is None:
        return heading
    return f"{heading} ({difference.rule}, {difference.stimuli:,})"


def _table(compared: Compared, title: str, rows: Sequence[tuple[str, Difference]]) -> Table:
    """Table of A's number, B's, their difference, and how many images only one classifies right."""
    differences = [difference for _, difference in rows]
    cells = [_cell(compared, difference) for difference in differences]
    columns = [
        Column("A", [_side(compared, difference, 0) for difference in differences]),
        Column("B", [_side(compared, difference, 1) for difference in differences]),
        Column(DIFFERENCE, cells),
    ]
    if any(difference.only_a_right is not None for difference in differences):
        columns += [
            Column("only A right", [_count(difference.only_a_right) for difference in differences]),
            Column("only B right", [_count(difference.only_b_right) for difference in differences]),
        ]
    notes = [INTERVAL] if any("[" in cell.text for cell in cells) else []
    return table_of_columns(title, "", [name for name, _ in rows], columns, notes=notes)


def _by_severity(compared: Compared, differences: Sequence[Difference]) -> Table:
    """Differences of top-1 error in each of the 75 cells, without intervals."""
    rows: dict[str, dict[int | None, TableCell]] = {}
    for difference in differences:
        cell = _cell(compared, difference, interval=False)
        rows.setdefault(str(difference.corruption), {})[difference.severity] = cell
    return table_by_severity(
        f"Top-1 error by severity, {DIFFERENCE}, in %",
        {name: [row.get(s, TableCell()) for s in SEVERITIES] for name, row in rows.items()},
    )


def _side(compared: Compared, difference: Difference, side: int) -> TableCell:
    value = (difference.a, difference.b)[side]
    if value is None:
        return TableCell()
    marks = marks_of(difference, *compared.statuses[side]) + compared.marks[side]
    return TableCell(quantity_of(difference.metric).text(value), marks, difference)


def _cell(compared: Compared, difference: Difference, *, interval: bool = True) -> TableCell:
    if difference.difference is None:
        return TableCell("refused")
    ends = (difference.low, difference.high) if interval else (None, None)
    statuses = [status for side in compared.statuses for status in side]
    marks = marks_of(difference, *statuses) + united_marks(compared.marks)
    text = quantity_of(difference.metric).text(difference.difference, *ends, sign="+")
    return TableCell(text, marks, difference)


def _count(count: int | None) -> TableCell:
    return TableCell("" if count is None else f"{count:,}")
