"""``evaluator cache list`` and ``evaluator cache prune``."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .command_help import Command, Group
from .options import Json, parse_words

if TYPE_CHECKING:
    from ..workflow.cache import Entry

app = typer.Typer(
    cls=Group,
    no_args_is_help=True,
    rich_markup_mode=None,
    help="List or remove files in the cache. All of them can be made or downloaded again. The "
    "environment variable EVALUATOR_CACHE sets the folder.",
    epilog="evaluator cache list",
)


@app.command("list", cls=Command, epilog="evaluator cache list --json cache.json")
def list_(json: Json = None) -> None:
    """List the entries of the cache with their size, age and kind."""
    from ..workflow.cache import list_cache
    from .console import check_outputs, is_stdout, write_json

    check_outputs(json)
    entries = list_cache()
    if not is_stdout(json):
        _print("Cache", entries)
    if json is not None:
        write_json(json, _document(entries))


@app.command(cls=Command, epilog="evaluator cache prune --older-than 30 --dry-run")
def prune(
    older_than: Annotated[
        float | None,
        typer.Option(
            min=0, metavar="DAYS", help="Remove entries last written more than DAYS days ago."
        ),
    ] = None,
    room: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ROOM",
            help="Room to remove entries from: a folder of the cache, e.g. plans or weights, as "
            "`evaluator cache list` names it. May be repeated. Without --older-than, all its "
            "entries are removed.",
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be removed, and remove nothing.")
    ] = False,
    json: Json = None,
) -> None:
    """Remove half-written files, and entries by age or folder."""
    from ..workflow.cache import prune_cache
    from .console import check_outputs, is_stdout, progress, write_json

    check_outputs(json)
    with progress() as display:
        removed = prune_cache(
            older_than_days=older_than,
            rooms=parse_words(room, "--room"),
            dry_run=dry_run,
            progress=display,
        )
    if not is_stdout(json):
        _print("Would be removed" if dry_run else "Removed", removed)
    if json is not None:
        write_json(json, _document(removed))


def _document(entries: "Sequence[Entry]") -> dict[str, Any]:
    rows = [
        {
            "room": entry.room.name,
            "path": str(entry.path),
            "what": entry.what,
            "bytes": entry.size_bytes,
            "age_days": round(entry.age_days, 3),
            "leftover": entry.leftover,
        }
        for entry in entries
    ]
    return {"schema": 1, "entries": rows}


def _print(title: str, entries: "Sequence[Entry]") -> None:
    from ..errors import printable
    from ..reporting.table import Table
    from ..storage.cache import cache_folder
    from .console import print_tables

    rows = tuple(
        (
            entry.room.name,
            printable(entry.path.name),
            f"{entry.size_bytes / 1e6:.1f}",
            f"{entry.age_days:.1f}",
            entry.what,
        )
        for entry in entries
    )
    total = sum(entry.size_bytes for entry in entries)
    note = f"{len(entries)} entries, {total / 1e6:,.1f} MB"
    header = ("room", "name", "MB", "days old", "what")
    folder = printable(cache_folder("plans").parent)
    print_tables([Table(f"{title}, in {folder}", header, rows, (note,), words=(0, 1, 4))])
