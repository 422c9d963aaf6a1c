"""What works on this machine: packages, GPUs, engines, and the size of the cache.

Each engine is tried on each device with a graph of one layer, so that what loads but does not
compute is found too.
"""

import importlib.metadata
import platform
from collections.abc import Mapping
from dataclasses import dataclass

from ..contracts import Device
from ..engine.devices import compute_capability, cpu, cuda_devices, memory_bytes
from ..engine.table import ENGINES, Placement
from ..engine.trial import try_engine
from ..errors import EvaluatorError
from .cache import list_cache

PACKAGES = (
    *("torch", "torchvision", "numpy", "pyarrow", "onnx", "onnxscript", "onnxruntime-gpu"),
    *("onnxruntime", "openvino", "tensorrt", "tensorrt-rtx", "pycuda", "foolbox", "simplejpeg"),
    *("Pillow", "timm", "av", "matplotlib", "efficientnet-lite-pytorch", "imagecorruptions-imaug"),
)
"""Packages whose versions are shown, by the names that pip knows."""


@dataclass(frozen=True)
class Gpu:
    """A GPU of this machine.

    Attributes:
        device: Its name, model and driver.
        compute_capability: Such as ``sm89``.
        memory_bytes: Size of its memory; ``None`` if unknown.
    """

    device: Device
    compute_capability: str
    memory_bytes: int | None


@dataclass(frozen=True)
class EngineTrial:
    """Whether an engine works on a device.

    Attributes:
        engine: Name on the command line.
        device: Name and model of the device.
        fault: Why it does not work, and what to do; empty if it works.
    """

    engine: str
    device: str
    fault: str


@dataclass(frozen=True)
class Diagnosis:
    """State of this machine.

    Attributes:
        python: Version of Python.
        system: Operating system and processor architecture.
        packages: Version of each package; ``None`` if it is not installed.
        processor: The processor.
        gpus: The GPUs.
        engines: Each engine on each device.
        cache_bytes: Size of each folder of the cache.
    """

    python: str
    system: str
    packages: Mapping[str, str | None]
    processor: Device
    gpus: tuple[Gpu, ...]
    engines: tuple[EngineTrial, ...]
    cache_bytes: Mapping[str, int]


def diagnose() -> Diagnosis:
    """Find out what works on this machine."""
    gpus = cuda_devices()
    sizes: dict[str, int] = {}
    for entry in list_cache():
        sizes[entry.kind.name] = sizes.get(entry.kind.name, 0) + entry.size_bytes
    return Diagnosis(
        python=platform.python_version(),
        system=f"{platform.system()} {platform.machine()}",
        packages={name: _version(name) for name in PACKAGES},
        processor=cpu(),
        gpus=tuple(Gpu(gpu, compute_capability(gpu), memory_bytes(gpu)) for gpu in gpus),
        engines=tuple(
            EngineTrial(kind.backend, str(device), _fault(Placement(kind, device)))
            for kind in ENGINES.values()
            for device in (cpu(), *gpus)
            if kind.runs_on(device) or not gpus
        ),
        cache_bytes=sizes,
    )


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _fault(placement: Placement) -> str:
    try:
        try_engine(placement)
    except EvaluatorError as error:
        return str(error)
    return ""
