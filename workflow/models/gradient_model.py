"""A frozen PyTorch network in float32, from images to logits, for attacks that need gradients."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ...contracts import Device, EngineSpec, Progress
from ...errors import InputError, printable
from ...exporter.graph.deployable import frozen_network
from .engines import PreparedNetwork
from .resolve import ResolvedModel
from .verified_engine import VerifiedEngine, select_engine

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class GradientNetwork:
    """A network on its device, and its parity with the reference.

    Attributes:
        network: Network from images (N, 3, S, S) in [0, 1] to logits; its parameters are frozen.
        verified: PyTorch on that device; on the CPU it is the reference itself.
    """

    network: "nn.Module"
    verified: VerifiedEngine

    @property
    def spec(self) -> EngineSpec:
        """Identity of what the network computes."""
        return replace(self.verified.loaded.spec, input_kind="images")

    @property
    def device(self) -> Device:
        """Device of the network."""
        return self.verified.loaded.placement.device


def refuse_without_gradients(subject: ResolvedModel) -> None:
    """Refuse a model without a PyTorch network in float32.

    Raises:
        InputError: If the model exists only as ONNX, or is a bundle in another precision.
    """
    name = subject.spec.name
    if not subject.spec.has_network:
        raise InputError(
            f"{name} exists only as ONNX, and gradients need PyTorch. Give the network's code as "
            "package.module:callable, with its weights."
        )
    if subject.kind.precision != "fp32":
        raise InputError(
            f"Gradients are computed in float32, but {printable(subject.folder)} is a bundle in "
            f"{subject.kind.precision}. Name the model instead."
        )


def gradient_network(
    subject: ResolvedModel, device: str | None, *, parity: bool, progress: Progress
) -> GradientNetwork:
    """Load a network for gradients; on a GPU its parity is checked first.

    Raises:
        InputError: If the model has no gradients.
        ParityError: If PyTorch on the device does not agree with PyTorch on the CPU.
        UnavailableError: If the weights or the device are not available.
    """
    refuse_without_gradients(subject)
    verified = select_engine(subject, "torch", device, parity=parity, progress=progress)
    prepared = verified.loaded
    assert isinstance(prepared, PreparedNetwork)
    return GradientNetwork(frozen_network(prepared.network, prepared.placement.device), verified)
