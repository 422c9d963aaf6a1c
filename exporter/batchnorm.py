"""Folding batch normalisation into the convolution before it, in float64.

    y = gamma (conv(x) - mean) / sqrt(var + eps) + beta        is a convolution with
    w' = w gamma / sqrt(var + eps),    b' = (b - mean) gamma / sqrt(var + eps) + beta

Done here and not by the exporter: its own fold computes in float32 and has had faults that gave
0 % accuracy (pytorch#169178, #166797). Which convolution feeds which normalisation is found by
running the network once, since what runs counts and not how the modules are named or nested.
"""

from collections import Counter
from typing import TYPE_CHECKING

from ..errors import InputError

if TYPE_CHECKING:
    import torch
    from torch import nn


def fold_batchnorm(network: "nn.Module", example: "torch.Tensor") -> None:
    """Replace every BatchNorm of a network in evaluation mode, in place.

    A BatchNorm that alone follows a convolution is folded into it. Any other (before a
    convolution, as in DenseNet; behind a layer that runs twice) becomes one multiply and add.

    Args:
        network: In evaluation mode; changed in place.
        example: Images (1, 3, S, S) that the network takes.

    Raises:
        InputError: If a BatchNorm has no running statistics: it would mix the images of a batch.
    """
    from torch import nn
    from torch.nn.modules.batchnorm import _BatchNorm

    pairs = _pairs(network, example)
    for name, module in list(network.named_modules()):
        if not isinstance(module, _BatchNorm):
            continue
        if module.running_mean is None or module.running_var is None:
            raise InputError(
                f"The layer {name} normalises by the statistics of the batch, so an image's "
                "logits would depend on its companions. Such a network cannot be evaluated."
            )
        scale, shift = _affine(module)
        convolution = pairs.get(module)
        if convolution is not None:
            _fold(convolution, scale, shift)
            _replace(network, name, nn.Identity())
        else:
            _replace(network, name, _channel_affine(scale, shift))
    assert not any(isinstance(module, _BatchNorm) for module in network.modules())


def _pairs(network: "nn.Module", example: "torch.Tensor") -> "dict[nn.Module, nn.Conv2d]":
    """Each BatchNorm with the convolution that feeds it, where each of the two runs once."""
    import torch
    from torch import nn
    from torch.nn.modules.batchnorm import _BatchNorm

    runs: Counter[nn.Module] = Counter()
    made_by: dict[int, nn.Conv2d] = {}
    pairs: dict[nn.Module, nn.Conv2d] = {}
    alive: list[torch.Tensor] = []  # an id is only unique among living tensors

    def after_convolution(
        module: nn.Module, _: tuple[torch.Tensor, ...], output: torch.Tensor
    ) -> None:
        assert isinstance(module, nn.Conv2d)
        runs[module] += 1
        made_by[id(output)] = module
        alive.append(output)

    def before_batchnorm(module: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        runs[module] += 1
        if id(inputs[0]) in made_by:
            pairs[module] = made_by[id(inputs[0])]

    hooks = [
        module.register_forward_hook(after_convolution)
        for module in network.modules()
        if isinstance(module, nn.Conv2d)
    ] + [
        module.register_forward_pre_hook(before_batchnorm)
        for module in network.modules()
        if isinstance(module, _BatchNorm)
    ]
    try:
        with torch.inference_mode():
            network(example)
    finally:
        for hook in hooks:
            hook.remove()
    fed = Counter(pairs.values())
    return {
        norm: convolution
        for norm, convolution in pairs.items()
        if runs[norm] == 1 and runs[convolution] == 1 and fed[convolution] == 1
    }


def _affine(norm: "nn.Module") -> "tuple[torch.Tensor, torch.Tensor]":
    """Scale and shift (channels,) of a BatchNorm, float64."""
    import torch

    variance, mean = norm.running_var, norm.running_mean
    assert isinstance(variance, torch.Tensor)
    assert isinstance(mean, torch.Tensor)
    assert isinstance(norm.eps, float)
    scale = (variance.double() + norm.eps).rsqrt()
    if isinstance(norm.weight, torch.Tensor):
        scale = scale * norm.weight.double()
    shift = -mean.double() * scale
    if isinstance(norm.bias, torch.Tensor):
        shift = shift + norm.bias.double()
    return scale, shift


def _fold(convolution: "nn.Conv2d", scale: "torch.Tensor", shift: "torch.Tensor") -> None:
    from torch import nn

    weight = convolution.weight
    folded = weight.double() * scale.reshape(-1, 1, 1, 1)
    bias = shift if convolution.bias is None else convolution.bias.double() * scale + shift
    convolution.weight = nn.Parameter(folded.to(weight.dtype), requires_grad=False)
    convolution.bias = nn.Parameter(bias.to(weight.dtype), requires_grad=False)


def _channel_affine(scale: "torch.Tensor", shift: "torch.Tensor") -> "nn.Module":
    import torch
    from torch import nn

    class ChannelAffine(nn.Module):
        """One multiply and add for each channel of (N, channels, ...)."""

        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Buffer(scale.float())
            self.shift = nn.Buffer(shift.float())

        def forward(self, features: torch.Tensor) -> torch.Tensor:
            shape = (1, -1) + (1,) * (features.dim() - 2)
            return features * self.scale.reshape(shape) + self.shift.reshape(shape)

    return ChannelAffine()


def _replace(network: "nn.Module", name: str, module: "nn.Module") -> None:
    parent, _, child = name.rpartition(".")
    setattr(network.get_submodule(parent), child, module)
