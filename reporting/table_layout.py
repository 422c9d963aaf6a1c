"""Tables of numbers, with marks next to each number, or in the header if a column shares them."""

from collections.abc import Sequence
from dataclasses import dataclass

from .footnotes import TableCell, common_marks, legend
from .metric_info import interval_notes
from .table import Table


@dataclass(frozen=True)
class Row:
    """A row of numbers.

    Attributes:
        words: First cells of the row, which say what the numbers are of.
        cells: Cells of numbers, one for each metric of the table.
    """

    words: tuple[str, ...]
    cells: Sequence[TableCell]


@dataclass(frozen=True)
class Column:
    """A column of numbers.

    Attributes:
        header: Header of the column.
        cells: Cells of the column.
    """

    header: str
    cells: Sequence[TableCell]


def table_of_rows(
    title: str, header: Sequence[str], rows: Sequence[Row], notes: Sequence[str] = ()
) -> Table:
    """Table with marks next to each number; notes on marks and intervals come first below it."""
    cells = [cell for row in rows for cell in row.cells]
    intervals = [
        cell.number.metric for cell in cells if cell.number is not None and "[" in cell.text
    ]
    return Table(
        title,
        tuple(header),
        tuple((*row.words, *map(str, row.cells)) for row in rows),
        (*legend(cells), *interval_notes(intervals), *notes),
        tuple(range(len(rows[0].words))),
        tuple((*(None for _ in row.words), *(cell.number for cell in row.cells)) for row in rows),
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
    """Table with one row for each name; marks that all numbers of a column share are in its header.

    Args:
        title: Title of the table.
        corner: Header of the names.
        names: Names of the rows.
        columns: Columns of numbers.
        notes: Notes below the table, after the meaning of the marks.
        legend_of: Numbers whose counts explain the marks; if not given, those of the columns.
    """
    marked = [(column, common_marks(column.cells)) for column in columns]
    texts = ([cell.without(marks) for cell in column.cells] for column, marks in marked)
    cells = [cell for column in columns for cell in column.cells]
    return Table(
        title,
        (corner, *(column.header + marks for column, marks in marked)),
        tuple(zip(names, *texts, strict=True)),
        (*legend(cells if legend_of is None else legend_of), *notes),
        numbers=tuple(
            (None, *(cell.number for cell in row))
            for row in zip(*(column.cells for column in columns), strict=True)
        ),
    )
