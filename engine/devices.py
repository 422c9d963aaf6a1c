"""Devices of this machine, detected without importing a framework.

Results depend on the instruction set of the processor, or on the GPU and its driver: they are in
``Device.details``, and a stored parity result is valid for them only.
"""

import ctypes
import platform
import re
import sys
from functools import cache
from pathlib import Path

from ..contracts import Device
from ..errors import EngineUnavailableError, InputError
from .own_cuda import own_cuda

_CUDA = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
_CAPABILITY_MAJOR, _CAPABILITY_MINOR = 75, 76  # of CUdevice_attribute in cuda.h
_INSTRUCTION_SETS = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "asimd", "sve")


def find_device(name: str) -> Device:
    """The device with this name.

    Raises:
        InputError: If the name is not valid.
        EngineUnavailableError: If this machine does not have the GPU.
    """
    if name == "cpu":
        return cpu()
    match = re.fullmatch(r"cuda(?::(\d+))?", name)
    if match is None:
        raise InputError(f"There is no device {name!r}. Expected cpu, cuda:0, cuda:1 and so on.")
    index, devices = int(match[1] or 0), cuda_devices()
    if index >= len(devices):
        count = f"{len(devices)} of them" if devices else "no NVIDIA GPU, or no driver for one"
        raise EngineUnavailableError(
            f"The device cuda:{index} was asked for, but this machine has {count}. "
            "Use --device cpu, or run where nvidia-smi lists the GPU."
        )
    return devices[index]


@cache
def cpu() -> Device:
    """The processor."""
    model, flags = platform.processor() or platform.machine(), ""
    try:
        text = Path("/proc/cpuinfo").read_text()
    except OSError:
        text = ""
    if name := re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE):
        model = name[1]
    if features := re.search(r"^(?:flags|Features)\s*:\s*(.+)$", text, re.MULTILINE):
        flags = features[1]
    supported = [name for name in _INSTRUCTION_SETS if name in flags.split()]
    return Device("cpu", model.strip(), " ".join([platform.machine(), *supported]))


@cache
def cuda_devices() -> tuple[Device, ...]:
    """GPUs that CUDA's driver lists; empty without a driver."""
    if (own := own_cuda()) is not None:
        devices: tuple[Device, ...] = own.devices()
        return devices
    try:
        cuda = ctypes.CDLL(_CUDA)
    except OSError:
        return ()
    count = ctypes.c_int()
    if cuda.cuInit(0) != 0 or cuda.cuDeviceGetCount(ctypes.byref(count)) != 0:
        return ()
    version = ctypes.c_int()
    cuda.cuDriverGetVersion(ctypes.byref(version))
    driver = f"driver {_driver()}CUDA {version.value // 1000}.{version.value % 1000 // 10}"
    gpus = []
    for index in range(count.value):
        name = ctypes.create_string_buffer(256)
        cuda.cuDeviceGetName(name, 256, index)
        gpus.append(Device(f"cuda:{index}", name.value.decode(errors="replace"), driver))
    return tuple(gpus)


def compute_capability(device: Device) -> str:
    """Compute capability of a GPU, as NVIDIA's tools write it: ``sm89``."""
    if (own := own_cuda()) is not None:
        return str(own.compute_capability(device))
    cuda, value, digits = ctypes.CDLL(_CUDA), ctypes.c_int(), ""
    index = int(device.name.partition(":")[2])
    for attribute in (_CAPABILITY_MAJOR, _CAPABILITY_MINOR):
        cuda.cuDeviceGetAttribute(ctypes.byref(value), attribute, index)
        digits += str(value.value)
    return f"sm{digits}"


def memory_bytes(device: Device) -> int | None:
    """Size of a GPU's memory; ``None`` if the driver does not tell it."""
    if own_cuda() is not None:
        return None
    cuda, handle, size = ctypes.CDLL(_CUDA), ctypes.c_int(), ctypes.c_size_t()
    index = int(device.name.partition(":")[2])
    cuda.cuDeviceGet(ctypes.byref(handle), index)
    failed = cuda.cuDeviceTotalMem_v2(ctypes.byref(size), handle)
    return None if failed else size.value


def _driver() -> str:
    """Version of the kernel module, such as ``580.65.06, ``; empty if unknown."""
    try:
        text = Path("/proc/driver/nvidia/version").read_text()
    except OSError:
        return ""
    version = re.search(r"\b(\d+\.\d+(?:\.\d+)?)\b", text)
    return f"{version[1]}, " if version else ""
