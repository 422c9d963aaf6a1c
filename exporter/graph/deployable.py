"""The deployable graph: pixels in, logits out, normalisation inside.

    logits = network(scale * float32(pixels) + bias),  scale = 1 / (255 std),  bias = -mean / std

For images, which are pixels / 255, scale = 1 / std. A network that takes its channels in the order
B, G, R gets them from a gather behind the addition. In half precision the network stands between
two casts: normalisation and logits are float32.

``deployable`` is the graph as a PyTorch module. ``preprocessing_in_graph`` reads scale and bias
from an ONNX file, so that they can be compared with the spec exactly: a standard deviation that is
2 % off hides under the tolerance of a half-precision engine.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ...contracts import (
    FLOAT32_PIXELS,
    ChannelOrder,
    Device,
    GraphKind,
    InputKind,
    LoadedNetwork,
    Precision,
    Preprocessing,
)
from ...errors import InputError, printable, reported_as
from ...system.users_code import named

if TYPE_CHECKING:
    import onnx
    import torch
    from torch import nn

OUTPUT = "logits"

BGR = (2, 1, 0)
"""Channel of the image that each channel of a network gets which takes B, G, R."""

_OPENING: Mapping[InputKind, tuple[str, ...]] = {
    "pixels": ("Cast", "Transpose", "Mul", "Add"),
    "images": ("Mul", "Add"),
}
"""First operators of the graph."""

_ADVICE = "Export the model again."

ScaleAndBias = tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]


def scale_and_bias(preprocessing: Preprocessing, input_kind: InputKind = "pixels") -> ScaleAndBias:
    """Scale and bias (3,) of the graph's input, rounded to float32.

    Example:
        >>> lite = Preprocessing(256, 224, "bicubic", (127 / 255,) * 3, (128 / 255,) * 3)
        >>> scale, bias = scale_and_bias(lite)
        >>> float(scale[0]), float(bias[0])
        (0.0078125, -0.9921875)
        >>> float(scale_and_bias(lite, "images")[0][0])  # 255 / 128
        1.9921875
    """
    mean = np.array(preprocessing.mean, np.float64)
    std = np.array(preprocessing.std, np.float64)
    largest = 255 if input_kind == "pixels" else 1
    return (1 / (largest * std)).astype(np.float32), (-mean / std).astype(np.float32)


def deployable(
    network: "nn.Module", preprocessing: Preprocessing, kind: GraphKind = FLOAT32_PIXELS
) -> "nn.Module":
    """A module from pixels or images to logits (N, C) float32, the network between two casts.

    Args:
        network: Network for normalised images; changed to the precision of ``kind``, in place.
        preprocessing: Preprocessing that its weights were trained with.
        kind: Precision and input of the module.
    """
    import torch
    from torch import nn

    scale, bias = scale_and_bias(preprocessing, kind.input_kind)
    dtype, is_bgr = _dtype(kind.precision), preprocessing.is_bgr

    class Deployable(nn.Module):
        """The network with its preprocessing inside."""

        def __init__(self) -> None:
            super().__init__()
            self.network = network.to(dtype)
            self.scale = nn.Buffer(torch.from_numpy(scale).reshape(1, 3, 1, 1))
            self.bias = nn.Buffer(torch.from_numpy(bias).reshape(1, 3, 1, 1))
            if is_bgr:
                self.channels = nn.Buffer(torch.tensor(BGR))

        def forward(self, values: torch.Tensor) -> torch.Tensor:
            if kind.input_kind == "pixels":
                # Cast before transpose: TensorRT refuses to transpose uint8. Contiguous: otherwise
                # the exporter writes many gathers at the pooling.
                values = values.to(torch.float32).permute(0, 3, 1, 2).contiguous()
            values = values * self.scale + self.bias
            if is_bgr:
                values = values.index_select(1, self.channels)
            logits: torch.Tensor = self.network(values.to(dtype))
            return logits.to(torch.float32)

    return Deployable().eval()


def frozen_network(loaded: LoadedNetwork, device: Device) -> "nn.Module":
    """Network from images (N, 3, S, S) in [0, 1] to logits, without gradients of parameters."""
    kind = GraphKind("fp32", "images")
    network = deployable(loaded.network, loaded.spec.preprocessing, kind)
    return named(network.requires_grad_(False).to(device.torch_name), loaded.spec.name)


def example_input(crop_px: int, input_kind: InputKind) -> "torch.Tensor":
    """Input for tracing: two images, since the exporter would treat a batch of one as constant."""
    import torch

    if input_kind == "pixels":
        return torch.zeros(2, crop_px, crop_px, 3, dtype=torch.uint8)
    return torch.zeros(2, 3, crop_px, crop_px)


def _dtype(precision: Precision) -> "torch.dtype":
    import torch

    return {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}[precision]


def preprocessing_in_graph(
    path: Path, input_kind: InputKind = "pixels", channels: ChannelOrder = "rgb"
) -> ScaleAndBias:
    """Scale and bias (3,) in an ONNX file.

    Args:
        path: Path of the ONNX file.
        input_kind: Kind of its input.
        channels: Order of channels that the network takes; B, G, R must come from a gather behind
            the addition.

    Raises:
        InputError: If the graph does not begin with cast, transpose, multiply and add, or, if it
            takes images, with multiply and add; or if the gather is missing.
    """
    import onnx

    with reported_as(f"{printable(path)} is not an ONNX graph", advice=_ADVICE):
        model = onnx.load(str(path), load_external_data=False)
        value = model.graph.input[0].name
    with reported_as(f"{printable(path)} is damaged", advice=_ADVICE):
        constants = {
            tensor.name: onnx.numpy_helper.to_array(tensor, str(path.parent))
            for tensor in model.graph.initializer
            if np.prod(tensor.dims, dtype=int) <= len(BGR)
        }
    opening = (*_OPENING[input_kind], *(("Gather",) if channels == "bgr" else ()))
    values: list[npt.NDArray[Any]] = []
    for operator in opening:
        # A transformer also reads the number of images.
        readers = [n for n in model.graph.node if value in n.input and n.op_type != "Shape"]
        if len(readers) != 1 or not _matches(readers[0], operator):
            raise InputError(
                f"{printable(path)} does not begin with {', '.join(opening)}, so its "
                f"preprocessing cannot be verified. {_ADVICE}"
            )
        node = readers[0]
        values += [constants[name] for name in node.input if name in constants]
        value = node.output[0]
    if len(values) != len(opening) - len(_OPENING[input_kind]) + 2:
        raise InputError(f"{printable(path)} has no constant scale and bias. {_ADVICE}")
    scale, bias, *order = (constant.reshape(-1) for constant in values)
    if order and order[0].tolist() != list(BGR):
        raise InputError(f"{printable(path)} does not reverse the channels. {_ADVICE}")
    return scale.astype(np.float32), bias.astype(np.float32)


def _matches(node: "onnx.NodeProto", operator: str) -> bool:
    """Whether a node is an operator with the attributes that it has in the deployable graph."""
    import onnx

    expected: dict[str, tuple[str, Any]] = {
        "Cast": ("to", onnx.TensorProto.FLOAT),
        "Transpose": ("perm", [0, 3, 1, 2]),
        "Gather": ("axis", 1),
    }
    attributes = [(a.name, onnx.helper.get_attribute_value(a)) for a in node.attribute]
    return node.op_type == operator and (
        operator not in expected or expected[operator] in attributes
    )
