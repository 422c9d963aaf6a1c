"""The same tests on every engine; PyTorch is the reference."""

import importlib.util
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from evaluator.contracts import Bundle, Device, Engine, ImageBatch, Item
from evaluator.engine import onnx_engine
from evaluator.engine.devices import cpu, cuda_devices
from evaluator.engine.onnx_engine import OnnxEngine, open_onnx
from evaluator.engine.table import ENGINES
from evaluator.engine.torch_engine import TorchEngine, open_torch
from evaluator.errors import InputError
from evaluator.exporter.weights.weights import load_network
from evaluator.tests import second_implementation as second
from evaluator.tests.simulated_cuda import SimulatedCuda

OPENVINO = pytest.mark.skipif(
    importlib.util.find_spec("openvino") is None, reason="the extra openvino is not installed"
)
GPU = pytest.mark.skipif(not cuda_devices(), reason="this machine has no CUDA device")


def make_engine(name: str, bundle: Bundle) -> Engine:
    backend, _, place = name.partition("-")
    if place == "simulated":
        device = Device("cuda:0", "simulated GPU", "")
    else:
        device = cpu() if place == "cpu" else cuda_devices()[0]
    if backend == "torch":
        return open_torch(load_network(bundle.model.spec), device)
    opens = ENGINES[backend].open_bundle
    assert opens is not None
    return opens(bundle, device)


@pytest.fixture(
    params=[
        "torch-cpu",
        "onnxruntime-cpu",
        pytest.param("openvino-cpu", marks=OPENVINO),
        "torch-simulated",
        "onnxruntime-simulated",
        pytest.param("torch-cuda", marks=[GPU, pytest.mark.gpu]),
        pytest.param("onnxruntime-cuda", marks=[GPU, pytest.mark.gpu]),
    ]
)
def engine(
    request: pytest.FixtureRequest, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Engine]:
    if request.param.endswith("simulated"):
        monkeypatch.setenv("EVALUATOR_CUDA", "evaluator.tests.simulated_gpu")
    with make_engine(request.param, bundle) as opened:
        yield opened


@pytest.fixture(scope="module")
def pixels() -> npt.NDArray[np.uint8]:
    from evaluator.exporter.spec import model_spec
    from evaluator.exporter.zoo.table import MODELS
    from evaluator.workflow.models.parity_images import parity_images

    assert "efficientnet_lite0" in MODELS
    return parity_images(model_spec("efficientnet_lite0")).data[:11]


def batches(pixels: npt.NDArray[np.uint8], *sizes: int) -> Iterator[ImageBatch]:
    start = 0
    for size in sizes:
        chosen = pixels[start : start + size]
        items = tuple(Item(f"{start + i}", None, "") for i in range(size))
        yield ImageBatch(np.ascontiguousarray(chosen), "pixels", items)
        start += size


def all_logits(
    engine: Engine, pixels: npt.NDArray[np.uint8], *sizes: int
) -> npt.NDArray[np.float32]:
    return np.concatenate([logits for _, logits in engine.stream(batches(pixels, *sizes))])


@pytest.fixture(scope="module")
def plain_logits(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """What a plain PyTorch program gives."""
    import torch

    network = second.efficientnet_lite0()
    transform = second.stimulus_transform("efficientnet_lite0")
    from PIL import Image

    with torch.no_grad():
        logits = torch.cat([network(transform(Image.fromarray(p))[None]) for p in pixels])
    result: npt.NDArray[np.float32] = logits.numpy()
    return result


def test_logits_equal_a_plain_pytorch_program(
    engine: Engine, pixels: npt.NDArray[np.uint8], plain_logits: npt.NDArray[np.float32]
) -> None:
    found = all_logits(engine, pixels, 4, 4, 3)
    assert found.dtype == np.float32
    assert found.shape == (11, 1000)
    np.testing.assert_allclose(found, plain_logits, atol=2e-4)


def test_batches_come_back_in_order_with_their_items(
    engine: Engine, pixels: npt.NDArray[np.uint8]
) -> None:
    sizes = (1, 5, 2, 3)
    came = [
        tuple(item.id for item in batch.items)
        for batch, _ in engine.stream(batches(pixels, *sizes))
    ]
    assert came == [("0",), ("1", "2", "3", "4", "5"), ("6", "7"), ("8", "9", "10")]


def test_an_image_has_the_same_logits_in_any_company(
    engine: Engine, pixels: npt.NDArray[np.uint8]
) -> None:
    alone = all_logits(engine, pixels, *(1,) * 11)
    together = all_logits(engine, pixels, 11)
    backwards = all_logits(engine, pixels[::-1].copy(), 8, 3)[::-1]
    np.testing.assert_allclose(together, alone, atol=1e-4)
    np.testing.assert_allclose(backwards, alone, atol=1e-4)


def test_a_buffer_has_the_shape_that_the_engine_takes(engine: Engine) -> None:
    buffer = engine.allocate(3)
    assert buffer.shape == (3, 224, 224, 3)
    assert buffer.dtype == np.uint8


def test_the_wrong_kind_of_input_is_refused(engine: Engine) -> None:
    batch = ImageBatch(np.zeros((1, 3, 224, 224), np.float32), "images", (Item("a", 0, ""),))
    with pytest.raises(InputError, match="takes pixels, got images"):
        list(engine.stream([batch]))


def test_several_callers_get_their_own_answers(
    engine: Engine, pixels: npt.NDArray[np.uint8]
) -> None:
    from concurrent.futures import ThreadPoolExecutor

    if engine.device.is_simulated:
        pytest.skip("the simulated GPU takes one thread at a time")
    expected = all_logits(engine, pixels, *(1,) * 11)

    def one(index: int) -> npt.NDArray[np.float32]:
        return all_logits(engine, pixels[index : index + 1], 1)

    with ThreadPoolExecutor(max(2, engine.callers)) as pool:
        found = np.concatenate(list(pool.map(one, list(range(11)) * 3)))
    np.testing.assert_allclose(found, np.concatenate([expected] * 3), atol=1e-5)


def test_images_are_pixels_divided_by_255(bundle: Bundle, pixels: npt.NDArray[np.uint8]) -> None:
    loaded = load_network(bundle.model.spec)
    images = (pixels[:3].transpose(0, 3, 1, 2) / 255).astype(np.float32)
    batch = ImageBatch(images, "images", tuple(Item(str(i), 0, "") for i in range(3)))
    with TorchEngine(loaded, cpu(), input_kind="images") as engine:
        assert engine.allocate(2).shape == (2, 3, 224, 224)
        ((_, logits),) = engine.stream([batch])
    with TorchEngine(load_network(bundle.model.spec), cpu()) as engine:
        expected = all_logits(engine, pixels[:3], 3)
    np.testing.assert_allclose(logits, expected, atol=1e-4)


def test_cuda_without_a_gpu_is_an_error_not_a_silent_cpu(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Past the check of devices, ONNX Runtime itself would fall back without a word.
    from dataclasses import replace

    from evaluator.errors import UnavailableError

    if cuda_devices():
        pytest.skip("this machine has a CUDA device")
    monkeypatch.setattr(onnx_engine, "open_cuda", lambda device: SimulatedCuda())
    with pytest.raises(UnavailableError, match="would silently use the CPU"):
        open_onnx(bundle, replace(cpu(), name="cuda:0", model="a GPU that is not there"))


def test_a_graph_that_cannot_be_loaded_is_named(bundle: Bundle, tmp_path: Path) -> None:
    from evaluator.errors import EngineError

    broken = Bundle(tmp_path, bundle.model)
    broken.graph.write_bytes(b"no graph")
    with pytest.raises(EngineError, match=r"cannot load .*model\.onnx on cpu"):
        OnnxEngine(broken, cpu())


def test_the_help_names_every_engine_of_the_table() -> None:
    from evaluator.cli.options import ENGINE

    assert ENGINE.metavar.split("|") == list(ENGINES)
