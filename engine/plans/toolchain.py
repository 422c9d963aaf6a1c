"""The TensorRT that builds plans on this machine, and the GPU that it builds for."""

from dataclasses import dataclass
from typing import Any

from ...contracts import Bundle, Device
from ...errors import EngineUnavailableError, InputError
from ..devices import compute_capability, cuda_devices
from .builder import NETWORK_FLAGS
from .plan import PlanKey, Profile
from .tensorrt_api import Flavour, load_tensorrt, targets_of, version_of

TURING = "sm75"
"""The only target that needs a plan of its own: a plan for any GPU runs from Ampere on."""


@dataclass(frozen=True)
class Toolchain:
    """A TensorRT that can build plans on this machine.

    Attributes:
        flavour: TensorRT or TensorRT-RTX.
        trt: Module of TensorRT.
        device: GPU of this machine; ``None`` without one.
        compute_capability: Compute capability of that GPU, such as ``sm89``; empty without one.
        target: Compute capability that TensorRT-RTX builds for; empty for any GPU from Ampere on.
    """

    flavour: Flavour
    trt: Any
    device: Device | None
    compute_capability: str
    target: str

    @property
    def runs_here(self) -> bool:
        """Whether its plans run on the GPU of this machine."""
        return self.device is not None and self.target in ("", self.compute_capability)

    def key_of(self, bundle: Bundle, profile: Profile, *, tf32: bool) -> PlanKey:
        """Key of a bundle's plan."""
        model = bundle.model
        return PlanKey(
            model_sha256=model.sha256,
            backend=self.flavour.backend,
            version=version_of(self.trt),
            precision=model.precision,
            input_kind=model.input_kind,
            tf32=tf32,
            profile=profile,
            flags=NETWORK_FLAGS,
            target=self.target,
            device=self.device.model if self.device else "",
            compute_capability=self.compute_capability,
            driver=self.device.details if self.device else "",
            kernels=self.flavour.kernels,
        )


def find_toolchain(
    flavour: Flavour, target: str | None = None, device: Device | None = None
) -> Toolchain:
    """Find the TensorRT that builds plans on this machine.

    Args:
        flavour: TensorRT or TensorRT-RTX.
        target: Compute capability to build for. If not given, the GPU of this machine, and for
            TensorRT-RTX any GPU from Ampere on.
        device: GPU of this machine. If not given, its first one.

    Raises:
        EngineUnavailableError: If the package is not installed, or this machine has no GPU
            that it supports.
        InputError: If it does not build for the target.
    """
    device = device or next(iter(cuda_devices()), None)
    if flavour.needs_gpu and device is None:
        raise EngineUnavailableError(
            f"{flavour.title} builds a plan on the GPU that will run it, and this machine has no "
            "NVIDIA GPU, or no driver for one. Use --engine tensorrt-rtx, which builds without "
            "one, or run where nvidia-smi lists the GPU."
        )
    trt = load_tensorrt(flavour)
    capability = compute_capability(device) if device else ""
    target = target_of(flavour, targets_of(trt), target, capability)
    return Toolchain(flavour, trt, device, capability, target)


def target_of(flavour: Flavour, known: list[str], requested: str | None, capability: str) -> str:
    """Compute capability to build for; empty if none is to be set.

    Args:
        flavour: TensorRT or TensorRT-RTX.
        known: Targets that it supports; empty for TensorRT.
        requested: Target that the user names; ``None`` if not given.
        capability: Compute capability of the GPU of this machine; empty without one.

    Raises:
        EngineUnavailableError: If it does not build for this machine's GPU, and no target is
            given.
        InputError: If it does not build for the target.
    """
    if not known:
        if requested is not None:
            raise InputError(
                f"--target {requested} requires --engine tensorrt-rtx: {flavour.title} builds for "
                "the GPU of this machine. Leave it out."
            )
        return ""
    if requested is not None and requested.lower() not in known:
        raise InputError(
            f"{flavour.title} does not build for {requested!r}. Expected {', '.join(known)}; data "
            "centre GPUs, such as the H100 (sm90), need --engine tensorrt."
        )
    if requested is None and capability and capability not in known:
        raise EngineUnavailableError(
            f"{flavour.title} does not build for the GPU of this machine, which is {capability}. "
            "Use --engine tensorrt. For the GPU of another machine add --target "
            f"{' or '.join(known)}."
        )
    if requested is not None:
        return requested.lower()
    return TURING if capability == TURING else ""
