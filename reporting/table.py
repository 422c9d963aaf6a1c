"""A table of text, which the terminal and Markdown show."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from ..contracts import Difference, Score


@dataclass(frozen=True)
class Table:
    """A table of text.

    Attributes:
        title: Title above the table.
        header: Headers of the columns.
        rows: Rows of cells, each as long as the header.
        notes: Notes below the table.
        words: Indices of the columns that contain words; the others contain numbers.
        numbers: Number behind each cell, in the shape of the rows; ``None`` for a cell without one.
            Empty if no cell has one.
    """

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()
    words: tuple[int, ...] = (0,)
    numbers: tuple[tuple[Score | Difference | None, ...], ...] = field(
        default=(), repr=False, compare=False
    )


def markdown_of(tables: Iterable[Table], heading: str) -> str:
    """A document: a heading, then each table with its notes.

    Example:
        >>> print(markdown_of([Table("T", ("a", "b"), (("x", "1"),), ("a note",))], "Report"))
        # Report
        <BLANKLINE>
        ## T
        <BLANKLINE>
        | a | b |
        |---|---:|
        | x | 1 |
        <BLANKLINE>
        - a note
        <BLANKLINE>
    """
    lines = [f"# {heading}", ""]
    for table in tables:
        rules = ("---" if c in table.words else "---:" for c in range(len(table.header)))
        lines += [f"## {_escaped(table.title)}", "", _row(table.header), f"|{'|'.join(rules)}|"]
        lines += [_row(row) for row in table.rows]
        lines += ["", *(f"- {_escaped(note)}" for note in table.notes)]
        lines += [""] if table.notes else []
    return "\n".join(lines).rstrip() + "\n"


def _row(cells: Iterable[str]) -> str:
    return "| " + " | ".join(_escaped(cell) for cell in cells) + " |"


def _escaped(text: str) -> str:
    """Text in which marks and file names do not turn into emphasis or new cells."""
    for character in "\\|*_~+^!<>`":
        text = text.replace(character, "\\" + character)
    return text.strip()
