"""Real plans, built by TensorRT-RTX without a GPU."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from evaluator.contracts import Bundle, InputKind, Precision
from evaluator.engine.plans.build_progress import BuildProgress
from evaluator.engine.plans.builder import (
    BuildJob,
    configured,
    deserialises,
    logger,
    no_collection,
    parsed_network,
    plan_from_onnx,
)
from evaluator.engine.plans.plan import Profile
from evaluator.engine.plans.tensorrt_api import find_flavour
from evaluator.errors import EngineError, InputError
from evaluator.tests.engine.plan_keys import plan_key
from evaluator.tests.small_bundle import small_bundle

trt = pytest.importorskip("tensorrt_rtx")

RTX = find_flavour("tensorrt-rtx")
TYPES = {"fp32": "FLOAT", "fp16": "HALF", "bf16": "BF16"}


def job(graph: Path, **changes: Any) -> BuildJob:
    return BuildJob(RTX, plan_key(**changes), graph, "small")


@no_collection()
def parsed(graph: Path, **changes: Any) -> tuple[Any, Any, list[str]]:
    """The network and the configuration of a build that does not take place."""
    errors: list[str] = []
    log = logger(trt, errors)
    builder = trt.Builder(log)
    network = parsed_network(trt, builder, log, job(graph, **changes))
    return network, configured(trt, builder, network, job(graph, **changes)), errors


def refusal(graph: Path, **changes: Any) -> str:
    with pytest.raises(EngineError) as caught:
        plan_from_onnx(trt, job(graph, **changes), BuildProgress())
    assert str(caught.value).isprintable()
    return str(caught.value)


BUILD_BESIDE_GARBAGE = """
import gc, sys
from pathlib import Path
import tensorrt_rtx as trt
from evaluator.engine.plans import builder
from evaluator.engine.plans.build_progress import BuildProgress
from evaluator.errors import EngineError
from evaluator.tests.engine.plans.test_builder import job

class Allocating(trt.ILogger):
    def log(self, severity, message):
        self.kept = [[] for _ in range(50_000)]  # enough for a collection

builder.logger = lambda *_: Allocating()
gc.set_threshold(20_000, 1, 1)
gc.collect()
gc.disable()
old = [trt.Builder(Allocating())]
old.append(old)  # only a collection frees it
del old
gc.enable()
try:
    builder.plan_from_onnx(trt, job(Path(sys.argv[1])), BuildProgress())
except EngineError:
    print("refused", gc.isenabled())
"""


def test_a_collection_during_a_build_does_not_wait_for_the_lock_of_the_build(
    tmp_path: Path,
) -> None:
    (tmp_path / "model.onnx").write_bytes(b"no graph")
    words = [sys.executable, "-c", BUILD_BESIDE_GARBAGE, str(tmp_path / "model.onnx")]
    done = subprocess.run(words, capture_output=True, text=True, timeout=300, check=False)
    assert done.stdout == "refused True\n", done.stderr


@pytest.mark.parametrize("input_kind", ["pixels", "images"])
@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16"])
def test_a_network_computes_in_the_types_of_its_graph(
    precision: Precision, input_kind: InputKind, tmp_path: Path
) -> None:
    bundle = small_bundle(tmp_path / "bundle", precision, input_kind)
    network, _, errors = parsed(bundle.graph)
    assert errors == []
    entry, logits = network.get_input(0), network.get_output(0)
    if input_kind == "pixels":
        assert (entry.name, entry.dtype) == ("pixels", trt.DataType.UINT8)
        assert tuple(entry.shape) == (-1, 32, 32, 3)
    else:
        assert (entry.name, entry.dtype) == ("images", trt.DataType.FLOAT)
        assert tuple(entry.shape) == (-1, 3, 32, 32)
    assert (logits.name, logits.dtype) == ("logits", trt.DataType.FLOAT)
    assert tuple(logits.shape) == (-1, 10)
    layers = [network.get_layer(index) for index in range(network.num_layers)]
    convolutions = [layer for layer in layers if layer.type == trt.LayerType.CONVOLUTION]
    assert len(convolutions) == 3
    expected = getattr(trt.DataType, TYPES[precision])
    assert {layer.get_output(0).dtype for layer in convolutions} == {expected}
    data, count = plan_from_onnx(trt, job(bundle.graph), BuildProgress())
    assert count == len(layers)
    assert bytes(data[:4]) == b"vtrt"  # of TensorRT-RTX
    # The weights of three convolutions and the head: 5,072 numbers.
    assert data.nbytes > 5_072 * (4 if precision == "fp32" else 2)


def test_the_network_is_strongly_typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # TensorRT-RTX makes no other, so what is asked for is looked at too: TensorRT 10 does.
    bundle, asked = small_bundle(tmp_path / "bundle"), []
    create = trt.Builder.create_network

    def asking(builder: Any, flags: int = 0) -> Any:
        asked.append(flags)
        return create(builder, flags)

    monkeypatch.setattr(trt.Builder, "create_network", asking)
    network, _, _ = parsed(bundle.graph)
    flag = trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED
    assert network.get_flag(flag)
    assert asked == [1 << int(flag)]


@pytest.mark.parametrize("tf32", [False, True])
def test_tf32_is_what_the_key_says_and_no_other_flag_is_set(tf32: bool, tmp_path: Path) -> None:
    bundle = small_bundle(tmp_path / "bundle")
    untouched = trt.Builder(logger(trt, [])).create_builder_config()
    assert untouched.get_flag(trt.BuilderFlag.TF32)  # hence the flag is never left alone
    _, config, _ = parsed(bundle.graph, tf32=tf32)
    on = [name for name, flag in trt.BuilderFlag.__members__.items() if config.get_flag(flag)]
    assert on == (["TF32"] if tf32 else [])


def test_the_profile_has_one_best_and_largest_batch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle, profiles = small_bundle(tmp_path / "bundle"), []
    create = trt.Builder.create_optimization_profile

    def keeping(builder: Any) -> Any:
        profiles.append(create(builder))
        return profiles[-1]

    monkeypatch.setattr(trt.Builder, "create_optimization_profile", keeping)
    _, config, _ = parsed(bundle.graph, profile=Profile(best=6, largest=24))
    assert config.num_optimization_profiles == 1
    (profile,) = profiles
    shapes = [tuple(shape) for shape in profile.get_shape("pixels")]
    assert shapes == [(1, 32, 32, 3), (6, 32, 32, 3), (24, 32, 32, 3)]


def test_a_target_is_set_and_without_one_nothing(tmp_path: Path) -> None:
    bundle = small_bundle(tmp_path / "bundle")
    _, config, _ = parsed(bundle.graph, target="sm89")
    assert config.num_compute_capabilities == 1
    assert config.get_compute_capability(0) == trt.ComputeCapability.SM89
    _, config, _ = parsed(bundle.graph)
    assert config.num_compute_capabilities == 0
    data, _layers = plan_from_onnx(trt, job(bundle.graph, target="sm120"), BuildProgress())
    assert data.nbytes > 100_000


def unknown_operator(model: Any) -> None:
    node = next(n for n in model.graph.node if n.op_type == "GlobalAveragePool")
    node.op_type, node.name = "Det", "the_determinant"


def transposed_uint8(model: Any) -> None:
    cast, transpose = model.graph.node[:2]
    assert (cast.op_type, transpose.op_type) == ("Cast", "Transpose")
    transpose.input[0], transpose.output[0] = "pixels", "moved"
    cast.input[0], cast.output[0] = "moved", "planes"
    model.graph.node.insert(0, transpose)
    del model.graph.node[2]


def mixed_types(model: Any) -> None:
    bias = next(t for t in model.graph.initializer if t.name == "1.bias")
    weight = next(t for t in model.graph.initializer if t.name == "1.weight")
    for tensor in (weight, bias):
        values = numpy_helper.to_array(tensor).astype(np.float16)
        tensor.CopyFrom(numpy_helper.from_array(values, tensor.name))


def unnamed_unknown_operator(model: Any) -> None:
    unknown_operator(model)
    next(n for n in model.graph.node if n.op_type == "Det").name = ""


@pytest.mark.parametrize(
    ("edit", "told"),
    [
        (unknown_operator, "at node the_determinant (Det): UNSUPPORTED_NODE"),
        (unnamed_unknown_operator, " (Det): UNSUPPORTED_NODE"),
        (transposed_uint8, "at node planes (Transpose): planes: first input has type UInt8"),
        (mixed_types, "at node conv_1 (Conv): conv_1: IConvolutionLayer `input` and `kernel` must"),
    ],
)
def test_a_graph_that_cannot_be_taken_names_the_node(
    edit: Callable[[Any], None], told: str, tmp_path: Path
) -> None:
    bundle = small_bundle(tmp_path / "bundle")
    model = onnx.load(bundle.graph)
    edit(model)
    onnx.save(model, tmp_path / "edited.onnx")
    message = refusal(tmp_path / "edited.onnx")
    assert message.startswith("TensorRT-RTX does not support the graph of small")
    assert told in message
    assert "--engine onnxruntime" in message
    assert ".cpp" not in message


def test_a_graph_without_its_external_data_names_the_tensor(tmp_path: Path) -> None:
    bundle = small_bundle(tmp_path / "bundle")
    (bundle.folder / "model.onnx.data").unlink()
    expected = "does not support the graph of small: Failed to import initializer: Mul.constant. "
    assert expected in refusal(bundle.graph)


def test_a_file_that_is_no_graph_is_told(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"no graph")
    expected = "does not support the graph of small: Failed to parse the ONNX model. "
    assert expected in refusal(tmp_path / "model.onnx")


@pytest.mark.skipif(sys.platform != "linux", reason="needs names that are any bytes")
def test_a_folder_whose_name_is_not_utf8_is_named(tmp_path: Path) -> None:
    folder = small_bundle(tmp_path / "bundle").folder.rename(tmp_path / os.fsdecode(b"\xff"))
    with pytest.raises(InputError, match=r"udcff/model\.onnx has a name that is not UTF-8"):
        parsed(folder / "model.onnx")
    assert parsed(small_bundle(tmp_path / "müll 日本").graph)[2] == []


def test_a_graph_for_one_batch_size_is_refused(tmp_path: Path) -> None:
    bundle = small_bundle(tmp_path / "bundle")
    model = onnx.load(bundle.graph)
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 2
    onnx.save(model, tmp_path / "fixed.onnx")
    assert "does not classify batches of any size" in refusal(tmp_path / "fixed.onnx")


def test_a_build_that_fails_gives_the_reason(tmp_path: Path) -> None:
    # The parser takes this graph, and the builder finds that no batch can be had.
    nodes = [
        helper.make_node("Cast", ["pixels"], ["floats"], to=TensorProto.FLOAT, name="cast"),
        helper.make_node("Reshape", ["floats", "shape"], ["logits"], name="reshape"),
    ]
    shape = numpy_helper.from_array(np.array([7, 3], np.int64), "shape")
    graph = helper.make_graph(
        nodes,
        "impossible",
        [helper.make_tensor_value_info("pixels", TensorProto.UINT8, ["N", 1, 1, 3])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, None)],
        [shape],
    )
    opset = [helper.make_opsetid("", 20)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=10), tmp_path / "m.onnx")
    message = refusal(tmp_path / "m.onnx")
    assert message.startswith("TensorRT-RTX cannot build a plan of small: ")
    assert "no reason" not in message


def test_without_a_driver_a_plan_is_not_taken(bundle_of_small: Bundle) -> None:
    from evaluator.engine.devices import cuda_devices

    if cuda_devices():
        pytest.skip("this machine has a CUDA device, which may take it")
    data, _layers = plan_from_onnx(trt, job(bundle_of_small.graph), BuildProgress())
    assert not deserialises(trt, data)


@pytest.fixture
def bundle_of_small(tmp_path: Path) -> Bundle:
    return small_bundle(tmp_path / "bundle")


def test_a_build_tells_its_progress(bundle_of_small: Bundle) -> None:
    told: list[float] = []

    class Listening(BuildProgress):
        def step(self, phase: str, step: int) -> None:
            super().step(phase, step)
            told.append(self.fraction)

    plan_from_onnx(trt, job(bundle_of_small.graph), Listening())
    assert told == sorted(told)
    assert len(set(told)) > 10
    assert told[-1] > 0.5
