"""Ready ONNX files: inputs and outputs of such a graph, and whether it can be evaluated.

Of the network only the graph is known, so the user's description is compared with the graph
wherever the graph has the same information.
"""

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..contracts import ClassOrder, Layout, ModelSpec, ReadyOnnx, WeightsOrigin
from ..errors import InputError, did_you_mean, printable, reported_as
from ..storage.hash_cache import remembered_sha256
from .description import Description
from .external_data import external_files
from .onnx_precision import reduced_precision
from .preprocessing import described_preprocessing
from .zoo.rows import UNKNOWN_LICENCE

if TYPE_CHECKING:
    import onnx

SUFFIX = ".onnx"
OLDEST_OPSET = 7
"""Oldest opset that ONNX Runtime promises to run."""

_RESHAPING = ("Identity", "Flatten", "Reshape", "Squeeze", "Unsqueeze")
"""Operators behind a softmax that leave its numbers in their order."""


def is_ready_onnx(name: str) -> bool:
    """Whether a model's name has the form of an ONNX file's path."""
    return name.lower().endswith(SUFFIX)


def default_description(path: Path) -> Path:
    """Path of the description beside an ONNX file."""
    return path.with_suffix(".toml")


def ready_onnx_spec(
    path: Path, description: Description, class_order: ClassOrder | None, crop_px: int | None
) -> ModelSpec:
    """The spec of an ONNX file and its description.

    Raises:
        InputError: If the graph cannot be evaluated, or differs from its description.
    """
    if description.trained:
        raise description.error(
            "trained is for factories only; an ONNX file always has its weights"
        )
    if description.input is None:
        raise description.error(
            'input is missing. Expected input = "normalized", "images" or "pixels"'
        )
    preprocessing, trained_crop_px, prepared = described_preprocessing(description, crop_px)
    model = read_graph(path)
    with reported_as(f"{printable(path)} is damaged"):
        _refuse_precision(model, path)
        layout = _layout(model, path, description, preprocessing.crop_px)
        output, softmax = _logits(model, path, description)
        sha256 = graph_sha256(model, path)
    return ModelSpec(
        name=description.name or path.stem,
        architecture=path.name,
        weights=WeightsOrigin("onnx", str(path.absolute()), sha256),
        preprocessing=preprocessing,
        trained_crop_px=trained_crop_px,
        classes=1000,
        source=description.source or path.name,
        licence=description.licence or UNKNOWN_LICENCE,
        class_order=class_order,
        own=ReadyOnnx(description.input, layout, output, softmax, description.path),
        prepared=prepared,
    )


def original_path(spec: ModelSpec) -> Path:
    """Path of the file that a model is made from.

    Raises:
        InputError: If it no longer exists.
    """
    path = Path(spec.weights.reference)
    if not path.is_file():
        raise InputError(
            f"The ONNX file of {spec.name}, {printable(path)}, no longer exists. It is the "
            "reference of the model's bundle: restore it, or export the model again."
        )
    return path


def unchanged_original(spec: ModelSpec) -> Path:
    """Path of the file that a model is made from, which must not have changed.

    Raises:
        InputError: If it no longer exists, or changed.
    """
    path = original_path(spec)
    refuse_changed_file(path, graph_sha256(read_graph(path), path), spec)
    return path


def refuse_changed_file(path: Path, sha256: str, spec: ModelSpec) -> None:
    """Refuse a user's file that is not the one that a model was made from.

    Raises:
        InputError: If its SHA-256 differs from that of the spec.
    """
    if sha256 != spec.weights.sha256:
        raise InputError(
            f"{printable(path)} is not the file that {spec.name} was made from: its SHA-256 "
            f"differs from {spec.weights.sha256[:12]}. Export the model again."
        )


def read_graph(path: Path) -> "onnx.ModelProto":
    """Read a graph without its external data.

    Raises:
        InputError: If the file is missing, not ONNX, or of too old an opset.
    """
    import onnx

    if not path.is_file():
        raise InputError(f"There is no ONNX file {printable(path)}.")
    with reported_as(f"{printable(path)} is not an ONNX file"):
        model = onnx.load(str(path), load_external_data=False)
    with reported_as(f"{printable(path)} is damaged: a name in it is not UTF-8"):
        _decode_names(model)
    if not model.graph.node:
        raise InputError(f"{printable(path)} is not an ONNX file: it holds no graph.")
    opset = standard_opset(model)
    if opset < OLDEST_OPSET:
        raise InputError(
            f"{printable(path)} has opset {opset}, expected at least {OLDEST_OPSET}. "
            "Export it with a newer opset, or convert it with onnx.version_converter."
        )
    return model


def _decode_names(message: Any) -> None:
    """Decode all strings of a model but its documentation: protobuf does so when they are used.

    Raises:
        UnicodeDecodeError: If one is not UTF-8.
    """
    for field in message.DESCRIPTOR.fields:
        if field.name in ("doc_string", "metadata_props"):
            continue
        value = getattr(message, field.name)
        if field.type == field.TYPE_STRING:
            for text in [value] if isinstance(value, str | bytes) else value:
                if isinstance(text, bytes):  # protobuf gives the bytes if it cannot decode them
                    text.decode()
        elif field.type == field.TYPE_MESSAGE and not hasattr(value, "DESCRIPTOR"):
            for part in value:
                _decode_names(part)
        elif field.type == field.TYPE_MESSAGE and message.HasField(field.name):
            _decode_names(value)


def standard_opset(model: "onnx.ModelProto") -> int:
    """Version of the standard operators of a graph."""
    return max((o.version for o in model.opset_import if o.domain in ("", "ai.onnx")), default=0)


def graph_sha256(model: "onnx.ModelProto", path: Path) -> str:
    """SHA-256 over the hashes of graph and external data, one after the other."""
    files = [path, *external_files(model, path.parent)]
    return hashlib.sha256(" ".join(map(remembered_sha256, files)).encode()).hexdigest()


def graph_input(model: "onnx.ModelProto", path: Path) -> "onnx.ValueInfoProto":
    """The one input of a graph.

    Raises:
        InputError: If it has none or several.
    """
    constants = {tensor.name for tensor in model.graph.initializer}
    inputs: list[onnx.ValueInfoProto] = [
        value for value in model.graph.input if value.name not in constants
    ]
    if len(inputs) != 1:
        raise InputError(
            f"{printable(path)} has {len(inputs)} inputs"
            f"{_in_brackets(value.name for value in inputs)}, expected one: the images."
        )
    return inputs[0]


def _refuse_precision(model: "onnx.ModelProto", path: Path) -> None:
    """Refuse other precisions than float32, in which the reference computes."""
    if (part := reduced_precision(model)) is not None:
        raise InputError(
            f"{printable(path)} {part}, expected float32: give the export of the network as it "
            "was trained."
        )


def _layout(model: "onnx.ModelProto", path: Path, description: Description, crop_px: int) -> Layout:
    """Layout of the graph's input, whose type and shape are checked first."""
    from onnx import TensorProto

    value = graph_input(model, path)
    kind = value.type.tensor_type
    dims = [0 if dim.dim_param else dim.dim_value for dim in kind.shape.dim]
    allowed_types = {TensorProto.FLOAT: "float32"}
    if description.input == "pixels":
        allowed_types[TensorProto.UINT8] = "uint8"
    if kind.elem_type not in allowed_types:
        raise InputError(
            f"{printable(path)} takes {TensorProto.DataType.Name(kind.elem_type).lower()}, "
            f"expected {' or '.join(allowed_types.values())} for input = {description.input!r}."
        )
    if len(dims) != 4:
        raise InputError(
            f"{printable(path)} takes {dims}, expected images: [N, 3, {crop_px}, {crop_px}] or "
            f"[N, {crop_px}, {crop_px}, 3]."
        )
    if dims[0]:
        raise InputError(
            f"{printable(path)} takes batches of exactly {dims[0]}. Export it with a dynamic "
            f"batch: torch.onnx.export(..., dynamic_shapes=({{0: torch.export.Dim('N')}},)), or "
            f"dynamic_axes={{{value.name!r}: {{0: 'N'}}}}."
        )
    return _checked_layout(dims, path, description, crop_px)


def _checked_layout(dims: list[int], path: Path, description: Description, crop_px: int) -> Layout:
    expected: dict[Layout, tuple[int, ...]] = {
        "nchw": (3, crop_px, crop_px),
        "nhwc": (crop_px, crop_px, 3),
    }
    layouts = [
        layout
        for layout, shape in expected.items()
        if all(dim in (0, length) for dim, length in zip(dims[1:], shape, strict=True))
        and description.layout in (None, layout)
    ]
    if not layouts:
        raise InputError(
            f"{printable(path)} takes {['N', *(dim or '?' for dim in dims[1:])]}, expected "
            f"{description.layout or 'nchw or nhwc'} with 3 channels of {crop_px} px, as given by "
            "the description or --crop-px."
        )
    if len(layouts) > 1:
        raise description.error(
            'the shape of the graph\'s input fits two layouts. Expected layout = "nchw" or "nhwc"'
        )
    return layouts[0]


def _logits(model: "onnx.ModelProto", path: Path, description: Description) -> tuple[str, bool]:
    """The tensor that holds the logits, and whether a softmax follows it."""
    from onnx import TensorProto

    outputs = {value.name: value for value in model.graph.output}
    name = description.output
    if name is None and len(outputs) == 1:
        name = next(iter(outputs))
    if name is None:
        raise description.error(
            f"the graph has {len(outputs)} outputs{_in_brackets(outputs)}. "
            "Expected output = the name of the one with the logits"
        )
    if name not in outputs:
        expected = f"Expected one of its outputs{_in_brackets(outputs)}."
        hint = did_you_mean(name, outputs, expected, lambda output: repr(printable(output)))
        raise InputError(
            f"{printable(description.path)}: the graph has no output {printable(name)!r}. {hint}"
        )
    kind = outputs[name].type.tensor_type.elem_type
    if kind not in (TensorProto.FLOAT, TensorProto.UNDEFINED):
        raise InputError(
            f"The output {printable(name)} of {printable(path)} is "
            f"{TensorProto.DataType.Name(kind).lower()}, expected float32 logits."
        )
    return _before_softmax(model, name)


def _before_softmax(model: "onnx.ModelProto", name: str) -> tuple[str, bool]:
    producers = {output: node for node in model.graph.node for output in node.output}
    tensor = name
    while tensor in producers and producers[tensor].op_type in _RESHAPING:
        tensor = producers.pop(tensor).input[0]  # once each: a damaged graph may have a circle
    if tensor in producers and producers[tensor].op_type == "Softmax":
        return str(producers[tensor].input[0]), True
    return name, False


def _in_brackets(names: Iterable[str]) -> str:
    text = ", ".join(printable(name) for name in names)
    return f" ({text})" if text else ""


def onnx_notes(spec: ModelSpec) -> list[str]:
    """Notes for the user of a model that exists only as ONNX."""
    own = spec.own
    if not isinstance(own, ReadyOnnx):
        return []
    notes = [
        f"{spec.name} exists only as ONNX: its reference is the original file in ONNX Runtime on "
        "the CPU in float32, not PyTorch. Gradients need PyTorch."
    ]
    if own.input != "normalized":
        notes.append(
            f"The graph takes {own.input} and normalises by itself, so its mean and standard "
            "deviation cannot be verified."
        )
    if own.softmax:
        notes.append(
            "The graph ends in a softmax, which is removed: the logits are "
            f"{printable(own.output)}."
        )
    return notes
