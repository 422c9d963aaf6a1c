"""Writing the deployable graph as ONNX.

Stack traces and source paths that the exporter adds are stripped, so that the same export has the
same bytes on every machine.
"""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ...contracts import FLOAT32_PIXELS, GraphKind, LoadedNetwork, Precision
from ...errors import InputError, printable, reported_as
from ...system.quiet import quiet
from ..class_order import output_count
from .batchnorm import fold_batchnorm
from .deployable import OUTPUT, deployable, example_input
from .export_errors import export_error, way_out
from .overflow import largest_activation

OPSETS: dict[Precision, int] = {"fp32": 20, "fp16": 20, "bf16": 22}
"""Opset of each precision; convolutions support bfloat16 since opset 22."""

MAX_CONSTANTS = 64
"""Largest number of values in a tensor of another precision; a larger tensor holds weights."""


def write_onnx(
    loaded: LoadedNetwork,
    path: Path,
    kind: GraphKind = FLOAT32_PIXELS,
    photos: npt.NDArray[np.uint8] | None = None,
) -> float | None:
    """Export to ``path`` and ``path`` + ".data".

    Args:
        loaded: Network; its batch normalisation is folded and its precision changed.
        path: Path of the ONNX file.
        kind: Precision and input of the graph.
        photos: Pixels (N, S, S, 3) on which activations are measured; float16 needs them.

    Returns:
        Largest activation on the photos; `None` for other precisions than float16.

    Raises:
        InputError: If the network does not run at its crop, does not fit into float16, cannot be
            exported, or its graph does not give logits of its classes for any number of images.
    """
    import torch

    crop_px = loaded.spec.preprocessing.crop_px
    images = torch.zeros(1, 3, crop_px, crop_px)
    classes = output_count(loaded.network, loaded.spec)
    fold_batchnorm(loaded.network, images)
    largest = None
    if kind.precision == "fp16":
        assert photos is not None, "float16 needs photos to look for overflow"
        largest = largest_activation(loaded, photos)
    module = deployable(loaded.network, loaded.spec.preprocessing, kind)
    example = example_input(crop_px, kind.input_kind)
    try:
        with quiet():
            program = torch.onnx.export(
                module,
                (example,),
                dynamo=True,
                dynamic_shapes=({0: torch.export.Dim("N")},),
                input_names=[kind.input_kind],
                output_names=[OUTPUT],
                opset_version=OPSETS[kind.precision],
                verbose=False,
            )
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # the network's code is traced
        raise export_error(loaded.spec.name, kind, module, example, error) from error
    assert program is not None
    program.save(str(path), external_data=True)
    _strip(path)
    _check_graph(loaded, kind, classes, path)
    return largest


def _check_graph(loaded: LoadedNetwork, kind: GraphKind, classes: int, path: Path) -> None:
    """Check that the graph is valid, with the inputs, outputs and precision of its bundle."""
    import onnx

    fault = "cannot be exported to ONNX: the exporter wrote a graph that is not valid"
    with reported_as(f"{loaded.spec.name} {fault}"):
        onnx.checker.check_model(str(path))
    graph = onnx.load(str(path), load_external_data=False).graph
    _check_signature(loaded, kind, classes, graph)
    _check_precision(loaded, kind, graph)


def _check_signature(loaded: LoadedNetwork, kind: GraphKind, classes: int, graph: Any) -> None:
    """Refuse a graph for one batch size: the exporter writes one if the code reads the size."""
    import onnx

    side = loaded.spec.preprocessing.crop_px
    tensor = onnx.TensorProto
    pixels = [tensor.UINT8, "N", side, side, 3]
    images = [tensor.FLOAT, "N", 3, side, side]
    expected = [pixels if kind.input_kind == "pixels" else images, [tensor.FLOAT, "N", classes]]
    actual = [
        [
            value.type.tensor_type.elem_type,
            *((dim.dim_param and "N") or dim.dim_value for dim in value.type.tensor_type.shape.dim),
        ]
        for value in (*graph.input, *graph.output)
    ]
    if actual != expected:
        raise InputError(
            f"{loaded.spec.name} cannot be exported to ONNX: its graph takes and gives {actual} "
            f"(element type, then shape), expected {expected} for any number N of images. Its code "
            f"depends on the size of the batch. {way_out(kind)}"
        )


def _check_precision(loaded: LoadedNetwork, kind: GraphKind, graph: Any) -> None:
    """Refuse layers that keep another precision: they are slow, and so are their neighbours."""
    import onnx

    tensor = onnx.TensorProto
    floats = {"fp32": tensor.FLOAT, "fp16": tensor.FLOAT16, "bf16": tensor.BFLOAT16}
    expected = floats[kind.precision]
    others = [
        weights.name
        for weights in graph.initializer
        # Scale, bias and other small constants may well be float32.
        if weights.data_type in floats.values() and weights.data_type != expected
        if np.prod(weights.dims, dtype=int) > MAX_CONSTANTS
    ]
    if others:
        raise InputError(
            f"{loaded.spec.name} cannot be exported in {kind.precision}: {printable(others[0])} "
            "keeps another precision. Its code sets the precision itself; use --precision fp32."
        )


def _strip(path: Path) -> None:
    """Remove everything that depends on the machine of the export, at every depth."""
    import onnx

    model = onnx.load(str(path), load_external_data=False)
    model.producer_name = model.producer_version = ""
    _strip_message(model)
    path.write_bytes(model.SerializeToString(deterministic=True))


def _strip_message(message: Any) -> None:
    """Remove descriptions and metadata of a part of the model, and of the parts inside it."""
    for field, value in message.ListFields():
        if field.name in ("metadata_props", "doc_string"):
            message.ClearField(field.name)
        elif field.message_type is not None:
            for part in [value] if hasattr(value, "ListFields") else value:
                _strip_message(part)
