"""Tables and documents of ``evaluator data fetch`` and ``evaluator data verify``."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from ..errors import printable
from ..reporting.table import Table

if TYPE_CHECKING:
    from ..contracts import Condition
    from ..workflow.data.check import ConditionCheck, DataCheck
    from ..workflow.data.fetch import FetchedData
    from ..workflow.data.table import DataSet

SHOWN_NAMES = 3
"""Names of missing or damaged items that a note shows of a condition."""

SHOWN_NOTES = 20
"""Notes that are printed; the JSON file has all."""

MOST_ROWS = 12
"""Incomplete conditions that have a row each."""


def data_sets_table(data_sets: "Sequence[DataSet]") -> Table:
    """What can be fetched."""
    rows = tuple(
        (
            data_set.name,
            data_set.purpose,
            str(len(data_set.archives)),
            _published_size(data_set),
            data_set.licence,
        )
        for data_set in data_sets
    )
    notes = (
        "Fetch one with `evaluator data fetch NAME --out DIR`. A size that is not published comes "
        "from the server.",
        "imagenet is explained, not fetched.",
    )
    header = ("name", "for", "files", "size", "licence")
    return Table("Data sets", header, rows, notes, words=(0, 1, 4))


def data_sets_document(data_sets: "Sequence[DataSet]") -> list[dict[str, Any]]:
    """The same for programs, with addresses and checksums."""
    return [
        {
            "name": data_set.name,
            "title": data_set.title,
            "for": data_set.purpose,
            "licence": data_set.licence,
            "page": data_set.page,
            "benchmark": data_set.benchmark or None,
            "files": [
                {
                    "name": archive.name,
                    "url": archive.url or None,
                    "bytes": archive.size_bytes,
                    "checksum": None if archive.checksum is None else str(archive.checksum),
                }
                for archive in data_set.archives
            ],
        }
        for data_set in data_sets
    ]


def fetched_table(fetched: "FetchedData") -> Table:
    """The files of a data set, and what to do next."""
    rows = tuple(
        (
            printable(file.path),
            _megabytes(file.size_bytes),
            f"{file.checksum.title} {file.checksum.digits}",
            file.origin,
        )
        for file in fetched.files
    )
    notes = (
        *(f"Unpacked from {f.unpacked_from}" for f in fetched.files if f.unpacked_from),
        f"Licence: {fetched.data_set.licence}. {fetched.data_set.page}",
        fetched.next_step,
    )
    header = ("file", "MB", "checksum", "checksum is")
    return Table(fetched.data_set.title, header, rows, notes, words=(0, 2, 3))


def fetched_document(fetched: "FetchedData") -> dict[str, Any]:
    """The same for programs."""
    return {
        "name": fetched.data_set.name,
        "folder": str(fetched.folder),
        "files": [
            {
                "path": str(file.path),
                "bytes": file.size_bytes,
                "checksum": str(file.checksum),
                "origin": file.origin,
                "unpacked_from": file.unpacked_from or None,
            }
            for file in fetched.files
        ],
    }


def check_table(check: "DataCheck") -> Table:
    """The conditions that are not complete; one row for all complete ones, one for absent ones."""
    groups = [
        ("complete", [c for c in check.conditions if c.is_complete]),
        ("missing", [c for c in check.conditions if not c.items]),
    ]
    rows = [_row(_name(group, word), group) for word, group in groups if group]
    others = [c for c in check.conditions if c.items and not c.is_complete]
    if len(others) > MOST_ROWS:
        rows.append(_row(f"{len(others)} incomplete conditions", others))
    else:
        rows += [_row(str(c.condition), [c]) for c in others]
    notes = list(_notes(check))
    if len(notes) > SHOWN_NOTES:
        more = f"and {len(notes) - SHOWN_NOTES} more; --json FILE has all"
        notes = [*notes[:SHOWN_NOTES], more]
    header = ("condition", check.noun, "expected", "missing", "damaged")
    return Table(check.verdict, header, tuple(rows), tuple(notes), words=(0,))


def _name(conditions: "Sequence[ConditionCheck]", word: str) -> str:
    if len(conditions) == 1:
        return str(conditions[0].condition)
    return f"{len(conditions)} {word} conditions"


def _row(name: str, conditions: "Sequence[ConditionCheck]") -> tuple[str, ...]:
    """A row with the sums over some conditions."""
    numbers = (
        sum(c.items for c in conditions),
        sum(c.expected for c in conditions),
        sum(c.missing_count for c in conditions),
        sum(c.damaged_count for c in conditions),
    )
    return (name, *(f"{number:,}" for number in numbers))


def _notes(check: "DataCheck") -> Iterator[str]:
    for archive in check.archives:
        mark = "" if archive.passed else "WRONG: "
        yield f"{mark}{printable(archive.path)}: {archive.verdict}"
    yield from (f"problem: {printable(problem)}" for problem in check.problems)
    if len(absent := [c.condition for c in check.conditions if not c.items]) > 1:
        yield f"missing conditions: {_short(absent)}"
    yield from _missing(check)
    for condition in check.conditions:
        for _, reason in condition.damaged[:SHOWN_NAMES]:
            yield f"damaged: {printable(reason)}"
        if condition.damaged_count > SHOWN_NAMES:
            yield f"damaged in {condition.condition}: {condition.damaged_count - SHOWN_NAMES} more"
    yield from check.notes


def _short(conditions: "Sequence[Condition]") -> str:
    """Names of conditions, the severities of a corruption together."""
    groups: dict[str, list[str]] = {}
    for condition in conditions:
        first, *others = (str(value) for _, value in condition.values)
        groups.setdefault(first, []).extend(others)
    return "; ".join(f"{name} {', '.join(others)}".rstrip() for name, others in groups.items())


def _missing(check: "DataCheck") -> Iterator[str]:
    """What is missing, once for all conditions that lack the same."""
    groups: dict[tuple[int, tuple[str, ...]], list[str]] = {}
    for condition in check.conditions:
        if condition.items and condition.missing:
            key = condition.missing_count, condition.missing
            groups.setdefault(key, []).append(str(condition.condition))
    for (count, names), conditions in groups.items():
        others = f" and {len(conditions) - 1} more" if len(conditions) > 1 else ""
        shown = ", ".join(map(printable, names[:SHOWN_NAMES]))
        more = ", ..." if count > SHOWN_NAMES else ""
        yield f"{conditions[0]}{others}: {count:,} are missing, first {shown}{more}"


def _published_size(data_set: "DataSet") -> str:
    sizes = [archive.size_bytes for archive in data_set.archives]
    if None in sizes:
        return "not published"
    return f"{sum(size or 0 for size in sizes) / 1e9:.1f} GB"


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f}"
