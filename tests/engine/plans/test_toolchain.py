"""What can build plans here, and for which GPU."""

import pytest

from evaluator.contracts import Device
from evaluator.engine.devices import compute_capability, cuda_devices
from evaluator.engine.plans import toolchain
from evaluator.engine.plans.tensorrt_api import find_flavour
from evaluator.engine.plans.toolchain import find_toolchain, target_of
from evaluator.errors import EngineUnavailableError, InputError

pytest.importorskip("tensorrt_rtx")

RTX, TENSORRT = find_flavour("tensorrt-rtx"), find_flavour("tensorrt")
KNOWN = ["sm75", "sm80", "sm86", "sm89", "sm120", "sm121"]
NO_GPU = pytest.mark.skipif(bool(cuda_devices()), reason="this machine has a CUDA device")


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> Device:
    """A GPU that is not there; which one it is, a test says."""
    device = Device("cuda:0", "NVIDIA H100 80GB HBM3", "driver 580.65.06, CUDA 13.0")
    monkeypatch.setattr(toolchain, "cuda_devices", lambda: (device,))
    monkeypatch.setattr(toolchain, "compute_capability", lambda _: "sm90")
    return device


@NO_GPU
def test_without_a_gpu_rtx_builds_for_any_from_ampere_on() -> None:
    found = find_toolchain(RTX)
    assert (found.device, found.compute_capability, found.target) == (None, "", "")
    assert not found.runs_here


@NO_GPU
def test_without_a_gpu_tensorrt_is_refused_before_its_package_is_asked_for() -> None:
    with pytest.raises(EngineUnavailableError, match=r"no NVIDIA GPU.*Use --engine tensorrt-rtx"):
        find_toolchain(TENSORRT)


def test_the_targets_are_those_of_the_installed_package() -> None:
    assert find_toolchain(RTX, "sm89").target == "sm89"
    assert find_toolchain(RTX, "SM120").target == "sm120"
    with pytest.raises(InputError, match=rf"build for 'sm90'. Expected {', '.join(KNOWN)}; .*H100"):
        find_toolchain(RTX, "sm90")
    with pytest.raises(InputError, match="does not build for 'current'"):
        find_toolchain(RTX, "current")


def test_an_h100_is_told_to_use_tensorrt(gpu: Device) -> None:
    with pytest.raises(EngineUnavailableError, match=r"which is sm90\. Use --engine tensorrt\. "):
        find_toolchain(RTX)
    other = find_toolchain(RTX, "sm89")  # but it can build for another machine
    assert (other.device, other.target) == (gpu, "sm89")
    assert not other.runs_here


def test_a_turing_gpu_is_built_for_by_name() -> None:
    # A plan for any GPU begins with Ampere, and this one could never load it.
    assert target_of(RTX, KNOWN, None, "sm75") == "sm75"
    assert target_of(RTX, KNOWN, "sm89", "sm75") == "sm89"
    assert target_of(RTX, KNOWN, None, "sm89") == ""
    assert target_of(RTX, KNOWN, None, "") == ""


def test_tensorrt_takes_no_target() -> None:
    assert target_of(TENSORRT, [], None, "sm90") == ""
    with pytest.raises(InputError, match="--target sm89 requires --engine tensorrt-rtx"):
        target_of(TENSORRT, [], "sm89", "sm90")


@pytest.mark.skipif(not cuda_devices(), reason="this machine has no CUDA device")
@pytest.mark.gpu
def test_a_gpu_says_its_compute_capability() -> None:
    import torch

    major, minor = torch.cuda.get_device_capability(0)
    assert compute_capability(cuda_devices()[0]) == f"sm{major}{minor}"
