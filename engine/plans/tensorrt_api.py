"""TensorRT and TensorRT-RTX: their Python modules, and the differences between them.

Both have the same Python API, so one builder serves TensorRT 10, TensorRT 11 and TensorRT-RTX. All
differences are in this table and in the few names that are checked before use. Neither package is
imported before it is needed.
"""

import importlib
from dataclasses import dataclass
from typing import Any, Literal

from ...contracts import Device, Precision
from ...errors import EngineUnavailableError, InputError, reason_of
from ..own_cuda import cuda_versions, own_cuda

PlanBackend = Literal["tensorrt", "tensorrt-rtx"]


@dataclass(frozen=True)
class Flavour:
    """TensorRT or TensorRT-RTX.

    Attributes:
        backend: Name on the command line.
        title: Name in messages.
        module: Python module.
        install: Command that installs it.
        needs_gpu: Whether it builds only on the GPU that will run the plan.
        keeps_timings: Whether measured kernels can be stored for the next build. TensorRT-RTX 1.2
            and later ignore these calls with a warning.
        kernels: Member of ``DynamicShapesKernelSpecializationStrategy`` that says when kernels are
            chosen; empty if the build chooses them.
    """

    backend: PlanBackend
    title: str
    module: str
    install: str
    needs_gpu: bool
    keeps_timings: bool
    kernels: str = ""


FLAVOURS = {
    flavour.backend: flavour
    for flavour in (
        Flavour(
            "tensorrt",
            "TensorRT",
            "tensorrt",
            # Its libraries are not on PyPI, but on NVIDIA's own index.
            "pip install tensorrt --extra-index-url https://pypi.nvidia.com",
            needs_gpu=True,
            keeps_timings=True,
        ),
        Flavour(
            "tensorrt-rtx",
            "TensorRT-RTX",
            "tensorrt_rtx",
            "pip install tensorrt-rtx",
            needs_gpu=False,
            keeps_timings=False,
            kernels="EAGER",
        ),
    )
}


def find_flavour(backend: str) -> Flavour:
    """The flavour with this name.

    Raises:
        InputError: If the name is unknown.
    """
    for flavour in FLAVOURS.values():
        if flavour.backend == backend:
            return flavour
    raise InputError(f"There are no plans of {backend!r}. Expected {' or '.join(FLAVOURS)}.")


def load_tensorrt(flavour: Flavour) -> Any:
    """Import the module.

    Raises:
        EngineUnavailableError: If the package or one of its libraries is not installed.
    """
    if (own := own_cuda()) is not None:
        return own.load_tensorrt(flavour)
    try:
        return importlib.import_module(flavour.module)
    except ModuleNotFoundError as error:
        if error.name != flavour.module:
            raise _does_not_load(flavour, error) from error
        raise EngineUnavailableError(
            f"{flavour.title} is not installed. Install it with `{flavour.install}`."
        ) from error
    except Exception as error:  # OSError, RuntimeError and others, by library
        raise _does_not_load(flavour, error) from error


def _does_not_load(flavour: Flavour, error: Exception) -> EngineUnavailableError:
    return EngineUnavailableError(
        f"{flavour.title} is installed, but does not load: {reason_of(error)}. Its libraries are "
        f"missing or of another version; install it again with `{flavour.install}`."
    )


def targets_of(trt: Any) -> list[str]:
    """Compute capabilities of GPUs that plans can be built for without the GPU.

    Example:
        >>> from types import SimpleNamespace
        >>> members = {"NONE": 0, "CURRENT": 1, "SM89": 89, "SM120": 120}
        >>> targets_of(SimpleNamespace(ComputeCapability=SimpleNamespace(__members__=members)))
        ['sm89', 'sm120']
        >>> targets_of(SimpleNamespace())
        []
    """
    if not hasattr(trt, "ComputeCapability"):  # TensorRT builds for the GPU of this machine
        return []
    names: list[str] = list(trt.ComputeCapability.__members__)
    return [name.lower() for name in names if name.startswith("SM")]


def version_of(trt: Any) -> str:
    """Full version: a plan of one version does not run on another."""
    return str(trt.__version__)


def plan_versions(flavour: Flavour) -> dict[str, str]:
    """Versions of TensorRT and of what drives the GPU, by package.

    Raises:
        EngineUnavailableError: If it is not installed.
    """
    return {flavour.backend: version_of(load_tensorrt(flavour)), **cuda_versions()}


def check_plans(flavour: Flavour, precision: Precision, device: Device) -> None:
    """Check before an export that plans can be built and run on a device.

    Raises:
        EngineUnavailableError: If it is no GPU, or TensorRT is not installed.
    """
    if device.name == "cpu":
        raise EngineUnavailableError(
            f"{flavour.title} runs on NVIDIA GPUs only, got the device {device}. Use --engine "
            "onnxruntime, or run where nvidia-smi lists a GPU."
        )
    load_tensorrt(flavour)
