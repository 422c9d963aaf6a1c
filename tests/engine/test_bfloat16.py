"""bfloat16 on the CPU: float32 arithmetic that is rounded, against PyTorch's own bfloat16."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import pytest
import torch
from torch import nn

from evaluator.contracts import Bundle, GraphKind, ImageBatch, Item, LoadedNetwork
from evaluator.engine.devices import cpu
from evaluator.engine.onnx_engine import OnnxEngine, onnx_notice
from evaluator.exporter.bundle import write_bundle
from evaluator.exporter.spec import model_spec


def network() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        made = nn.Sequential(
            nn.Conv2d(3, 8, 3, stride=2),
            nn.ReLU(),
            nn.Conv2d(8, 16, 3, groups=4),
            nn.Hardswish(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(16 * 6 * 6, 1000),
        )
    return made.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def half(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    spec = model_spec("alexnet", weights="random", crop_px=32)
    folder = tmp_path_factory.mktemp("half") / "bundle"
    return write_bundle(LoadedNetwork(spec, network(), "0" * 64), folder, GraphKind("bf16"))


def logits_of(bundle: Bundle, pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    items = tuple(Item(str(i), None, "") for i in range(len(pixels)))
    with OnnxEngine(bundle, cpu(), threads=1) as engine:
        buffer = engine.allocate(len(pixels))
        buffer[:] = pixels
        ((_, logits),) = engine.stream([ImageBatch(buffer, "pixels", items)])
    return logits


def test_each_operator_is_rounded_as_pytorch_rounds_it(half: Bundle) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (8, 32, 32, 3), np.uint8)
    found = logits_of(half, pixels)
    preprocessing = half.model.spec.preprocessing
    mean = torch.tensor(preprocessing.mean).reshape(1, 3, 1, 1)
    std = torch.tensor(preprocessing.std).reshape(1, 3, 1, 1)
    images = (torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 255 - mean) / std
    exact = network()(images).numpy()
    rounded = network().bfloat16()(images.bfloat16()).float().numpy()
    ours = np.linalg.norm(found - exact) / np.linalg.norm(exact)
    theirs = np.linalg.norm(rounded - exact) / np.linalg.norm(exact)
    # Errors of bfloat16's size, not of float32's: the rounding was not optimised away.
    assert ours == pytest.approx(theirs, rel=0.25)
    assert ours > 1e-3
    # The same roundings, but for sums in another order that fall on the other side.
    assert np.linalg.norm(found - rounded) < 0.5 * np.linalg.norm(found - exact)
    np.testing.assert_array_equal(
        found, torch.from_numpy(found).bfloat16().float().numpy(), "logits are bfloat16 values"
    )


def test_a_user_is_told(half: Bundle) -> None:
    assert "rounded to bfloat16" in onnx_notice(half, cpu())


def test_the_bundle_itself_is_bfloat16(half: Bundle) -> None:
    graph = onnx.load(str(half.graph), load_external_data=False).graph
    types = {tensor.data_type for tensor in graph.initializer if len(tensor.dims) > 1}
    assert onnx.TensorProto.BFLOAT16 in types


def test_weights_beside_the_graph_are_read_from_their_file(half: Bundle, tmp_path: Path) -> None:
    # The graph is handed over as bytes, from a working directory that has nothing to do with it.
    assert (half.folder / "model.onnx.data").stat().st_size > 1e6
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        logits_of(half, np.zeros((1, 32, 32, 3), np.uint8))
