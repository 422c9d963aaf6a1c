"""Bundles from ONNX files that are ready: pixels in front, logits in ImageNet's order behind.

    pixels (N, S, S, 3) uint8 -> cast, transpose, multiply, add -> the graph as it is -> gather
    images (N, 3, S, S) float32            -> multiply, add -> the graph as it is -> gather

What stands in front is the same as in graphs that are exported here, so that the same check reads
it. The batch stays dynamic, the weights are copied and never all in memory at once.
"""

import importlib.metadata
import platform
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
    ModelSpec,
    OnnxModel,
    ReadyOnnx,
)
from ..errors import InputError, reason_of
from ..storage.atomic import atomic_folder
from ..storage.documents import sealed, write_document
from .bundle import (
    DATA,
    GRAPH,
    MANIFEST,
    content_sha256,
    is_bundle,
    open_bundle_of,
    refuse_what_is_no_bundle,
)
from .class_order import check_outputs
from .external_data import copy_external_data
from .graph.deployable import OUTPUT, affine_of
from .ready_onnx import graph_input, opset_of, original_of, read_graph

if TYPE_CHECKING:
    import onnx

_OURS = "evaluator."
"""Before the names of what is added to a graph."""

_RESERVED = (*get_args(InputKind), OUTPUT)
"""What the input and output of bundles are called."""

_AFFINE = (_OURS + "scale", _OURS + "bias")

_MOVING = ("Identity", "Transpose", "Reshape", "Squeeze", "Unsqueeze")

_LEAST_IR = 4
"""From this version on a graph's weights need not be among its inputs."""


def write_ready_bundle(spec: ModelSpec, folder: Path, kind: GraphKind = FLOAT32_PIXELS) -> Bundle:
    """Make a new bundle of an ONNX file. In float32 only: the arithmetic is taken as it is.

    Raises:
        InputError: If the file changed, or the graph does not give logits of its classes for any
            number of images.
        OutputError: If the folder cannot be written or holds something else.
    """
    if is_bundle(folder):
        return open_bundle_of(spec, kind, folder)
    refuse_what_is_no_bundle(folder)
    original = original_of(spec)
    model = read_graph(original)
    with atomic_folder(folder) as temporary:
        copy_external_data(model, original.parent, temporary / DATA)
        _enclose(model, spec, original, kind.input_kind)
        _write(model, temporary)
        check_outputs(_logits_of_a_run(temporary / GRAPH, spec), spec)
        if spec.class_order is not None:
            _gather(model, spec.class_order)
        model.graph.output[0].type.tensor_type.shape.dim[1].dim_value = spec.classes
        _write(model, temporary)
        manifest = OnnxModel(
            spec=spec,
            weights_sha256=spec.weights.sha256,
            sha256=content_sha256(temporary),
            opset=opset_of(model),
            precision=kind.precision,
            input_kind=kind.input_kind,
            versions=_versions(),
        )
        write_document(temporary / MANIFEST, sealed(manifest))
    return open_bundle_of(spec, kind, folder)


def _enclose(
    model: "onnx.ModelProto", spec: ModelSpec, original: Path, input_kind: InputKind
) -> None:
    """Make a graph take pixels or images, in place; it gives the logits that it has."""
    import onnx

    own, graph, crop_px = spec.own, model.graph, spec.preprocessing.crop_px
    assert isinstance(own, ReadyOnnx)
    for name in _RESERVED:
        _rename(graph, name, _freed(name))
    taken = graph_input(model, original)
    if input_kind == "images" and taken.type.tensor_type.elem_type != onnx.TensorProto.FLOAT:
        raise InputError(
            f"{spec.name} takes pixels in whole numbers, so it cannot take images in [0, 1]. "
            "Leave out --input images."
        )
    whole_numbers = taken.type.tensor_type.elem_type != onnx.TensorProto.FLOAT
    if whole_numbers and _is_only_cast(graph, taken.name):
        whole_numbers = False
        del graph.value_info[:]  # which say otherwise
    nodes = [
        *_front(own, taken.name, input_kind, whole_numbers=whole_numbers),
        *graph.node,
        onnx.helper.make_node("Identity", [_freed(own.output)], [OUTPUT], _OURS + OUTPUT),
    ]
    del graph.node[:], graph.input[:], graph.output[:]
    graph.node.extend(nodes)
    for name, values in zip(_AFFINE, affine_of(spec.preprocessing, input_kind), strict=True):
        constant = onnx.numpy_helper.from_array(values.reshape(1, 3, 1, 1), name)
        graph.initializer.append(constant)
    value = onnx.helper.make_tensor_value_info
    if input_kind == "pixels":
        graph.input.append(value("pixels", onnx.TensorProto.UINT8, ["N", crop_px, crop_px, 3]))
    else:
        graph.input.append(value("images", onnx.TensorProto.FLOAT, ["N", 3, crop_px, crop_px]))
    graph.output.append(value(OUTPUT, onnx.TensorProto.FLOAT, ["N", "C"]))
    model.ir_version = max(model.ir_version, _LEAST_IR)


def _freed(name: str) -> str:
    """Another name for a tensor that is called as a bundle's input or output is."""
    return _OURS + "was." + name if name in _RESERVED else name


def _is_only_cast(graph: "onnx.GraphProto", name: str) -> bool:
    """Whether a graph does nothing with whole numbers but move them about and cast them to float.

    Then it may be given floats as well: TensorRT knows uint8 as an input only.
    """
    import onnx

    readers = [node for node in graph.node if name in node.input]
    return bool(readers) and all(
        any(a.name == "to" and a.i == onnx.TensorProto.FLOAT for a in node.attribute)
        if node.op_type == "Cast"
        else node.op_type in _MOVING and _is_only_cast(graph, node.output[0])
        for node in readers
    )


def _front(
    own: ReadyOnnx, taken: str, input_kind: InputKind, *, whole_numbers: bool
) -> "Iterator[onnx.NodeProto]":
    """From pixels or images to what the graph takes."""
    import onnx

    scale, bias = _AFFINE
    steps: list[tuple[str, list[str], dict[str, Any]]] = []
    if input_kind == "pixels":
        # Cast first: TensorRT refuses to transpose uint8.
        steps.append(("Cast", [], {"to": onnx.TensorProto.FLOAT}))
        steps.append(("Transpose", [], {"perm": [0, 3, 1, 2]}))
    steps += [("Mul", [scale], {}), ("Add", [bias], {})]
    if own.layout == "nhwc":
        steps.append(("Transpose", [], {"perm": [0, 2, 3, 1]}))
    if whole_numbers:
        steps.append(("Cast", [], {"to": onnx.TensorProto.UINT8}))
    value: str = input_kind
    for number, (operator, constants, attributes) in enumerate(steps, start=1):
        result = taken if number == len(steps) else f"{_OURS}front.{number}"
        name = f"{_OURS}{operator}.{number}"
        yield onnx.helper.make_node(operator, [value, *constants], [result], name, **attributes)
        value = result


def _gather(model: "onnx.ModelProto", order: ClassOrder) -> None:
    """Bring the logits into ImageNet's order: the last node picks them one by one."""
    import onnx

    last, name = model.graph.node[-1], _OURS + "outputs"
    indices = np.array(order.indices, np.int64)
    model.graph.initializer.append(onnx.numpy_helper.from_array(indices, name))
    node = onnx.helper.make_node("Gather", [last.input[0], name], [OUTPUT], last.name, axis=1)
    last.CopyFrom(node)


def _rename(graph: "onnx.GraphProto", old: str, new: str) -> None:
    """Give a tensor another name, also in the graphs inside nodes."""
    for node in graph.node:
        for names in (node.input, node.output):
            names[:] = [new if name == old else name for name in names]
        for attribute in node.attribute:
            for inner in (attribute.g, *attribute.graphs):
                _rename(inner, old, new)
    for values in (graph.initializer, graph.input, graph.output, graph.value_info):
        for value in values:
            if value.name == old:
                value.name = new


def _write(model: "onnx.ModelProto", folder: Path) -> None:
    (folder / GRAPH).write_bytes(model.SerializeToString(deterministic=True))


def _logits_of_a_run(path: Path, spec: ModelSpec) -> int:
    """How many logits the graph gives for each image, found by running it.

    Raises:
        InputError: If it does not run for any number of images, or gives no logits.
    """
    session = _session(path, spec)
    taken = session.get_inputs()[0]
    for images in (1, 3):
        logits = _run(session, spec, _noise(images, *taken.shape[1:], pixels="uint8" in taken.type))
        if logits.ndim != 2 or len(logits) != images or logits.dtype != np.float32:
            raise InputError(
                f"{spec.name} gives {logits.dtype} {list(logits.shape)} for {images} image(s), "
                "expected float32 logits [images, classes]."
            )
    if (logits >= 0).all() and np.allclose(logits.sum(axis=1), 1, atol=1e-3):
        raise InputError(
            f"{spec.name} gives probabilities, expected logits, and its graph does not end in a "
            "softmax that could be left out. Export it without."
        )
    return int(logits.shape[1])


def _session(path: Path, spec: ModelSpec) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # what fails here is raised, and told once
    providers = ["CPUExecutionProvider"]
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=providers)
    except Exception as error:  # its exceptions share no public class
        raise InputError(f"ONNX Runtime does not load {spec.name}: {reason_of(error)}.") from error


def _noise(*shape: int, pixels: bool) -> npt.NDArray[Any]:
    draw = np.random.default_rng(0)
    return draw.integers(0, 256, shape, np.uint8) if pixels else draw.random(shape, np.float32)


def _run(session: Any, spec: ModelSpec, data: npt.NDArray[Any]) -> npt.NDArray[Any]:
    try:
        (logits,) = session.run(None, {session.get_inputs()[0].name: data})
    except Exception as error:  # its exceptions share no public class
        raise InputError(
            f"{spec.name} does not run in ONNX Runtime on {len(data)} image(s): {reason_of(error)}."
        ) from error
    result: npt.NDArray[Any] = logits
    return result


def _versions() -> dict[str, str]:
    packages = ("evaluator", "onnx")
    found = {name: importlib.metadata.version(name) for name in packages}
    return {"python": platform.python_version(), **found}
