"""bfloat16 graphs where no kernel computes in bfloat16: float32, rounded after every operator.

ONNX Runtime has no bfloat16 convolution on the CPU. So that a bfloat16 bundle can be compared with
its reference on any machine, its graph is rewritten: weights are read as they are and widened,
each operator computes in float32, and its result is rounded to bfloat16 and widened again. That is
what bfloat16 hardware does, which accumulates in float32; it is slow, and made for parity only.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import EngineError, printable

if TYPE_CHECKING:
    import onnx

EXTERNAL_FOLDER = "session.model_external_initializers_file_folder_path"
"""Option of ONNX Runtime: the folder of the weights of a graph that is passed as bytes."""

_EXACT, _WIDE = "__exact", "__wide"


def emulated(path: Path) -> bytes:
    """A bfloat16 graph as a float32 one that rounds; its weights stay in the bundle's data file.

    Raises:
        EngineError: If the graph has values whose type is not known.
    """
    import onnx

    model = onnx.load(str(path), load_external_data=False)
    types = _types(model)
    nodes: list[onnx.NodeProto] = []
    for tensor in model.graph.initializer:
        if tensor.data_type == onnx.TensorProto.BFLOAT16:
            nodes.append(_cast(tensor.name, tensor.name + _WIDE, onnx.TensorProto.FLOAT))
    for node in model.graph.node:
        nodes += _node(node, types, path)
    del model.graph.node[:], model.graph.value_info[:]
    model.graph.node.extend(nodes)
    return bytes(model.SerializeToString())


def _types(model: "onnx.ModelProto") -> dict[str, int]:
    """The element type of every value."""
    import onnx

    graph = onnx.shape_inference.infer_shapes(model).graph
    types = {tensor.name: int(tensor.data_type) for tensor in graph.initializer}
    for value in (*graph.input, *graph.value_info, *graph.output):
        types[value.name] = int(value.type.tensor_type.elem_type)
    return types


def _node(node: "onnx.NodeProto", types: dict[str, int], path: Path) -> "Iterator[onnx.NodeProto]":
    """A node in float32, followed by the rounding of each bfloat16 result."""
    import onnx

    narrow = onnx.TensorProto.BFLOAT16
    wide = onnx.NodeProto()
    wide.CopyFrom(node)
    for position, name in enumerate(node.input):
        if types.get(name) == narrow:
            wide.input[position] = name + _WIDE
    rounded = []
    for position, name in enumerate(node.output):
        if name and name not in types:
            raise EngineError(
                f"{printable(path)} cannot be computed on the CPU: the type of {name} is unknown."
            )
        if types.get(name) == narrow:
            wide.output[position] = name + _EXACT
            rounded.append(name)
    for attribute in wide.attribute:
        if node.op_type == "Cast" and attribute.name == "to" and attribute.i == narrow:
            attribute.i = onnx.TensorProto.FLOAT
    yield wide
    for name in rounded:
        yield _cast(name + _EXACT, name, narrow)
        yield _cast(name, name + _WIDE, onnx.TensorProto.FLOAT)


def _cast(source: str, target: str, to: int) -> "onnx.NodeProto":
    import onnx

    node: Any = onnx.helper.make_node("Cast", [source], [target], to=to)
    result: onnx.NodeProto = node
    return result
