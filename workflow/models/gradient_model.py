"""A network that gradients are taken of: PyTorch in float32, from images to logits, frozen."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ...contracts import Device, EngineSpec, GraphKind, LoadedNetwork, Progress, ReadyOnnx
from ...errors import InputError, printable
from ...exporter.graph.deployable import deployable
from .prepared_model import PreparedNetwork
from .resolve import ResolvedModel
from .verified_engine import VerifiedEngine, select_engine

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class GradientNetwork:
    """A network on its device, whose own agreement with the reference is known.

    Attributes:
        network: Takes images (N, 3, S, S) in [0, 1]; no parameter wants a gradient.
        believed: PyTorch on that device: the reference itself on the CPU.
    """

    network: "nn.Module"
    believed: VerifiedEngine

    @property
    def spec(self) -> EngineSpec:
        """What it computes."""
        return replace(self.believed.loaded.spec, input_kind="images")

    @property
    def device(self) -> Device:
        """Where."""
        return self.believed.loaded.placement.device


def refuse_without_gradients(subject: ResolvedModel) -> None:
    """Refuse what PyTorch has no network of, or not in float32.

    Raises:
        InputError: With what to do.
    """
    name = subject.spec.name
    if isinstance(subject.spec.own, ReadyOnnx):
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
    """Load a network for gradients; on a GPU it must agree with the reference first.

    Raises:
        InputError: If there are no gradients of it.
        ParityError: If PyTorch on the device does not agree with PyTorch on the CPU.
        UnavailableError: If the weights or the device are not here.
    """
    refuse_without_gradients(subject)
    believed = select_engine(subject, "torch", device, parity=parity, progress=progress)
    prepared = believed.loaded
    assert isinstance(prepared, PreparedNetwork)
    return GradientNetwork(frozen_network(prepared.network, prepared.placement.device), believed)


def frozen_network(loaded: LoadedNetwork, device: Device) -> "nn.Module":
    """A network from images (N, 3, S, S) in [0, 1] to logits; gradients are of the images alone."""
    kind = GraphKind("fp32", "images")
    network = deployable(loaded.network, loaded.spec.preprocessing, kind)
    return network.requires_grad_(False).to(device.name)
