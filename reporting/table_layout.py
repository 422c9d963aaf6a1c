"""Tables of numbers, whose marks stand beside each, or above a column that shares them."""

from collections.abc import Sequence
from dataclasses import dataclass

from .footnotes import TableCell, common_marks, legend
from .metric_info import interval_notes
from .table import Table


@dataclass(frozen=True)
class Row:
    """A row of numbers.

    Attributes:
        words: What it is of.
        cells: One for each metric of the table.
    """

    words: tuple[str, ...]
    cells: Sequence[TableCell]


@dataclass(frozen=True)
class Column:
    """A column of numbers under one header."""

    header: str
    cells: Sequence[TableCell]


def table_of_rows(
    title: str, header: Sequence[str], rows: Sequence[Row], notes: Sequence[str] = ()
) -> Table:
    """Each number with its own marks; what they and the intervals mean stands first below it."""
    cells = [cell for row in rows for cell in row.cells]
    intervals = [cell.of.metric for cell in cells if cell.of is not None and "[" in cell.text]
    return Table(
        title,
        tuple(header),
        tuple((*row.words, *map(str, row.cells)) for row in rows),
        (*legend(cells), *interval_notes(intervals), *notes),
        tuple(range(len(rows[0].words))),
    )


def table_of_columns(
    title: str,
    corner: str,
    names: Sequence[str],
    columns: Sequence[Column],
    *,
    notes: Sequence[str] = (),
    legend_of: Sequence[TableCell] | None = None,
) -> Table:
    """One row a name; the marks that all numbers of a column have stand in its header.

    Args:
        title: Of the table.
        corner: The header of the names.
        names: One for each cell of a column.
        columns: Of the numbers.
        notes: Below the table, behind what the marks mean.
        legend_of: The numbers whose counts the marks are explained with, where it is not these.
    """
    shared = [common_marks(column.cells) for column in columns]
    rows = [
        (
            name,
            *(
                column.cells[position].without(marks)
                for column, marks in zip(columns, shared, strict=True)
            ),
        )
        for position, name in enumerate(names)
    ]
    cells = [cell for column in columns for cell in column.cells]
    return Table(
        title,
        (corner, *(c.header + marks for c, marks in zip(columns, shared, strict=True))),
        tuple(rows),
        (*legend(cells if legend_of is None else legend_of), *notes),
    )
