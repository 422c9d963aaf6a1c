"""CUDA as engines need it: streams, events, pinned and device memory, copies.

Engines know only the protocols here; ``open_cuda.py`` chooses the implementation.
"""

from contextlib import AbstractContextManager
from typing import Any, Protocol

import numpy.typing as npt

Array = npt.NDArray[Any]


class Event(Protocol):
    """A point in a stream that other streams and the host can wait for."""

    def synchronize(self) -> None:
        """Wait on the host until the marked work is done."""


class Stream(Protocol):
    """A queue of work of the device, which runs in order."""

    @property
    def handle(self) -> int:
        """CUDA's own handle."""

    def record(self, event: Any) -> None:
        """Let an event mark the work that the stream has been given so far."""

    def wait(self, event: Any) -> None:
        """Let the stream's next work wait for what an event marked."""

    def synchronize(self) -> None:
        """Wait on the host until all work of the stream is done."""


class DeviceMemory(Protocol):
    """Memory of the device."""

    @property
    def address(self) -> int:
        """Address of the first byte."""

    def copy_from(self, host: Array, stream: Any) -> None:
        """Copy a contiguous array in pinned memory to the start of this memory, in a stream."""

    def copy_to(self, host: Array, stream: Any) -> None:
        """Fill a contiguous array in pinned memory from the start of this memory, in a stream."""


class Cuda(Protocol):
    """One GPU. Calls are made inside ``current``, whichever thread makes them."""

    def current(self) -> AbstractContextManager[Any]:
        """Make this GPU the current one of the calling thread."""

    def stream(self) -> Stream:
        """A new stream, which is not the default one."""

    def event(self) -> Event:
        """A new event."""

    def pinned(self, shape: tuple[int, ...], dtype: npt.DTypeLike) -> Array:
        """An array in pinned (page-locked) host memory, with any content.

        Raises:
            EngineMemoryError: If the host is out of memory.
        """

    def memory(self, size_bytes: int) -> DeviceMemory:
        """Device memory with any content.

        Raises:
            EngineMemoryError: If the GPU is out of memory.
        """

    def close(self) -> None:
        """Free the device memory. Pinned memory lives as long as the last array in it."""
