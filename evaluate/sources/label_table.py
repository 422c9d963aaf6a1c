"""Tables that give the class of each file, as people write them.

A line is a file and its class, in any columns, separated by commas, semicolons, tabs, bars or
spaces, with or without quotes. Empty lines mean nothing. A first line without a class is a header.
Which column is which is seen from the cells: a class is a WordNet id, or else a whole number.
"""

import csv
import re
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

_DELIMITERS = ("\t", ";", ",", "|")
_CELL = re.compile(r"""\"[^"]*"|'[^']*'|[^\s,;|]+""")
_FILE = re.compile(r".*(\.[A-Za-z]{3,4}$|ILSVRC2012_)")

_NAME_WORDS = frozenset(
    ("name", "file", "filename", "path", "filepath", "image", "img", "id", "imageid")
)
_CLASS_WORDS = frozenset(
    ("class", "classid", "classindex", "label", "labelid", "target", "wnid", "synset", "index")
)
"""Usual headers of the two columns, without ``_``, ``-`` and spaces."""

KAGGLES_HEADER = ("ImageId", "PredictionString")


@dataclass(frozen=True)
class Line:
    """A line with something on it.

    Attributes:
        number: Number of the line in the file, from 1.
        cells: Its cells, without quotes and surrounding spaces.
    """

    number: int
    cells: tuple[str, ...]

    @property
    def text(self) -> str:
        """The cells as one text, for messages."""
        return " ".join(self.cells)[:60]


@dataclass(frozen=True)
class Columns:
    """Positions of the columns of a table.

    Attributes:
        name: Position of the file's name.
        label: Position of its class.
        is_index: Whether classes are numbers.
    """

    name: int
    label: int
    is_index: bool

    def split(self, line: Line) -> tuple[str, str]:
        """The name and the class of a line; the class is empty if the line has no such cell.

        What follows a WordNet id in its cell, such as the class's words, is left out.
        """
        if len(line.cells) <= max(self.name, self.label):
            return "", ""
        label = line.cells[self.label]
        return line.cells[self.name], label if self.is_index else label.partition(" ")[0]


def lines_of(text: str) -> list[Line]:
    """The lines of a text that are not empty."""
    numbered = [(n, line) for n, line in enumerate(text.splitlines(), 1) if line.strip()]
    delimiter = next((d for d in _DELIMITERS if all(d in line for _, line in numbered)), None)
    lines = []
    for number, line in numbered:
        cells = _cells(line, delimiter)
        lines.append(Line(number, tuple(cell.strip() for cell in cells)))
    return lines


def has_names(lines: Sequence[Line]) -> bool:
    """Whether most lines have more than one cell."""
    return 2 * sum(len(line.cells) > 1 for line in lines) >= len(lines)


def without_header(
    lines: Sequence[Line], is_class: Collection[str], columns: Columns | None
) -> tuple[Line | None, Sequence[Line]]:
    """The header, if the first line is one, and the other lines.

    Args:
        lines: All lines.
        is_class: The words that are classes.
        columns: Columns of the table; ``None`` if a line is a class alone.
    """

    def has_class(line: Line) -> bool:
        return (columns.split(line)[1] if columns else line.text) in is_class

    first, others = (lines[0], lines[1:]) if lines else (None, lines)
    if first is None or not others or has_class(first):
        return None, lines
    has_digits = any(character.isdigit() for character in first.text)
    return (None, lines) if has_digits and not all(map(has_class, others)) else (first, others)


def columns_of(lines: Sequence[Line], wnids: Collection[str]) -> Columns | None:
    """The columns of a table whose lines have names; ``None`` if several could be the class."""
    body = lines[1:] if len(lines) > 2 else lines
    width = max(2, Counter(len(line.cells) for line in body).most_common(1)[0][0])
    header = [_plain(cell) for cell in lines[0].cells] + [""] * width
    cells = [[line.cells[c] for line in body if len(line.cells) > c] for c in range(width)]

    def share(column: int, matches: Callable[[str], object]) -> float:
        return sum(map(bool, map(matches, cells[column]))) / len(body)

    counters = {c for c in range(width) if width > 2 and _counts_lines(cells[c])}
    wnid_share, label = max(
        (share(c, lambda cell: cell.partition(" ")[0] in wnids), c) for c in range(width)
    )
    if wnid_share < 0.5:
        numbers = [c for c in range(width) if share(c, str.isdecimal) >= 0.5] or [1]
        named = [c for c in numbers if header[c] in _CLASS_WORDS]
        numbers = named or [c for c in numbers if c not in counters] or numbers
        if width > 2 and any(cells[c] != cells[numbers[-1]] for c in numbers):
            return None
        label = numbers[-1]
    others = [c for c in range(width) if c != label]
    name = max(
        others,
        key=lambda c: (c not in counters, share(c, _FILE.match), header[c] in _NAME_WORDS, -c),
    )
    return Columns(name, label, is_index=wnid_share < 0.5)


def _counts_lines(cells: Sequence[str]) -> bool:
    """Whether a column only counts the lines, as that of a data frame does."""
    first = int(cells[0]) if cells and cells[0].isdecimal() else 0
    return list(cells) == [str(first + n) for n in range(len(cells))]


def _cells(line: str, delimiter: str | None) -> Sequence[str]:
    if delimiter is None:
        return [cell.strip("\"'") for cell in _CELL.findall(line)] or [line]
    try:
        (cells,) = csv.reader([line], delimiter=delimiter, skipinitialspace=True)
    except (csv.Error, ValueError):  # a quote that does not end
        return [line]
    return cells


def _plain(header: str) -> str:
    return re.sub(r"[\s_-]", "", header).lower()
