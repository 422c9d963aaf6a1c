"""The deployable graph: pixels in, logits out, normalisation inside.

    logits = network(scale * float32(pixels) + bias),  scale = 1 / (255 std),  bias = -mean / std

``deployable`` makes it as a PyTorch module; ``preprocessing_in_graph`` finds the numbers again in
an ONNX file, so that they can be compared with the spec exactly: a standard deviation that is 2 %
off hides under the tolerance of a half-precision engine.
"""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from ..contracts import Preprocessing
from ..errors import InputError, reason_of, shown

if TYPE_CHECKING:
    import onnx
    from torch import nn

INPUT = "pixels"
OUTPUT = "logits"

Affine = tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]


def affine_of(preprocessing: Preprocessing) -> Affine:
    """Scale and bias (3,) of pixels in 0..255, as float32 rounds them.

    Example:
        >>> scale, bias = affine_of(Preprocessing(256, 224, "bicubic", (127/255,)*3, (128/255,)*3))
        >>> float(scale[0]), float(bias[0])
        (0.0078125, -0.9921875)
    """
    mean = np.array(preprocessing.mean, np.float64)
    std = np.array(preprocessing.std, np.float64)
    return (1 / (255 * std)).astype(np.float32), (-mean / std).astype(np.float32)


def deployable(network: "nn.Module", preprocessing: Preprocessing) -> "nn.Module":
    """A module from pixels (N, S, S, 3) uint8 to logits (N, C) float32."""
    import torch
    from torch import nn

    scale, bias = affine_of(preprocessing)

    class Deployable(nn.Module):
        """The network with its preprocessing inside."""

        def __init__(self) -> None:
            super().__init__()
            self.network = network
            self.scale = nn.Buffer(torch.from_numpy(scale).reshape(1, 3, 1, 1))
            self.bias = nn.Buffer(torch.from_numpy(bias).reshape(1, 3, 1, 1))

        def forward(self, pixels: torch.Tensor) -> torch.Tensor:
            # Cast before transpose: TensorRT refuses to transpose uint8. Contiguous: without it
            # the exporter writes a tangle of gathers at the pooling.
            values = pixels.to(torch.float32).permute(0, 3, 1, 2).contiguous()
            logits: torch.Tensor = self.network(values * self.scale + self.bias)
            return logits

    return Deployable().eval()


def preprocessing_in_graph(path: Path) -> Affine:
    """Scale and bias (3,) as they stand in an ONNX file.

    Raises:
        InputError: If the graph does not begin with cast, transpose, multiply and add.
    """
    import onnx

    try:
        model = onnx.load(str(path), load_external_data=False)
        value = model.graph.input[0].name
    except Exception as error:  # protobuf's DecodeError has no public home
        raise InputError(
            f"{shown(path)} is no ONNX graph: {reason_of(error)}. Export the model again."
        ) from error
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    found: list[npt.NDArray[np.float32]] = []
    for operator in ("Cast", "Transpose", "Mul", "Add"):
        # A transformer asks for the number of images too.
        readers = [n for n in model.graph.node if value in n.input and n.op_type != "Shape"]
        if len(readers) != 1 or readers[0].op_type != operator:
            raise InputError(
                f"{shown(path)} does not begin with cast, transpose, multiply and add, so its "
                "preprocessing cannot be verified. Export the model again."
            )
        node = readers[0]
        found += [_constant(constants[name], path) for name in node.input if name in constants]
        value = node.output[0]
    if len(found) != 2:
        raise InputError(f"{shown(path)} has no constant scale and bias. Export the model again.")
    return found[0].reshape(-1), found[1].reshape(-1)


def _constant(tensor: "onnx.TensorProto", path: Path) -> npt.NDArray[np.float32]:
    import onnx

    return onnx.numpy_helper.to_array(tensor, str(path.parent)).astype(np.float32)
