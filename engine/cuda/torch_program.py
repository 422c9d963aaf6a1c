"""A PyTorch network as a program of a GPU, whichever package drives the GPU."""

from contextlib import AbstractContextManager, nullcontext
from ctypes import c_uint8
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ...system.exact_float32 import exact_float32
from .protocols import DeviceMemory, Stream

if TYPE_CHECKING:
    import torch


class TorchProgram:
    """A network that takes what it is given; see ``Program``."""

    runtime = "PyTorch"
    fixed_rows: int | None = None

    def __init__(
        self, network: Any, device: str, row_shape: tuple[int, ...], input_dtype: npt.DTypeLike
    ) -> None:
        """Compute one row, which tells the number of classes.

        Args:
            network: Callable of a tensor (N, ...) on the device; gives logits (N, C).
            device: Name of the device in PyTorch.
            row_shape: Shape of an input.
            input_dtype: Type of an input's values: uint8 or float32.
        """
        import torch

        self._network, self._device = network, device
        self.row_shape, self.input_dtype = row_shape, np.dtype(input_dtype)
        zero = np.zeros((1, *row_shape), self.input_dtype)
        with torch.inference_mode(), exact_float32():
            self.classes = int(network(torch.from_numpy(zero).to(device)).shape[1])

    def enqueue(
        self, rows: int, source: DeviceMemory, target: DeviceMemory, stream: Stream
    ) -> None:
        """Run the network in the stream."""
        import torch

        images = tensor_at(source.address, (rows, *self.row_shape), self.input_dtype, self._device)
        logits = tensor_at(target.address, (rows, self.classes), np.dtype("f4"), self._device)
        with torch.inference_mode(), exact_float32(), self._in(stream):
            logits.copy_(self._network(images))

    def close(self) -> None:
        """Let go of the network."""
        self._network = None

    def _in(self, stream: Stream) -> AbstractContextManager[Any]:
        """Make the stream PyTorch's current one."""
        import torch

        if not self._device.startswith("cuda"):
            return nullcontext()
        own = torch.cuda.ExternalStream(stream.handle, device=self._device)  # type: ignore[no-untyped-call]
        return torch.cuda.stream(own)


def tensor_at(
    address: int, shape: tuple[int, ...], dtype: np.dtype[Any], device: str
) -> "torch.Tensor":
    """A tensor over memory that something else owns.

    Args:
        address: Address of the first byte.
        shape: Shape of the tensor.
        dtype: Type of its values.
        device: Name of the memory's device in PyTorch.
    """
    import torch

    if device.startswith("cuda"):
        return torch.as_tensor(_Span(address, shape, dtype), device=device)
    size_bytes = int(np.prod(shape)) * dtype.itemsize
    memory: Any = (c_uint8 * size_bytes).from_address(address)
    return torch.from_numpy(np.frombuffer(memory, dtype).reshape(shape))


class _Span:
    """Memory of a GPU, in the protocol that packages for CUDA exchange arrays by.

    Source: Numba's documentation, "CUDA Array Interface (Version 3)".
    """

    def __init__(self, address: int, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        self.__cuda_array_interface__ = {
            "shape": shape,
            "typestr": dtype.str,
            "data": (address, False),
            "strides": None,
            "version": 3,
        }
