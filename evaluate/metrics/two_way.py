"""The interval of a ratio over images that cross two sets of exemplars.

    r_b  =  sum_ij v_bi w_bj x_ij  /  sum_ij v_bi w_bj y_ij            b = 1..B

Image ij shows row exemplar i (its shape, say) in column exemplar j (its texture). Images that share
either are not independent, so neither may images be resampled one by one, nor one of the sets only:
in each resample v_b counts how often each row exemplar was drawn, with replacement and as many as
there are, and w_b the same for columns, independently. The interval is from the 2.5 % to the 97.5 %
quantile of the r_b. It is somewhat too wide where images differ for reasons of their own, never the
opposite: what is of one image alone is counted three times.

Source: Owen, "The pigeonhole bootstrap", Annals of Applied Statistics 2007.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from ...errors import InputError

Interval = tuple[float, float]
Floats = npt.NDArray[np.float64]

RESAMPLES = 2000
SEED = 0
_ENDS = (0.025, 0.975)
_MOST = 0.95
"""Of the resamples must have something below the line, or they are too few images."""
_ROUNDING = 1e-12


@dataclass(frozen=True)
class Crossed:
    """Which two exemplars each of N images shows, each kind numbered from 0.

    Attributes:
        rows: Of one kind: (N,).
        columns: Of the other: (N,).
    """

    rows: npt.NDArray[np.intp]
    columns: npt.NDArray[np.intp]

    @property
    def counts(self) -> tuple[int, int]:
        """How many exemplars there are of each kind."""
        return int(self.rows.max(initial=-1)) + 1, int(self.columns.max(initial=-1)) + 1


def crossed(rows: npt.ArrayLike, columns: npt.ArrayLike) -> Crossed:
    """Images by the names of their exemplars.

    Example:
        >>> crossed(["cat1", "cat2", "cat1"], ["dog3", "dog3", "car1"]).columns
        array([1, 1, 0])
    """
    return Crossed(*(np.unique(names, return_inverse=True)[1] for names in (rows, columns)))


@dataclass(frozen=True)
class Ratio:
    """A number that is one sum over N images divided by another.

    Attributes:
        above: What each image adds above the line: (N,).
        below: And below it, never less than zero: (N,).
    """

    above: Floats
    below: Floats

    @property
    def value(self) -> float:
        """The number.

        Raises:
            InputError: If there is nothing below the line: 0 of 0 is no rate of zero.
        """
        if not self.below.sum() > 0:
            raise InputError("A ratio over images needs one that counts below the line, got none.")
        return float(self.above.sum() / self.below.sum())


def ratio_interval(ratio: Ratio, images: Crossed) -> Interval | None:
    """The 95 % interval of a ratio.

    Args:
        ratio: Of N images.
        images: Which exemplars they show.

    Returns:
        None where there are fewer than two exemplars of a kind, or where resamples say nothing of a
        spread: an interval without a width would claim that there is no doubt.
    """
    return _interval([ratio], images)


def difference_interval(a: Ratio, b: Ratio, images: Crossed) -> Interval | None:
    """The 95 % interval of b - a: two ratios over the same images, in the same resamples.

    Args:
        a: Of N images.
        b: Of the same.
        images: Which exemplars they show.

    Returns:
        None as for ``ratio_interval``.
    """
    return _interval([b, a], images)


def resampled_sums(
    values: Floats, images: Crossed, resamples: int = RESAMPLES, seed: int = SEED
) -> Floats:
    """Sums over images in each of B resamples, the same ones for all K values.

    Args:
        values: K numbers of each of N images: (K, N).
        images: Which exemplars they show.
        resamples: B.
        seed: Of the draws.

    Returns:
        (B, K).
    """
    rows, columns = images.counts
    of_rows, of_columns = _draws(rows, columns, resamples, seed)
    cells = images.rows * columns + images.columns
    sums = np.empty((resamples, len(values)))
    for k, those in enumerate(values):
        table = np.bincount(cells, those, rows * columns).reshape(rows, columns)
        sums[:, k] = np.einsum("bc,bc->b", of_rows @ table, of_columns)
    return sums


@lru_cache(maxsize=4)
def _draws(rows: int, columns: int, resamples: int, seed: int) -> tuple[Floats, Floats]:
    """How often each row exemplar is drawn in each resample, and each column exemplar."""
    chance = np.random.default_rng(seed)
    of_rows = chance.multinomial(rows, np.full(rows, 1 / rows), resamples)
    of_columns = chance.multinomial(columns, np.full(columns, 1 / columns), resamples)
    return of_rows.astype(np.float64), of_columns.astype(np.float64)


def _interval(ratios: Sequence[Ratio], images: Crossed) -> Interval | None:
    """Of the first ratio, less the second if there is one."""
    if min(images.counts) < 2:
        return None
    sums = resampled_sums(np.stack([sum for r in ratios for sum in (r.above, r.below)]), images)
    sums = sums[(sums[:, 1::2] > 0).all(axis=1)]
    if len(sums) < _MOST * RESAMPLES:
        return None
    first, *others = (sums[:, ::2] / sums[:, 1::2]).T
    low, high = np.quantile(first - others[0] if others else first, _ENDS)
    return (float(low), float(high)) if high - low > _ROUNDING else None
