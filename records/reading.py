"""Reading a run back as Arrow: what is finished, condition by condition, and its provenance."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ..contracts import Condition, Provenance, Run, Shard
from ..errors import InputError, reason_of, shown
from ..storage.documents import document_from_bytes
from .run import RECORDS
from .shards import PROVENANCE_KEY, shard_path, shards_of

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


def read_run(run: Run, conditions: tuple[Condition, ...]) -> RunRecords:
    """Read the records of these conditions.

    Raises:
        InputError: If a file is damaged, or holds another number of rows than its shard.
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
        if table.num_rows != shard.size:
            raise _damaged(path, f"it has {table.num_rows} rows, expected {shard.size}")
        metadata = table.schema.metadata or {}
        if PROVENANCE_KEY not in metadata:
            raise _damaged(path, "it has no provenance")
        made = document_from_bytes(metadata[PROVENANCE_KEY], Provenance, shown(path))
        yield table.replace_schema_metadata(None), made


def _damaged(path: object, reason: str) -> InputError:
    return InputError(
        f"{shown(str(path))} is damaged: {reason}. Remove it and score again: only it is repeated."
    )
