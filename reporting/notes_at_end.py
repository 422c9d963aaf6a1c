"""Collecting the notes of several tables below the last one, each once, for terminals."""

from collections.abc import Sequence
from dataclasses import replace

from .footnotes import MARKS
from .table import Table

_MARKS = tuple(f"{mark} {meaning}" for mark, meaning in MARKS.items())
"""Beginnings of the notes that explain a mark; the counts of a table follow."""


def notes_at_end(tables: Sequence[Table]) -> list[Table]:
    """The same tables, with the notes of all below the last table.

    Example:
        >>> note = "* not the whole benchmark: "
        >>> a = Table("A: errors", ("m",), (), (f"{note}8 of 50,000 images", "of A"))
        >>> b = Table("B", ("m",), (), (f"{note}160 of 1,200 stimuli", "of both"))
        >>> c = Table("C", ("m",), (), (f"{note}8 of 50,000 images", "of both"))
        >>> for note in notes_at_end([a, b, c])[-1].notes:
        ...     print(note)
        * not the whole benchmark: 8 of 50,000 images; 160 of 1,200 stimuli
        A:
          of A
        B; C:
          of both
    """
    if not tables:
        return []
    counts: dict[str, dict[str, None]] = {}  # of all tables, by mark
    titles: dict[str, dict[str, None]] = {}  # of the tables that each other note stands below
    for title, note in ((table.title, note) for table in tables for note in table.notes):
        if mark := next((line for line in _MARKS if note.startswith(line)), None):
            parts = filter(None, note[len(mark) :].removeprefix(": ").split("; "))
            counts.setdefault(mark, {}).update(dict.fromkeys(parts))
        else:
            titles.setdefault(note, {})[_short_title(title)] = None
    notes = [
        f"{mark}: {'; '.join(counts[mark])}" if counts[mark] else mark
        for mark in _MARKS
        if mark in counts
    ]
    groups: dict[tuple[str, ...], list[str]] = {}
    for note, names in titles.items():
        groups.setdefault(tuple(names), []).append(note)
    for names_of_group, group in groups.items():
        if len(groups) == 1:
            notes += group
        else:
            notes += [f"{'; '.join(names_of_group)}:", *(f"  {note}" for note in group)]
    bare = [replace(table, notes=()) for table in tables]
    return [*bare[:-1], replace(bare[-1], notes=tuple(notes))]


def _short_title(title: str) -> str:
    """A title without its caption, or without its question mark.

    Example:
        >>> _short_title("Table 2 of arXiv 1907.07640: Accuracy")
        'Table 2 of arXiv 1907.07640'
        >>> _short_title("m: is the attack reliable?")
        'm: is the attack reliable'
    """
    return title[:-1] if title.endswith("?") else title.partition(": ")[0]
