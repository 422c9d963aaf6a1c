"""What computes or stores less than float32 is found wherever a graph hides it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

from evaluator.errors import InputError
from evaluator.exporter.description import read_description
from evaluator.exporter.onnx_precision import reduced_precision
from evaluator.exporter.spec import model_spec
from evaluator.tests.ready_graphs import ReadyGraph, description

Change = Callable[[Any], None]
DOMAIN = "mine"


def tensor(kind: int, size: int = 4) -> Any:
    return helper.make_tensor("t", kind, [size], [0] * size)


def half_scale() -> list[Any]:
    """Multiplication by a float16 constant, between two casts."""
    one = helper.make_tensor("one", TensorProto.FLOAT16, [1], [1.0])
    return [
        helper.make_node("Constant", [], ["one"], value=one),
        helper.make_node("CastLike", ["scores", "one"], ["half"]),
        helper.make_node("Mul", ["half", "one"], ["scaled"]),
    ]


def initializer(kind: int, size: int = 4) -> Change:
    return lambda model: model.graph.initializer.append(tensor(kind, size))


def node(operator: str, domain: str = "com.microsoft") -> Change:
    new = helper.make_node(operator, ["scores", "t"], ["more"], domain=domain)
    return lambda model: model.graph.node.append(new)


def cast(kind: int, value: str = "step2") -> Change:
    return lambda model: model.graph.node.append(helper.make_node("Cast", [value], ["c"], to=kind))


def constant_node(model: Any) -> None:
    model.graph.node.extend(half_scale())


def in_a_branch(model: Any) -> None:
    branch = helper.make_graph(half_scale(), "branch", [], [])
    condition = helper.make_node("If", ["c"], ["r"], then_branch=branch, else_branch=branch)
    model.graph.node.append(condition)


def weights_of_a_branch(model: Any) -> None:
    weights = numpy_helper.from_array(np.zeros(3, np.float16), "w")
    branch = helper.make_graph([], "branch", [], [], [weights])
    inner = helper.make_graph(
        [helper.make_node("If", ["c"], ["r"], then_branch=branch, else_branch=branch)], "g", [], []
    )
    model.graph.node.append(helper.make_node("Loop", ["n", "c"], ["r"], body=inner))


def in_a_function(model: Any) -> None:
    nodes = [helper.make_node("Cast", ["x"], ["y"], to=TensorProto.BFLOAT16)]
    opsets = [helper.make_opsetid("", 17)]
    model.functions.append(helper.make_function(DOMAIN, "Rounded", ["x"], ["y"], nodes, opsets))


def sparse(model: Any) -> None:
    values, indices = tensor(TensorProto.FLOAT16), helper.make_tensor("i", 7, [4], range(4))
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, [9]))


@pytest.mark.parametrize(
    ("change", "part"),
    [
        (constant_node, "has weights in float16"),
        (in_a_branch, "has weights in float16"),
        (weights_of_a_branch, "has weights in float16"),
        (in_a_function, "computes in bfloat16 (Cast)"),
        (sparse, "has weights in float16"),
        (cast(TensorProto.FLOAT16), "computes in float16 (Cast)"),
        (cast(TensorProto.FLOAT8E4M3FN), "computes in float8e4m3fn (Cast)"),
        (cast(TensorProto.INT8), "is quantised (Cast to int8)"),
        (cast(TensorProto.UINT8), "is quantised (Cast to uint8)"),
        (initializer(TensorProto.BFLOAT16), "has weights in bfloat16"),
        (initializer(TensorProto.INT4), "has weights in int4"),
        (initializer(TensorProto.INT8, 65), "is quantised (weights in int8)"),
        (initializer(TensorProto.UINT16, 65), "is quantised (weights in uint16)"),
        (node("MatMulNBits"), "is quantised (MatMulNBits)"),
        (node("QGemm"), "is quantised (QGemm)"),
        (node("MatMulBnb4"), "is quantised (MatMulBnb4)"),
        (node("DynamicQuantizeMatMul"), "is quantised (DynamicQuantizeMatMul)"),
        (node("MatMulInteger", ""), "is quantised (MatMulInteger)"),
    ],
)  # fmt: skip
def test_what_is_not_float32_is_named(change: Change, part: str, tmp_path: Path) -> None:
    model = ReadyGraph().model()
    change(model)
    assert reduced_precision(model) == part
    (tmp_path / "mine.onnx").write_bytes(model.SerializeToString())
    described = read_description(description(tmp_path / "mine.toml"))
    with pytest.raises(InputError, match="expected float32: give the export") as caught:
        model_spec(str(tmp_path / "mine.onnx"), description=described)
    assert part in str(caught.value)


@pytest.mark.parametrize(
    "change",
    [
        lambda model: None,
        initializer(TensorProto.UINT8),
        initializer(TensorProto.INT64, 500),
        initializer(TensorProto.DOUBLE, 500),
        initializer(TensorProto.BOOL, 500),
        cast(TensorProto.UINT8, "data"),
        cast(TensorProto.DOUBLE),
        cast(TensorProto.INT64),
        node("QuickGelu"),
    ],
)
def test_what_computes_in_float32_is_taken(change: Change) -> None:
    model = ReadyGraph().model()
    change(model)
    assert reduced_precision(model) is None


def test_pixels_may_be_rounded_after_they_were_scaled() -> None:
    model = ReadyGraph().model()
    scale = numpy_helper.from_array(np.array([255], np.float32), "scale")
    model.graph.initializer.append(scale)
    model.graph.node.insert(0, helper.make_node("Mul", ["data", "scale"], ["scaled"]))
    to_pixels = helper.make_node("Cast", ["scaled"], ["whole"], to=TensorProto.UINT8)
    model.graph.node.insert(1, to_pixels)
    assert reduced_precision(model) is None
