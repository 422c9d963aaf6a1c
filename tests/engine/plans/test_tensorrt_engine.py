"""TensorRTEngine on a simulated GPU: right results in every order, and no race.

The wheels of TensorRT compute on a GPU only, so a plan here is a file with any bytes, and what it
computes is the graph of a small bundle; see ``tests/simulated_gpu.py``.
"""

import gc
import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluator.contracts import Bundle, Device, EngineSpec, ImageBatch, Item
from evaluator.engine.cuda import pipeline
from evaluator.engine.engine_io import bundle_spec
from evaluator.engine.onnx_engine import OnnxEngine
from evaluator.engine.plans import tensorrt_engine
from evaluator.engine.plans.plan import Plan, PlanManifest, Profile
from evaluator.engine.plans.tensorrt_engine import PlanRefusedError, TensorRTEngine
from evaluator.errors import EngineError, EngineMemoryError, InputError
from evaluator.tests import simulated_cuda, simulated_gpu
from evaluator.tests.engine.mutants import mutant, parts_of
from evaluator.tests.engine.plan_keys import plan_key
from evaluator.tests.simulated_cuda import HazardError, SimulatedCuda
from evaluator.tests.simulated_gpu import GRAPHS, REFUSED
from evaluator.tests.small_bundle import CROP_PX, small_bundle

pytest.importorskip("tensorrt_rtx", reason="its enums are those of the simulated runtime")

GPU = Device("cuda:0", "simulated GPU", "")
LARGEST = 4


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return small_bundle(tmp_path_factory.mktemp("bundle") / "small")


@pytest.fixture(autouse=True)
def simulated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVALUATOR_CUDA", simulated_gpu.__name__)


def plan_of(bundle: Bundle, folder: Path, backend: Any = "tensorrt-rtx") -> Plan:
    """A file that stands for a plan of a bundle."""
    data = f"{backend} {bundle.graph}".encode()
    sha256 = hashlib.sha256(data).hexdigest()
    GRAPHS[sha256] = bundle.graph, LARGEST
    path = folder / f"{backend}.plan"
    path.write_bytes(data)
    kernels = "EAGER" if backend == "tensorrt-rtx" else ""
    key = plan_key(backend=backend, profile=Profile(LARGEST, LARGEST), kernels=kernels)
    return Plan(path, PlanManifest(key, "small", sha256, len(data), 1, 0.0, ""))


def spec_of(bundle: Bundle, backend: str = "tensorrt-rtx") -> EngineSpec:
    return bundle_spec(backend, bundle)


@pytest.fixture
def open_engine(bundle: Bundle, tmp_path: Path) -> Callable[..., TensorRTEngine]:
    def opened(
        module: Any = tensorrt_engine, backend: str = "tensorrt-rtx", seed: int = 0
    ) -> TensorRTEngine:
        plan = plan_of(bundle, tmp_path, backend)
        simulated_cuda.SEED = seed
        engine: TensorRTEngine = module.TensorRTEngine(plan, spec_of(bundle, backend), GPU, CROP_PX)
        return engine

    return opened


def pixels_of(size: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (size, CROP_PX, CROP_PX, 3), np.uint8)


def items_of(size: int) -> tuple[Item, ...]:
    return tuple(Item(f"{i}.png", 0, f"{i}.png") for i in range(size))


def batches(engine: Any, sizes: list[int], *, own: bool = True) -> Iterator[ImageBatch]:
    """Batches of these sizes; with ``own`` in buffers of the engine, as images are decoded."""
    for seed, size in enumerate(sizes):
        data = engine.allocate(size) if own else np.empty((size, CROP_PX, CROP_PX, 3), np.uint8)
        data[:] = pixels_of(size, seed)
        yield ImageBatch(data, "pixels", items_of(size))


@pytest.fixture(scope="module")
def expected(bundle: Bundle) -> Callable[[list[int]], list[np.ndarray]]:
    """Logits of the same graph in ONNX Runtime, image by image."""
    known: dict[tuple[int, int], np.ndarray] = {}
    reference = OnnxEngine(bundle, Device("cpu", "", ""))

    def logits(sizes: list[int]) -> list[np.ndarray]:
        for seed, size in enumerate(sizes):
            if (seed, size) not in known:
                batch = ImageBatch(pixels_of(size, seed), "pixels", items_of(size))
                ((_, known[seed, size]),) = reference.stream([batch])
        return [known[seed, size] for seed, size in enumerate(sizes)]

    return logits


def assert_right(engine: Any, sizes: list[int], expected: Any, *, own: bool = True) -> None:
    results = list(engine.stream(batches(engine, sizes, own=own)))
    assert [len(batch.items) for batch, _ in results] == sizes
    for (_, logits), wanted in zip(results, expected(sizes), strict=True):
        np.testing.assert_allclose(logits, wanted, rtol=1e-5, atol=1e-6)


@given(
    sizes=st.lists(st.integers(1, 3 * LARGEST + 1), max_size=7),
    seed=st.integers(0, 2**32),
    own=st.booleans(),
    slots=st.integers(1, 4),
    backend=st.sampled_from(["tensorrt", "tensorrt-rtx"]),
)
def test_logits_are_right_for_every_batch_order_and_number_of_slots(
    bundle: Bundle,
    expected: Any,
    tmp_path_factory: pytest.TempPathFactory,
    sizes: list[int],
    seed: int,
    own: bool,
    slots: int,
    backend: str,
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SIMULATED_GPU_SEED", str(seed))
        patch.setattr(pipeline, "SLOTS", slots)
        plan = plan_of(bundle, tmp_path_factory.mktemp("plan"), backend)
        with TensorRTEngine(plan, spec_of(bundle, backend), GPU, CROP_PX) as engine:
            assert_right(engine, sizes, expected, own=own)
            assert_right(engine, sizes[::-1], lambda _: expected(sizes[::-1]), own=own)


def test_images_are_taken_as_well_as_pixels(tmp_path: Path) -> None:
    bundle = small_bundle(tmp_path / "bundle", input_kind="images")
    draw = np.random.default_rng(0)
    with (
        TensorRTEngine(plan_of(bundle, tmp_path), spec_of(bundle), GPU, CROP_PX) as engine,
        OnnxEngine(bundle, Device("cpu", "", "")) as reference,
    ):
        for size in (1, 4, 6):
            data = engine.allocate(size)
            assert data.dtype == np.float32
            data[:] = draw.random(data.shape, np.float32)
            batch = ImageBatch(data, "images", items_of(size))
            ((_, logits),) = engine.stream([batch])
            ((_, expected),) = reference.stream([batch])
            np.testing.assert_allclose(logits, expected, rtol=1e-5, atol=1e-6)


def test_pinned_memory_is_used_again(open_engine: Any, expected: Any) -> None:
    with open_engine() as engine:
        for _ in engine.stream(batches(engine, [4, 3, 2, 4, 1] * 4)):
            pass
        taken = [engine.allocate(4) for _ in range(3)]
        assert len({array.ctypes.data for array in taken}) == 3, "memory in use is never lent twice"
        assert len(engine._pools[0]._spans) <= 2 * pipeline.SLOTS + 3


def test_a_view_keeps_its_pinned_memory(open_engine: Any) -> None:
    with open_engine() as engine:
        row = engine.allocate(4)[1]
        gc.collect()
        others = [engine.allocate(4) for _ in range(6)]
        assert not any(np.shares_memory(row, other) for other in others)


def test_an_abandoned_stream_leaves_nothing_in_flight(open_engine: Any, expected: Any) -> None:
    with open_engine() as engine:
        stream = engine.stream(batches(engine, [4] * 6))
        next(stream)
        stream.close()
        assert not any(queue.queue for queue in engine._streams)
        assert_right(engine, [4, 2], expected)


def test_an_error_of_the_source_surfaces_at_once(open_engine: Any, expected: Any) -> None:
    def failing(engine: Any) -> Iterator[ImageBatch]:
        yield from batches(engine, [4, 4])
        raise InputError("the disk is gone")

    with open_engine() as engine:
        with pytest.raises(InputError, match="the disk is gone"):
            list(engine.stream(failing(engine)))
        assert_right(engine, [4], expected)


def test_a_stopped_engine_ends_its_streams(open_engine: Any) -> None:
    with open_engine() as engine:
        stream = engine.stream(batches(engine, [4] * 6))
        next(stream)
        engine.stop()
        with pytest.raises(EngineError, match="stopped"):
            next(stream)


def test_another_input_is_refused(open_engine: Any) -> None:
    images = ImageBatch(np.zeros((1, 3, CROP_PX, CROP_PX), np.float32), "images", items_of(1))
    with open_engine() as engine, pytest.raises(InputError, match="takes pixels, got images"):
        list(engine.stream([images]))


def test_a_plan_that_the_gpu_cannot_load_is_refused(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = plan_of(bundle, tmp_path)
    monkeypatch.setattr(simulated_gpu, "REFUSED", {plan.manifest.plan_sha256, *REFUSED})
    with pytest.raises(PlanRefusedError, match=r"cannot load .*\.plan: the simulated GPU refuses"):
        TensorRTEngine(plan, spec_of(bundle), GPU, CROP_PX)


def test_too_little_memory_is_told_and_freed(
    open_engine: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SimulatedCuda, "limit_bytes", 3 * LARGEST * CROP_PX**2)
    with pytest.raises(EngineMemoryError, match="No memory"):
        open_engine()
    assert all(memory.freed for memory in simulated_cuda.GPUS[0].memories)


def test_everything_is_freed_at_the_end(open_engine: Any) -> None:
    with open_engine() as engine:
        kept = engine.allocate(2)
        kept[:] = 7
        gpu = simulated_cuda.GPUS[0]
        assert not any(memory.freed for memory in gpu.memories)
    assert all(memory.freed for memory in gpu.memories)
    assert len(gpu.pinned_alive()) == 1
    assert (kept == 7).all(), "images that somebody still holds are not freed"


def test_rtx_chooses_its_kernels_before_the_first_batch(open_engine: Any) -> None:
    import tensorrt_rtx

    with open_engine() as engine:
        chosen = engine._runtime._context.config.dynamic_shapes_kernel_specialization_strategy
        assert chosen == tensorrt_rtx.DynamicShapesKernelSpecializationStrategy.EAGER
    with open_engine(backend="tensorrt") as engine:
        assert engine._runtime._context.config is None


PARTS = parts_of(tensorrt_engine, ("enqueue", "close"))


@pytest.mark.parametrize("part", PARTS)
def test_nothing_of_the_context_can_be_left_out(part: str, open_engine: Any, expected: Any) -> None:
    changed = mutant(tensorrt_engine, ("enqueue", "close"), PARTS[part])
    with pytest.raises((EngineError, HazardError)), open_engine(changed) as engine:
        assert_right(engine, [4, 1], expected)
