"""Random weights that networks can be checked with.

As initialised, some networks give all images the same logits: without trained statistics the signal
of EfficientNet-Lite, ShuffleNet or GoogLeNet vanishes over fifty layers or grows without bound, and
vision transformers begin with a head of zeros. Their logits would differ by rounding only, and
parity would compare rounding with rounding. So each batch normalisation gets the scale of its
input, and weights that are all zeros are drawn.

The same seed gives the same weights on every machine: scales are rounded to powers of two, so that
the order of a sum does not change them.
"""

import math
from contextlib import ExitStack
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from torch import nn

    from ..zoo.rows import Build


def random_network(build: "Build", crop_px: int, seed: int) -> "nn.Module":
    """A network with random weights, in evaluation mode; PyTorch's own generator is unchanged."""
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
    """Set each running variance to the mean square of its layer's input, layer after layer."""
    import torch
    from torch.nn.modules.batchnorm import _BatchNorm

    def set_variance(module: "nn.Module", inputs: "tuple[torch.Tensor, ...]") -> None:
        mean_square = float(inputs[0].double().square().mean())
        if isinstance(module.running_var, torch.Tensor) and mean_square > 0:
            module.running_var.fill_(2.0 ** round(math.log2(mean_square)))

    norms = [module for module in network.modules() if isinstance(module, _BatchNorm)]
    if norms:
        with ExitStack() as hooks, torch.no_grad():
            for norm in norms:
                hooks.enter_context(norm.register_forward_pre_hook(set_variance))
            network(images)
