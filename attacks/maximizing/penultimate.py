"""The units before the last layer of a network: what its logits are a linear function of.

The last layer is the last ``nn.Linear``, or convolution of 1x1, whose outputs are the logits. It is
found by running the network once on grey and trying each such layer, the last one first: made-up
outputs are put in the place of its own, and each logit must be one of them. So a branch beside it,
whose logits are mixed with those of another, is no last layer; outputs that are gathered into
another order of classes are.

The units are the layer's input, flattened; where a convolution reads a map, the mean over its
positions. Bounds of the units are read from the graph of the gradient, behind which it does not
matter whether an activation is a module or a function.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from ...errors import EvaluatorError, InputError, reason_of

_PASSED_ON = {
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
"""Operations whose results lie within the bounds of what they are given: views, means, maxima."""

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
    """Between which every unit lies, whatever the image."""

    low: float
    high: float

    def greatest_probability(self, width: int) -> float:
        """Of one unit under a softmax over ``width`` of them: it at its highest, all else lowest.

        Example:
            >>> round(Bounds(0, 6).greatest_probability(1280), 4)
            0.2398
        """
        return 1 / (1 + (width - 1) * math.exp(self.low - self.high))


class PenultimateUnits(nn.Module):
    """From images (N, 3, S, S) in [0, 1] to the units before the last layer (N, width).

    Attributes:
        layer_name: Of the last layer, in the network.
        width: How many units there are.
        bounds: Of every unit, where an activation sets them.
    """

    def __init__(self, network: nn.Module, layer_name: str) -> None:
        super().__init__()
        self.layer_name, self.width = layer_name, 0
        self.bounds: Bounds | None = None
        self._network, self._layer = network, network.get_submodule(layer_name)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """The units of some images."""
        taken: list[torch.Tensor] = []
        hook = self._layer.register_forward_pre_hook(lambda _, inputs: taken.append(inputs[0]))
        try:
            self._network(images)
        finally:
            hook.remove()
        return taken[-1] if taken[-1].dim() == 2 else taken[-1].mean((2, 3))


def find_penultimate(network: nn.Module, side_px: int, name: str) -> PenultimateUnits:
    """The units before the last layer of a network.

    Args:
        network: From images (N, 3, S, S) in [0, 1] to logits (N, C); frozen, in evaluation mode.
        side_px: S.
        name: What an error calls the model.

    Raises:
        InputError: If the network does not run, or no layer gives its logits.
    """
    images = torch.full((1, 3, side_px, side_px), 0.5).to(next(network.parameters()))
    with _told_in_one_line(name, side_px):
        logits, candidates = _probed(network, images)
        for layer_name in reversed(candidates):
            if _gives_logits(network, layer_name, images):
                units = PenultimateUnits(network, layer_name)
                activations = units(images.requires_grad_())
                units.width, units.bounds = activations.shape[1], _bounds_of(activations)
                return units
    raise InputError(
        f"No penultimate layer is found in {name}. Looked for a last nn.Linear or 1x1 convolution "
        f"that gives all {logits.shape[1]:,} logits: its inputs would be the units. Give a network "
        "that ends in one."
    )


@contextmanager
def _told_in_one_line(name: str, side_px: int) -> Iterator[None]:
    try:
        yield
    except EvaluatorError:
        raise
    except Exception as error:  # whatever a network raises on images that it cannot take
        raise InputError(
            f"{name} does not run on images of {side_px} px: {reason_of(error)}."
        ) from error


def _probed(network: nn.Module, images: torch.Tensor) -> tuple[torch.Tensor, list[str]]:
    """Logits, and the names of the layers that may give them, in the order of their last calls."""
    called: list[str] = []

    def note(name: str) -> Any:
        def hook(_: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
            if inputs[0].dim() in (2, 4):
                called.append(name)

        return hook

    layers = {name: layer for name, layer in network.named_modules() if _is_linear(layer)}
    hooks = [layer.register_forward_pre_hook(note(name)) for name, layer in layers.items()]
    try:
        with torch.no_grad():
            logits = network(images)
    finally:
        for hook in hooks:
            hook.remove()
    if logits.dim() != 2:
        raise InputError(f"A network gives {list(logits.shape)}, expected logits [1, classes].")
    return logits, list(dict.fromkeys(reversed(called)))[::-1]


def _is_linear(layer: nn.Module) -> bool:
    return isinstance(layer, nn.Linear) or (
        isinstance(layer, nn.Conv2d) and layer.kernel_size == (1, 1) and layer.groups == 1
    )


def _gives_logits(network: nn.Module, layer_name: str, images: torch.Tensor) -> bool:
    """Whether each logit is one of the layer's outputs: those are replaced, and looked for."""

    def stand_in(_: nn.Module, __: Any, outputs: torch.Tensor) -> torch.Tensor:
        # Positive and the same everywhere: a ReLU or a mean over positions changes nothing.
        shape = (1, -1) + (1,) * (outputs.dim() - 2)
        values.append(torch.linspace(1, 2, outputs.shape[1], dtype=torch.float64))
        return values[-1].to(outputs).reshape(shape).expand_as(outputs).clone()

    values: list[torch.Tensor] = []
    hook = network.get_submodule(layer_name).register_forward_hook(stand_in)
    try:
        with torch.no_grad():
            logits = network(images)[0].double().cpu()
    finally:
        hook.remove()
    apart = (logits[:, None] - values[-1][None, :]).abs().amin(1)
    return bool((apart < 0.1 / len(values[-1])).all()) and len(logits.unique()) == len(logits)


def _bounds_of(activations: torch.Tensor) -> Bounds | None:
    """What an activation function bounds, followed back through views, means and maxima."""
    node: Any = activations.grad_fn
    while node is not None:
        kind = node.name()
        if kind in _BOUNDED:
            return Bounds(*_BOUNDED[kind])
        if kind in _WITH_BOUNDS:
            low, high = (getattr(node, field) for field in _WITH_BOUNDS[kind])
            # Zero as well: padding of a pooling may have brought zeros in.
            return None if None in (low, high) else Bounds(float(min(low, 0)), float(max(high, 0)))
        if kind not in _PASSED_ON or getattr(node, "_saved_divisor_override", None):
            return None
        node = node.next_functions[0][0]
    return None
