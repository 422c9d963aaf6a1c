"""Skipped items of a run: rows that have an ``error`` instead of a result."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..contracts import Run, Shard
from ..errors import printable
from .shards import shard_path

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class Skipped:
    """Items that were skipped in some shards.

    Attributes:
        count: Number of skipped items, once for each condition.
        first: Error of the first one; it names the item.
        files: Files of the shards with skipped items.
        noun: Word for an item.
    """

    count: int
    first: str
    files: tuple[Path, ...]
    noun: str = "image"

    def __str__(self) -> str:
        files = ", ".join(printable(path) for path in self.files[:3])
        more = f" and {len(self.files) - 3} more" if len(self.files) > 3 else ""
        items, were = (self.noun, "was") if self.count == 1 else (f"{self.noun}s", "were")
        return (
            f"{self.count:,} {items} {were} skipped; every number counts them. The first: "
            f"{self.first.rstrip('.')}. To score them, repair them, remove {files}{more} and "
            "repeat the command."
        )


def skipped_in(run: Run, shards: Iterable[Shard], noun: str = "image") -> Skipped | None:
    """The items that were skipped in the finished shards; ``None`` if there are none.

    Of a file without skipped items only the footer is read. A damaged file is passed over; it is
    reported when its records are read.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    count, first, files = 0, "", list[Path]()
    for shard in shards:
        path = shard_path(run, shard)
        try:
            with path.open("rb") as file:
                errors = _errors(pq.ParquetFile(file))
        except (OSError, pa.ArrowException):
            continue
        if errors:
            count += len(errors)
            first = first or errors[0]
            files.append(path)
    return Skipped(count, first, tuple(files), noun) if count else None


def _errors(file: "pa.parquet.ParquetFile") -> list[str]:
    metadata = file.metadata
    names = file.schema_arrow.names
    if "error" not in names:
        return []
    column = [i for i in range(metadata.num_columns) if metadata.schema.column(i).path == "error"]
    statistics = [
        metadata.row_group(group).column(column[0]).statistics
        for group in range(metadata.num_row_groups)
    ]
    if all(s is not None and s.num_values == 0 for s in statistics):
        return []
    return [str(error) for error in file.read(["error"])["error"].drop_null().to_pylist()]
