"""Reading a run as Arrow tables: its finished conditions, their provenance, and skipped items.

The metadata of all shards is read at once, their records when their condition is accessed: no more
than one condition is in memory, unless a caller keeps it.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ..contracts import Condition, Provenance, Run, Shard
from ..errors import InputError, printable
from .run import RECORDS
from .shards import (
    damaged,
    ids_of_items,
    open_shard,
    read_provenance,
    read_records,
    shard_path,
    shards_of,
)

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq


@dataclass(frozen=True)
class RunRecords:
    """Records of a run.

    Attributes:
        finished: Records of each finished condition, read each time that they are accessed.
        begun: Number of finished items of each condition that lacks shards.
        provenance: Provenance of every finished shard.
    """

    finished: "Mapping[Condition, pa.Table]"
    begun: Mapping[Condition, int] = field(default_factory=dict)
    provenance: tuple[Provenance, ...] = ()

    @property
    def empty(self) -> bool:
        """Whether no shard is finished."""
        return not self.provenance


@dataclass(frozen=True)
class Skipped:
    """Items that were skipped in some shards: rows that have an ``error`` instead of a result.

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
        items, were = (self.noun, "was") if self.count == 1 else (f"{self.noun}s", "were")
        return f"{self.count:,} {items} {were} skipped; every number counts them. {self.advice}"

    @property
    def advice(self) -> str:
        """The first error, and how the items are scored after all."""
        files = ", ".join(printable(path) for path in self.files[:3])
        more = f" and {len(self.files) - 3} more" if len(self.files) > 3 else ""
        return (
            f"The first: {self.first.rstrip('.')}. To score them, repair them, remove "
            f"{files}{more} and repeat the command."
        )


def read_run(run: Run, conditions: tuple[Condition, ...]) -> RunRecords:
    """Read the finished shards of these conditions.

    Raises:
        InputError: If a file is damaged or belongs to another shard; when the records of a
            condition are accessed, also if they were edited, if an id occurs twice, or if their
            ids differ from those of the first condition that was accessed.
    """
    finished: dict[Condition, list[Shard]] = {}
    begun: dict[Condition, int] = {}
    provenance: list[Provenance] = []
    for condition in conditions:
        if not (run.folder / RECORDS / condition.folder).is_dir():
            continue
        shards = shards_of([condition], run.manifest.items, run.manifest.shard_size)
        existing = [shard for shard in shards if shard_path(run, shard).is_file()]
        provenance += [read_provenance(run, shard) for shard in existing]
        if len(existing) == len(shards):
            finished[condition] = shards
        elif existing:
            begun[condition] = sum(shard.size for shard in existing)
    return RunRecords(_FinishedConditions(run, finished), begun, tuple(provenance))


def values_there(run: Run, key: str) -> list[str]:
    """The values of a condition's key for which a run has folders."""
    folders = (run.folder / RECORDS).glob(f"{key}=*")
    return sorted(folder.name.partition("=")[2] for folder in folders if folder.is_dir())


def recorded_ids(run: Run) -> list[str]:
    """The sorted ids of all records of a run; damaged files are left out."""
    ids: set[str] = set()
    for path in (run.folder / RECORDS).glob("**/part-*.parquet"):
        with suppress(InputError, KeyError), open_shard(path) as parquet:
            ids.update(parquet.read(["id"])["id"].to_pylist())
    return sorted(ids)


def skipped_in(run: Run, shards: Iterable[Shard], noun: str = "image") -> Skipped | None:
    """The items that were skipped in the finished shards; ``None`` if there are none.

    Of a file without skipped items only the footer is read. A damaged file is passed over; it is
    reported when its records are read.
    """
    errors: list[str] = []
    files: list[Path] = []
    for shard in shards:
        path = shard_path(run, shard)
        with suppress(InputError), open_shard(path) as parquet:
            if errors_of_shard := _errors(parquet):
                errors += errors_of_shard
                files.append(path)
    return Skipped(len(errors), errors[0], tuple(files), noun) if errors else None


class _FinishedConditions(Mapping[Condition, "pa.Table"]):
    """Records of conditions, read when they are accessed; all have the same ids."""

    def __init__(self, run: Run, shards: Mapping[Condition, Sequence[Shard]]) -> None:
        self._run, self._shards = run, shards
        self._first: tuple[Condition, pa.Array] | None = None

    def __iter__(self) -> Iterator[Condition]:
        return iter(self._shards)

    def __len__(self) -> int:
        return len(self._shards)

    def __contains__(self, condition: object) -> bool:
        return condition in self._shards

    def __getitem__(self, condition: Condition) -> "pa.Table":
        import pyarrow as pa

        table = pa.concat_tables(read_records(self._run, s) for s in self._shards[condition])
        ids = ids_of_items(table).combine_chunks()
        if self._first is not None and ids.equals(self._first[1]):
            return table  # the same ids in the same order are as unique as the first ones
        _check_unique(ids, self._place(condition))
        if self._first is not None:
            raise self._difference(condition, ids, *self._first)
        self._first = condition, ids
        return table

    def _difference(
        self, condition: Condition, ids: "pa.Array", first: Condition, expected: "pa.Array"
    ) -> InputError:
        import pyarrow.compute as pc

        foreign = ids.filter(pc.invert(pc.is_in(ids, value_set=expected)))
        example = f", first {printable(foreign[0].as_py())}" if len(foreign) else " in their order"
        return InputError(
            f"{printable(self._place(condition))} contains other images than "
            f"{printable(self._place(first))}: {len(foreign):,} of {len(ids):,} differ{example}. "
            "The data changed between them: remove the wrong one and run the command again."
        )

    def _place(self, condition: Condition) -> Path:
        return self._run.folder / RECORDS / condition.folder


def _check_unique(ids: "pa.Array", place: Path) -> None:
    import pyarrow.compute as pc

    counts = pc.value_counts(ids)
    repeated = counts.filter(pc.greater(counts.field("counts"), 1)).field("values")
    if len(repeated):
        raise damaged(place, f"it contains {printable(repeated[0].as_py())} twice")


def _errors(parquet: "pq.ParquetFile") -> list[str]:
    columns = parquet.metadata.schema.names
    if "error" not in columns:
        return []
    groups = [parquet.metadata.row_group(i) for i in range(parquet.metadata.num_row_groups)]
    statistics = [group.column(columns.index("error")).statistics for group in groups]
    if all(s is not None and s.num_values == 0 for s in statistics):
        return []
    return [str(error) for error in parquet.read(["error"])["error"].drop_null().to_pylist()]
