"""Every engine, and the devices that it runs on."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from typing import Protocol

from ..contracts import Backend, Bundle, Device, Engine, Precision
from ..errors import InputError
from .devices import cpu, cuda_devices, find_device
from .onnx_engine import onnx_notice, onnx_versions, open_onnx
from .openvino_engine import OpenVinoEngine, check_openvino, openvino_versions
from .own_cuda import cuda_versions
from .plans.tensorrt_api import FLAVOURS, Flavour, check_plans, plan_versions
from .torch_engine import torch_versions


class OpenBundle(Protocol):
    """Function or class that opens an engine which runs a bundle."""

    def __call__(self, bundle: Bundle, device: Device, *, threads: int | None = None) -> Engine:
        """Load the bundle; ``threads`` is for a CPU engine with a single caller."""


def _no_notice(bundle: Bundle, device: Device) -> str:
    return ""


def _no_limits(precision: Precision, device: Device) -> None:
    pass


@dataclass(frozen=True)
class EngineKind:
    """A row of the table of engines.

    Attributes:
        backend: Name on the command line.
        versions: Versions of the packages that compute.
        cpu_batch: Images in a batch on the CPU; ``None`` if the engine does not run there.
        cuda_batch: Images in a batch on CUDA; ``None`` if the engine does not run there.
        open_bundle: Loads a bundle; ``None`` if the engine runs something else.
        plans: TensorRT that compiles bundles to the plans that the engine runs; ``None`` if it
            runs something else.
        check: Raises ``EngineUnavailableError`` if the engine cannot compute in a precision on a
            device.
        notice: Notice to the user on how the engine computes a bundle; may be empty.
        auto_select: Whether the engine may be selected when the user names none.
    """

    backend: Backend
    versions: Callable[[], dict[str, str]]
    cpu_batch: int | None
    cuda_batch: int | None
    open_bundle: OpenBundle | None = None
    plans: Flavour | None = None
    check: Callable[[Precision, Device], None] = _no_limits
    notice: Callable[[Bundle, Device], str] = _no_notice
    auto_select: bool = True

    @property
    def runs_onnx(self) -> bool:
        """Whether the engine runs the ONNX graph of a bundle, not the PyTorch network."""
        return self.open_bundle is not None or self.plans is not None

    def runs_on(self, device: Device) -> bool:
        """Whether the engine supports the device."""
        return (self.cpu_batch if device.name == "cpu" else self.cuda_batch) is not None

    def batch_size(self, device: Device) -> int:
        """Default number of images in a batch."""
        batch = self.cpu_batch if device.name == "cpu" else self.cuda_batch
        return batch or self.cpu_batch or 1


ENGINES = {
    kind.backend: kind
    for kind in (
        *(
            EngineKind(
                flavour.backend,
                partial(plan_versions, flavour),
                cpu_batch=None,
                cuda_batch=64,
                plans=flavour,
                check=partial(check_plans, flavour),
                auto_select=find_spec(flavour.module) is not None,
            )
            for flavour in FLAVOURS.values()
        ),
        EngineKind(
            "onnxruntime",
            onnx_versions,
            cpu_batch=4,
            cuda_batch=64,
            open_bundle=open_onnx,
            notice=onnx_notice,
        ),
        EngineKind(
            "openvino",
            openvino_versions,
            cpu_batch=4,
            cuda_batch=None,
            open_bundle=OpenVinoEngine,
            check=check_openvino,
            auto_select=False,
        ),
        EngineKind("torch", torch_versions, cpu_batch=16, cuda_batch=64),
    )
}
"""Best first: the first that passes parity is selected if the user names none."""


@dataclass(frozen=True)
class Placement:
    """An engine on a device."""

    kind: EngineKind
    device: Device

    def __str__(self) -> str:
        return f"{self.kind.backend} on {self.device}"

    def versions(self) -> dict[str, str]:
        """Versions of the packages that compute, and of the one that drives the GPU."""
        by_torch = self.kind.backend == "torch" and not self.device.is_simulated
        drives = {} if self.device.name == "cpu" or by_torch else cuda_versions()
        return self.kind.versions() | drives


def candidates(engine: str | None, device: str | None) -> list[Placement]:
    """Engines and devices to try, best first; a single one if the user names the engine.

    Raises:
        InputError: If the engine or the device is unknown.
        UnavailableError: If this machine does not have the device.
    """
    if engine is not None and engine not in ENGINES:
        raise InputError(f"There is no engine {engine!r}. Expected {' or '.join(ENGINES)}.")
    devices = [find_device(device)] if device is not None else [*cuda_devices()[:1], cpu()]
    if engine is not None:
        kind = ENGINES[engine]
        # A device that the user names is kept: the engine reports that it does not support it.
        return [Placement(kind, next(filter(kind.runs_on, devices), devices[0]))]
    kinds = [kind for kind in ENGINES.values() if kind.auto_select]
    return [Placement(kind, place) for place in devices for kind in kinds if kind.runs_on(place)]
