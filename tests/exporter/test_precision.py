"""Graphs in every precision and input kind: what they hold, what they take, what they give."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import TensorProto
from torch import nn

from evaluator.contracts import GraphKind, InputKind, LoadedNetwork, Precision
from evaluator.errors import InputError
from evaluator.exporter.graph.onnx_export import write_onnx
from evaluator.exporter.graph.overflow import largest_activation
from evaluator.tests.exporter.normalised_network import PHOTOS, normalised

KINDS = [GraphKind(p, i) for p in get_args(Precision) for i in get_args(InputKind)]
FLOATS = {"fp32": TensorProto.FLOAT, "fp16": TensorProto.FLOAT16, "bf16": TensorProto.BFLOAT16}


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Callable[[GraphKind], Path]:
    """From a kind to the network's graph of that kind, which is exported once."""

    @functools.cache
    def graph(kind: GraphKind) -> Path:
        path = tmp_path_factory.mktemp("exported") / "model.onnx"
        write_onnx(normalised(), path, kind, PHOTOS)
        return path

    return graph


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param(kind, marks=[pytest.mark.slow] if kind == GraphKind("bf16", "images") else [])
        for kind in KINDS
    ],
    ids=str,
)
def test_a_graph_takes_its_input_gives_float32_logits_and_computes_in_its_precision(
    kind: GraphKind, exported: Callable[[GraphKind], Path]
) -> None:
    model = onnx.load(exported(kind))
    (taken,), (given,) = model.graph.input, model.graph.output
    expected = {
        "pixels": (TensorProto.UINT8, ["N", 32, 32, 3]),
        "images": (TensorProto.FLOAT, ["N", 3, 32, 32]),
    }
    shape = [d.dim_param or d.dim_value for d in taken.type.tensor_type.shape.dim]
    assert taken.name == kind.input_kind
    assert (taken.type.tensor_type.elem_type, shape) == expected[kind.input_kind]
    assert given.type.tensor_type.elem_type == TensorProto.FLOAT
    weights = [t for t in model.graph.initializer if len(t.dims) > 1 and t.dims[0] > 1]
    assert len(weights) == 3
    assert {t.data_type for t in weights} == {FLOATS[kind.precision]}
    assert not [n for n in model.graph.node if n.op_type == "BatchNormalization"]
    assert model.opset_import[0].version == (22 if kind.precision == "bf16" else 20)


@pytest.mark.parametrize("input_kind", get_args(InputKind))
@pytest.mark.parametrize(("precision", "bound"), [("fp32", 1e-6), ("fp16", 2e-3)])
def test_logits_are_those_of_the_eager_network(
    precision: Precision,
    bound: float,
    input_kind: InputKind,
    exported: Callable[[GraphKind], Path],
) -> None:
    session = onnxruntime.InferenceSession(exported(GraphKind(precision, input_kind)))
    images = PHOTOS.transpose(0, 3, 1, 2).astype(np.float32) / np.float32(255)
    taken = PHOTOS if input_kind == "pixels" else images
    (logits,) = session.run(None, {input_kind: taken})
    loaded = normalised()
    mean = torch.tensor(loaded.spec.preprocessing.mean).reshape(1, 3, 1, 1)
    std = torch.tensor(loaded.spec.preprocessing.std).reshape(1, 3, 1, 1)
    expected = loaded.network((torch.from_numpy(images) - mean) / std).numpy()
    error = np.linalg.norm(logits - expected) / np.linalg.norm(expected)
    assert (0 if precision == "fp32" else 1e-5) < error + (precision == "fp32") * 1e-9
    assert error < bound


# ------------------------------------------------------------------------------------- overflow


def test_the_largest_activation_is_that_of_any_operation() -> None:
    loaded = normalised(gain=100.0)
    seen: list[float] = []

    def watch(module: nn.Module, inputs: Any, output: torch.Tensor) -> None:
        seen.extend([float(output.abs().max())])

    for module in loaded.network.modules():
        module.register_forward_hook(watch)  # the residual's output is the sum
    largest = largest_activation(loaded, PHOTOS)
    assert largest == pytest.approx(max(seen), rel=1e-6)
    assert 100 < largest < 65504


def test_an_overflow_of_float16_is_refused_and_its_layer_named(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match=r"fp16: aten\.\S+ in (0|2) gives values on 6 photos up to .*e\+05"
    ):
        write_onnx(normalised(gain=1e5), tmp_path / "model.onnx", GraphKind("fp16"), PHOTOS)
    assert not list(tmp_path.iterdir())
    # bfloat16 has float32's range.
    write_onnx(normalised(gain=1e5), tmp_path / "model.onnx", GraphKind("bf16"), None)


def test_a_weight_beyond_float16_is_refused_by_name() -> None:
    loaded = normalised()
    loaded.network.get_parameter("5.weight").data[3, 3] = 7e4
    with pytest.raises(InputError, match=r"5\.weight has weights up to 7e\+04"):
        largest_activation(loaded, PHOTOS)


def test_a_value_that_is_not_a_number_is_no_small_one() -> None:
    loaded = normalised()
    loaded.network.get_parameter("0.bias").data[0] = torch.nan
    with pytest.raises(InputError, match="cannot be exported in fp16"):
        largest_activation(loaded, PHOTOS)


def test_a_network_that_casts_by_itself_is_refused(tmp_path: Path) -> None:
    class Stubborn(nn.Module):
        """Computes in float32 whatever it is told."""

        def __init__(self) -> None:
            super().__init__()
            self.weight = torch.randn(1000, 3 * 32 * 32)  # no buffer, so no cast reaches it

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return nn.functional.linear(images.flatten(1).float(), self.weight)

    spec = normalised().spec
    loaded = LoadedNetwork(spec, Stubborn().eval(), "0" * 64)
    with pytest.raises(InputError, match="keeps another precision"):
        write_onnx(loaded, tmp_path / "model.onnx", GraphKind("bf16"))
