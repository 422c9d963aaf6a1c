"""Random weights that a check can be made with.

As initialised, some networks do not tell images apart: without trained statistics the signal of
EfficientNet-Lite, ShuffleNet or GoogLeNet dies on its way through fifty layers, or grows without
bound, and vision transformers begin with a head of zeros. Their logits would differ by rounding
only, and parity would measure rounding against rounding. So each batch normalisation is given the
scale of what reaches it, and what is all zeros is drawn.

The same seed gives the same weights on every machine: scales are rounded to powers of two, which
no difference in the order of a sum can reach.
"""

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from torch import nn

    from ..zoo.architectures import Build


def random_network(build: "Build", crop_px: int, seed: int) -> "nn.Module":
    """A network with random weights, in evaluation mode; torch's own generator is left alone."""
    import torch

    # On the CPU: a GPU would draw other numbers.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = build(crop_px).eval()
        _draw_zero_weights(network)
        _scale_batchnorm(network, torch.randn(2, 3, crop_px, crop_px))
    return network


def _draw_zero_weights(network: "nn.Module") -> None:
    import torch

    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.dim() > 1 and not parameter.any():
                parameter.normal_(0, parameter[0].numel() ** -0.5)


def _scale_batchnorm(network: "nn.Module", images: "torch.Tensor") -> None:
    """Set each running variance to the mean square of what reaches it, layer after layer."""
    import torch
    from torch.nn.modules.batchnorm import _BatchNorm

    def set_variance(module: "nn.Module", inputs: "tuple[torch.Tensor, ...]") -> None:
        mean_square = float(inputs[0].double().square().mean())
        if isinstance(module.running_var, torch.Tensor) and mean_square > 0:
            module.running_var.fill_(2.0 ** round(math.log2(mean_square)))

    hooks = [
        module.register_forward_pre_hook(set_variance)
        for module in network.modules()
        if isinstance(module, _BatchNorm)
    ]
    if not hooks:
        return
    try:
        with torch.no_grad():
            network(images)
    finally:
        for hook in hooks:
            hook.remove()
