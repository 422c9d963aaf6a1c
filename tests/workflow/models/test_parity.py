"""Parity from end to end: doctored graphs on disk are caught, and the evidence is kept."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch

import evaluator
from evaluator.contracts import Bundle
from evaluator.errors import InputError
from evaluator.exporter.spec import model_spec
from evaluator.exporter.weights.weights import load_network
from evaluator.tests.doctored import doctored
from evaluator.tests.toy import CROP_PX, RANDOM, TOY
from evaluator.workflow.models.parity import evidence_path
from evaluator.workflow.models.parity_images import parity_images


def failed(folder: Path) -> set[str]:
    result = evaluator.check_parity(str(folder), engine="onnxruntime", device="cpu")
    assert not result.passed
    with np.load(evidence_path(result)) as evidence:
        assert evidence["reference"].shape == evidence["candidate"].shape == (result.n, 1000)
        assert len(evidence["ids"]) == result.n
    return {gate.name for gate in result.gates if not gate.passed}


def wrong_deviation(graph: Any) -> None:
    for tensor in graph.initializer:
        if tensor.name in ("scale", "bias"):
            values = onnx.numpy_helper.to_array(tensor) / np.float32(1.02)
            tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))


def mixed_batch(graph: Any) -> None:
    """A hundredth of the mean of the batch on top of every image's logits."""
    last = next(node for node in graph.node if "logits" in node.output)
    last.output[list(last.output).index("logits")] = "own"
    graph.initializer.append(onnx.numpy_helper.from_array(np.array([0], np.int64), "batch_axis"))
    graph.initializer.append(onnx.numpy_helper.from_array(np.array(0.01, np.float32), "hundredth"))
    graph.node.extend(
        [
            onnx.helper.make_node("ReduceMean", ["own", "batch_axis"], ["batch_mean"], keepdims=1),
            onnx.helper.make_node("Mul", ["batch_mean", "hundredth"], ["share"]),
            onnx.helper.make_node("Add", ["own", "share"], ["logits"]),
        ]
    )


def tf32(graph: Any) -> None:
    """Ten bits of mantissa for what every convolution reads, as TF32 and float16 have them."""
    made = []
    for node in graph.node:
        if node.op_type == "Conv":
            name = node.input[0]
            half = onnx.helper.make_node("Cast", [name], [f"{node.name} ten bits"], to=10)
            made += [half, onnx.helper.make_node("Cast", half.output, [f"{node.name} in"], to=1)]
            node.input[0] = f"{node.name} in"
        made.append(node)
    nodes = [onnx.NodeProto.FromString(node.SerializeToString()) for node in made]
    del graph.node[:]
    graph.node.extend(nodes)


@pytest.mark.parametrize("network", ["toy", pytest.param("bundle", marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    ("edit", "gate"),
    [(wrong_deviation, "preprocessing"), (mixed_batch, "batch independence"), (tf32, "all")],
)
def test_a_doctored_graph_fails_and_keeps_its_evidence(
    edit: Callable[[Any], None], gate: str, network: str, tmp_path: Path,
    request: pytest.FixtureRequest,
) -> None:  # fmt: skip
    whole: Bundle = request.getfixturevalue(network)
    assert gate in failed(doctored(whole, tmp_path / "bundle", edit))


def test_a_result_is_kept_for_its_engine_and_found_again(
    bundle: Bundle, photos: Path, cache: Path
) -> None:
    result = evaluator.check_parity("efficientnet_lite0", engine="onnxruntime", data=photos)
    assert result.passed
    assert result.n == 100
    assert (result.labelled, result.reference_correct, result.candidate_correct) == (20, 18, 18)
    assert result.agreement == 1
    assert result.flips == ()
    exported = evaluator.export_model("efficientnet_lite0")
    assert not exported.created
    assert exported.parity == result


def test_the_reference_has_nothing_to_be_compared_with(bundle: Bundle) -> None:
    with pytest.raises(InputError, match="is the reference"):
        evaluator.check_parity("efficientnet_lite0", engine="torch", device="cpu")


def test_weights_that_changed_since_the_export_are_found_out(
    tmp_path: Path, exports_here: None
) -> None:
    weights = tmp_path / "mine.pth"
    torch.save(load_network(model_spec(TOY, **RANDOM)).network.state_dict(), weights)
    exported = evaluator.export_model(
        TOY, weights=str(weights), crop_px=CROP_PX, out=tmp_path / "bundle"
    )
    assert exported.parity.passed
    weights.write_bytes(weights.read_bytes()[:-1] + b"!")
    with pytest.raises(InputError, match=f"is not the file that {TOY} was made from"):
        evaluator.check_parity(str(tmp_path / "bundle"), engine="onnxruntime")
    weights.unlink()
    with pytest.raises(InputError, match="no longer exist"):
        evaluator.check_parity(str(tmp_path / "bundle"), engine="onnxruntime")


@pytest.mark.slow
def test_real_weights_that_get_almost_nothing_right_are_warned_of(
    tmp_path: Path, exports_here: None
) -> None:
    # Real weights with their classes in another order: what a wrong class map looks like.
    tensors = load_network(model_spec("efficientnet_lite0")).network.state_dict()
    for name in ("_fc.weight", "_fc.bias"):
        tensors[name] = tensors[name].flip(0)
    torch.save(tensors, tmp_path / "flipped.pth")
    exported = evaluator.export_model(
        "efficientnet_lite0", weights=str(tmp_path / "flipped.pth"), crop_px=96,
        out=tmp_path / "bundle",
    )  # fmt: skip
    assert exported.parity.passed
    assert exported.warning is not None
    assert "0 of 20 labelled photos" in exported.warning


def test_random_weights_that_get_almost_nothing_right_are_not(toy: Bundle) -> None:
    assert evaluator.export_model(TOY, **RANDOM).warning is None


def test_a_slow_model_is_compared_on_fewer_images() -> None:
    slow = parity_images(model_spec("resnext101_32x32d_wsl", weights="random"))
    fast = parity_images(model_spec("resnext101_32x16d_wsl", weights="random"))
    assert (len(slow.items), len(fast.items)) == (40, 100)
    assert slow.clean == fast.clean == 20
    assert {item.id.rsplit(" ", 1)[-1] for item in slow.items[20:]} == {
        "(noise)", "(contrast)", "(brightness)", "(pixelate)"
    }  # fmt: skip
