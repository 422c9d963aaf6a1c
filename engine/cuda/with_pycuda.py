"""CUDA through PyCUDA, in the primary context that PyTorch uses too."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy.typing as npt

from ...errors import EngineMemoryError, EngineUnavailableError, reason_of
from .protocols import Array


class PyCuda:
    """A GPU, by its index; see ``Cuda``."""

    def __init__(self, index: int) -> None:
        self._driver = driver = _driver()
        try:
            driver.init()
            self._context = driver.Device(index).retain_primary_context()
        except driver.Error as error:
            raise EngineUnavailableError(
                f"PyCUDA cannot use cuda:{index}: {reason_of(error)}. Check that nvidia-smi lists "
                "the GPU."
            ) from error
        self._memory: list[_Memory] = []

    @contextmanager
    def current(self) -> Iterator[None]:
        """Push the context, and pop it at the end."""
        self._context.push()
        try:
            yield
        finally:
            self._driver.Context.pop()

    def stream(self) -> "_Stream":
        """A new stream."""
        return _Stream(self._driver.Stream())

    def event(self) -> Any:
        """A new event, without times."""
        return self._driver.Event(self._driver.event_flags.DISABLE_TIMING)

    def pinned(self, shape: tuple[int, ...], dtype: npt.DTypeLike) -> Array:
        """An array in page-locked memory."""
        try:
            array: Array = self._driver.pagelocked_empty(shape, dtype)
        except self._driver.MemoryError as error:
            raise EngineMemoryError(f"No page-locked host memory: {reason_of(error)}.") from error
        return array

    def memory(self, size_bytes: int) -> "_Memory":
        """Memory of the GPU."""
        try:
            memory = _Memory(self._driver, self._driver.mem_alloc(size_bytes))
        except self._driver.MemoryError as error:
            raise EngineMemoryError(
                f"No memory on the GPU for {size_bytes:,} bytes: {reason_of(error)}."
            ) from error
        self._memory.append(memory)
        return memory

    def close(self) -> None:
        """Free the memory of the GPU; pinned memory lives as long as the last array in it."""
        with self.current():
            while self._memory:
                self._memory.pop().allocation.free()


class _Stream:
    def __init__(self, stream: Any) -> None:
        self.stream = stream

    @property
    def handle(self) -> int:
        return int(self.stream.handle)

    def record(self, event: Any) -> None:
        event.record(self.stream)

    def wait(self, event: Any) -> None:
        self.stream.wait_for_event(event)

    def synchronize(self) -> None:
        self.stream.synchronize()


class _Memory:
    def __init__(self, driver: Any, allocation: Any) -> None:
        self._driver, self.allocation = driver, allocation

    @property
    def address(self) -> int:
        return int(self.allocation)

    def copy_from(self, host: Array, stream: _Stream) -> None:
        self._driver.memcpy_htod_async(self.allocation, host, stream.stream)

    def copy_to(self, host: Array, stream: _Stream) -> None:
        self._driver.memcpy_dtoh_async(host, self.allocation, stream.stream)


def _driver() -> Any:
    try:
        import pycuda.driver
    except ImportError as error:
        raise EngineUnavailableError(
            f"PyCUDA cannot be imported: {reason_of(error)}. Install it with `pip install pycuda` "
            "where the CUDA toolkit is, or use PyTorch's CUDA with EVALUATOR_CUDA=torch."
        ) from error
    return pycuda.driver
