"""Preprocessing inside the graph, against torchvision's, and read back from the file."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import pytest
import torch
import torchvision.models
from onnx import TensorProto, helper, numpy_helper
from PIL import Image
from torch import nn
from torchvision import transforms

from evaluator.contracts import ChannelOrder, GraphKind, InputKind, LoadedNetwork, Preprocessing
from evaluator.errors import InputError
from evaluator.exporter.graph.deployable import deployable, preprocessing_in_graph, scale_and_bias
from evaluator.exporter.graph.onnx_export import write_onnx
from evaluator.exporter.graph.overflow import largest_activation
from evaluator.exporter.spec import model_spec
from evaluator.exporter.zoo.table import MODELS

Pixels = npt.NDArray[np.uint8]

IMAGENET = MODELS["resnet50"].preprocessing
LITE0 = MODELS["efficientnet_lite0"].preprocessing
UNEQUAL = Preprocessing(36, 32, "bilinear", (0.1, 0.2, 0.3), (0.7, 0.11, 0.013))
SCALE = np.array([1.5, 2.5, 3.5], np.float32)
BIAS = np.array([-1, 0, 1], np.float32)


def every_value() -> Pixels:
    """One image (1, 16, 16, 3) in which each channel takes all 256 values, in other orders."""
    ramp = np.arange(256, dtype=np.uint8)
    return np.stack([ramp, ramp[::-1], np.roll(ramp, 100)], axis=-1).reshape(1, 16, 16, 3)


def by_torchvision(pixels: Pixels, preprocessing: Preprocessing) -> torch.Tensor:
    transform = transforms.Compose(
        [transforms.ToTensor(), transforms.Normalize(preprocessing.mean, preprocessing.std)]
    )
    return torch.stack([transform(Image.fromarray(image)) for image in pixels])


@pytest.mark.parametrize("preprocessing", [IMAGENET, LITE0, UNEQUAL], ids=["v1", "lite0", "odd"])
def test_scale_and_bias_are_totensor_and_normalize_on_all_256_values(
    preprocessing: Preprocessing,
) -> None:
    scale, bias = scale_and_bias(preprocessing)
    assert scale.dtype == bias.dtype == np.float32
    pixels = every_value()
    ours = (pixels.astype(np.float32) * scale + bias).transpose(0, 3, 1, 2)
    theirs = by_torchvision(pixels, preprocessing).numpy()
    # Both round a few times; an error of the bias weighs as much as the bias.
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=4 * np.spacing(np.abs(theirs).max()))


def test_scale_and_bias_by_hand() -> None:
    scale, bias = scale_and_bias(replace(IMAGENET, mean=(0.5, 0.25, 0), std=(0.5, 0.1, 1)))
    np.testing.assert_array_equal(scale, np.array([1 / 127.5, 1 / 25.5, 1 / 255], np.float32))
    np.testing.assert_array_equal(bias, np.array([-1, -2.5, 0], np.float32))


def test_the_deployable_graph_is_the_network_on_normalised_images() -> None:
    pixels = np.concatenate([every_value(), every_value()[:, ::-1]])
    module = deployable(nn.Identity(), UNEQUAL)
    seen = module(torch.from_numpy(pixels))
    expected = by_torchvision(pixels, UNEQUAL)
    assert seen.dtype == torch.float32
    torch.testing.assert_close(seen, expected, rtol=1e-6, atol=1e-5)


def test_channels_stay_red_green_blue_and_rows_stay_rows() -> None:
    pixels = torch.zeros(1, 2, 2, 3, dtype=torch.uint8)
    pixels[0, 1, 0] = torch.tensor([255, 0, 0])  # red, in the second row
    neutral = replace(IMAGENET, mean=(0, 0, 0), std=(1, 1, 1))
    images = deployable(nn.Identity(), neutral)(pixels)
    assert images.shape == (1, 3, 2, 2)
    assert images.nonzero().tolist() == [[0, 0, 1, 0]]


@pytest.mark.parametrize("kind", ["pixels", "images"])
def test_channels_are_reversed_after_the_normalisation(kind: InputKind) -> None:
    bgr = replace(UNEQUAL, channels="bgr")
    pixels = torch.from_numpy(every_value())
    values = pixels if kind == "pixels" else pixels.permute(0, 3, 1, 2) / 255
    found = deployable(nn.Identity(), bgr, GraphKind("fp32", kind))(values)
    expected = by_torchvision(every_value(), UNEQUAL).flip(1)
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-5)


@pytest.mark.parametrize(("channels", "expected"), [("rgb", 5.0), ("bgr", 0.0)])
def test_activations_are_measured_on_reversed_channels(
    channels: ChannelOrder, expected: float
) -> None:
    pixels = np.zeros((1, 4, 4, 3), np.uint8)
    pixels[..., 0] = 255  # red
    network = nn.Conv2d(3, 1, 1, bias=False)
    nn.init.constant_(network.weight, 0)
    nn.init.constant_(network.weight[:, 0], 5)  # the first channel
    neutral = Preprocessing(4, 4, "bilinear", (0.0,) * 3, (1.0,) * 3, channels)
    spec = replace(model_spec("resnet50", weights="random"), preprocessing=neutral)
    assert largest_activation(LoadedNetwork(spec, network, ""), pixels) == expected


def test_what_was_exported_is_read_back_exactly(tmp_path: Path) -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3, stride=2), nn.Flatten(), nn.Linear(900, 5))
    path = exported(network, UNEQUAL, tmp_path)
    scale, bias = preprocessing_in_graph(path)
    np.testing.assert_array_equal(scale, scale_and_bias(UNEQUAL)[0])
    np.testing.assert_array_equal(bias, scale_and_bias(UNEQUAL)[1])


@pytest.mark.slow
def test_what_was_exported_is_read_back_from_a_transformer_too(tmp_path: Path) -> None:
    # It asks for the number of images: the graph has a Shape of its input beside the Cast.
    network = torchvision.models.VisionTransformer(32, 16, 1, 2, 8, 16, num_classes=5)
    path = exported(network, UNEQUAL, tmp_path)
    scale, bias = preprocessing_in_graph(path)
    np.testing.assert_array_equal(scale, scale_and_bias(UNEQUAL)[0])
    np.testing.assert_array_equal(bias, scale_and_bias(UNEQUAL)[1])


def exported(network: nn.Module, preprocessing: Preprocessing, folder: Path) -> Path:
    spec = replace(model_spec("resnet50", weights="random"), preprocessing=preprocessing)
    path = folder / "model.onnx"
    write_onnx(LoadedNetwork(spec, network.eval(), ""), path)
    return path


def written(folder: Path, *nodes: onnx.NodeProto, scale: npt.NDArray[np.float32] = SCALE) -> Path:
    """A graph of these nodes, from ``pixels`` to ``logits``, with constants scale and bias."""
    graph = helper.make_graph(
        list(nodes),
        "test",
        [helper.make_tensor_value_info("pixels", TensorProto.UINT8, ["N", 4, 4, 3])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, None)],
        [
            numpy_helper.from_array(scale.reshape(1, -1, 1, 1), "scale"),
            numpy_helper.from_array(BIAS.reshape(1, 3, 1, 1), "bias"),
        ],
    )
    path = folder / "model.onnx"
    onnx.save(helper.make_model(graph), path)
    return path


CAST = helper.make_node("Cast", ["pixels"], ["values"], to=TensorProto.FLOAT)
TRANSPOSE = helper.make_node("Transpose", ["values"], ["images"], perm=[0, 3, 1, 2])
MUL = helper.make_node("Mul", ["images", "scale"], ["scaled"])
ADD = helper.make_node("Add", ["scaled", "bias"], ["normalised"])
HEAD = helper.make_node("GlobalAveragePool", ["normalised"], ["logits"])


def test_constants_are_found_on_either_side(tmp_path: Path) -> None:
    mul = helper.make_node("Mul", ["scale", "images"], ["scaled"])
    add = helper.make_node("Add", ["bias", "scaled"], ["normalised"])
    scale, bias = preprocessing_in_graph(written(tmp_path, CAST, TRANSPOSE, mul, add, HEAD))
    np.testing.assert_array_equal(scale, SCALE)
    np.testing.assert_array_equal(bias, BIAS)


REFUSED = {
    "no preprocessing": [helper.make_node("Cast", ["pixels"], ["logits"], to=TensorProto.FLOAT)],
    "no transpose": [
        CAST,
        helper.make_node("Mul", ["values", "scale"], ["scaled"]),
        ADD,
        HEAD,
    ],
    "no bias": [
        CAST,
        TRANSPOSE,
        MUL,
        helper.make_node("GlobalAveragePool", ["scaled"], ["logits"]),
    ],
    "another operator": [
        CAST,
        TRANSPOSE,
        helper.make_node("Div", ["images", "scale"], ["scaled"]),
        ADD,
        HEAD,
    ],
    "scaled by itself": [
        CAST,
        TRANSPOSE,
        helper.make_node("Mul", ["images", "images"], ["scaled"]),
        ADD,
        HEAD,
    ],
    "a way around the scale": [
        CAST,
        TRANSPOSE,
        MUL,
        helper.make_node("Add", ["scaled", "bias"], ["sum"]),
        helper.make_node("Add", ["sum", "images"], ["normalised"]),
        HEAD,
    ],
    "a way around everything": [
        CAST,
        TRANSPOSE,
        MUL,
        helper.make_node("Add", ["scaled", "bias"], ["normalised"]),
        helper.make_node("Cast", ["pixels"], ["again"], to=TensorProto.FLOAT),
        helper.make_node("Add", ["normalised", "again"], ["logits"]),
    ],
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_graph_that_normalises_otherwise_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="Export the model again"):
        preprocessing_in_graph(written(tmp_path, *REFUSED[name]))


def test_a_scale_that_is_one_number_is_not_taken_for_three(tmp_path: Path) -> None:
    one = np.array([1.5], np.float32)
    path = written(tmp_path, CAST, TRANSPOSE, MUL, ADD, HEAD, scale=one)
    assert preprocessing_in_graph(path)[0].shape != scale_and_bias(IMAGENET)[0].shape


@pytest.mark.parametrize("content", [b"", b"this is no graph"], ids=["empty", "text"])
def test_a_file_that_is_no_graph_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    with pytest.raises(InputError):
        preprocessing_in_graph(path)
