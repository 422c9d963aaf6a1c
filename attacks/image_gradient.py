"""Gradients of a network's outputs with respect to its images.

The whole backward pass runs: ``torch.autograd.grad`` would refuse networks that checkpoint their
activations with ``use_reentrant=True``.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from ..errors import EngineError


@contextmanager
def gradients_of_images(network: nn.Module) -> Iterator[None]:
    """Gradients on, and off for the network's parameters, which get none."""
    trainable = [parameter for parameter in network.parameters() if parameter.requires_grad]
    for parameter in trainable:
        parameter.requires_grad_(False)
    try:
        with torch.enable_grad():
            yield
    finally:
        for parameter in trainable:
            parameter.requires_grad_(True)


def image_gradient(value: torch.Tensor, images: torch.Tensor) -> torch.Tensor:
    """Gradient of a number with respect to images, which are a leaf without a gradient.

    Raises:
        EngineError: If the number does not depend on the images by differentiable operators.
    """
    if value.requires_grad:
        value.backward()  # type: ignore[no-untyped-call]
    if images.grad is None:
        raise EngineError(
            "The network's logits have no gradient: some operation cannot be differentiated, "
            "such as detach(), numpy or inference_mode. Expected a network of differentiable "
            "operators."
        )
    return images.grad
