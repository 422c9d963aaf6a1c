"""``evaluator cache list`` and ``evaluator cache prune``."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .options import Json, words_of

if TYPE_CHECKING:
    from ..workflow.cache import Entry

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="What the tool keeps and can make or fetch again: EVALUATOR_CACHE says where.",
)


@app.command("list")
def list_(json: Json = None) -> None:
    """List what lies in the cache: size, age, what it is."""
    from ..workflow.cache import list_cache
    from .console import check_outputs, is_stdout, write_json

    check_outputs(json)
    entries = list_cache()
    if not is_stdout(json):
        _print("Cache", entries)
    if json is not None:
        write_json(json, _document(entries))


@app.command()
def prune(
    older_than: Annotated[
        float | None,
        typer.Option(min=0, metavar="DAYS", help="What was not written to for so long."),
    ] = None,
    room: Annotated[
        list[str] | None,
        typer.Option(metavar="ROOM", help="From these rooms only; alone, all that is in them."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would go, and remove nothing.")
    ] = False,
    json: Json = None,
) -> None:
    """Remove what killed processes left half-written, and what is asked for."""
    from ..workflow.cache import prune_cache
    from .console import check_outputs, is_stdout, progress, write_json

    check_outputs(json)
    with progress() as display:
        removed = prune_cache(
            older_than_days=older_than,
            rooms=words_of(room, "--room"),
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
    where = printable(cache_folder("plans").parent)
    print_tables([Table(f"{title}, in {where}", header, rows, (note,), words=(0, 1, 4))])
