"""Measurements of a batch of N attempts at a step: one number for each row."""

import torch

NEARLY = 1e-6
"""Distance from epsilon that counts as being at it: some roundings of float32."""


def gradient_norms(gradients: torch.Tensor) -> torch.Tensor:
    """L2 norms in float64, where no square overflows: (N,)."""
    norms: torch.Tensor = torch.linalg.vector_norm(gradients.flatten(1), dim=1, dtype=torch.float64)
    return norms


def zero_shares(directions: torch.Tensor) -> torch.Tensor:
    """Share of components that are exactly zero, of directions in {-1, 0, 1}: (N,)."""
    moving = (directions * directions).flatten(1).sum(dim=1)
    return 1 - moving.double() / directions[0].numel()


def turned_shares(directions: torch.Tensor, before: torch.Tensor) -> torch.Tensor:
    """Share of components whose step reverses the one before: (N,).

    For directions in {-1, 0, 1}, products are several times as fast as comparisons.
    """
    products = (directions * before).flatten(1)
    moving, agreeing = (products * products).sum(dim=1), products.sum(dim=1)
    return (moving - agreeing).double() / (2 * products.shape[1])


def distances(images: torch.Tensor, clean: torch.Tensor) -> torch.Tensor:
    """L-infinity and L2 distances of images from the clean ones: (N, 2)."""
    moved = (images - clean).flatten(1)
    return torch.stack([moved.abs().amax(dim=1).double(), gradient_norms(moved)], dim=1)


def shares_at_bound(
    iterates: torch.Tensor, clean: torch.Tensor, epsilon: torch.Tensor
) -> torch.Tensor:
    """Share of components at epsilon (N, 1, 1, 1), or held back by the range of pixels: (N,)."""
    at_epsilon = (iterates - clean).abs() >= epsilon - NEARLY
    at_range = (iterates == 0) | (iterates == 1)
    return (at_epsilon | at_range).flatten(1).double().mean(dim=1)
