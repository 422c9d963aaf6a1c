"""The records of a run as one table."""

from pathlib import Path

import pyarrow.dataset
import pytest

import evaluator
from evaluator.contracts import Condition
from evaluator.errors import InputError
from evaluator.evaluate.benchmarks.imagenet_c import CONDITIONS
from evaluator.tests.written_runs import write_run


def test_conditions_are_columns(tmp_path: Path) -> None:
    opened = evaluator.open_run(write_run(tmp_path / "run", shards=2))
    table = opened.table()
    assert opened.conditions == CONDITIONS
    assert opened.manifest.items == 10
    assert table.num_rows == 75 * 10
    other = pyarrow.dataset.dataset(opened.folder / "records", partitioning="hive").to_table()
    keys = [(name, "ascending") for name in ("corruption", "severity", "id")]
    assert table.sort_by(keys).to_pylist() == other.sort_by(keys).to_pylist()
    assert set(table.column_names) == set(other.column_names)


def test_clean_images_have_no_condition(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", conditions=(Condition(),), benchmark="imagenet")
    table = evaluator.open_run(str(run)).table()
    assert table.column_names == ["id", "label", "top5", "probability", "error"]


def test_only_finished_conditions_are_given(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", shards=2)
    next(run.rglob("part-00001.parquet")).unlink()
    assert evaluator.open_run(run).table().num_rows == 74 * 10
    for part in run.rglob("part-00001.parquet"):
        part.unlink()
    with pytest.raises(InputError, match=r"run has no finished condition\. To continue the run"):
        evaluator.open_run(run).table()


def test_what_is_not_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"run\.json"):
        evaluator.open_run(tmp_path)
    run = write_run(tmp_path / "run")
    part = next(run.rglob("part-*.parquet"))
    part.write_bytes(part.read_bytes()[:-9])
    with pytest.raises(InputError, match="part-00000"):
        evaluator.open_run(run).table()
