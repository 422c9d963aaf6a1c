"""The exported file: the same bytes everywhere, nothing of the machine in it, the same logits."""

import copy
import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import pytest
import torch
import torchvision.models
from torch import nn
from torch.nn import functional
from torch.nn.utils import parametrizations, prune, spectral_norm, weight_norm
from torchvision.transforms.functional import normalize

from evaluator.contracts import GraphKind, LoadedNetwork, Preprocessing
from evaluator.errors import InputError
from evaluator.exporter.graph.onnx_export import OPSETS, write_onnx
from evaluator.exporter.spec import model_spec
from evaluator.exporter.weights.weights import load_network
from evaluator.tests.exporter.normalised_network import PHOTOS, normalised

Logits = npt.NDArray[np.float32]
Pixels = npt.NDArray[np.uint8]

EXPORT = """
import sys, torch
from pathlib import Path
from evaluator.tests.exporter.graph.test_onnx_export import write_both

torch.set_num_threads(3)
write_both(Path(sys.argv[1]))
"""


def write_both(folder: Path) -> None:
    """A network in float32, and a small one in float16 in a folder beside it."""
    loaded = load_network(model_spec("torchvision:resnet18", weights="random"))
    write_onnx(loaded, folder / "model.onnx")
    half = folder.with_name(f"{folder.name} fp16")
    half.mkdir()
    write_onnx(normalised(), half / "model.onnx", GraphKind("fp16"), PHOTOS)


@pytest.fixture(scope="module")
def twin(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model, exported in this process."""
    folder = tmp_path_factory.mktemp("first")
    write_both(folder)
    return folder / "model.onnx"


@pytest.fixture(scope="module")
def twins(twin: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The same model, exported by two processes that have nothing else in common."""
    second = tmp_path_factory.mktemp("a second place")
    environment = {
        **os.environ,
        "PYTHONHASHSEED": "4242",
        "PYTHONPATH": os.pathsep.join(sys.path),
        "HOME": str(second),
    }
    command = [sys.executable, "-c", EXPORT, str(second)]
    subprocess.run(command, cwd=second, env=environment, timeout=300, check=True)
    return twin, second / "model.onnx"


def lively(network: nn.Module, side: int) -> nn.Module:
    """Random weights through which a signal survives: images get logits of their own.

    Layers that begin at zero are drawn, and statistics are those of a batch that ran.
    """
    with torch.random.fork_rng(devices=[]), torch.inference_mode():
        torch.manual_seed(0)
        for parameter in network.parameters():
            if not parameter.any():
                parameter.normal_(std=0.1)
        norms = [m for m in network.modules() if isinstance(m, nn.BatchNorm2d)]
        for norm in norms:
            norm.weight.uniform_(0.5, 1.5)
            norm.bias.uniform_(-0.5, 0.5)
            norm.momentum = 1
            norm.train()
        network(torch.from_numpy(photos(4, side, seed=1)).permute(0, 3, 1, 2) / 128 - 1)
    return network.eval()


def photos(n: int, side: int, seed: int = 0) -> Pixels:
    """Random, and as unlike each other as photos are: coarse blotches under fine noise."""
    numbers = torch.Generator().manual_seed(seed)
    coarse = torch.rand(n, 3, 5, 5, generator=numbers)
    blotches = functional.interpolate(coarse, size=side, mode="bilinear")
    noise = torch.rand(n, 3, side, side, generator=numbers)
    pixels = (255 * (0.8 * blotches + 0.2 * noise)).to(torch.uint8)
    result: Pixels = pixels.permute(0, 2, 3, 1).contiguous().numpy()
    return result


def logits_in_torch(network: nn.Module, preprocessing: Preprocessing, pixels: Pixels) -> Logits:
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255
    with torch.inference_mode():
        logits = network(normalize(images, preprocessing.mean, preprocessing.std))
    result: Logits = logits.numpy()
    return result


def session_of(path: Path) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def relative_error(candidate: Logits, reference: Logits) -> float:
    """Of what tells images apart: the logits less their mean over the images."""
    signal = reference - reference.mean(axis=0)
    assert np.linalg.norm(signal) > 1e-3 * np.linalg.norm(reference)
    return float(np.linalg.norm(candidate - reference) / np.linalg.norm(signal))


def agrees_with_torch(name: str, folder: Path, crop_px: int | None = None) -> None:
    loaded = load_network(model_spec(name, weights="random", crop_px=crop_px))
    preprocessing = loaded.spec.preprocessing
    lively(loaded.network, preprocessing.crop_px)
    unfolded = copy.deepcopy(loaded.network)
    write_onnx(loaded, folder / "model.onnx")
    pixels = photos(4, preprocessing.crop_px)
    (logits,) = session_of(folder / "model.onnx").run(None, {"pixels": pixels})
    expected = logits_in_torch(unfolded, preprocessing, pixels)
    assert relative_error(logits, expected) <= 1e-4


@pytest.mark.slow  # test_bundle.py compares two exports of one process in the fast tier
def test_two_exports_have_the_same_bytes(twins: tuple[Path, Path]) -> None:
    first, second = twins
    assert sorted(file.name for file in first.parent.iterdir()) == [
        "model.onnx",
        "model.onnx.data",
    ]
    for name in ("model.onnx", "model.onnx.data"):
        assert (first.parent / name).read_bytes() == (second.parent / name).read_bytes()


@pytest.mark.slow
def test_two_exports_in_float16_have_the_same_bytes(twins: tuple[Path, Path]) -> None:
    first, second = (path.parent.with_name(f"{path.parent.name} fp16") for path in twins)
    for name in ("model.onnx", "model.onnx.data"):
        assert (first / name).read_bytes() == (second / name).read_bytes()


def messages(message: Any) -> Iterator[Any]:
    """A protobuf message and all that are inside it, of whatever kind."""
    yield message
    for field, value in message.ListFields():
        if field.type == field.TYPE_MESSAGE:
            for inner in value if field.is_repeated else [value]:
                yield from messages(inner)


def test_the_file_tells_nothing_of_where_it_was_made(twin: Path) -> None:
    graph = onnx.load(twin, load_external_data=False)
    for message in messages(graph):
        told = {field.name for field, value in message.ListFields() if value}
        assert not told & {"metadata_props", "doc_string", "producer_name", "producer_version"}
    content = twin.read_bytes()
    repository = Path(__file__).resolve().parents[2]
    for trace in (str(repository), str(twin.parent), "site-packages", ".py", "torch.nn"):
        assert trace.encode() not in content


def test_the_weights_lie_beside_the_graph_under_a_name_without_a_folder(
    twin: Path,
) -> None:
    graph = onnx.load(twin, load_external_data=False)
    outside = [tensor for tensor in graph.graph.initializer if tensor.external_data]
    entries = {entry.value for t in outside for entry in t.external_data if entry.key == "location"}
    assert entries == {"model.onnx.data"}
    # 11,689,512 parameters and 9,600 running means, variances and counters, of which biases remain.
    assert (twin.parent / "model.onnx.data").stat().st_size > 4 * 11_600_000
    assert twin.stat().st_size < 200_000


def test_the_checker_of_onnx_passes(twin: Path) -> None:
    onnx.checker.check_model(str(twin), full_check=True)
    graph = onnx.load(twin, load_external_data=False)
    assert [(entry.domain, entry.version) for entry in graph.opset_import] == [("", OPSETS["fp32"])]


def test_pixels_go_in_and_a_thousand_logits_come_out(twin: Path) -> None:
    session = session_of(twin)
    (pixels,), (logits,) = session.get_inputs(), session.get_outputs()
    assert (pixels.name, pixels.type) == ("pixels", "tensor(uint8)")
    assert (logits.name, logits.type) == ("logits", "tensor(float)")
    batch = pixels.shape[0]
    assert isinstance(batch, str)
    assert pixels.shape == [batch, 224, 224, 3]
    assert logits.shape == [batch, 1000]


def test_a_batch_of_any_size_gives_the_logits_of_torch(twin: Path) -> None:
    loaded = load_network(model_spec("torchvision:resnet18", weights="random"))
    session, pixels = session_of(twin), photos(5, 224)
    expected = logits_in_torch(loaded.network, loaded.spec.preprocessing, pixels)
    for n in (1, 3, 5):
        (logits,) = session.run(None, {"pixels": pixels[:n]})
        assert (logits.dtype, logits.shape) == (np.float32, (n, 1000))
        scale = np.linalg.norm(expected[:n])
        assert np.linalg.norm(logits - expected[:n]) / scale <= 1e-5


def test_no_batchnorm_is_left_in_the_graph(twin: Path) -> None:
    graph = onnx.load(twin, load_external_data=False)
    operators = [node.op_type for node in graph.graph.node]
    assert "BatchNormalization" not in operators
    assert operators.count("Conv") == 20
    assert operators.count("Mul") == 1  # the scale of the pixels


def test_norms_are_folded_before_the_exporter_sees_them(tmp_path: Path) -> None:
    # It would fold them too, in float32: the weights in the file are those of one rounding.
    convolution, norm = nn.Conv2d(3, 64, 3), nn.BatchNorm2d(64)
    loaded = small(lively(nn.Sequential(convolution, norm, nn.Flatten()), 32))
    assert norm.running_var is not None
    scale = norm.weight.double() / (norm.running_var.double() + norm.eps).sqrt()
    expected = (convolution.weight.double() * scale.reshape(-1, 1, 1, 1)).float().numpy()
    write_onnx(loaded, tmp_path / "model.onnx")
    assert not any(isinstance(module, nn.BatchNorm2d) for module in loaded.network.modules())
    tensors = onnx.load(tmp_path / "model.onnx").graph.initializer
    (weight,) = (tensor for tensor in tensors if list(tensor.dims) == [64, 3, 3, 3])
    np.testing.assert_array_equal(onnx.numpy_helper.to_array(weight), expected)


def test_a_network_of_unusual_structure_agrees_with_torch(tmp_path: Path) -> None:
    agrees_with_torch("torchvision:shufflenet_v2_x0_5", tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "crop_px"),
    [
        ("torchvision:squeezenet1_1", None),
        ("torchvision:mobilenet_v3_small", None),
        ("torchvision:googlenet", None),
        ("torchvision:densenet121", None),
        ("torchvision:vit_b_16", None),
        ("efficientnet_lite0", None),
        ("efficientnet_lite0", 225),
    ],
)
def test_larger_networks_of_unusual_structure_agree_with_torch(
    name: str, crop_px: int | None, tmp_path: Path
) -> None:
    agrees_with_torch(name, tmp_path, crop_px)


def small(network: nn.Module, crop_px: int = 32) -> LoadedNetwork:
    """A network under a spec whose crop it takes."""
    preprocessing = Preprocessing(crop_px, crop_px, "bilinear", (0.4, 0.5, 0.6), (0.2, 0.3, 0.4))
    spec = replace(model_spec("resnet50", weights="random"), preprocessing=preprocessing)
    return LoadedNetwork(replace(spec, name="small"), network.eval().requires_grad_(False), "")


@pytest.mark.slow
@pytest.mark.parametrize(
    "network",
    [
        torchvision.models.VisionTransformer(32, 8, 2, 2, 16, 32),
        torchvision.models.SwinTransformer([4, 4], 16, [2, 2], [2, 4], [4, 4]),
    ],
    ids=["vit", "swin"],
)
def test_transformers_agree_with_torch(network: nn.Module, tmp_path: Path) -> None:
    loaded = small(lively(network, 32))
    write_onnx(loaded, tmp_path / "model.onnx")
    session = session_of(tmp_path / "model.onnx")
    for n in (2, 5):
        pixels = photos(n, 32)
        (logits,) = session.run(None, {"pixels": pixels})
        expected = logits_in_torch(network, loaded.spec.preprocessing, pixels)
        assert relative_error(logits, expected) <= 1e-4


class Branching(nn.Module):
    """Its Python asks for a value that only an image can answer."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.conv(images).mean((2, 3))
        return logits if logits.sum() > 0 else -logits


class Eigenvalues(nn.Module):
    """ONNX has no such operator."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        values: torch.Tensor = torch.linalg.eigvals(images[:, :, :3, :3])
        return values.real.flatten(1)


class FixedBatch(nn.Module):
    """Its Python asks how many images there are; the exporter then fixes the batch in the graph."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return images.mean((2, 3)).reshape(-1, 6) if len(images) == 2 else images.mean((2, 3))


class Untraceable(nn.Module):
    """It only runs as it was written."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        if torch.compiler.is_compiling():
            raise ValueError("not while traced")
        return images.mean((2, 3))


class Single(nn.Module):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        if len(images) > 1:
            raise RuntimeError("one at a time")
        return images.mean((2, 3))


class InFloat32(nn.Module):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        if images.dtype != torch.float32:
            raise TypeError("float32 only")
        return images.mean((2, 3))


class Miscalled(nn.Module):
    """It was made for another call."""

    def forward(self, images: torch.Tensor, boxes: torch.Tensor) -> torch.Tensor:
        return images + boxes


def refusal(network: nn.Module, path: Path) -> str:
    with pytest.raises(InputError) as caught:
        write_onnx(small(network), path)
    return str(caught.value)


@pytest.mark.parametrize("network", [Branching(), Eigenvalues()], ids=["branching", "eigenvalues"])
def test_a_network_that_cannot_be_exported_is_one_quiet_line(
    network: nn.Module, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    message = refusal(network, tmp_path / "model.onnx")
    assert message.startswith("small cannot be exported to ONNX: ")
    assert message.isprintable()
    assert "\\x1b" not in message  # a colour, written out
    captured = capfd.readouterr()
    assert captured.out + captured.err == ""


def test_the_refusal_of_a_branching_network_says_why(tmp_path: Path) -> None:
    message = refusal(Branching(), tmp_path / "model.onnx")
    assert "data-dependent" in message or "control flow" in message


@pytest.mark.parametrize(
    ("network", "reason"),
    [
        (
            nn.Sequential(nn.AdaptiveMaxPool2d(5), nn.Flatten()),
            "AdaptiveMaxPool2d has no ONNX form",
        ),
        pytest.param(
            Eigenvalues(), "The operator linalg_eig has no ONNX form", marks=pytest.mark.slow
        ),
        (Untraceable(), "ValueError: not while traced (" + __file__),
        pytest.param(FixedBatch(), "its graph takes and gives", marks=pytest.mark.slow),
    ],
    ids=["layer", "operator", "untraceable", "fixed batch"],
)
def test_what_only_exports_cannot_do_is_scored_with_torch(
    network: nn.Module, reason: str, tmp_path: Path
) -> None:
    message = refusal(network, tmp_path / "model.onnx")
    assert message.startswith(f"small cannot be exported to ONNX: {reason}")
    assert message.endswith(" Score it with --engine torch.")


def test_what_the_network_raises_on_a_batch_is_not_blamed_on_the_export(tmp_path: Path) -> None:
    message = refusal(Single(), tmp_path / "model.onnx")
    assert message.startswith(f"small raises RuntimeError: one at a time ({__file__}, line ")
    assert message.endswith(
        " on 2 images, but not on one: score it with --engine torch --batch-size 1."
    )


def test_code_that_sets_the_precision_is_refused_for_half_precision_alone(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"cannot be exported in bf16: .* Use --precision fp32\."):
        write_onnx(small(InFloat32()), tmp_path / "model.onnx", GraphKind("bf16"))


def pruned(layer: nn.Module) -> None:
    prune.l1_unstructured(layer, "weight", 0.5)  # type: ignore[no-untyped-call]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*weight_norm.* is deprecated")
@pytest.mark.parametrize(
    "change",
    [
        pruned,
        weight_norm,
        spectral_norm,
        parametrizations.weight_norm,
        parametrizations.spectral_norm,
    ],
    ids=["pruned", "old weight", "old spectral", "new weight", "new spectral"],
)
def test_layers_that_compute_their_weights_agree_with_torch(
    change: Callable[[nn.Module], object], tmp_path: Path
) -> None:
    layer = nn.Conv2d(3, 8, 3)
    network = lively(nn.Sequential(layer, nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten()), 32)
    change(layer)
    loaded, pixels = small(network), photos(3, 32)
    expected = logits_in_torch(loaded.network, loaded.spec.preprocessing, pixels)
    write_onnx(loaded, tmp_path / "model.onnx")
    (logits,) = session_of(tmp_path / "model.onnx").run(None, {"pixels": pixels})
    assert relative_error(logits, expected) <= 1e-4


def test_a_network_that_takes_something_else_is_refused_in_one_line(tmp_path: Path) -> None:
    assert refusal(Miscalled(), tmp_path / "model.onnx").isprintable()


def test_a_crop_that_is_too_small_for_the_network_is_refused_by_its_size(tmp_path: Path) -> None:
    loaded = load_network(model_spec("alexnet", weights="random", crop_px=32))
    with pytest.raises(InputError, match="alexnet does not run on images of 32 px") as caught:
        write_onnx(loaded, tmp_path / "model.onnx")
    assert str(caught.value).isprintable()


def test_an_export_leaves_logging_as_it_was(tmp_path: Path) -> None:
    names = ("torch.onnx", "onnxscript", "torch")
    before = {name: logging.getLogger(name).getEffectiveLevel() for name in names}
    disabled = logging.root.manager.disable
    write_onnx(small(nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten())), tmp_path / "model.onnx")
    assert {name: logging.getLogger(name).getEffectiveLevel() for name in names} == before
    assert logging.root.manager.disable == disabled


@pytest.mark.parametrize("name", ["efficientnet_lite0", "resnet50", "torchvision:vit_b_32"])
def test_random_weights_of_any_network_tell_images_apart(name: str) -> None:
    # Else parity, which measures the error against that difference, measures rounding by rounding.
    loaded = load_network(model_spec(name, weights="random"))
    logits = logits_in_torch(loaded.network, loaded.spec.preprocessing, photos(4, 224))
    assert np.linalg.norm(logits - logits.mean(axis=0)) > 1e-3 * np.linalg.norm(logits)
