"""The choice of what drives NVIDIA GPUs: ``EVALUATOR_CUDA``.

``pycuda`` or ``torch`` for a real GPU. Any other value is a module that stands in for one, such as
the simulated GPU of the tests. It has these functions:

    devices() -> tuple[Device, ...]         the GPUs, whose models begin with "simulated"
    compute_capability(device) -> str       such as "sm89"
    open_cuda(index) -> Cuda                see ``cuda/protocols.py``
    load_tensorrt(flavour) -> module        TensorRT, whose runtime computes on such a GPU
    deferred(program, cuda) -> Program      a program on the host's memory, as work of such a GPU
    VERSIONS: dict[str, str]                name and version of the module
"""

import importlib
import importlib.metadata
import os
from importlib.util import find_spec
from typing import Any

from ..errors import InputError, reason_of

VARIABLE = "EVALUATOR_CUDA"
KNOWN = ("pycuda", "torch")


def own_cuda() -> Any:
    """The module that stands in for GPUs; ``None`` for real ones.

    Raises:
        InputError: If it cannot be imported.
    """
    name = os.environ.get(VARIABLE)
    if not name or name in KNOWN:
        return None
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise InputError(
            f"{VARIABLE}={name} cannot be imported: {reason_of(error)}. Expected "
            f"{' or '.join(KNOWN)}, or leave it out."
        ) from error


def cuda_package() -> str:
    """The package that drives GPUs: ``EVALUATOR_CUDA``, else PyCUDA if it is installed."""
    return os.environ.get(VARIABLE) or ("pycuda" if find_spec("pycuda") else "torch")


def cuda_versions() -> dict[str, str]:
    """The package that drives GPUs, with its version."""
    if (own := own_cuda()) is not None:
        return dict(own.VERSIONS)
    return {cuda_package(): importlib.metadata.version(cuda_package())}
