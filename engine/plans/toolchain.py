"""Which TensorRT can build plans on this machine, and for which GPU."""

from dataclasses import dataclass
from typing import Any

from ...contracts import Bundle, Device
from ...errors import EngineUnavailableError, InputError
from ..devices import compute_capability, cuda_devices
from .builder import NETWORK_FLAGS
from .plan import PlanKey, Profile
from .tensorrt_api import Flavour, load_tensorrt, targets_of, version_of

TURING = "sm75"
"""The only target that a plan for any GPU does not run on: its default is Ampere and later."""


@dataclass(frozen=True)
class Toolchain:
    """A TensorRT that can build here.

    Attributes:
        flavour: TensorRT or TensorRT-RTX.
        trt: The module.
        device: The GPU that is here; none without one.
        compute_capability: Of that GPU: ``sm89``; empty without one.
        target: What TensorRT-RTX builds for; empty for any GPU from Ampere on.
    """

    flavour: Flavour
    trt: Any
    device: Device | None
    compute_capability: str
    target: str

    @property
    def runs_here(self) -> bool:
        """Whether its plans are for the GPU that is here."""
        return self.device is not None and self.target in ("", self.compute_capability)

    def key_of(self, bundle: Bundle, profile: Profile, *, tf32: bool) -> PlanKey:
        """What goes into a bundle's plan."""
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
        )


def find_toolchain(flavour: Flavour, target: str | None = None) -> Toolchain:
    """What can build plans here, for the first GPU where there are several.

    Args:
        flavour: TensorRT or TensorRT-RTX.
        target: A compute capability to build for; without it, the GPU that is here, and for
            TensorRT-RTX any from Ampere on.

    Raises:
        EngineUnavailableError: If the package is not here, or there is no GPU that it serves.
        InputError: If it does not build for the target.
    """
    device = next(iter(cuda_devices()), None)
    if flavour.needs_gpu and device is None:
        raise EngineUnavailableError(
            f"{flavour.title} builds a plan on the GPU that will run it, and this machine has no "
            "NVIDIA GPU, or no driver for one. Use --engine tensorrt-rtx, which builds without "
            "one, or run where nvidia-smi lists the GPU."
        )
    trt = load_tensorrt(flavour)
    here = compute_capability(device) if device else ""
    return Toolchain(flavour, trt, device, here, target_of(flavour, targets_of(trt), target, here))


def target_of(flavour: Flavour, known: list[str], asked: str | None, here: str) -> str:
    """What to build for; empty where nothing is to be set.

    Args:
        flavour: TensorRT or TensorRT-RTX.
        known: The targets that it has; none for TensorRT.
        asked: The user's choice, or none.
        here: The compute capability of the GPU that is here; empty without one.

    Raises:
        EngineUnavailableError: If the GPU that is here is none of them, and no other is asked for.
        InputError: If the one that is asked for is none of them.
    """
    if not known:
        if asked is not None:
            raise InputError(
                f"--target {asked} is for --engine tensorrt-rtx: {flavour.title} builds for the "
                "GPU that is here. Leave it out."
            )
        return ""
    if asked is not None and asked.lower() not in known:
        raise InputError(
            f"{flavour.title} does not build for {asked!r}. Expected {', '.join(known)}; GPUs of "
            "data centres, such as the H100 (sm90), need --engine tensorrt."
        )
    if asked is None and here and here not in known:
        raise EngineUnavailableError(
            f"{flavour.title} does not build for the GPU of this machine, which is {here}: use "
            f"--engine tensorrt. For another machine's GPU add --target {' or '.join(known)}."
        )
    if asked is not None:
        return asked.lower()
    return TURING if here == TURING else ""
