"""Tables of a comparison: differences of model B from model A on the same images."""

from collections.abc import Sequence
from dataclasses import dataclass

from ...contracts import Difference
from ..footnotes import TableCell, common_marks, legend, marks_of
from ..metric_info import quantity_of
from ..table import Table
from .corruption import SEVERITIES

DIFFERENCE = "B - A"
INTERVAL = (
    "[low, high]: 95 % interval of the difference, paired: over the images that both scored; "
    "not given if both models answer alike"
)
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
        parities: Parities of the engines of A, and of B.
        marks: Marks of all numbers of A, and of B.
    """

    a: str
    b: str
    differences: tuple[Difference, ...]
    parities: tuple[tuple[str, ...], tuple[str, ...]] = ((), ())
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
    notes = (f"A: {compared.a}; B: {compared.b}{better}", *refused)
    return _table(compared, "Comparison", rows, notes=notes)


def _which_is_better(metrics: Sequence[str]) -> str:
    """What the sign of a difference means.

    Example:
        >>> _which_is_better(["accuracy"])
        '; of accuracy, a difference above zero: B is better'
        >>> _which_is_better(["mce", "new_number"])
        '; a difference below zero: B is better; of new number, neither sign is called better'
    """
    titles: dict[str, dict[str, None]] = {"lower": {}, "higher": {}, "": {}}
    for metric in metrics:
        quantity = quantity_of(metric)
        titles[quantity.better][quantity.title] = None
    parts = ["a difference below zero: B is better"] if titles["lower"] else []
    for better, what in (
        ("higher", "a difference above zero: B is better"),
        ("", "neither sign is called better"),
    ):
        if titles[better]:
            parts.append(f"of {', '.join(titles[better])}, {what}")
    return "".join(f"; {part}" for part in parts)


def _heading(difference: Difference) -> str:
    """Heading of a row, with the rule and the stimuli if the metric has several."""
    heading = quantity_of(difference.metric).heading
    if difference.rule is None:
        return heading
    return f"{heading} ({difference.rule}, {difference.stimuli:,})"


def _table(
    compared: Compared,
    title: str,
    rows: Sequence[tuple[str, Difference]],
    notes: Sequence[str] = (),
) -> Table:
    cells = [_cells(compared, difference) for _, difference in rows]
    shared = [common_marks(column) for column in zip(*cells, strict=True)] or ["", "", ""]
    counted = any(difference.only_a_right is not None for _, difference in rows)
    everything = [cell for row in cells for cell in row]
    header = (name + marks for name, marks in zip(("A", "B", DIFFERENCE), shared, strict=True))
    return Table(
        title,
        ("", *header, *(("only A right", "only B right") if counted else ())),
        tuple(
            (
                name,
                *(cell.without(marks) for cell, marks in zip(row, shared, strict=True)),
                *(_only(difference) if counted else ()),
            )
            for (name, difference), row in zip(rows, cells, strict=True)
        ),
        (
            *notes[:1],
            *legend(everything),
            *([INTERVAL] if any("[" in cell.text for cell in everything) else []),
            *notes[1:],
        ),
    )


def _by_severity(compared: Compared, cells: Sequence[Difference]) -> Table:
    """Differences of top-1 error in each of the 75 cells, without intervals."""
    rows: dict[str, dict[int | None, TableCell]] = {}
    for difference in cells:
        cell = _cell(compared, difference, interval=False)
        rows.setdefault(str(difference.corruption), {})[difference.severity] = cell
    everything = [cell for row in rows.values() for cell in row.values()]
    shared = common_marks(everything)
    return Table(
        f"Top-1 error by severity, {DIFFERENCE}, in %{' ' + shared if shared else ''}",
        ("corruption", *map(str, SEVERITIES)),
        tuple(
            (name, *(row.get(s, TableCell()).without(shared) for s in SEVERITIES))
            for name, row in rows.items()
        ),
        tuple(legend(everything)),
    )


def _cells(compared: Compared, difference: Difference) -> list[TableCell]:
    """A's number, B's, and their difference."""
    return [
        *(_side(compared, difference, side) for side in (0, 1)),
        _cell(compared, difference),
    ]


def _side(compared: Compared, difference: Difference, side: int) -> TableCell:
    value = (difference.a, difference.b)[side]
    if value is None:
        return TableCell()
    marks = marks_of(difference, *compared.parities[side]) + compared.marks[side]
    return TableCell(quantity_of(difference.metric).text(value), marks, difference)


def _cell(compared: Compared, difference: Difference, *, interval: bool = True) -> TableCell:
    if difference.difference is None:
        return TableCell("refused")
    ends = (difference.low, difference.high) if interval else (None, None)
    parities = [parity for side in compared.parities for parity in side]
    marks = marks_of(difference, *parities) + max(compared.marks)
    text = quantity_of(difference.metric).text(difference.difference, *ends, sign="+")
    return TableCell(text, marks, difference)


def _only(difference: Difference) -> tuple[str, ...]:
    counts = (difference.only_a_right, difference.only_b_right)
    return tuple("" if count is None else f"{count:,}" for count in counts)
