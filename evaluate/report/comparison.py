"""The tables of a comparison: what model B has more or less than model A on the same images."""

from collections.abc import Iterable, Sequence
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
}
SEVERITIES = (1, 2, 3, 4, 5)


@dataclass(frozen=True)
class Compared:
    """Two models and what they differ by.

    Attributes:
        a: What model A is called.
        b: What B is.
        differences: Of all benchmarks that both have.
        parities: Of all their engines.
        marks: That hold for all numbers.
    """

    a: str
    b: str
    differences: tuple[Difference, ...]
    parities: tuple[str, ...] = ()
    marks: str = ""


def comparison_tables(compared: Compared) -> list[Table]:
    """All tables of a comparison, but for what ran."""
    tables = [_summary(compared)]
    for metric, title in (("ce", "CE"), ("relative_ce", "Relative CE")):
        rows = [d for d in compared.differences if d.metric == metric]
        if rows:
            title = f"{title} % (AlexNet = 100)"
            tables.append(_table(compared, title, [(str(d.corruption), d) for d in rows]))
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
    notes: Iterable[str] = (),
) -> Table:
    cells = [(name, _cell(compared, difference), difference) for name, difference in rows]
    counted = any(d.only_a_right is not None for _, d in rows)
    shown = [
        (name, _percent(d.a), _percent(d.b), str(cell), *(_only(d) if counted else ()))
        for name, cell, d in cells
    ]
    first, *rest = notes or [""]
    ends = [INTERVAL] if any("[" in cell.text for _, cell, _ in cells) else []
    return Table(
        title,
        ("", "A", "B", DIFFERENCE, *(("only A right", "only B right") if counted else ())),
        tuple(shown),
        tuple(n for n in (first, *legend(cell for _, cell, _ in cells), *ends, *rest) if n),
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


def _cell(compared: Compared, difference: Difference, *, interval: bool = True) -> Cell:
    if difference.difference is None:
        return Cell("refused")
    ends = (difference.low, difference.high) if interval else (None, None)
    marks = marks_of(difference, *compared.parities) + compared.marks
    return Cell(percent(difference.difference, *ends, sign="+"), marks, difference)


def _percent(value: float | None) -> str:
    return "" if value is None else percent(value, None, None)


def _only(difference: Difference) -> tuple[str, ...]:
    counts = (difference.only_a_right, difference.only_b_right)
    return tuple("" if count is None else f"{count:,}" for count in counts)
