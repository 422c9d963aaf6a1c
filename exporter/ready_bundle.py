"""Bundles from ready ONNX files: pixels in front, logits in ImageNet's order behind.

    pixels (N, S, S, 3) uint8 -> cast, transpose, multiply, add -> the graph as it is -> gather
    images (N, 3, S, S) float32            -> multiply, add -> the graph as it is -> gather

For a graph that takes the channels B, G, R another gather follows the addition.

The nodes in front are the same as in graphs that are exported here, so that one check fits both.
The batch stays dynamic; the weights are copied and never all in memory at once.
"""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
import numpy.typing as npt

from ..contracts import (
    FLOAT32_PIXELS,
    Bundle,
    ClassOrder,
    GraphKind,
    InputKind,
    Layout,
    ModelSpec,
    ReadyOnnx,
)
from ..errors import InputError, printable, reported_as
from .bundle import DATA, GRAPH, WrittenGraph, publish_bundle
from .class_order import check_outputs
from .external_data import copy_external_data
from .graph.deployable import BGR, OUTPUT, scale_and_bias
from .ready_onnx import graph_input, read_graph, standard_opset, unchanged_original

if TYPE_CHECKING:
    import onnx

_PREFIX = "evaluator."
"""Prefix of the names of nodes and tensors that are added to a graph."""

_RESERVED = (*get_args(InputKind), OUTPUT)
"""Names of the input and the output of bundles."""

_SCALE_AND_BIAS = (_PREFIX + "scale", _PREFIX + "bias")

_CHANNELS = _PREFIX + "channels"

_MOVING = ("Identity", "Transpose", "Reshape", "Squeeze", "Unsqueeze")

_Step = tuple[str, list[str], dict[str, Any]]
"""Operator, constants and attributes of a node."""

_LEAST_IR = 4
"""Version of ONNX's format since which a graph's weights need not be among its inputs."""


def write_ready_bundle(spec: ModelSpec, folder: Path, kind: GraphKind = FLOAT32_PIXELS) -> Bundle:
    """Make a new bundle of an ONNX file, in float32 only: the file's arithmetic is not changed.

    Raises:
        InputError: If the file changed, or the graph does not give logits of its classes for any
            number of images.
        OutputError: If the folder cannot be written or holds something else.
    """
    own = spec.own
    assert isinstance(own, ReadyOnnx)

    def write_graph(temporary: Path) -> WrittenGraph:
        original = unchanged_original(spec)
        model = read_graph(original)
        with reported_as(f"{printable(original)} is damaged"):
            copy_external_data(model, original.parent, temporary / DATA)
            _enclose(model, spec, original, kind.input_kind)
            _write(model, temporary)
            shape = _measured_shape(temporary / GRAPH, spec)
            check_outputs(math.prod(shape), spec)
            if own.softmax:
                _check_softmax(model, own.output, temporary, spec)
        if len(shape) > 1:
            _flatten_logits(model)
        if spec.class_order is not None:
            _reorder_logits(model, spec.class_order)
        model.graph.output[0].type.tensor_type.shape.dim[1].dim_value = spec.classes
        _write(model, temporary)
        return WrittenGraph(spec.weights.sha256, standard_opset(model), ("evaluator", "onnx"))

    return publish_bundle(spec, folder, kind, write_graph)


def _enclose(
    model: "onnx.ModelProto", spec: ModelSpec, original: Path, input_kind: InputKind
) -> None:
    """Make a graph take pixels or images, in place; its logits stay as they are."""
    import onnx

    own, graph, preprocessing = spec.own, model.graph, spec.preprocessing
    crop_px = preprocessing.crop_px
    assert isinstance(own, ReadyOnnx)
    _free_names(graph)
    graph_value = graph_input(model, original)
    whole_numbers = graph_value.type.tensor_type.elem_type != onnx.TensorProto.FLOAT
    if input_kind == "images" and whole_numbers:
        raise InputError(
            f"{spec.name} takes pixels in whole numbers, so it cannot take images in [0, 1]. "
            "Omit --input images."
        )
    if whole_numbers and _is_only_cast(graph, graph_value.name):
        whole_numbers = False
        del graph.value_info[:]  # it has the types of whole numbers
    layout, is_bgr = own.layout, preprocessing.is_bgr
    steps = _preprocessing_steps(layout, input_kind, whole_numbers=whole_numbers, is_bgr=is_bgr)
    nodes = [
        *_preprocessing_nodes(steps, input_kind, graph_value.name),
        *graph.node,
        onnx.helper.make_node("Identity", [_unreserved(own.output)], [OUTPUT], _PREFIX + OUTPUT),
    ]
    del graph.node[:], graph.input[:], graph.output[:]
    graph.node.extend(nodes)
    constants = scale_and_bias(preprocessing, input_kind)
    for name, values in zip(_SCALE_AND_BIAS, constants, strict=True):
        constant = onnx.numpy_helper.from_array(values.reshape(1, 3, 1, 1), name)
        graph.initializer.append(constant)
    if is_bgr:
        graph.initializer.append(onnx.numpy_helper.from_array(np.array(BGR, np.int64), _CHANNELS))
    value = onnx.helper.make_tensor_value_info
    if input_kind == "pixels":
        graph.input.append(value("pixels", onnx.TensorProto.UINT8, ["N", crop_px, crop_px, 3]))
    else:
        graph.input.append(value("images", onnx.TensorProto.FLOAT, ["N", 3, crop_px, crop_px]))
    graph.output.append(value(OUTPUT, onnx.TensorProto.FLOAT, ["N", "C"]))
    model.ir_version = max(model.ir_version, _LEAST_IR)


def _unreserved(name: str) -> str:
    """Another name for a tensor or node with a name of ours: the file may be a bundle itself."""
    is_ours = name in _RESERVED or name.startswith(_PREFIX)
    return _PREFIX + "was." + name if is_ours else name


def _is_only_cast(graph: "onnx.GraphProto", name: str) -> bool:
    """Whether a graph only moves whole numbers about and casts them to float.

    Such a graph can take floats instead: TensorRT supports uint8 for inputs only.
    """
    import onnx

    readers = [node for node in graph.node if name in node.input]
    return bool(readers) and all(
        any(a.name == "to" and a.i == onnx.TensorProto.FLOAT for a in node.attribute)
        if node.op_type == "Cast"
        else node.op_type in _MOVING and _is_only_cast(graph, node.output[0])
        for node in readers
    )


def _preprocessing_steps(
    layout: Layout, input_kind: InputKind, *, whole_numbers: bool, is_bgr: bool
) -> list[_Step]:
    """Operators from pixels or images to the input of the graph."""
    import onnx

    scale, bias = _SCALE_AND_BIAS
    steps: list[_Step] = []
    if input_kind == "pixels":
        # Cast first: TensorRT refuses to transpose uint8.
        steps.append(("Cast", [], {"to": onnx.TensorProto.FLOAT}))
        steps.append(("Transpose", [], {"perm": [0, 3, 1, 2]}))
    steps += [("Mul", [scale], {}), ("Add", [bias], {})]
    if is_bgr:
        steps.append(("Gather", [_CHANNELS], {"axis": 1}))
    if layout == "nhwc":
        steps.append(("Transpose", [], {"perm": [0, 2, 3, 1]}))
    if whole_numbers:
        steps.append(("Cast", [], {"to": onnx.TensorProto.UINT8}))
    return steps


def _preprocessing_nodes(
    steps: list[_Step], input_kind: InputKind, graph_value: str
) -> "Iterator[onnx.NodeProto]":
    """Nodes of these operators, one after the other, ending at the input of the graph."""
    import onnx

    value: str = input_kind
    for number, (operator, constants, attributes) in enumerate(steps, start=1):
        result = graph_value if number == len(steps) else f"{_PREFIX}front.{number}"
        name = f"{_PREFIX}{operator}.{number}"
        yield onnx.helper.make_node(operator, [value, *constants], [result], name, **attributes)
        value = result


def _flatten_logits(model: "onnx.ModelProto") -> None:
    """Give the logits the shape (N, C) before the last node."""
    import onnx

    last, name = model.graph.node[-1], _PREFIX + "flat"
    flatten = onnx.helper.make_node("Flatten", [last.input[0]], [name], name, axis=1)
    last.input[0] = name
    model.graph.node.insert(len(model.graph.node) - 1, flatten)


def _reorder_logits(model: "onnx.ModelProto", order: ClassOrder) -> None:
    """Bring the logits into ImageNet's order: the last node becomes a gather."""
    import onnx

    last, name = model.graph.node[-1], _PREFIX + "outputs"
    indices = np.array(order.indices, np.int64)
    model.graph.initializer.append(onnx.numpy_helper.from_array(indices, name))
    node = onnx.helper.make_node("Gather", [last.input[0], name], [OUTPUT], last.name, axis=1)
    last.CopyFrom(node)


def _free_names(graph: "onnx.GraphProto") -> None:
    """Rename tensors and nodes that have names of ours, also in the graphs inside nodes."""
    for node in graph.node:
        if node.name.startswith(_PREFIX):  # nodes may have the names of inputs and outputs
            node.name = _unreserved(node.name)
        for names in (node.input, node.output):
            names[:] = [_unreserved(name) for name in names]
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                _free_names(inner)
    sparse = [tensor.values for tensor in graph.sparse_initializer]
    for values in (graph.initializer, sparse, graph.input, graph.output, graph.value_info):
        for value in values:
            if (name := _unreserved(value.name)) != value.name:
                value.name = name


def _write(model: "onnx.ModelProto", folder: Path) -> None:
    (folder / GRAPH).write_bytes(model.SerializeToString(deterministic=True))


def _measured_shape(path: Path, spec: ModelSpec) -> tuple[int, ...]:
    """Shape of the logits that the graph gives for each image: (C,), or such as (C, 1, 1).

    Raises:
        InputError: If it does not run for any number of images, or gives no logits.
    """
    session = _session(path, spec)
    for images in (1, 3):
        (logits,) = _outputs(session, images, spec)
        one_axis = sum(length > 1 for length in logits.shape[1:]) <= 1
        if logits.ndim < 2 or len(logits) != images or not one_axis or logits.dtype != np.float32:
            raise InputError(
                f"{spec.name} gives {logits.dtype} {list(logits.shape)} for {images} image(s), "
                "expected float32 logits [images, classes] or [images, classes, 1, 1]."
            )
    shape, logits = tuple(logits.shape[1:]), logits.reshape(len(logits), -1)
    if (logits >= 0).all() and np.allclose(logits.sum(axis=1), 1, atol=1e-3):
        raise InputError(
            f"{spec.name} gives probabilities, expected logits, and its graph does not end in a "
            "softmax that could be left out. Export it without the softmax."
        )
    return shape


def _check_softmax(
    model: "onnx.ModelProto", logits_name: str, folder: Path, spec: ModelSpec
) -> None:
    """Refuse a softmax that is not over all classes: it cannot be left out.

    Raises:
        InputError: If the graph's own probabilities are not the softmax of its logits.
    """
    import onnx

    name = _unreserved(logits_name)
    softmax = next(n for n in model.graph.node if n.op_type == "Softmax" and n.input[0] == name)
    with_both = onnx.ModelProto.FromString(model.SerializeToString())
    with_both.graph.output.append(onnx.ValueInfoProto(name=softmax.output[0]))
    path = folder / "with-softmax.onnx"
    path.write_bytes(with_both.SerializeToString())
    outputs = _outputs(_session(path, spec), 3, spec)
    path.unlink()
    logits, probabilities = (output.reshape(3, -1).astype(np.float64) for output in outputs)
    expected = np.exp(logits - logits.max(axis=1, keepdims=True))
    expected /= expected.sum(axis=1, keepdims=True)
    if not np.allclose(probabilities, expected, atol=1e-4):
        raise InputError(
            f"{spec.name} ends in a softmax that is not over all its classes, so that it cannot "
            "be left out. Export it without the softmax."
        )


def _session(path: Path, spec: ModelSpec) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # what fails is raised; the log would repeat it
    with reported_as(f"ONNX Runtime does not load {spec.name}"):
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def _outputs(session: Any, images: int, spec: ModelSpec) -> list[npt.NDArray[Any]]:
    """What a graph gives for images of noise."""
    graph_value = session.get_inputs()[0]
    side_lengths, is_pixels = graph_value.shape[1:], "uint8" in graph_value.type
    data = _noise(images, *side_lengths, pixels=is_pixels)
    with reported_as(f"{spec.name} does not run in ONNX Runtime on {images} image(s)"):
        outputs: list[npt.NDArray[Any]] = session.run(None, {graph_value.name: data})
    return outputs


def _noise(*shape: int, pixels: bool) -> npt.NDArray[Any]:
    draw = np.random.default_rng(0)
    return draw.integers(0, 256, shape, np.uint8) if pixels else draw.random(shape, np.float32)
