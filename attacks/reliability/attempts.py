"""The records of an attack as arrays: the result of each attempt on each image within k steps.

Only images that are right without an attack count: there is nothing to find on the others. An image
*falls* if an attempt on it, of any restart and loss, reached its goal within k steps, else it
*stands*. A success needs no proof, so a faulty search matters only if an image stands.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ...contracts import SUCCESS_STEP, Success
from ...errors import InputError

if TYPE_CHECKING:
    import pyarrow as pa

Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Attempts:
    """N attempts on the I images that are right without an attack.

    Attributes:
        ids: Ids of the images: (I,).
        image: Index into ``ids`` of each attempt's image: (N,).
        hit: Step at which each attempt reached its goal, 0 for never within k: (N,).
        steps: Count of steps that is assessed: k.
        table: Records of the attempts: N rows.
    """

    ids: Sequence[str]
    image: Ints
    hit: Ints
    steps: int
    table: "pa.Table"

    @property
    def images(self) -> int:
        """Number of images that are right without an attack: I."""
        return len(self.ids)

    @property
    def fell(self) -> Bools:
        """Whether each image fell: (I,)."""
        return self.any_of(self.hit > 0)

    @property
    def standing(self) -> Bools:
        """Whether each attempt is on an image that stands, and made all steps: (N,)."""
        return ~self.fell[self.image] & self.in_full

    @property
    def in_full(self) -> Bools:
        """Whether each attempt made all k steps, as all do on an image that stands: (N,)."""
        return self.column("steps") >= self.steps

    def column(self, name: str) -> npt.NDArray[Any]:
        """A value of each attempt: (N,)."""
        return np.asarray(self.table.column(name).to_numpy())

    def lists(self, name: str, chosen: Bools) -> list[Floats]:
        """A list of each chosen attempt, up to its first k entries."""
        lists = self.table.column(name).filter(chosen).to_pylist()
        return [np.array(values or [], np.float64)[: self.steps] for values in lists]

    def any_of(self, chosen: Bools) -> Bools:
        """Whether any attempt of each image is chosen: (I,)."""
        return np.bincount(self.image[chosen], minlength=self.images) > 0

    def standing_means(self, values: npt.ArrayLike) -> Floats:
        """Mean over each image's standing attempts: (I,); NaN for an image that has none.

        Args:
            values: Value of each standing attempt.
        """
        image = self.image[self.standing]
        sums = np.bincount(image, np.asarray(values, np.float64), self.images)
        counts = np.bincount(image, minlength=self.images)
        means: Floats = np.full(self.images, np.nan)
        np.divide(sums, counts, out=means, where=counts > 0)
        return means

    def first_hits(self) -> Ints:
        """First step at which each image fell, of those that did."""
        never = np.iinfo(np.int64).max
        least = np.full(self.images, never)
        np.minimum.at(least, self.image, np.where(self.hit > 0, self.hit, never))
        return np.asarray(least[least < never])

    def by_id(self) -> Mapping[str, bool]:
        """Whether each image fell, by id."""
        return dict(zip(self.ids, self.fell.tolist(), strict=True))


def attempts_of(table: "pa.Table", success: Success, steps: int) -> Attempts:
    """The attempts on images that are right without an attack, up to a count of steps.

    Args:
        table: Records: at least ``id``, ``label``, ``clean`` and the column of the success; rows
            with an ``error`` are left out.
        success: ``targeted`` or ``untargeted``.
        steps: Count of steps; later successes count as never.

    Raises:
        InputError: If a column is missing.
    """
    column = SUCCESS_STEP[success]
    check_columns(table, ("id", "label", "clean", column))
    right = _filled(table, "clean", -1) == _filled(table, "label", -2)
    if "error" in table.column_names:
        right &= np.array(table.column("error").is_null().to_numpy(), bool)
    rows = table.filter(right)
    ids, image = np.unique(np.array(rows.column("id").to_pylist(), object), return_inverse=True)
    hit = _filled(rows, column, 0)
    hit = np.where(hit > steps, 0, hit)
    return Attempts(ids.tolist(), image.astype(np.int64), hit, steps, rows)


def newly_fallen(before: Mapping[str, bool], after: Mapping[str, bool]) -> tuple[int, int]:
    """Number of images that fell in ``after`` but not in ``before``, and of images in both."""
    common = before.keys() & after.keys()
    return sum(after[image] and not before[image] for image in common), len(common)


def check_columns(table: "pa.Table", needed: Sequence[str]) -> None:
    """Refuse records that lack a column."""
    if missing := [name for name in needed if name not in table.column_names]:
        raise InputError(
            f"The attack cannot be assessed: its records lack the columns {', '.join(missing)}."
        )


def _filled(table: "pa.Table", column: str, null: int) -> Ints:
    return np.asarray(table.column(column).fill_null(null).to_numpy(), np.int64)
