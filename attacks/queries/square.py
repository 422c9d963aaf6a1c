"""Square attack in L-infinity: a random search that changes one square of an image in each query.

    query 1     x_1 = clip(x + epsilon s),  s in {-1, 1} for each channel and column
    query q     side  = round(sqrt(p_q S^2)), at least 1; a place for it, uniform over all
                x'    = x_best, but in the square x_best + 2 epsilon s,  s in {-1, 1} a channel,
                        clipped to [x - epsilon, x + epsilon] and to [0, 1]
                x_best = x' where that lowers the margin z_y - max_{i != y} z_i
    p_q         0.8, halved at iterations 10, 50, 200, 500, 1000, 2000, 4000, 6000 and 8000 of
                10000, rescaled to the number of queries

As x_best is always at its bounds, a change of 2 epsilon leads to the bound of that sign: x' is set
to clip(x + epsilon s) there, which rounding cannot move.

Source: Andriushchenko, Croce, Flammarion & Hein, "Square Attack: a query-efficient black-box
adversarial attack via random search", ECCV 2020, Algorithms 1 and 2; p and the schedule are those
of AutoAttack (Croce & Hein, ICML 2020), which has the halving at 500 as well and counts iterations
from 0 at the first square. The square may be anywhere, as in the paper; their code leaves out the
last row and column.
"""

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from ..randomness import square_draw, stripe_signs

FIRST_SHARE = 0.8
"""Share of an image that the first squares cover."""

HALVINGS = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)
"""Iterations, of 10000, after which the share is halved."""


@dataclass(frozen=True)
class Square:
    """The part of an image that a query changes.

    Attributes:
        top: First row.
        left: First column.
        side_px: Side of the square.
        signs: Direction of each channel and column of the image: (3, S) or (3, 1).
    """

    top: int
    left: int
    side_px: int
    signs: npt.NDArray[np.float64]


def square_of(seed: int, identity: str, query: int, *, queries: int, image_px: int) -> Square:
    """The square of a query; the first query changes the whole image, in stripes.

    Args:
        seed: Seed of the attack.
        identity: Id of the image.
        query: Number of the query, from 1.
        queries: Largest number of queries.
        image_px: Side of the image.
    """
    if query == 1:
        return Square(0, 0, image_px, stripe_signs(seed, identity, image_px))
    side_px = square_side_px(query, queries, image_px)
    top, left, signs = square_draw(seed, identity, query, image_px - side_px + 1)
    return Square(top, left, side_px, signs[:, None])


def square_side_px(query: int, queries: int, image_px: int) -> int:
    """Side of a query's square.

    Example:
        >>> [square_side_px(query, 10000, 224) for query in (2, 12, 13, 52, 53, 9999)]
        [200, 200, 142, 142, 100, 9]
    """
    iteration = (query - 2) * 10000 // queries
    share = FIRST_SHARE / 2 ** bisect_left(HALVINGS, iteration)
    return max(round(math.sqrt(share * image_px**2)), 1)


def with_squares(
    images: torch.Tensor, clean: torch.Tensor, epsilon: torch.Tensor, squares: Sequence[Square]
) -> torch.Tensor:
    """Images with a square of each one changed: (N, 3, S, S).

    Args:
        images: Best queries so far: (N, 3, S, S).
        clean: Clean images: (N, 3, S, S).
        epsilon: Epsilons: (N, 1, 1, 1).
        squares: Square of each image: N.
    """
    image_px = images.shape[-1]
    # All in one transfer to the device: (N, 3, 1, S).
    signs = np.stack([np.broadcast_to(square.signs, (3, image_px)) for square in squares])
    moves = torch.from_numpy(signs[:, :, None]).to(images) * epsilon
    changed = images.clone()
    for row, square in enumerate(squares):
        down = slice(square.top, square.top + square.side_px)
        across = slice(square.left, square.left + square.side_px)
        moved = clean[row, :, down, across] + moves[row, :, :, across]
        changed[row, :, down, across] = moved.clamp_(0, 1)
    return changed
