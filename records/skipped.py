"""Which items of a run were skipped: rows that have an ``error`` instead of a result."""

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
        count: How many, once for each condition.
        first: Why the first one was; this names it.
        files: Of the shards that hold them.
        noun: What an item is called.
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
            f"{self.count:,} {items} {were} skipped, and every number says so. The first: "
            f"{self.first.rstrip('.')}. To score them after all, repair them, remove "
            f"{files}{more} and repeat the command."
        )


def skipped_in(run: Run, shards: Iterable[Shard], noun: str = "image") -> Skipped | None:
    """What was skipped in those of the shards that are there, if anything.

    Only the ends of the files are read where nothing was. A damaged file is left to whoever reads
    the records.
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
