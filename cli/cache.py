"""``evaluator cache list`` and ``evaluator cache prune``."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import printable
from ..reporting.table import Table
from .command_help import Command, command_group
from .options import JsonOption, option, parse_words, takes_options

if TYPE_CHECKING:
    from ..workflow.cache import Entry

app = command_group(
    "List or remove files in the cache. All of them can be made or downloaded again. The "
    "environment variable EVALUATOR_CACHE sets the folder.",
    "evaluator cache list",
)


class PruneOptions:
    """Options of ``cache prune``."""

    older_than_days: float | None = option(
        "Options",
        "Remove entries last written more than DAYS days ago.",
        "--older-than",
        metavar="DAYS",
        min=0,
    )
    kinds: list[str] | None = option(
        "Options",
        "Kind of entries to remove, e.g. plans or weights, as `evaluator cache list` names it. "
        "May be repeated. Without --older-than, all entries of the kind are removed.",
        "--kind",
        metavar="KIND",
        parse=parse_words,
    )
    dry_run: bool = option(
        "Options", "Show what would be removed, and remove nothing.", "--dry-run", default=False
    )


@app.command("list", cls=Command, epilog="evaluator cache list --json cache.json")
@takes_options(JsonOption)
def list_(json: Path | None) -> None:
    """List the entries of the cache with their size, age and kind."""
    from ..workflow.cache import list_cache
    from .console import check_outputs, show

    check_outputs(json)
    entries = list_cache()
    show([_table("Cache", entries)], (json, _document(entries)))


@app.command(cls=Command, epilog="evaluator cache prune --older-than 30 --dry-run")
@takes_options(PruneOptions, JsonOption)
def prune(dry_run: bool, json: Path | None, **options: Any) -> None:
    """Remove half-written files, and entries by age or folder."""
    from ..workflow.cache import prune_cache
    from .console import check_outputs, progress, show

    check_outputs(json)
    with progress() as display:
        removed = prune_cache(dry_run=dry_run, progress=display, **options)
    title = "Would be removed" if dry_run else "Removed"
    show([_table(title, removed)], (json, _document(removed)))


def _document(entries: "Sequence[Entry]") -> dict[str, Any]:
    rows = [
        {
            "kind": entry.kind.name,
            "path": str(entry.path),
            "what": entry.what,
            "bytes": entry.size_bytes,
            "age_days": round(entry.age_days, 3),
            "leftover": entry.leftover,
        }
        for entry in entries
    ]
    return {"schema": 2, "entries": rows}


def _table(title: str, entries: "Sequence[Entry]") -> Table:
    from ..storage.cache import cache_folder

    rows = tuple(
        (
            entry.kind.name,
            printable(entry.path.name),
            f"{entry.size_bytes / 1e6:.1f}",
            f"{entry.age_days:.1f}",
            entry.what,
        )
        for entry in entries
    )
    total = sum(entry.size_bytes for entry in entries)
    note = f"{len(entries)} entries, {total / 1e6:,.1f} MB"
    header = ("kind", "name", "MB", "days old", "what")
    folder = printable(cache_folder("plans").parent)
    return Table(f"{title}, in {folder}", header, rows, (note,), words=(0, 1, 4))
