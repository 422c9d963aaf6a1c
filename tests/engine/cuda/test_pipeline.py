"""The pipeline of engines on a GPU, on a simulated one: right results in every order, and no race.

What computes is PyTorch's program on the host's memory, deferred by the simulated GPU.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evaluator.contracts import Device, EngineSpec, ImageBatch, Item
from evaluator.engine.cuda import pipeline
from evaluator.engine.cuda.torch_program import TorchProgram
from evaluator.errors import EngineError, EngineMemoryError, InputError
from evaluator.tests.engine.mutants import mutant, parts_of
from evaluator.tests.simulated_cuda import GPUS, HazardError, SimulatedCuda
from evaluator.tests.simulated_gpu import DeferredProgram

GPU = Device("cuda:0", "simulated GPU", "")
SIDE_PX, CLASSES, LARGEST = 4, 5, 4
WEIGHTS = np.random.default_rng(0).normal(size=(SIDE_PX**2 * 3, CLASSES)).astype(np.float32)


def network(pixels: Any) -> Any:
    import torch

    return pixels.reshape(len(pixels), -1).float() @ torch.from_numpy(WEIGHTS)


def logits_of(pixels: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """The same in numpy."""
    logits: npt.NDArray[np.float32] = pixels.reshape(len(pixels), -1).astype(np.float32) @ WEIGHTS
    return logits


def program() -> TorchProgram:
    return TorchProgram(network, "cpu", (SIDE_PX, SIDE_PX, 3), np.uint8)


def open_engine(
    module: Any = pipeline,
    *,
    seed: int = 0,
    fixed: int | None = LARGEST,
    program_class: Any = DeferredProgram,
) -> Any:
    gpu = SimulatedCuda(seed=seed)
    return module.PipelinedEngine(
        gpu,
        lambda stream: program_class(program(), gpu, fixed),
        EngineSpec("simulated", ""),
        GPU,
        versions={},
        crop_px=SIDE_PX,
    )


def pixels_of(size: int, seed: int) -> npt.NDArray[np.uint8]:
    shape = (size, SIDE_PX, SIDE_PX, 3)
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def batches(engine: Any, sizes: list[int], *, own: bool = True) -> Iterator[ImageBatch]:
    """Batches of these sizes; with ``own`` in buffers of the engine, as images are decoded."""
    for seed, size in enumerate(sizes):
        data = engine.allocate(size) if own else np.empty((size, SIDE_PX, SIDE_PX, 3), np.uint8)
        data[:] = pixels_of(size, seed)
        items = tuple(Item(f"{i}.png", 0, f"{i}.png") for i in range(size))
        yield ImageBatch(data, "pixels", items)


def assert_right(engine: Any, sizes: list[int], *, own: bool = True) -> None:
    results = list(engine.stream(batches(engine, sizes, own=own)))
    assert [len(batch.items) for batch, _ in results] == sizes
    for seed, (size, (_, logits)) in enumerate(zip(sizes, results, strict=True)):
        np.testing.assert_allclose(logits, logits_of(pixels_of(size, seed)), rtol=1e-4, atol=1e-2)


@given(
    sizes=st.lists(st.integers(1, 3 * LARGEST + 1), max_size=7),
    seed=st.integers(0, 2**32),
    own=st.booleans(),
    slots=st.integers(1, 4),
    fixed=st.sampled_from([None, LARGEST]),
)
def test_logits_are_right_for_every_batch_order_and_number_of_slots(
    sizes: list[int], seed: int, own: bool, slots: int, fixed: int | None
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pipeline, "SLOTS", slots)
        with open_engine(seed=seed, fixed=fixed) as engine:
            assert_right(engine, sizes, own=own)
            assert_right(engine, sizes[::-1], own=own)


@pytest.mark.parametrize("fixed", [None, LARGEST])
def test_streams_of_several_threads_do_not_mix(fixed: int | None) -> None:
    # The simulated GPU itself takes one thread at a time, so streams are used in turns here.
    with open_engine(fixed=fixed) as engine:
        first, second = (engine.stream(batches(engine, [4, 2, 3])) for _ in range(2))
        for seed, size in enumerate([4, 2, 3]):
            for stream in (first, second):
                _, logits = next(stream)
                expected = logits_of(pixels_of(size, seed))
                np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-2)


def test_memory_grows_with_the_largest_batch_and_is_used_again() -> None:
    with open_engine(fixed=None) as engine:
        for sizes in ([1], [1], [3, 3], [8, 8, 8, 2], [5] * 6):
            assert_right(engine, sizes)
        assert len(engine._free) == pipeline.SLOTS
        assert {len(slot.staging) for slot in engine._free} == {8}
        assert len(engine._pools) == 3  # of 1, 3 and 8 rows


class Failing(DeferredProgram):
    """A program that raises on batches of more than four images."""

    error: Exception = RuntimeError("an illegal memory access was encountered")

    def enqueue(self, rows: int, source: Any, target: Any, stream: Any) -> None:
        if rows > 4:
            raise self.error
        super().enqueue(rows, source, target, stream)


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        (RuntimeError("an illegal memory access"), EngineError, "PyTorch failed on a batch of 5"),
        (RuntimeError("CUDA out of memory. Tried"), EngineMemoryError, "CUDA out of memory"),
        (InputError("the user's network raised"), InputError, "the user's network raised"),
    ],
)
def test_a_batch_that_fails_is_told_and_leaves_the_engine_usable(
    error: Exception, kind: type[Exception], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Failing, "error", error)
    with open_engine(fixed=None, program_class=Failing) as engine:
        with pytest.raises(kind, match=message):
            list(engine.stream(batches(engine, [4, 2, 5, 1])))
        assert not any(stream.queue for stream in engine._streams)
        assert_right(engine, [4, 2, 1])


def test_an_engine_that_cannot_be_loaded_frees_its_memory() -> None:
    def broken(*_: Any) -> Any:
        raise EngineError("no such graph")

    with pytest.raises(EngineError, match="no such graph"):
        open_engine(program_class=broken)
    assert not GPUS[0].memories


# ------------------------------------------- every call and slice, left out one at a time

EQUAL = {
    "_new_slot: slot.input.copy_from(staging, self._copy_in)": "only speed: what a tail computes "
    "reaches no record",
    "_new_slot: staging[:] = 0": "likewise",
    "_new_slot: self._copy_in.synchronize()": "the stream's next copy comes after it anyway",
    "_submit: slot.staging[:len(rows)] again": "more is copied in and computed, and not read",
    "_submit: slot.logits[:len(rows)]": "more is copied out, and not read",
}
"""What can be left out without another result, with the reason."""

RUNNER = ("_submit", "_collect", "_abandon", "_release", "_new_slot", "__exit__")


def is_caught(module: Any) -> bool:
    """Whether some scenario fails, in one of several orders of work."""
    return any(fails(module, seed, fixed) for seed in range(3) for fixed in (LARGEST, None))


def fails(module: Any, seed: int, fixed: int | None) -> bool:
    """Whether a wrong number, a hazard or an error is noticed."""
    try:
        with open_engine(module, seed=seed, fixed=fixed) as engine:
            for own in (True, False):
                assert_right(engine, [4, 1, 9, 4, 2, 4], own=own)
                assert len(engine._free) == module.SLOTS
            stream = engine.stream(batches(engine, [4] * 4))
            next(stream)
            stream.close()
            assert not any(queue.queue for queue in engine._streams)
            assert len(engine._free) == module.SLOTS
            assert not any(slot.piece for slot in engine._free)
            assert_right(engine, [3])
            del stream
            left_open, closed = (engine.stream(batches(engine, [4] * 4)) for _ in range(2))
            next(left_open)
            next(closed)
            closed.close()
            next(left_open)
        gpu = GPUS[0]
        assert all(memory.freed for memory in gpu.memories)
        left_open.close()
        del left_open, closed
        assert not gpu.pinned_alive()
    except Exception:
        return True
    return False


def test_the_whole_pipeline_fails_in_no_scenario() -> None:
    assert not is_caught(pipeline)


PARTS = parts_of(pipeline, RUNNER)


@pytest.mark.parametrize("part", PARTS)
def test_nothing_can_be_left_out(part: str) -> None:
    assert is_caught(mutant(pipeline, RUNNER, PARTS[part])) != (part in EQUAL)


def test_hazards_are_noticed() -> None:
    gpu = SimulatedCuda()
    with gpu.current():
        one, other, event = gpu.stream(), gpu.stream(), gpu.event()
        memory, array = gpu.memory(8), gpu.pinned((8,), np.uint8)
        memory.copy_from(array, one)
        one.record(event)
        with pytest.raises(HazardError, match="stream 2 reads memory that stream 1 may still"):
            memory.copy_to(array, other)
        other.wait(event)
        with pytest.raises(HazardError, match="not pinned"):
            memory.copy_to(np.empty(8, np.uint8), other)
        memory.copy_to(array, other)
