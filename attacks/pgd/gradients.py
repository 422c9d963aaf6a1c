"""Asking a network: logits, and with a gradient; exact arithmetic, and failures in one line.

Float32 with TF32 off, as the reference engine computes, and convolutions whose gradients are the
same each time: cuDNN has faster ones that add up in any order.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import nn

from ...contracts import AttackLoss
from ...errors import EngineError, EngineMemoryError, lacks_memory, reason_of
from .losses import losses_of


@dataclass(frozen=True)
class Gradients:
    """What a network says of N images.

    Attributes:
        logits: (N, C).
        losses: (N,).
        gradients: Of each image's loss: (N, 3, S, S).
    """

    logits: torch.Tensor
    losses: torch.Tensor
    gradients: torch.Tensor


def logits_of(network: nn.Module, images: torch.Tensor) -> torch.Tensor:
    """The logits of images, (N, C), without a gradient.

    Raises:
        EngineMemoryError: If there is no memory for so many.
    """
    with _in_memory(images), _exact(), torch.no_grad():
        logits: torch.Tensor = network(images)
        return logits


def gradients_of(
    network: nn.Module, images: torch.Tensor, losses: Sequence[AttackLoss], classes: torch.Tensor
) -> Gradients:
    """Logits, losses, and what changes each loss the most.

    Args:
        network: Takes images.
        images: (N, 3, S, S).
        losses: Of each image: N.
        classes: Of each image the class that its loss is about: (N,).

    Raises:
        EngineMemoryError: If there is no memory for so many.
        EngineError: If the network cannot be differentiated.
    """
    with _in_memory(images), _exact(), torch.enable_grad():
        leaf = images.detach().requires_grad_()
        logits: torch.Tensor = network(leaf)
        if not logits.requires_grad:
            raise EngineError(
                "The network's logits have no gradient: somewhere it leaves what PyTorch can "
                "differentiate, as with detach(), numpy or inference_mode. Expected a network of "
                "differentiable operators."
            )
        values = _losses(logits, losses, classes)
        (gradients,) = torch.autograd.grad(values.sum(), leaf)
    return Gradients(logits.detach(), values.detach(), gradients)


def _losses(
    logits: torch.Tensor, losses: Sequence[AttackLoss], classes: torch.Tensor
) -> torch.Tensor:
    """Of each image its own loss; a batch may hold attempts of several."""
    names = sorted(set(losses))
    if len(names) == 1:
        return losses_of(names[0], logits, classes)
    values = torch.zeros_like(logits[:, 0])
    for name in names:
        rows = torch.tensor([row for row, own in enumerate(losses) if own == name])
        rows = rows.to(logits.device)
        values = values.index_put((rows,), losses_of(name, logits[rows], classes[rows]))
    return values


@contextmanager
def _in_memory(images: torch.Tensor) -> Iterator[None]:
    try:
        yield
    except Exception as error:
        if not lacks_memory(error):
            raise
        raise EngineMemoryError(
            f"PyTorch has no memory on {images.device} to attack {len(images)} images at once: "
            f"{reason_of(error)}."
        ) from error


@contextmanager
def _exact() -> Iterator[None]:
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    before = cudnn.allow_tf32, matmul.allow_tf32, cudnn.deterministic, cudnn.benchmark
    cudnn.allow_tf32, matmul.allow_tf32 = False, False
    cudnn.deterministic, cudnn.benchmark = True, False
    try:
        yield
    finally:
        cudnn.allow_tf32, matmul.allow_tf32, cudnn.deterministic, cudnn.benchmark = before
