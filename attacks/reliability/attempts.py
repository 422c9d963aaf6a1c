"""The records of an attack as arrays: what each attempt on each image came to within k steps.

Only images that were right from the start count: an attack has nothing to find on the others. An
image *stands* where no attempt on it, of any restart and loss, reached its goal within k steps. An
attack that reached its goal needs no more proof, so a faulty search matters where an image stands.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from ...errors import InputError

if TYPE_CHECKING:
    import pyarrow as pa

Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

GOALS = {"target": "target_step", "label": "changed_step"}
"""What an attack stops at, and the column that says at which step it got there."""


class Settings(Protocol):
    """What is read of an attack's settings (``AttackSettings``).

    Attributes:
        targeted: Whether the loss is lowered (towards a target) or raised (away from the label).
        stop: ``target`` or ``label``: what counts as reached.
        steps: The counts that are answered, ascending.
        step_size: In pixel units, or none where it is relative.
        relative_step: Step times steps over epsilon.
        restarts: How many starts an image may have.
        attempts: The same, each with every loss.
    """

    @property
    def targeted(self) -> bool: ...  # noqa: D102
    @property
    def stop(self) -> str: ...  # noqa: D102
    @property
    def steps(self) -> Sequence[int]: ...  # noqa: D102
    @property
    def step_size(self) -> float | None: ...  # noqa: D102
    @property
    def relative_step(self) -> float | None: ...  # noqa: D102
    @property
    def restarts(self) -> int: ...  # noqa: D102
    @property
    def attempts(self) -> int: ...  # noqa: D102


@dataclass(frozen=True)
class Attempts:
    """The attempts on the images that were right, N of them on I images.

    Attributes:
        ids: Of the images: (I,).
        image: Which image an attempt is on: (N,) indices into ``ids``.
        hit: The step at which an attempt reached its goal, 0 for never within k: (N,).
        steps: k, the count that is judged.
        table: The records themselves, N rows.
    """

    ids: Sequence[str]
    image: Ints
    hit: Ints
    steps: int
    table: "pa.Table"

    @property
    def images(self) -> int:
        """I, how many images were right."""
        return len(self.ids)

    @property
    def fell(self) -> Bools:
        """Whether any attempt on an image reached its goal: (I,)."""
        return self.any_of(self.hit > 0)

    @property
    def in_full(self) -> Bools:
        """Whether an attempt made all k steps: (N,). On an image that stands, all of them did."""
        return self.column("steps") >= self.steps

    def column(self, name: str) -> npt.NDArray[Any]:
        """One value an attempt: (N,)."""
        check_columns(self.table, (name,))
        return np.asarray(self.table.column(name).to_numpy())

    def lists(self, name: str, chosen: Bools) -> list[Floats]:
        """One list a chosen attempt, as far as its first k entries."""
        check_columns(self.table, (name,))
        found = self.table.column(name).filter(chosen).to_pylist()
        return [np.array(values or [], np.float64)[: self.steps] for values in found]

    def any_of(self, chosen: Bools) -> Bools:
        """Whether any of an image's attempts is chosen: (I,)."""
        return np.bincount(self.image[chosen], minlength=self.images) > 0

    def mean_of(self, values: npt.NDArray[Any], chosen: Bools) -> Floats:
        """The mean over an image's chosen attempts: (I,); NaN for an image that has none.

        Args:
            values: One for each chosen attempt.
            chosen: Which of the N attempts.
        """
        where = self.image[chosen]
        sums = np.bincount(where, values.astype(np.float64), self.images)
        counts = np.bincount(where, minlength=self.images)
        means: Floats = np.full(self.images, np.nan)
        np.divide(sums, counts, out=means, where=counts > 0)
        return means

    def first_hits(self) -> Ints:
        """The least step at which an image fell, of those that did."""
        never = np.iinfo(np.int64).max
        least = np.full(self.images, never)
        np.minimum.at(least, self.image, np.where(self.hit > 0, self.hit, never))
        return np.asarray(least[least < never])

    def by_id(self) -> Mapping[str, bool]:
        """Whether each image fell."""
        return dict(zip(self.ids, self.fell.tolist(), strict=True))


def attempts_of(table: "pa.Table", goal: str, steps: int) -> Attempts:
    """The attempts on images that were right, up to a count of steps.

    Args:
        table: Records: at least ``id``, ``label``, ``clean`` and the goal's column; rows with an
            ``error`` are left out.
        goal: ``target`` or ``label``.
        steps: What is hit later counts as never.

    Raises:
        InputError: If a column is missing.
    """
    column = GOALS[goal]
    check_columns(table, ("id", "label", "clean", column))
    right = _filled(table, "clean", -1) == _filled(table, "label", -2)
    if "error" in table.column_names:
        right &= np.array(table.column("error").is_null().to_numpy(), bool)
    kept = table.filter(right)
    ids, image = np.unique(np.array(kept.column("id").to_pylist(), object), return_inverse=True)
    hit = _filled(kept, column, 0)
    return Attempts(
        ids.tolist(), image.astype(np.int64), np.where(hit > steps, 0, hit), steps, kept
    )


def check_columns(table: "pa.Table", needed: Sequence[str]) -> None:
    """Refuse records that lack what is asked of them."""
    if missing := [name for name in needed if name not in table.column_names]:
        raise InputError(
            "The records of an attack cannot be judged: they lack the columns "
            f"{', '.join(missing)}."
        )


def _filled(table: "pa.Table", column: str, null: int) -> Ints:
    return np.asarray(table.column(column).fill_null(null).to_numpy(), np.int64)
