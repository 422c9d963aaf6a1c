"""Logits and gradients of a network, in exact float32 and reproducible.

TF32 is off, as in the reference engine, and convolutions are deterministic: cuDNN has faster ones
that sum gradients in any order.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import nn

from ...contracts import AttackLoss
from ...errors import EngineMemoryError, InputError, lacks_memory, reason_of
from ...system.exact_float32 import exact_float32
from ...system.users_code import ONE_AT_A_TIME, check_logits, network_code
from ..image_gradient import gradients_of_images, image_gradient
from .losses import losses_of


@dataclass(frozen=True)
class Gradients:
    """Results of a network for N images.

    Attributes:
        logits: (N, C).
        losses: Loss of each image: (N,).
        gradients: Gradient of each image's loss: (N, 3, S, S).
    """

    logits: torch.Tensor
    losses: torch.Tensor
    gradients: torch.Tensor


def logits_of(network: nn.Module, images: torch.Tensor) -> torch.Tensor:
    """The logits of images, (N, C), without a gradient.

    Raises:
        EngineMemoryError: If they do not fit into memory.
        InputError: If the network raises an exception, or there is a single class.
    """
    with _reported(network, images), exact_float32(deterministic=True), torch.no_grad():
        return _logits(network, images)


def gradients_of(
    network: nn.Module, images: torch.Tensor, losses: Sequence[AttackLoss], classes: torch.Tensor
) -> Gradients:
    """Logits, losses, and the gradients of the losses.

    Args:
        network: Network of images.
        images: (N, 3, S, S).
        losses: Name of each image's loss: N.
        classes: Class that each image's loss refers to: (N,).

    Raises:
        EngineMemoryError: If they do not fit into memory.
        EngineError: If the network cannot be differentiated.
        InputError: If the network raises an exception, or there is a single class.
    """
    with (
        _reported(network, images),
        exact_float32(deterministic=True),
        gradients_of_images(network),
    ):
        leaf = images.detach().requires_grad_()
        logits = _logits(network, leaf)
        values = _losses(logits, losses, classes)
        gradients = image_gradient(values.sum(), leaf)
    return Gradients(logits.detach(), values.detach(), gradients)


def _logits(network: nn.Module, images: torch.Tensor) -> torch.Tensor:
    logits: torch.Tensor = network(images)
    check_logits(network, images, logits)
    if logits.shape[1] < 2:
        raise InputError("A network with a single class cannot be attacked: expected 2 or more.")
    return logits


def _losses(
    logits: torch.Tensor, losses: Sequence[AttackLoss], classes: torch.Tensor
) -> torch.Tensor:
    """The loss of each image; a batch may hold attempts with different losses."""
    names = sorted(set(losses))
    if len(names) == 1:
        return losses_of(names[0], logits, classes)
    values = torch.zeros_like(logits[:, 0])
    for name in names:
        rows = torch.tensor([row for row, loss in enumerate(losses) if loss == name])
        rows = rows.to(logits.device)
        values = values.index_put((rows,), losses_of(name, logits[rows], classes[rows]))
    return values


@contextmanager
def _reported(network: nn.Module, images: torch.Tensor) -> Iterator[None]:
    """Report what the network's code raises, and whether memory is missing, as one line."""
    with network_code(network, images, ONE_AT_A_TIME):
        try:
            yield
        except Exception as error:
            if not lacks_memory(error):
                raise
            raise EngineMemoryError(
                f"PyTorch is out of memory on {images.device} with {len(images)} images per batch: "
                f"{reason_of(error)}."
            ) from error
