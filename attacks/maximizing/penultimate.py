"""The units before the last layer of a network, which its logits are a linear function of.

The last layer is the last ``nn.Linear``, or convolution of 1x1, whose outputs are the logits. It is
found by running the network once on grey and trying each such layer, the last one first: its
outputs are replaced by test values, and each logit must be one of them. So a layer whose outputs
are mixed with those of another is not the last one; the outputs may be in another order of classes.

The units are the layer's input, flattened; for a convolution, the mean over the positions. Bounds
of the units are read from the graph of the gradient, where it does not matter whether an activation
is a module or a function.
"""

import math
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import nn

from ...errors import InputError
from ...system.users_code import named, users_code

_KEEPS_BOUNDS = {
    "AdaptiveAvgPool2DBackward0",
    "AdaptiveMaxPool2DBackward0",
    "AsStridedBackward0",
    "AsStridedBackward1",
    "AvgPool2DBackward0",
    "CloneBackward0",
    "MaxPool2DWithIndicesBackward0",
    "MeanBackward0",
    "MeanBackward1",
    "PermuteBackward0",
    "SelectBackward0",
    "SliceBackward0",
    "SqueezeBackward0",
    "SqueezeBackward1",
    "SqueezeBackward2",
    "TransposeBackward0",
    "UnsafeViewBackward0",
    "UnsqueezeBackward0",
    "ViewBackward0",
}
"""Operations whose results lie within the bounds of their inputs: views, means, maxima."""

_BOUNDED = {
    "HardsigmoidBackward0": (0.0, 1.0),
    "SigmoidBackward0": (0.0, 1.0),
    "TanhBackward0": (-1.0, 1.0),
}
_WITH_BOUNDS = {
    "ClampBackward1": ("_saved_min", "_saved_max"),
    "HardtanhBackward0": ("_saved_min_val", "_saved_max_val"),  # ReLU6, too
}


@dataclass(frozen=True)
class Bounds:
    """Bounds of every unit, whatever the image."""

    low: float
    high: float

    def greatest_probability(self, width: int) -> float:
        """Greatest probability of a unit under a softmax over ``width`` units.

        Example:
            >>> round(Bounds(0, 6).greatest_probability(1280), 4)
            0.2398
        """
        return 1 / (1 + (width - 1) * math.exp(self.low - self.high))


class PenultimateUnits(nn.Module):
    """From images (N, 3, S, S) in [0, 1] to the units before the last layer (N, width).

    Attributes:
        layer_name: Name of the last layer in the network.
        width: Number of units.
        bounds: Bounds of every unit, if an activation sets them.
    """

    def __init__(self, network: nn.Module, layer_name: str) -> None:
        super().__init__()
        self.layer_name, self.width = layer_name, 0
        self.bounds: Bounds | None = None
        self._network, self._layer = network, network.get_submodule(layer_name)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """The units of images."""
        inputs_seen: list[torch.Tensor] = []
        with self._layer.register_forward_pre_hook(lambda _, inputs: inputs_seen.append(inputs[0])):
            self._network(images)
        units = inputs_seen[-1]
        return units if units.dim() == 2 else units.mean((2, 3))


def find_penultimate(network: nn.Module, side_px: int, name: str) -> PenultimateUnits:
    """Find the units before the last layer of a network.

    Args:
        network: Network from images (N, 3, S, S) in [0, 1] to logits (N, C); frozen, in evaluation
            mode.
        side_px: Side of the images: S.
        name: Name of the model in errors.

    Raises:
        InputError: If the network does not run, or no layer gives its logits.
    """
    images = torch.full((1, 3, side_px, side_px), 0.5).to(next(network.parameters()))
    with users_code(name, f"does not run on images of {side_px} px:"):
        logits, candidates = _run(network, images)
        for layer_name in reversed(candidates):
            if _gives_logits(network, layer_name, images):
                units = named(PenultimateUnits(network, layer_name), name)
                activations = units(images.requires_grad_())
                units.width, units.bounds = activations.shape[1], _bounds_of(activations)
                return units
    raise InputError(
        f"No penultimate layer is found in {name}. Looked for a last nn.Linear or 1x1 convolution "
        f"that gives all {logits.shape[1]:,} logits: its inputs would be the units. Give a network "
        "that ends in one."
    )


def _run(network: nn.Module, images: torch.Tensor) -> tuple[torch.Tensor, list[str]]:
    """Logits, and names of the layers that may compute them, in the order of their last calls."""
    called: list[str] = []

    def note(name: str, _: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        if inputs[0].dim() in (2, 4):
            called.append(name)

    with ExitStack() as hooks, torch.no_grad():
        for name, layer in network.named_modules():
            if _is_linear(layer):
                hooks.enter_context(layer.register_forward_pre_hook(partial(note, name)))
        logits = network(images)
    if logits.dim() != 2:
        raise InputError(f"The network returns {list(logits.shape)}, expected logits [1, classes].")
    return logits, list(dict.fromkeys(reversed(called)))[::-1]


def _is_linear(layer: nn.Module) -> bool:
    return isinstance(layer, nn.Linear) or (
        isinstance(layer, nn.Conv2d) and layer.kernel_size == (1, 1) and layer.groups == 1
    )


def _gives_logits(network: nn.Module, layer_name: str, images: torch.Tensor) -> bool:
    """Whether each logit is one of the layer's outputs, which are replaced by test values."""

    def stand_in(_: nn.Module, __: Any, outputs: torch.Tensor) -> torch.Tensor:
        # Positive and the same everywhere: a ReLU or a mean over positions changes nothing.
        shape = (1, -1) + (1,) * (outputs.dim() - 2)
        values.append(torch.linspace(1, 2, outputs.shape[1], dtype=torch.float64))
        return values[-1].to(outputs).reshape(shape).expand_as(outputs).clone()

    values: list[torch.Tensor] = []
    layer = network.get_submodule(layer_name)
    with layer.register_forward_hook(stand_in), torch.no_grad():
        logits = network(images)[0].double().cpu()
    distances = (logits[:, None] - values[-1][None, :]).abs().amin(1)
    return bool((distances < 0.1 / len(values[-1])).all()) and len(logits.unique()) == len(logits)


def _bounds_of(activations: torch.Tensor) -> Bounds | None:
    """Bounds that an activation function sets, found through views, means and maxima."""
    node: Any = activations.grad_fn
    while node is not None:
        kind = node.name()
        if kind in _BOUNDED:
            return Bounds(*_BOUNDED[kind])
        if kind in _WITH_BOUNDS:
            low, high = (getattr(node, field) for field in _WITH_BOUNDS[kind])
            # Zero as well, since the padding of a pooling may add zeros.
            return None if None in (low, high) else Bounds(float(min(low, 0)), float(max(high, 0)))
        if kind not in _KEEPS_BOUNDS or getattr(node, "_saved_divisor_override", None):
            return None
        node = node.next_functions[0][0]
    return None
