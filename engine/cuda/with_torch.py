"""CUDA through PyTorch, for machines on which PyCUDA cannot be compiled."""

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ...errors import EngineMemoryError, EngineUnavailableError, lacks_memory, reason_of
from .protocols import Array

if TYPE_CHECKING:
    import torch


class TorchCuda:
    """A GPU, by its index; see ``Cuda``."""

    def __init__(self, index: int) -> None:
        import torch

        if not torch.cuda.is_available():
            raise EngineUnavailableError(
                f"PyTorch {torch.__version__} cannot use cuda:{index}. Install a build of PyTorch "
                "for CUDA, or PyCUDA."
            )
        self._device = torch.device("cuda", index)

    def current(self) -> AbstractContextManager[Any]:
        """Make the GPU PyTorch's current one."""
        import torch

        return torch.cuda.device(self._device)

    def stream(self) -> "_Stream":
        """A new stream."""
        import torch

        return _Stream(torch.cuda.Stream(self._device))  # type: ignore[no-untyped-call]

    def event(self) -> "torch.cuda.Event":
        """A new event, without times."""
        import torch

        return torch.cuda.Event()  # type: ignore[no-untyped-call]

    def pinned(self, shape: tuple[int, ...], dtype: npt.DTypeLike) -> Array:
        """An array in PyTorch's pinned memory."""
        size_bytes = int(np.prod(shape)) * np.dtype(dtype).itemsize
        memory = self._allocated(size_bytes, pin_memory=True)
        array: Array = memory.numpy().view(dtype).reshape(shape)
        return array

    def memory(self, size_bytes: int) -> "_Memory":
        """Memory of the GPU."""
        return _Memory(self._allocated(size_bytes, device=self._device))

    def close(self) -> None:
        """Nothing: PyTorch frees memory when its last reference goes."""

    def _allocated(self, size_bytes: int, **options: Any) -> "torch.Tensor":
        import torch

        try:
            return torch.empty(size_bytes, dtype=torch.uint8, **options)
        except RuntimeError as error:
            if not lacks_memory(error):
                raise
            raise EngineMemoryError(
                f"No memory for {size_bytes:,} bytes: {reason_of(error)}."
            ) from error


class _Stream:
    def __init__(self, stream: "torch.cuda.Stream") -> None:
        self.stream = stream

    @property
    def handle(self) -> int:
        return int(self.stream.cuda_stream)

    def record(self, event: "torch.cuda.Event") -> None:
        event.record(self.stream)

    def wait(self, event: "torch.cuda.Event") -> None:
        self.stream.wait_event(event)

    def synchronize(self) -> None:
        self.stream.synchronize()


class _Memory:
    def __init__(self, tensor: "torch.Tensor") -> None:
        self._tensor = tensor

    @property
    def address(self) -> int:
        return int(self._tensor.data_ptr())

    def copy_from(self, host: Array, stream: _Stream) -> None:
        import torch

        with torch.cuda.stream(stream.stream):
            self._tensor[: host.nbytes].copy_(_as_bytes(host), non_blocking=True)

    def copy_to(self, host: Array, stream: _Stream) -> None:
        import torch

        with torch.cuda.stream(stream.stream):
            _as_bytes(host).copy_(self._tensor[: host.nbytes], non_blocking=True)


def _as_bytes(host: Array) -> "torch.Tensor":
    """The memory of a contiguous array as bytes: (nbytes,) uint8."""
    import torch

    return torch.from_numpy(host.reshape(-1).view(np.uint8))
