"""The digest of records: of their values alone, and of all of them."""

import io
import math
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from evaluator.records.checksum import records_sha256

ROWS: dict[str, list[Any]] = {
    "id": ["a", "bc", "", "é", "x" * 50],
    "label": [1, None, 3, 4, 5],
    "top5": [[1, 2], None, [], [3, None], [4]],
    "probability": [[0.5], [math.nan], [-0.0], [math.inf], None],
    "right": [True, False, None, True, True],
    "error": [None, None, None, "broken", ""],
}
SCHEMA = pa.schema(
    {
        "id": pa.string(),
        "label": pa.int32(),
        "top5": pa.list_(pa.int32()),
        "probability": pa.list_(pa.float32()),
        "right": pa.bool_(),
        "error": pa.string(),
    }
)


def table(**changed: list[Any]) -> pa.Table:
    return pa.table({**ROWS, **changed}, schema=SCHEMA)


def through_parquet(records: pa.Table, **options: Any) -> pa.Table:
    file = io.BytesIO()
    pq.write_table(records, file, **options)
    return pq.read_table(file)


def test_the_digest_is_of_the_values_not_of_how_they_are_stored() -> None:
    whole = records_sha256(table())
    pieces = pa.concat_tables([table().slice(0, 1), table().slice(1, 3), table().slice(4)])
    assert pieces["id"].num_chunks == 3
    assert records_sha256(pieces) == whole
    assert records_sha256(through_parquet(table(), compression="zstd")) == whole
    assert records_sha256(through_parquet(pieces, row_group_size=2, use_dictionary=False)) == whole
    later = pa.concat_tables([table(), table()]).slice(5)
    assert records_sha256(later) == whole


def test_what_lies_under_a_null_does_not_count() -> None:
    _, values = pa.array([1, 99, 3, 4, 5], pa.int32()).buffers()
    second_is_null = pa.py_buffer(bytes([0b11101]))
    labels = pa.Array.from_buffers(pa.int32(), 5, [second_is_null, values])
    assert labels.to_pylist() == ROWS["label"]
    hidden = table().set_column(1, "label", labels)
    assert records_sha256(hidden) == records_sha256(table())


@pytest.mark.parametrize(
    "changed",
    [
        {"id": ["ab", "c", "", "é", "x" * 50]},
        {"label": [1, 0, 3, 4, 5]},
        {"top5": [[2, 1], None, [], [3, None], [4]]},
        {"top5": [[1], [2], [], [3, None], [4]]},
        {"top5": [[1, 2], [], [], [3, None], [4]]},
        {"top5": [[1, 2], None, [], [3, 0], [4]]},
        {"probability": [[0.5], [math.nan], [0.0], [math.inf], None]},
        {"right": [True, False, False, True, True]},
        {"error": [None, None, "", "broken", ""]},
    ],
)
def test_every_value_counts(changed: dict[str, list[Any]]) -> None:
    assert records_sha256(table(**changed)) != records_sha256(table())


def test_names_types_and_order_count() -> None:
    whole = records_sha256(table())
    wide = table().set_column(1, "label", table()["label"].cast(pa.int64()))
    assert records_sha256(wide) != whole
    assert records_sha256(table().rename_columns(["ids", *SCHEMA.names[1:]])) != whole
    assert records_sha256(table().take([1, 0, 2, 3, 4])) != whole
    assert records_sha256(table().slice(0, 0)) != whole


def test_a_column_that_has_no_canonical_form_is_refused() -> None:
    with pytest.raises(TypeError, match="cannot be timestamp"):
        records_sha256(pa.table({"t": pa.array([0], pa.timestamp("s"))}))
