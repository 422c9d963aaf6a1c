"""How much a model computes: GMAC, 10^9 multiply-accumulates of one forward pass at its crop.

No number of a benchmark needs it, so whatever a user's code raises or prints while it is counted is
ignored.
"""

import math
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from ...contracts import ModelSpec, ReadyOnnx
from ...system.quiet import quiet
from ..ready_onnx import graph_input, original_path, read_graph
from ..weights.weights import network_builder
from ..zoo.table import find_model

if TYPE_CHECKING:
    import onnx

    from ..zoo.rows import Build


def model_gmac(spec: ModelSpec) -> float | None:
    """GMAC of one image: from the zoo's table, otherwise counted without weights.

    `None` if they cannot be counted.
    """
    if isinstance(spec.own, ReadyOnnx):
        path, crop_px, own = original_path(spec), spec.preprocessing.crop_px, spec.own
        return _counted(lambda: _graph_gmac(path, crop_px, own))
    if spec.own is None and (gmac := find_model(spec.name).gmac):
        return gmac
    build, crop_px = network_builder(spec), spec.trained_crop_px
    on_meta = _counted(lambda: _network_gmac(build, crop_px, "meta"))
    # Code that reads numbers fails on the device "meta".
    return _counted(lambda: _network_gmac(build, crop_px, "cpu")) if on_meta is None else on_meta


def _counted(count: Callable[[], float]) -> float | None:
    """A count; `None` if it fails, since it runs users' code, which may raise anything."""
    try:
        with quiet():
            return count()
    except KeyboardInterrupt:
        raise
    except BaseException:
        return None


def _network_gmac(build: "Build", crop_px: int, device: str) -> float:
    """GMAC by PyTorch's FlopCounterMode; the device "meta" computes nothing."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    with torch.random.fork_rng(devices=[]), torch.device(device):
        network = build(crop_px).eval()
        images = torch.zeros(1, 3, crop_px, crop_px)
        # The counter follows layers by gradients, which inference mode would take from parameters.
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            network(images)
    # PyTorch counts a multiply-accumulate as two operations.
    return float(counter.get_total_flops()) / 2e9


def _graph_gmac(path: Path, crop_px: int, own: ReadyOnnx) -> float:
    """GMAC of a graph's convolutions and matrix products; those of unknown shape count as zero."""
    import onnx

    model = read_graph(path)
    image = (1, 3, crop_px, crop_px) if own.layout == "nchw" else (1, crop_px, crop_px, 3)
    dims = graph_input(model, path).type.tensor_type.shape.dim
    for dim, length in zip(dims, image, strict=True):
        dim.dim_value = length
    graph = onnx.shape_inference.infer_shapes(model).graph
    shapes = {tensor.name: list(tensor.dims) for tensor in graph.initializer}
    for value in (*graph.input, *graph.value_info, *graph.output):
        shapes[value.name] = [dim.dim_value for dim in value.type.tensor_type.shape.dim]
    return sum(_macs(node, shapes) for node in graph.node) / 1e9


def _macs(node: "onnx.NodeProto", shapes: dict[str, list[int]]) -> int:
    if node.op_type not in ("Conv", "Gemm", "MatMul"):
        return 0
    outputs = math.prod(shapes.get(node.output[0]) or [0])
    left, right = (shapes.get(name) or [0] for name in node.input[:2])
    if node.op_type == "Conv":
        return outputs * math.prod(right[1:])
    transposed = any(a.name == "transA" and a.i for a in node.attribute)
    return outputs * (left[0] if transposed else left[-1])
