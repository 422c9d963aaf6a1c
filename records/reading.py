"""Reading a run back as Arrow: what is finished, condition by condition, and its provenance."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ..contracts import Condition, Provenance, Run, Shard
from ..errors import InputError, reason_of, shown
from ..storage.documents import document_from_bytes
from .run import RECORDS
from .seal import ShardMark, mark_of
from .shards import MARK_KEY, PROVENANCE_KEY, shard_path, shards_of

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class RunRecords:
    """What a run holds.

    Attributes:
        finished: The records of each condition all of whose shards are there.
        begun: For each condition that lacks shards, how many items are done.
        provenance: Of every shard that is there.
    """

    finished: "Mapping[Condition, pa.Table]"
    begun: Mapping[Condition, int] = field(default_factory=dict)
    provenance: tuple[Provenance, ...] = ()

    @property
    def empty(self) -> bool:
        """Whether no shard is there."""
        return not self.provenance


def read_run(run: Run, conditions: tuple[Condition, ...]) -> RunRecords:
    """Read the records of these conditions.

    Raises:
        InputError: If a file is damaged, was edited, or is another shard's; if ids are not unique.
    """
    import pyarrow as pa

    finished: dict[Condition, pa.Table] = {}
    begun: dict[Condition, int] = {}
    provenance: list[Provenance] = []
    for condition in conditions:
        if not (run.folder / RECORDS / condition.folder).is_dir():
            continue
        shards = shards_of([condition], run.manifest.items, run.manifest.shard_size)
        there = list(_read(run, shards))
        provenance += [made for _, made in there]
        if len(there) == len(shards):
            finished[condition] = pa.concat_tables([table for table, _ in there])
            _check_ids(finished[condition], run, condition)
        elif there:
            begun[condition] = sum(table.num_rows for table, _ in there)
    return RunRecords(finished, begun, tuple(provenance))


def _read(run: Run, shards: list[Shard]) -> "Iterator[tuple[pa.Table, Provenance]]":
    import pyarrow as pa
    import pyarrow.parquet as pq

    for shard in shards:
        path = shard_path(run, shard)
        if not path.is_file():
            continue
        try:
            with path.open("rb") as file:
                table = pq.read_table(file)
        except (OSError, pa.ArrowException) as error:
            raise _damaged(path, reason_of(error)) from error
        yield table.replace_schema_metadata(None), _checked(run, shard, table)


def _checked(run: Run, shard: Shard, table: "pa.Table") -> Provenance:
    """The provenance of a shard, once its file is known to be that shard as it was written."""
    path = shard_path(run, shard)
    metadata = table.schema.metadata or {}
    if PROVENANCE_KEY not in metadata or MARK_KEY not in metadata:
        raise _damaged(path, "it does not say which shard it is, nor where it was made")
    mark = document_from_bytes(metadata[MARK_KEY], ShardMark, shown(path))
    fault = mark.fault(mark_of(run, shard, table, metadata[PROVENANCE_KEY]))
    if fault is not None:
        raise _damaged(path, fault)
    if table.num_rows != shard.size:
        raise _damaged(path, f"it has {table.num_rows} rows, expected {shard.size}")
    return document_from_bytes(metadata[PROVENANCE_KEY], Provenance, shown(path))


def _check_ids(table: "pa.Table", run: Run, condition: Condition) -> None:
    import pyarrow.compute as pc

    if pc.count_distinct(table["id"]).as_py() == table.num_rows:
        return
    counts = pc.value_counts(table["id"])
    double = counts.filter(pc.greater(counts.field("counts"), 1))[0]["values"].as_py()
    raise _damaged(run.folder / RECORDS / condition.folder, f"it holds {shown(double)} twice")


def _damaged(path: Path, reason: str) -> InputError:
    return InputError(
        f"{shown(path)} is damaged: {reason}. Remove it: the same `evaluator score` command makes "
        "it again, and nothing else."
    )
