"""Reading a run as Arrow tables: the finished conditions, one by one, and their provenance.

The metadata of all shards is read at once, their records when their condition is accessed: no more
than one condition is in memory, unless a caller keeps it. Everything that is read is compared with
the checksums in the file.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..contracts import Condition, Provenance, Run, Shard
from ..errors import InputError, printable, reason_of
from ..storage.documents import document_from_bytes
from .checksum import ShardMark, records_sha256, shard_mark
from .run import RECORDS, key_sha256
from .shards import MARK_KEY, PROVENANCE_KEY, shard_path, shards_of

if TYPE_CHECKING:
    import pyarrow as pa


PARTS = ("frame", "attempt")
"""Columns that number the rows of an item: one row for each frame, or for each attack attempt."""


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


def read_run(run: Run, conditions: tuple[Condition, ...]) -> RunRecords:
    """Read the finished shards of these conditions.

    Raises:
        InputError: If a file is damaged or belongs to another shard; when the records of a
            condition are accessed, also if they were edited, if an id occurs twice, or if their
            ids differ from those of the first condition that was accessed.
    """
    key = key_sha256(run.key)
    finished: dict[Condition, list[Shard]] = {}
    begun: dict[Condition, int] = {}
    provenance: list[Provenance] = []
    for condition in conditions:
        if not (run.folder / RECORDS / condition.folder).is_dir():
            continue
        shards = shards_of([condition], run.manifest.items, run.manifest.shard_size)
        existing = [shard for shard in shards if shard_path(run, shard).is_file()]
        provenance += [_provenance(run, shard, key) for shard in existing]
        if len(existing) == len(shards):
            finished[condition] = shards
        elif existing:
            begun[condition] = sum(shard.size for shard in existing)
    return RunRecords(_FinishedConditions(run, finished), begun, tuple(provenance))


def read_shard(run: Run, shard: Shard) -> "tuple[pa.Table, Provenance]":
    """The records and provenance of a finished shard.

    Raises:
        InputError: If its file is damaged, was edited or belongs to another shard.
    """
    key = key_sha256(run.key)
    return _table(run, shard, key), _provenance(run, shard, key)


def read_provenance(run: Run, shard: Shard) -> Provenance:
    """The provenance of a finished shard.

    Raises:
        InputError: If its file is damaged or belongs to another shard.
    """
    return _provenance(run, shard, key_sha256(run.key))


def records_of_shard(run: Run, shard: Shard) -> "pa.Table | None":
    """The records of a shard; ``None`` if it is not finished.

    Raises:
        InputError: If its file is damaged, was edited or belongs to another shard.
    """
    if not shard_path(run, shard).is_file():
        return None
    return _table(run, shard, key_sha256(run.key))


def values_there(run: Run, key: str) -> list[str]:
    """The values of a condition's key for which a run has folders."""
    folders = (run.folder / RECORDS).glob(f"{key}=*")
    return sorted(folder.name.partition("=")[2] for folder in folders if folder.is_dir())


def check_finished(run: Run, shards: Iterable[Shard]) -> None:
    """Check that the finished shards can be read, before hours are spent on the others.

    Only the metadata of each file is read. A file that is truncated, was written by another
    program, or belongs to another shard is noticed; an edited value is noticed when the records are
    read.

    Raises:
        InputError: If the file of a finished shard is damaged or belongs to another shard.
    """
    key = key_sha256(run.key)
    for shard in shards:
        if shard_path(run, shard).is_file():
            _provenance(run, shard, key)


class _FinishedConditions(Mapping[Condition, "pa.Table"]):
    """Records of conditions, read when they are accessed; all have the same ids."""

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
        first, expected = self._first
        if ids.equals(pa.chunked_array([expected])):
            return
        _check_unique(ids, self._place(condition))
        foreign = ids.filter(pc.invert(pc.is_in(ids, value_set=expected)))
        example = f", first {printable(foreign[0].as_py())}" if len(foreign) else " in their order"
        raise InputError(
            f"{printable(self._place(condition))} contains other images than "
            f"{printable(self._place(first))}: {len(foreign):,} of {len(ids):,} differ{example}. "
            "The data changed between them: remove the wrong one and run the command again."
        )

    def _place(self, condition: Condition) -> Path:
        return self._run.folder / RECORDS / condition.folder


@contextmanager
def _open_shard(path: Path) -> "Iterator[Any]":
    """Open the file of a shard; an error in reading it is reported as damage."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with path.open("rb") as file, pq.ParquetFile(file) as parquet:
            yield parquet
    except (OSError, ValueError, pa.ArrowException) as error:  # ValueError: a name is not UTF-8
        raise _damaged(path, reason_of(error)) from error


def _provenance(run: Run, shard: Shard, key: str) -> Provenance:
    """The provenance of a shard, after a check that the file belongs to it."""
    path = shard_path(run, shard)
    with _open_shard(path) as parquet:
        _check_mark(path, shard, key, parquet)
        rows = parquet.metadata.num_rows
        has_parts = any(part in parquet.schema_arrow.names for part in PARTS)
        document = parquet.metadata.metadata[PROVENANCE_KEY]
    if rows < shard.size or (rows > shard.size and not has_parts):
        raise _damaged(path, f"it has {rows} rows, expected {shard.size}")
    return document_from_bytes(document, Provenance, printable(path))


def _table(run: Run, shard: Shard, key: str) -> "pa.Table":
    """The records of a shard, after a check that they are unchanged."""
    path = shard_path(run, shard)
    with _open_shard(path) as parquet:
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
    """Compare the mark of a file with the expected one.

    ``records`` is the digest of the records; ``None`` if they have not been read.
    """
    metadata = parquet.metadata.metadata or {}
    if PROVENANCE_KEY not in metadata or MARK_KEY not in metadata:
        raise _damaged(path, "it has no provenance or no checksum")
    mark = document_from_bytes(metadata[MARK_KEY], ShardMark, printable(path))
    digest = mark.records_sha256 if records is None else records
    fault = mark.fault(shard_mark(key, shard, digest, metadata[PROVENANCE_KEY]))
    if fault is not None:
        raise _damaged(path, fault)


def _ids_of_items(table: "pa.Table") -> "pa.ChunkedArray":
    """The id of each item; of several rows of an item only the first counts, 0 or null."""
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
    repeated = counts.filter(pc.greater(counts.field("counts"), 1))[0]["values"].as_py()
    raise _damaged(place, f"it contains {printable(repeated)} twice")


def _damaged(path: Path, reason: str) -> InputError:
    return InputError(
        f"{printable(path)} is damaged: {reason}. Remove it and run the command again; only "
        "what is missing is made."
    )
