"""Numbers of a condition are numbers in every reader of the records."""

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow import dataset

from evaluator.contracts import Condition, NullProgress, Run, Shard
from evaluator.records.reading import read_run
from evaluator.records.run import create_or_open, key_sha256
from evaluator.records.shard_runner import run_shards
from evaluator.records.shards import shard_path, shards_of
from evaluator.tests.records.test_shards import FOG, key, manifest, work

EPSILONS = (0.0001, 0.01, 8 / 255, 1.0)
CONDITIONS = tuple(Condition((("epsilon", epsilon),)) for epsilon in EPSILONS)
SHARDS = shards_of(CONDITIONS, 10, 4)


def made(folder: Path, shards: list[Shard] = SHARDS) -> Run:
    run = create_or_open(folder, manifest())
    run_shards(run, shards, work, workers=1, progress=NullProgress())
    return run


def by_hive(records: Path) -> pa.Table:
    return dataset.dataset(records, partitioning="hive").to_table()


def by_files(records: Path) -> pa.Table:
    """As the readers do that take no folder for a column."""
    return dataset.dataset(records, format="parquet").to_table()


@pytest.mark.parametrize("read", [by_hive, by_files, pq.read_table])
def test_epsilon_is_a_number_in_every_reader(
    tmp_path: Path, read: Callable[[Path], pa.Table]
) -> None:
    table = read(made(tmp_path / "run").folder / "records")
    assert table.schema.field("epsilon_value").type == pa.float64()
    for epsilon in EPSILONS:
        assert table["epsilon_value"].to_pylist().count(epsilon) == 10


def test_a_filter_on_epsilon_finds_its_rows(tmp_path: Path) -> None:
    records = made(tmp_path / "run").folder / "records"
    rows = dataset.dataset(records, partitioning="hive").to_table(
        filter=dataset.field("epsilon_value") == 8 / 255
    )
    assert rows.num_rows == 10
    assert set(rows["epsilon"].to_pylist()) == {str(8 / 255)}


def test_the_documented_schema_makes_a_number_of_the_folder(tmp_path: Path) -> None:
    records = made(tmp_path / "run").folder / "records"
    hive = dataset.partitioning(pa.schema([("epsilon", pa.float64())]), flavor="hive")
    table = dataset.dataset(records, partitioning=hive).to_table()
    assert table["epsilon"].to_pylist() == table["epsilon_value"].to_pylist()


def test_the_program_reads_the_same_records_as_before(tmp_path: Path) -> None:
    run = made(tmp_path / "run")
    for table in read_run(run, CONDITIONS).finished.values():
        assert table.column_names == ["id"]
    assert key_sha256(run.key) == key_sha256(key())


def test_a_run_begun_without_the_column_is_continued(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("evaluator.records.shards._numbers", lambda condition: {})
        run = made(tmp_path / "run", SHARDS[:2])
    assert "epsilon_value" not in pq.ParquetFile(shard_path(run, SHARDS[0])).schema_arrow.names
    made(run.folder)
    assert "epsilon_value" in pq.ParquetFile(shard_path(run, SHARDS[2])).schema_arrow.names
    table = read_run(run, CONDITIONS).finished[CONDITIONS[0]]
    assert table["id"].to_pylist() == [f"photo {number}" for number in range(10)]


def test_words_and_whole_numbers_need_no_column(tmp_path: Path) -> None:
    shards = shards_of(FOG, 10, 4)
    run = made(tmp_path / "run", shards)
    assert pq.ParquetFile(shard_path(run, shards[0])).schema_arrow.names == ["id"]
    assert by_hive(run.folder / "records").schema.field("severity").type == pa.int32()
