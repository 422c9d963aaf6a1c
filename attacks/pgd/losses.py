"""Losses that an attack descends or ascends: one number for each image, from its logits.

    cross-entropy   -log softmax(z)_c          towards a target, c is the target, and it falls;
                                               away from a label, c is the label, and it rises
    DLR             -(z_y - max_{i != y} z_i) / (z_(1) - z_(3))          z_(1) >= z_(2) >= z_(3)

DLR does not change with the scale of the logits, so a confident network does not flatten it.
Source: Croce & Hein, "Reliable evaluation of adversarial robustness with an ensemble of diverse
parameter-free attacks", ICML 2020, equation 5.
"""

import torch
from torch.nn import functional

from ...contracts import AttackLoss

_SMALLEST = 1e-12
"""Added to the divisor of DLR, which three equal logits would make 0; as in the authors' code."""


def losses_of(name: AttackLoss, logits: torch.Tensor, classes: torch.Tensor) -> torch.Tensor:
    """The loss of each image.

    Args:
        name: Name of the loss.
        logits: (N, C).
        classes: The target of a targeted attack, else the label: (N,).

    Returns:
        (N,).
    """
    if name == "dlr":
        return dlr(logits, classes)
    return functional.cross_entropy(logits, classes, reduction="none")


def dlr(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Difference of logits ratio: positive where the label is not the likeliest class.

    Two classes have no third logit, and dividing by their own difference would leave only the sign,
    without a gradient. It is the negative margin then.

    Args:
        logits: (N, C), of two classes or more.
        labels: (N,).

    Returns:
        (N,).

    Example:
        >>> dlr(torch.tensor([[4.0, 1.0, 2.0, 0.0]]), torch.tensor([0]))
        tensor([-0.6667])
    """
    margin = margins(logits, labels)
    if logits.shape[1] == 2:
        return -margin
    ranked = logits.topk(3, dim=1).values
    return -margin / (ranked[:, 0] - ranked[:, 2] + _SMALLEST)


def margins(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Logit of the label minus the largest other logit.

    Args:
        logits: (N, C), of two classes or more.
        labels: (N,).

    Returns:
        (N,).

    Example:
        >>> margins(torch.tensor([[4.0, 1.0, 2.0, 0.0]]), torch.tensor([0]))
        tensor([2.])
    """
    own = logits.gather(1, labels[:, None])[:, 0]
    # The index picks one of equal logits: a maximum's own gradient would be shared among them.
    others = logits.detach().scatter(1, labels[:, None], -torch.inf).argmax(dim=1)
    return own - logits.gather(1, others[:, None])[:, 0]
