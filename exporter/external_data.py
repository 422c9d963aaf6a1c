"""The external data of ONNX files: large tensors that lie next to the graph.

The data are copied tensor by tensor, never read as a whole: they may be larger than memory, and a
graph with them inside may exceed the largest size of a protobuf.
"""

from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from ..errors import InputError, printable, reported_as

if TYPE_CHECKING:
    import onnx

CHUNK_BYTES = 1 << 24
ALIGNMENT_BYTES = 4096
"""Alignment of each tensor: a page, so that a runtime can map it."""


def external_files(model: "onnx.ModelProto", folder: Path) -> list[Path]:
    """Files in a folder that hold the data of its graph, sorted.

    Raises:
        InputError: If a file is missing or lies outside the folder.
    """
    names = {_entry(tensor, "location") for tensor in _external_tensors(model)}
    files = []
    for name in sorted(names):
        path = PurePosixPath(name.replace("\\", "/"))
        if not name or path.is_absolute() or ".." in path.parts:
            raise InputError(
                f"The ONNX file has its data in {printable(name)!r}, expected a file beside it."
            )
        if not (folder / path).is_file():
            raise InputError(
                f"The ONNX file needs {printable(name)} beside it, which holds its weights. "
                "Put both files into one folder."
            )
        files.append(folder / path)
    return files


def copy_external_data(model: "onnx.ModelProto", folder: Path, data: Path) -> None:
    """Copy all external data of a graph into one new file, and let the graph refer to it.

    Args:
        model: Graph; changed in place.
        folder: Folder of its data.
        data: New file; it is not written if the graph has no external data.

    Raises:
        InputError: If a file is shorter than the graph says.
    """
    tensors = list(_external_tensors(model))
    if not tensors:
        return
    with data.open("wb") as target:
        for tensor in tensors:
            target.seek(-target.tell() % ALIGNMENT_BYTES, 1)
            offset = target.tell()
            length = _copy(tensor, folder, target)
            del tensor.external_data[:]
            for key, value in (("location", data.name), ("offset", offset), ("length", length)):
                tensor.external_data.add(key=key, value=str(value))


def _copy(tensor: "onnx.TensorProto", folder: Path, target: Any) -> int:
    path = folder / _entry(tensor, "location").replace("\\", "/")
    offset, length = int(_entry(tensor, "offset") or 0), _entry(tensor, "length")
    length_bytes = int(length) if length else path.stat().st_size - offset
    with reported_as(f"{printable(path)} cannot be read", OSError), path.open("rb") as source:
        source.seek(offset)
        left = length_bytes
        while left and (chunk := source.read(min(left, CHUNK_BYTES))):
            target.write(chunk)
            left -= len(chunk)
    if left:
        raise InputError(
            f"{printable(path)} is shorter than its graph says: {printable(tensor.name)} lacks "
            f"{left:,} bytes. The file does not belong to the graph, or is truncated."
        )
    return length_bytes


def _entry(tensor: "onnx.TensorProto", key: str) -> str:
    return next((entry.value for entry in tensor.external_data if entry.key == key), "")


def _external_tensors(model: "onnx.ModelProto") -> "Iterator[onnx.TensorProto]":
    import onnx

    external = onnx.TensorProto.EXTERNAL
    for tensor in _tensors(model.graph):
        if tensor.data_location == external:
            yield tensor


def _tensors(graph: "onnx.GraphProto") -> "Iterator[onnx.TensorProto]":
    """All tensors of a graph and of the graphs inside its nodes."""
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors
            for inner in (attribute.g, *attribute.graphs):
                yield from _tensors(inner)
