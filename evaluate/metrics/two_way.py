"""The interval of a ratio over images that cross two sets of exemplars.

    r_b  =  sum_ij v_bi w_bj x_ij  /  sum_ij v_bi w_bj y_ij            b = 1..B

Image ij shows row exemplar i (for example its shape) in column exemplar j (its texture). Images
that share either are not independent, so it is wrong to resample single images, or one of the two
sets only. In each resample v_b counts how often each row exemplar was drawn, with replacement and
as many as there are, and w_b the same for columns, independently. The interval is from the 2.5 % to
the 97.5 % quantile of the r_b. It is somewhat too wide if images vary individually, never too
narrow: the variation of single images is counted three times.

Source: Owen, "The pigeonhole bootstrap", Annals of Applied Statistics 2007.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from ...errors import InputError
from .mean_interval import Floats, Interval

RESAMPLES = 2000
SEED = 0
_ENDS = (0.025, 0.975)
_LEAST_USABLE = 0.95
"""Least share of resamples with a denominator above zero; with fewer there are too few images."""
_ROUNDING = 1e-12


@dataclass(frozen=True)
class Crossed:
    """The two exemplars that each of N images shows, each kind numbered from 0.

    Attributes:
        rows: Exemplar of the first kind: (N,).
        columns: Exemplar of the second kind: (N,).
    """

    rows: npt.NDArray[np.intp]
    columns: npt.NDArray[np.intp]

    @property
    def counts(self) -> tuple[int, int]:
        """The number of exemplars of each kind."""
        return int(self.rows.max(initial=-1)) + 1, int(self.columns.max(initial=-1)) + 1


def crossed(rows: npt.ArrayLike, columns: npt.ArrayLike) -> Crossed:
    """The exemplars of images, from their names.

    Example:
        >>> crossed(["cat1", "cat2", "cat1"], ["dog3", "dog3", "car1"]).columns
        array([1, 1, 0])
    """
    return Crossed(*(np.unique(names, return_inverse=True)[1] for names in (rows, columns)))


@dataclass(frozen=True)
class Ratio:
    """A number that is one sum over N images divided by another.

    Attributes:
        above: Summand of each image in the numerator: (N,).
        below: Summand of each image in the denominator, at least zero: (N,).
    """

    above: Floats
    below: Floats

    @property
    def value(self) -> float:
        """The ratio.

        Raises:
            InputError: If the denominator is zero: 0 of 0 is not a rate of zero.
        """
        if not self.below.sum() > 0:
            raise InputError("A ratio over images needs at least one in its denominator, got none.")
        return float(self.above.sum() / self.below.sum())


def ratio_interval(ratios: Sequence[Ratio], images: Crossed) -> Interval | None:
    """The 95 % interval of a ratio, or of b - a for two of them: a, b.

    Args:
        ratios: One ratio over N images, or two over the same images, which are computed from the
            same resamples.
        images: Exemplars that the images show.

    Returns:
        Both ends. `None` if there are fewer than two exemplars of a kind, or if the resamples do
        not vary: an interval of width zero would claim certainty.
    """
    if min(images.counts) < 2:
        return None
    sums = resampled_sums(np.stack([sum for r in ratios for sum in (r.above, r.below)]), images)
    sums = sums[(sums[:, 1::2] > 0).all(axis=1)]
    if len(sums) < _LEAST_USABLE * RESAMPLES:
        return None
    values = (sums[:, ::2] / sums[:, 1::2]).T
    low, high = np.quantile(values[1] - values[0] if len(ratios) == 2 else values[0], _ENDS)
    return (float(low), float(high)) if high - low > _ROUNDING else None


def resampled_sums(
    values: Floats, images: Crossed, resamples: int = RESAMPLES, seed: int = SEED
) -> Floats:
    """Sums over images in each of B resamples, the same ones for all K values.

    Args:
        values: K numbers of each of N images: (K, N).
        images: Exemplars that the images show.
        resamples: Number of resamples, B.
        seed: Seed of the draws.

    Returns:
        (B, K).
    """
    rows, columns = images.counts
    row_draws, column_draws = _draws(rows, columns, resamples, seed)
    cells = images.rows * columns + images.columns
    sums = np.empty((resamples, len(values)))
    for k, numbers in enumerate(values):
        table = np.bincount(cells, numbers, rows * columns).reshape(rows, columns)
        sums[:, k] = np.einsum("bc,bc->b", row_draws @ table, column_draws)
    return sums


@lru_cache(maxsize=4)
def _draws(rows: int, columns: int, resamples: int, seed: int) -> tuple[Floats, Floats]:
    """How often each row exemplar is drawn in each resample, and each column exemplar."""
    generator = np.random.default_rng(seed)
    row_draws = generator.multinomial(rows, np.full(rows, 1 / rows), resamples)
    column_draws = generator.multinomial(columns, np.full(columns, 1 / columns), resamples)
    return row_draws.astype(np.float64), column_draws.astype(np.float64)
