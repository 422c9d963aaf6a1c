"""Tables as CSV, as they are printed, and every number as a row of one further file."""

import csv
import io
import re
from collections.abc import Iterable, Mapping
from dataclasses import fields

from ..contracts import Score
from .table import Table

SCORES = "scores.csv"
"""File with every number: fractions as in the JSON report, and their keys and intervals."""


def csv_files(tables: Iterable[Table], scores: Iterable[Score]) -> Mapping[str, str]:
    """Content of each file by its name, which depends on the title of its table only.

    Example:
        >>> sorted(csv_files([Table("Top-1 error", ("a",), ())], []))
        ['scores.csv', 'top-1-error.csv']
    """
    files = {SCORES: _scores_csv(scores)}
    for table in tables:
        name, number = slug(table.title), 2
        while f"{name}.csv" in files:
            name, number = f"{slug(table.title)}-{number}", number + 1
        files[f"{name}.csv"] = csv_of(table)
    return files


def csv_of(table: Table) -> str:
    r"""A table as CSV; its cells are texts as they are printed, with marks.

    Example:
        >>> csv_of(Table("T", ("a", "b"), (("x, y", "1"),)))
        'a,b\r\n"x, y",1\r\n'
    """
    text = io.StringIO()
    csv.writer(text).writerows([table.header, *table.rows])
    return text.getvalue()


def _scores_csv(scores: Iterable[Score]) -> str:
    text = io.StringIO()
    writer = csv.writer(text)
    names = [field.name for field in fields(Score)]
    writer.writerow(names)
    writer.writerows([_plain(getattr(score, name)) for name in names] for score in scores)
    return text.getvalue()


def _plain(value: object) -> object:
    """A list, such as that of devices, as words; anything else as it is."""
    return " ".join(map(str, value)) if isinstance(value, list | tuple) else value


def slug(title: str) -> str:
    """A title as the name of a file.

    Example:
        >>> slug("Table 1 of arXiv 1907.07640: ImageNet-C")
        'table-1-of-arxiv-1907-07640-imagenet-c'
    """
    return re.sub(r"[^a-z0-9]+", "-", title.lower()).strip("-")[:60].rstrip("-") or "table"
