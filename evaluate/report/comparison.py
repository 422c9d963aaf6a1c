"""The tables of a comparison: what model B has more or less than model A on the same images."""

from collections.abc import Sequence
from dataclasses import dataclass

from ...contracts import Difference
from .marks import Cell, common_marks, legend, marks_of, percent
from .table import Table

DIFFERENCE = "B - A"
INTERVAL = (
    "[low, high]: 95 % interval of the difference, paired: over the images that both scored; "
    "none where both models answer alike"
)
NUMBERS = {
    ("imagenet", "top1_error"): "top-1 error %",
    ("imagenet", "top5_error"): "top-5 error %",
    ("imagenet-c", "mean_error"): "mean error %",
    ("imagenet-c", "mce"): "mCE %",
    ("imagenet-c", "relative_mce"): "relative mCE %",
    ("imagenet-p", "mfr"): "mFR %",
}
BY_CONDITION = (
    ("ce", "CE % (AlexNet = 100)"),
    ("relative_ce", "Relative CE % (AlexNet = 100)"),
    ("flip_probability", "Flip probability %"),
    ("t5d", "T5D, ranks"),
)
"""Metrics that have a table of their own, a row a corruption or perturbation."""

IN_RANKS = ("t5d",)
"""The others are rates."""

SEVERITIES = (1, 2, 3, 4, 5)


@dataclass(frozen=True)
class Compared:
    """Two models and what they differ by.

    Attributes:
        a: What model A is called.
        b: What B is.
        differences: Of all benchmarks that both have.
        parities: Of A's engines, and of B's.
        marks: That hold for all numbers of A, and of B.
    """

    a: str
    b: str
    differences: tuple[Difference, ...]
    parities: tuple[tuple[str, ...], tuple[str, ...]] = ((), ())
    marks: tuple[str, str] = ("", "")


def comparison_tables(compared: Compared) -> list[Table]:
    """All tables of a comparison, but for what ran."""
    tables = [_summary(compared)]
    for metric, title in BY_CONDITION:
        rows = [
            (str(difference.corruption or difference.perturbation), difference)
            for difference in compared.differences
            if difference.metric == metric
        ]
        if rows:
            tables.append(_table(compared, title, rows))
    cells = [d for d in compared.differences if d.severity and d.metric == "top1_error"]
    return [*tables, *([_by_severity(compared, cells)] if cells else [])]


def _summary(compared: Compared) -> Table:
    rows = [
        (title, difference)
        for (benchmark, metric), title in NUMBERS.items()
        for difference in compared.differences
        if (difference.benchmark, difference.metric) == (benchmark, metric)
        and difference.severity is None
    ]
    refused = [f"{title.removesuffix(' %')} refused: {d.reason}" for title, d in rows if d.reason]
    notes = (f"A: {compared.a}; B: {compared.b}; a difference below zero: B is better", *refused)
    return _table(compared, "Comparison", rows, notes=notes)


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
    """Differences of top-1 error in each cell, without their intervals: there are 75."""
    rows: dict[str, dict[int | None, Cell]] = {}
    for difference in cells:
        cell = _cell(compared, difference, interval=False)
        rows.setdefault(str(difference.corruption), {})[difference.severity] = cell
    everything = [cell for row in rows.values() for cell in row.values()]
    shared = common_marks(everything)
    return Table(
        f"Top-1 error by severity, {DIFFERENCE}, in %{' ' + shared if shared else ''}",
        ("corruption", *map(str, SEVERITIES)),
        tuple(
            (name, *(row.get(s, Cell()).without(shared) for s in SEVERITIES))
            for name, row in rows.items()
        ),
        tuple(legend(everything)),
    )


def _cells(compared: Compared, difference: Difference) -> list[Cell]:
    """A's number, B's, and their difference."""
    return [
        *(_side(compared, difference, side) for side in (0, 1)),
        _cell(compared, difference),
    ]


def _side(compared: Compared, difference: Difference, side: int) -> Cell:
    value = (difference.a, difference.b)[side]
    if value is None:
        return Cell()
    marks = marks_of(difference, *compared.parities[side]) + compared.marks[side]
    return Cell(_text(difference, value, None, None), marks, difference)


def _cell(compared: Compared, difference: Difference, *, interval: bool = True) -> Cell:
    if difference.difference is None:
        return Cell("refused")
    ends = (difference.low, difference.high) if interval else (None, None)
    parities = [parity for side in compared.parities for parity in side]
    marks = marks_of(difference, *parities) + max(compared.marks)
    return Cell(_text(difference, difference.difference, *ends, sign="+"), marks, difference)


def _text(
    of: Difference, value: float, low: float | None, high: float | None, *, sign: str = ""
) -> str:
    if of.metric not in IN_RANKS:
        return percent(value, low, high, sign=sign)
    text = f"{value:{sign}.3f}"
    return text if low is None or high is None else f"{text} [{low:{sign}.3f}, {high:{sign}.3f}]"


def _only(difference: Difference) -> tuple[str, ...]:
    counts = (difference.only_a_right, difference.only_b_right)
    return tuple("" if count is None else f"{count:,}" for count in counts)
