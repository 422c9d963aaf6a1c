"""A table of text, which the terminal and Markdown show."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Table:
    """A table of text.

    Attributes:
        title: Title above the table.
        header: Headers of the columns.
        rows: Rows of cells, each as long as the header.
        notes: Notes below the table.
        words: Indices of the columns that contain words; the others contain numbers.
    """

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()
    words: tuple[int, ...] = (0,)
