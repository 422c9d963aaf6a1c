"""The choice between the implementations of CUDA: ``EVALUATOR_CUDA``, see ``own_cuda.py``."""

from ...contracts import Device
from ..own_cuda import cuda_package, own_cuda
from .pipeline import Program
from .protocols import Cuda
from .with_pycuda import PyCuda
from .with_torch import TorchCuda


def open_cuda(device: Device) -> Cuda:
    """The GPU, through PyCUDA if it can be imported, else through PyTorch.

    Raises:
        EngineUnavailableError: If it cannot be used.
        InputError: If ``EVALUATOR_CUDA`` is not valid.
    """
    index = int(device.name.partition(":")[2] or 0)
    if (own := own_cuda()) is not None:
        cuda: Cuda = own.open_cuda(index)
        return cuda
    return (PyCuda if cuda_package() == "pycuda" else TorchCuda)(index)


def as_work_of(cuda: Cuda, program: Program) -> Program:
    """The program of a GPU; on a simulated one, what it computes on the host is deferred."""
    own = own_cuda()
    return program if own is None else own.deferred(program, cuda)
