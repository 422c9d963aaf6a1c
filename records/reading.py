"""Reading a run back as Arrow: what is finished, condition by condition, and its provenance.

What a shard's file says of itself is read at once, its records when their condition is asked for:
no more than one condition is in memory, unless a caller keeps it. Whatever is read is compared with
the file's mark.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..contracts import Condition, Provenance, Run, Shard
from ..errors import InputError, printable, reason_of
from ..storage.documents import document_from_bytes
from .checksum import ShardMark, mark_with, records_sha256
from .run import RECORDS, key_sha256
from .shards import MARK_KEY, PROVENANCE_KEY, shard_path, shards_of

if TYPE_CHECKING:
    import pyarrow as pa


PARTS = ("frame", "attempt")
"""Columns of records in which an item has a row for each of its frames, or attempts to fool."""


@dataclass(frozen=True)
class RunRecords:
    """What a run holds.

    Attributes:
        finished: The records of each condition all of whose shards are there, read each time that
            they are asked for.
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
    """What is there of these conditions.

    Raises:
        InputError: If a file is damaged or is another shard's; when the records of a condition are
            asked for, also if they were edited, if an id stands twice among them, or if their ids
            are others than those of the first condition that was asked for.
    """
    key = key_sha256(run.key)
    finished: dict[Condition, list[Shard]] = {}
    begun: dict[Condition, int] = {}
    provenance: list[Provenance] = []
    for condition in conditions:
        if not (run.folder / RECORDS / condition.folder).is_dir():
            continue
        shards = shards_of([condition], run.manifest.items, run.manifest.shard_size)
        there = [shard for shard in shards if shard_path(run, shard).is_file()]
        provenance += [_provenance(run, shard, key) for shard in there]
        if len(there) == len(shards):
            finished[condition] = shards
        elif there:
            begun[condition] = sum(shard.size for shard in there)
    return RunRecords(_Finished(run, finished), begun, tuple(provenance))


def read_shard(run: Run, shard: Shard) -> "tuple[pa.Table, Provenance]":
    """One finished shard's records and provenance.

    Raises:
        InputError: If its file is damaged, was edited or is another shard's.
    """
    key = key_sha256(run.key)
    return _table(run, shard, key), _provenance(run, shard, key)


def read_provenance(run: Run, shard: Shard) -> Provenance:
    """The provenance of a finished shard.

    Raises:
        InputError: If its file is damaged or is another shard's.
    """
    return _provenance(run, shard, key_sha256(run.key))


def records_of_shard(run: Run, shard: Shard) -> "pa.Table | None":
    """The records of one shard; none if it is not there.

    Raises:
        InputError: If its file is damaged, was edited or is another shard's.
    """
    if not shard_path(run, shard).is_file():
        return None
    return _table(run, shard, key_sha256(run.key))


def values_there(run: Run, key: str) -> list[str]:
    """The values of a condition's key that a run has folders for, where a user chose them."""
    folders = (run.folder / RECORDS).glob(f"{key}=*")
    return sorted(folder.name.partition("=")[2] for folder in folders if folder.is_dir())


def check_finished(run: Run, shards: Iterable[Shard]) -> None:
    """Find out, before hours are spent on the others, that the shards that are there can be read.

    It reads what each file says of itself, not its records: a file that is truncated, was written
    by another program, or belongs elsewhere is found; an edited value is when it is reported.

    Raises:
        InputError: If one is damaged or is another shard's; it is named, and what to do.
    """
    key = key_sha256(run.key)
    for shard in shards:
        if shard_path(run, shard).is_file():
            _provenance(run, shard, key)


class _Finished(Mapping[Condition, "pa.Table"]):
    """The records of conditions, read when they are asked for; their ids are the same in all."""

    def __init__(self, run: Run, shards: Mapping[Condition, Sequence[Shard]]) -> None:
        self._run, self._shards = run, shards
        self._first: tuple[Condition, pa.ChunkedArray] | None = None

    def __iter__(self) -> Iterator[Condition]:
        return iter(self._shards)

    def __len__(self) -> int:
        return len(self._shards)

    def __contains__(self, condition: object) -> bool:
        return condition in self._shards

    def __getitem__(self, condition: Condition) -> "pa.Table":
        import pyarrow as pa

        key = key_sha256(self._run.key)
        table = pa.concat_tables(_table(self._run, s, key) for s in self._shards[condition])
        ids = _ids_of_items(table)
        if self._first is None:
            _check_unique(ids, self._place(condition))
            self._first = condition, ids.combine_chunks()
        else:
            self._check_same(ids, condition)
        return table

    def _check_same(self, ids: "pa.ChunkedArray", condition: Condition) -> None:
        """The same ids in the same order are as unique as the first ones."""
        import pyarrow as pa
        import pyarrow.compute as pc

        assert self._first is not None
        other, expected = self._first
        if ids.equals(pa.chunked_array([expected])):
            return
        _check_unique(ids, self._place(condition))
        foreign = ids.filter(pc.invert(pc.is_in(ids, value_set=expected)))
        example = f", first {printable(foreign[0].as_py())}" if len(foreign) else " in their order"
        raise InputError(
            f"{printable(self._place(condition))} holds other images than "
            f"{printable(self._place(other))}: {len(foreign):,} of {len(ids):,} differ{example}. "
            "The data changed between them: remove the one that is wrong; the same command makes "
            "it again."
        )

    def _place(self, condition: Condition) -> Path:
        return self._run.folder / RECORDS / condition.folder


@contextmanager
def _opened(path: Path) -> "Iterator[Any]":
    """A shard's file; what cannot be read of it is damaged."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with path.open("rb") as file, pq.ParquetFile(file) as parquet:
            yield parquet
    except (
        OSError,
        ValueError,
        pa.ArrowException,
    ) as error:
        # A name that is not UTF-8 is a ValueError.
        raise _damaged(path, reason_of(error)) from error


def _provenance(run: Run, shard: Shard, key: str) -> Provenance:
    """The provenance of a shard, once its file is known to say that it is that shard."""
    path = shard_path(run, shard)
    with _opened(path) as parquet:
        _check_mark(path, shard, key, parquet)
        rows = parquet.metadata.num_rows
        several = any(part in parquet.schema_arrow.names for part in PARTS)
        made = parquet.metadata.metadata[PROVENANCE_KEY]
    if rows < shard.size or (rows > shard.size and not several):
        raise _damaged(path, f"it has {rows} rows, expected {shard.size}")
    return document_from_bytes(made, Provenance, printable(path))


def _table(run: Run, shard: Shard, key: str) -> "pa.Table":
    """The records of a shard, once its file is known to be that shard as it was written."""
    path = shard_path(run, shard)
    with _opened(path) as parquet:
        table = parquet.read()
        try:
            digest = records_sha256(table)
        except TypeError as error:
            raise _damaged(path, str(error)) from error
        _check_mark(path, shard, key, parquet, digest)
    if (items := len(_ids_of_items(table))) != shard.size:
        raise _damaged(path, f"it has {items} items, expected {shard.size}")
    return table.replace_schema_metadata(None)


def _check_mark(
    path: Path, shard: Shard, key: str, parquet: Any, records: str | None = None
) -> None:
    """Compare a file's mark with what it should be; ``records`` is their digest, if known."""
    metadata = parquet.metadata.metadata or {}
    if PROVENANCE_KEY not in metadata or MARK_KEY not in metadata:
        raise _damaged(path, "it does not say which shard it is, nor where it was made")
    mark = document_from_bytes(metadata[MARK_KEY], ShardMark, printable(path))
    digest = mark.records_sha256 if records is None else records
    fault = mark.fault(mark_with(key, shard, digest, metadata[PROVENANCE_KEY]))
    if fault is not None:
        raise _damaged(path, fault)


def _ids_of_items(table: "pa.Table") -> "pa.ChunkedArray":
    """The id of each item; of one with several rows that of the first, 0 or null."""
    import pyarrow.compute as pc

    part = next((name for name in PARTS if name in table.column_names), None)
    if part is None:
        return table["id"]
    return table["id"].filter(pc.equal(pc.fill_null(table[part], 0), 0))


def _check_unique(ids: "pa.ChunkedArray", place: Path) -> None:
    import pyarrow.compute as pc

    if pc.count_distinct(ids).as_py() == len(ids):
        return
    counts = pc.value_counts(ids)
    double = counts.filter(pc.greater(counts.field("counts"), 1))[0]["values"].as_py()
    raise _damaged(place, f"it holds {printable(double)} twice")


def _damaged(path: Path, reason: str) -> InputError:
    return InputError(
        f"{printable(path)} is damaged: {reason}. Remove it: the same command makes "
        "it again, and nothing else."
    )
