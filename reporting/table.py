"""A table: what the terminal and Markdown both show."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Table:
    """Text in cells.

    Attributes:
        title: Above the table.
        header: One for each column.
        rows: Each as long as the header.
        notes: Below the table.
        words: The columns that hold words; the others hold numbers.
    """

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()
    words: tuple[int, ...] = (0,)
