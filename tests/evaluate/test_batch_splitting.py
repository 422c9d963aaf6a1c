"""Batches that do not fit: a fake engine with a memory, since no GPU is at hand."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pytest

from evaluator.contracts import Device, EngineSpec, ImageBatch, Item
from evaluator.errors import EngineMemoryError, ImageError, lacks_memory
from evaluator.evaluate.batch_splitting import run_batches
from evaluator.system.batch_limit import BatchLimit

Logits = npt.NDArray[np.float32]


@dataclass
class SmallEngine:
    """Its logits are the pixels; it has memory for some images, and reads some batches ahead."""

    room: int
    ahead: int = 0
    fails: Callable[[ImageBatch], None] = lambda batch: None
    given: list[int] = field(default_factory=list)
    spec: EngineSpec = field(default_factory=lambda: EngineSpec("onnxruntime", "0"))
    device: Device = field(default_factory=lambda: Device("cuda:0", "a fake", ""))
    versions: dict[str, str] = field(default_factory=dict)
    max_batch: int = 1024
    callers: int = 1

    def allocate(self, n: int) -> npt.NDArray[Any]:
        return np.empty((n, 1, 1, 3), np.uint8)

    def stream(self, batches: Iterable[ImageBatch]) -> Iterator[tuple[ImageBatch, Logits]]:
        taken: deque[ImageBatch] = deque()
        for batch in batches:
            taken.append(batch)
            if len(taken) > self.ahead:
                yield self.answer(taken.popleft())
        while taken:
            yield self.answer(taken.popleft())

    def answer(self, batch: ImageBatch) -> tuple[ImageBatch, Logits]:
        self.given.append(len(batch.items))
        self.fails(batch)
        if len(batch.items) > self.room:
            raise EngineMemoryError("no memory")
        return batch, batch.data.reshape(len(batch.items), -1).astype(np.float32)

    def stop(self) -> None: ...

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None: ...


def batches_of(count: int, size: int) -> Iterator[ImageBatch]:
    for start in range(0, count, size):
        numbers = range(start, min(start + size, count))
        data = np.array([[[[n] * 3]] for n in numbers], np.uint8)
        yield ImageBatch(data, "pixels", tuple(Item(str(n), n, f"{n}.JPEG") for n in numbers))


def order_of(
    engine: SmallEngine,
    limit: BatchLimit,
    count: int,
    size: int,
    note: Callable[[str], None] = lambda text: None,
) -> list[int]:
    """The items in the order of their answers, each with its own logits."""
    order = []
    for batch, logits in run_batches(engine, batches_of(count, size), limit, note):
        assert len(batch.items) == len(logits) == len(batch.data)
        for item, row in zip(batch.items, logits, strict=True):
            assert row.tolist() == [item.label] * 3
            order.append(int(item.id))
    return order


@pytest.mark.parametrize("ahead", [0, 1, 3, 50])
@pytest.mark.parametrize("room", [1, 2, 3, 5, 8, 16, 100])
def test_every_image_is_answered_once_and_in_order(room: int, ahead: int) -> None:
    assert order_of(SmallEngine(room, ahead), BatchLimit(16), 50, 16) == list(range(50))


def test_batches_are_halved_and_stay_so_with_one_warning_a_halving() -> None:
    heard: list[str] = []
    engine, limit = SmallEngine(room=5), BatchLimit(16)
    order_of(engine, limit, 40, 16, heard.append)
    assert engine.given == [16, 8, *[4] * 10]
    assert limit.size == 4
    assert heard[0] == (
        "Out of memory with 16 images per batch (onnxruntime on cuda:0); continuing with 8. "
        "Use --batch-size 8 to start there."
    )
    assert len(heard) == 2
    order_of(engine, limit, 20, 16, heard.append)
    assert engine.given[12:] == [4] * 5
    assert len(heard) == 2


def test_several_callers_halve_once() -> None:
    heard: list[str] = []
    engine, limit = SmallEngine(room=8), BatchLimit(16)
    with ThreadPoolExecutor(8) as pool:
        orders = list(pool.map(lambda _: order_of(engine, limit, 200, 16, heard.append), range(8)))
    assert all(order == list(range(200)) for order in orders)
    assert limit.size == 8
    assert len(heard) == 1


def test_where_not_even_one_image_fits_it_is_named() -> None:
    with pytest.raises(EngineMemoryError, match=r"single image, 0\.JPEG: no memory\. .*--device"):
        order_of(SmallEngine(room=0), BatchLimit(16), 40, 16)


def test_a_failing_engine_says_at_which_batch_it_was() -> None:
    def broken(batch: ImageBatch) -> None:
        if batch.items[0].label == 32:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError) as caught:
        order_of(SmallEngine(100, 0, broken), BatchLimit(16), 50, 16)
    assert caught.value.__notes__ == ["onnxruntime failed at the batch that starts at 32.JPEG."]


def test_what_decoding_raises_passes_through_untouched() -> None:
    def broken() -> Iterator[ImageBatch]:
        yield from batches_of(16, 16)
        raise ImageError("bad.JPEG cannot be read.")

    with pytest.raises(ImageError, match=r"^bad\.JPEG cannot be read\.$"):
        list(run_batches(SmallEngine(4, 1), broken(), BatchLimit(16)))


@pytest.mark.parametrize(
    "text",
    [
        "BFCArena::AllocateRawInternal(size_t) Failed to allocate memory for requested buffer",
        "CUDA failure 2: out of memory ; GPU=0",
        "CUBLAS failure 3: CUBLAS_STATUS_ALLOC_FAILED",
        "CUDNN_STATUS_ALLOC_FAILED",
        "CUDA out of memory. Tried to allocate 2.00 GiB.",
        "[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory",
        "std::bad_alloc",
    ],
)
def test_want_of_memory_is_known_by_its_words(text: str) -> None:
    assert lacks_memory(RuntimeError(text))
    assert not lacks_memory(RuntimeError("Got invalid dimensions for input: pixels"))


def test_a_batch_larger_than_the_machine_is_an_error_of_memory(tmp_path: Path) -> None:
    import torch

    with pytest.raises(RuntimeError) as caught:
        torch.empty(10**16)
    assert lacks_memory(caught.value)
