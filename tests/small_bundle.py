"""Bundles of a small network, written by hand: no framework, every precision and kind of input.

pixels or images -> normalise in float32 -> cast -> convolutions -> pool -> logits -> float32
"""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from evaluator.contracts import (
    Bundle,
    InputKind,
    ModelSpec,
    OnnxModel,
    Precision,
    Preprocessing,
    WeightsOrigin,
)
from evaluator.exporter.bundle import DATA, GRAPH, MANIFEST, content_sha256, open_bundle
from evaluator.storage.documents import sealed, write_document

CROP_PX = 32
CHANNELS = 16
CLASSES = 10
TYPES = {"fp32": TensorProto.FLOAT, "fp16": TensorProto.FLOAT16, "bf16": TensorProto.BFLOAT16}


def small_bundle(
    folder: Path,
    precision: Precision = "fp32",
    input_kind: InputKind = "pixels",
    *,
    convolutions: int = 3,
    seed: int = 0,
) -> Bundle:
    """A bundle whose weights lie beside the graph."""
    folder.mkdir(parents=True)
    model = small_graph(precision, input_kind, convolutions=convolutions, seed=seed)
    onnx.save(model, folder / GRAPH, save_as_external_data=True, location=DATA, size_threshold=0)
    return sealed_bundle(folder, precision, input_kind)


def sealed_bundle(folder: Path, precision: Precision, input_kind: InputKind) -> Bundle:
    """A folder with a graph, given a manifest that fits."""
    manifest = OnnxModel(
        spec=ModelSpec(
            name="small",
            architecture="small",
            weights=WeightsOrigin("random", "seed 0"),
            preprocessing=Preprocessing(CROP_PX, CROP_PX, "bilinear", (0.5,) * 3, (0.25,) * 3),
            trained_crop_px=CROP_PX,
            classes=CLASSES,
            source="",
            licence="",
        ),
        weights_sha256="0" * 64,
        sha256=content_sha256(folder),
        opset=22,
        precision=precision,
        input_kind=input_kind,
        versions={},
    )
    write_document(folder / MANIFEST, sealed(manifest))
    return open_bundle(folder)


def small_graph(
    precision: Precision, input_kind: InputKind, *, convolutions: int = 3, seed: int = 0
) -> Any:
    """The ONNX model; opset 22 is the first whose Conv knows bfloat16."""
    numbers, kind = np.random.default_rng(seed), TYPES[precision]
    tensors: list[Any] = []
    nodes: list[Any] = []

    def constant(name: str, shape: tuple[int, ...], as_type: int = kind) -> str:
        values = numbers.normal(0, 0.1, shape).astype(np.float32)
        tensor = numpy_helper.from_array(values, name)
        if as_type != TensorProto.FLOAT:
            tensor = helper.make_tensor(name, as_type, shape, values.flatten().tolist())
        tensors.append(tensor)
        return name

    def node(operator: str, inputs: list[str], output: str, **attributes: Any) -> str:
        nodes.append(helper.make_node(operator, inputs, [output], name=output, **attributes))
        return output

    value: str = input_kind
    if input_kind == "pixels":
        value = node("Cast", [value], "floats", to=TensorProto.FLOAT)
        value = node("Transpose", [value], "planes", perm=[0, 3, 1, 2])
    for operator in ("Mul", "Add"):
        factor = constant(f"{operator}.constant", (1, 3, 1, 1), TensorProto.FLOAT)
        value = node(operator, [value, factor], operator.lower())
    if precision != "fp32":
        value = node("Cast", [value], "rounded", to=kind)
    for index in range(convolutions):
        shape = (CHANNELS, 3 if index == 0 else CHANNELS, 3, 3)
        weights = [constant(f"{index}.weight", shape), constant(f"{index}.bias", shape[:1])]
        value = node("Conv", [value, *weights], f"conv_{index}", pads=[1, 1, 1, 1])
        value = node("Relu", [value], f"relu_{index}")
    value = node("GlobalAveragePool", [value], "pool")
    value = node("Flatten", [value], "flat")
    head = [constant("head.weight", (CHANNELS, CLASSES)), constant("head.bias", (CLASSES,))]
    wide = precision == "fp32"
    value = node("Gemm", [value, *head], "logits" if wide else "narrow")
    if not wide:
        node("Cast", [value], "logits", to=TensorProto.FLOAT)
    return helper.make_model(
        helper.make_graph(nodes, "small", [_input(input_kind)], [_logits()], tensors),
        opset_imports=[helper.make_opsetid("", 22)],
        ir_version=10,
    )


def _input(kind: InputKind) -> Any:
    if kind == "pixels":
        return helper.make_tensor_value_info(
            "pixels", TensorProto.UINT8, ["N", CROP_PX, CROP_PX, 3]
        )
    return helper.make_tensor_value_info("images", TensorProto.FLOAT, ["N", 3, CROP_PX, CROP_PX])


def _logits() -> Any:
    return helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", CLASSES])
