"""Collecting the notes of several tables below the last one, each once, for terminals."""

from collections.abc import Iterable, Sequence
from dataclasses import replace

from .footnotes import MARKS
from .table import Table


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
    marks, others = _merged_marks(tables), _notes_by_titles(tables)
    notes = marks
    for titles, group in others.items():
        if len(others) == 1:
            notes += group
        else:
            notes += [f"{'; '.join(titles)}:", *(f"  {note}" for note in group)]
    bare = [replace(table, notes=()) for table in tables]
    return [*bare[:-1], replace(bare[-1], notes=tuple(notes))]


def _merged_marks(tables: Iterable[Table]) -> list[str]:
    """Meaning of each mark, with the counts of all tables."""
    counts: dict[str, dict[str, None]] = {}
    for note in (note for table in tables for note in table.notes):
        if meaning := _explained_mark(note):
            parts = filter(None, note[len(meaning) :].removeprefix(": ").split("; "))
            counts.setdefault(meaning, {}).update(dict.fromkeys(parts))
    lines = [f"{mark} {meaning}" for mark, meaning in MARKS.items()]
    return [
        f"{line}: {'; '.join(counts[line])}" if counts[line] else line
        for line in lines
        if line in counts
    ]


def _notes_by_titles(tables: Iterable[Table]) -> dict[tuple[str, ...], list[str]]:
    """All other notes, by the titles of the tables that they stand below."""
    titles: dict[str, dict[str, None]] = {}
    for table in tables:
        for note in table.notes:
            if not _explained_mark(note):
                titles.setdefault(note, {})[_short_title(table.title)] = None
    groups: dict[tuple[str, ...], list[str]] = {}
    for note, names in titles.items():
        groups.setdefault(tuple(names), []).append(note)
    return groups


def _explained_mark(note: str) -> str:
    """The meaning of a mark that a note begins with; empty if it explains none."""
    lines = (f"{mark} {meaning}" for mark, meaning in MARKS.items())
    return next((line for line in lines if note.startswith(line)), "")


def _short_title(title: str) -> str:
    """A title without its caption, or without its question mark.

    Example:
        >>> _short_title("Table 2 of arXiv 1907.07640: Accuracy")
        'Table 2 of arXiv 1907.07640'
        >>> _short_title("m: is the attack reliable?")
        'm: is the attack reliable'
    """
    return title[:-1] if title.endswith("?") else title.partition(": ")[0]
