"""Small ONNX files, made by hand, with what they compute written again in torch."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper

SIDE = 64

CONSTANTS = {"Reshape": ["one_row"], "Unsqueeze": ["last_axes"], "Squeeze": ["last_axes"]}

Array = npt.NDArray[Any]


@dataclass
class ReadyGraph:
    """A convolution, an activation, a mean and a head.

    Attributes:
        layout: Of the input.
        kind: Its element type.
        batch: Its first dimension: a name, or a number.
        outputs: How many logits.
        names: Of input and output.
        behind: Nodes behind the logits: (operator, attributes).
        graph: Changes to the finished graph.
    """

    layout: str = "nchw"
    kind: int = TensorProto.FLOAT
    batch: str | int = "N"
    outputs: int = 1000
    names: tuple[str, str] = ("data", "scores")
    behind: tuple[tuple[str, dict[str, Any]], ...] = ()
    opset: int = 17
    dims: tuple[Any, ...] | None = None
    scale: float = 1.0
    weights: dict[str, Array] = field(default_factory=dict)

    def __post_init__(self) -> None:
        draw = np.random.default_rng(7)
        shapes = {"kernel": (8, 3, 8, 8), "head": (self.outputs, 8), "offset": (self.outputs,)}
        for name, shape in shapes.items():
            self.weights[name] = draw.normal(0, 0.3, shape).astype(np.float32)
        self.weights["one_row"] = np.array([1, self.outputs], np.int64)
        self.weights["last_axes"] = np.array([2, 3], np.int64)
        self.weights["kernel"] *= np.float32(self.scale)

    def model(self) -> onnx.ModelProto:
        taken, given = self.names
        steps: list[tuple[str, list[str], dict[str, Any]]] = []
        if self.kind != TensorProto.FLOAT:
            steps.append(("Cast", [], {"to": TensorProto.FLOAT}))
        if self.layout == "nhwc":
            steps.append(("Transpose", [], {"perm": [0, 3, 1, 2]}))
        steps += [
            ("Conv", ["kernel"], {"strides": [8, 8]}),
            ("Relu", [], {}),
            ("GlobalAveragePool", [], {}),
            ("Flatten", [], {}),
            ("Gemm", ["head", "offset"], {"transB": 1}),
            *(
                (operator, CONSTANTS.get(operator, []), options)
                for operator, options in self.behind
            ),
        ]
        nodes, value = [], taken
        for number, (operator, constants, attributes) in enumerate(steps, start=1):
            result = given if number == len(steps) else f"step{number}"
            nodes.append(helper.make_node(operator, [value, *constants], [result], **attributes))
            value = result
        channels = {"nchw": [3, SIDE, SIDE], "nhwc": [SIDE, SIDE, 3]}[self.layout]
        dims = [self.batch, *channels] if self.dims is None else list(self.dims)
        graph = helper.make_graph(
            nodes,
            "small",
            [helper.make_tensor_value_info(taken, self.kind, dims)],
            [helper.make_tensor_value_info(given, TensorProto.FLOAT, None)],
            [numpy_helper.from_array(array, name) for name, array in self.weights.items()],
        )
        opsets = [helper.make_opsetid("", self.opset)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=8)

    def write(self, path: Path) -> Path:
        path.write_bytes(self.model().SerializeToString())
        return path

    def logits(self, taken: Array) -> Array:
        """Of what the graph takes as (N, 3, S, S) float32, computed by torch."""
        weights = {name: torch.from_numpy(array) for name, array in self.weights.items()}
        features = torch.relu(
            torch.nn.functional.conv2d(torch.from_numpy(taken), weights["kernel"], stride=8)
        ).mean((2, 3))
        logits: Array = (features @ weights["head"].T + weights["offset"]).numpy()
        return logits


def description(path: Path, lines: str = 'input = "normalized"', more: str = "") -> Path:
    """A description beside an ONNX file; mean and std where the graph wants normalised images."""
    mean_and_std = "mean = [0.4, 0.5, 0.6]\nstd = [0.2, 0.25, 0.3]\n"
    path.write_text(
        f"{lines}\n[preprocessing]\nresize_px = {SIDE}\ncrop_px = {SIDE}\n"
        f'interpolation = "bilinear"\n{mean_and_std if "normalized" in lines else ""}{more}'
    )
    return path
