"""Parts of an ONNX graph that compute or store less than float32, at any depth.

A graph has weights in initializers and in the constants of nodes, and nodes in itself, in the
branches and loops inside other nodes, and in functions.
"""

import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import onnx

LARGEST_TABLE = 64
"""Largest number of small integers in a tensor that is not weights, such as a shape or a mask."""

_QUANTISED = re.compile(r"^Q[A-Z]|Quant|QLinear|Integer|NBits|Bnb4|FpQ4")
"""Operators of ONNX and ONNX Runtime that compute with quantised numbers."""

_TYPE_ATTRIBUTES = ("to", "dtype", "output_dtype")
"""Attributes of nodes that name the type of their result."""

_PIXELS_STAY = frozenset(
    ("Identity", "Transpose", "Reshape", "Squeeze", "Unsqueeze", "Cast", "Mul", "Add", "Sub", "Div")
)
"""Operators after which a graph's input still is pixels, which may be cast to whole numbers."""


def reduced_precision(model: "onnx.ModelProto") -> str | None:
    """The first part that is not float32, for an error; `None` if there is none.

    It reads "has weights in float16", "is quantised (MatMulNBits)" or "computes in float16 (Cast)".
    """
    for tensor in _tensors(model):
        if (name := _narrow_type(tensor.data_type)) is not None:
            return f"has weights in {name}"
        name, size = _small_integer(tensor.data_type), np.prod(tensor.dims, dtype=int)
        if name is not None and size > LARGEST_TABLE:
            return f"is quantised (weights in {name})"
    pixels = _pixels(model)
    for node in _nodes(model):
        if _QUANTISED.search(node.op_type):
            return f"is quantised ({node.op_type})"
        for attribute in node.attribute:
            if attribute.name not in _TYPE_ATTRIBUTES:
                continue
            if (name := _narrow_type(attribute.i)) is not None:
                return f"computes in {name} ({node.op_type})"
            name = _small_integer(attribute.i)
            if name is not None and not pixels.issuperset(node.input):
                return f"is quantised ({node.op_type} to {name})"
    return None


def _narrow_type(kind: int) -> str | None:
    """Name of a type of floating-point numbers below float32, or of integers below 8 bits."""
    name = _type_name(kind)
    return name if re.match(r"b?float16|float[468]|u?int[24]$", name) else None


def _small_integer(kind: int) -> str | None:
    """Name of a type of integers of 8 or 16 bits."""
    name = _type_name(kind)
    return name if name in ("int8", "uint8", "int16", "uint16") else None


def _type_name(kind: int) -> str:
    from onnx import TensorProto

    names = {value: name for name, value in TensorProto.DataType.items()}
    return str(names.get(kind, "")).lower()


def _graphs(model: "onnx.ModelProto") -> "Iterator[onnx.GraphProto]":
    """The graph, and those inside nodes, also of functions."""
    yield model.graph
    for node in _nodes(model):
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield attribute.g
            yield from attribute.graphs


def _nodes(model: "onnx.ModelProto") -> "Iterator[onnx.NodeProto]":
    """All nodes at every depth."""
    yield from _nested(model.graph.node)
    for function in model.functions:
        yield from _nested(function.node)


def _nested(nodes: "Iterable[onnx.NodeProto]") -> "Iterator[onnx.NodeProto]":
    for node in nodes:
        yield node
        for attribute in node.attribute:
            for graph in (attribute.g, *attribute.graphs):
                yield from _nested(graph.node)


def _tensors(model: "onnx.ModelProto") -> "Iterator[onnx.TensorProto]":
    """All constants at every depth."""
    for graph in _graphs(model):
        yield from graph.initializer
        yield from (sparse.values for sparse in graph.sparse_initializer)
    for node in _nodes(model):
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            if attribute.HasField("sparse_tensor"):
                yield attribute.sparse_tensor.values
            yield from attribute.tensors
            yield from (sparse.values for sparse in attribute.sparse_tensors)


def _pixels(model: "onnx.ModelProto") -> set[str]:
    """Tensors that hold the pixels of the input, scaled or moved, and constants."""
    pixels = {value.name for value in (*model.graph.input, *model.graph.initializer)}
    for node in model.graph.node:
        if node.op_type == "Constant" or (
            node.op_type in _PIXELS_STAY and pixels.issuperset(node.input)
        ):
            pixels.update(node.output)
    return pixels
