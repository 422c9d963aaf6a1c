"""The digest of records, by which an edited file of a shard is noticed.

The digest is over the values of the columns, not over the bytes of the file: lengths, validity and
values, each in one canonical form, so that it does not depend on how a version of Arrow or Parquet
chunks, pads or compresses them. It takes about two seconds for the 3.75 million records of
ImageNet-C.
"""

import hashlib
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import pyarrow as pa


def records_sha256(table: "pa.Table") -> str:
    """SHA-256 over the names, types and values of a table's columns, however they are chunked.

    Columns may hold integers, floating-point numbers, booleans, strings, and lists of these.
    """
    digest = hashlib.sha256()
    for name, column in zip(table.column_names, table.columns, strict=True):
        digest.update(f"{name}\0".encode())
        _add(digest, column.combine_chunks())
    return digest.hexdigest()


def _add(digest: Any, array: "pa.Array") -> None:
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = array.type
    digest.update(f"{'list' if pa.types.is_list(kind) else kind}\0{len(array)}\0".encode())
    digest.update(np.packbits(array.is_valid().to_numpy(zero_copy_only=False)))
    if pa.types.is_list(kind):
        digest.update(array.value_lengths().fill_null(0).to_numpy().astype("<i4"))
        _add(digest, array.flatten())  # without values under a null
    elif pa.types.is_string(kind):
        strings = array.fill_null("")
        digest.update(pc.binary_length(strings).to_numpy().astype("<i8"))
        one_list = pa.ListArray.from_arrays(pa.array([0, len(strings)], pa.int32()), strings)
        digest.update(pc.binary_join(one_list, "")[0].as_buffer())
    elif pa.types.is_boolean(kind):
        digest.update(np.packbits(array.fill_null(False).to_numpy(zero_copy_only=False)))
    elif pa.types.is_integer(kind) or pa.types.is_floating(kind):
        values = array.fill_null(0).to_numpy(zero_copy_only=False)
        digest.update(np.ascontiguousarray(values, values.dtype.newbyteorder("<")))
    else:
        raise pa.ArrowTypeError(f"a column of records cannot be {kind}")
