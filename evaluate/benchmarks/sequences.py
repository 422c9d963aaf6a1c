"""What became of videos of which a record has a row a frame: how often and how far classes move."""

from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from ...contracts import Condition
from ...errors import InputError, printable
from ..metrics.flip_probability import flip_rates
from ..metrics.frame_pairs import Pairs
from ..metrics.top5_distance import PLACES, top5_distances

SKIPPED = -1
"""In place of the number of a frame."""


@dataclass(frozen=True)
class Sequences:
    """What became of the N videos of one perturbation, in the order of their ids.

    Attributes:
        ids: (N,) strings.
        scored: Whether a video was scored, or else skipped: (N,).
        flip_probability: The fraction of its pairs of frames whose likeliest classes differ, 0
            where it was skipped: (N,).
        t5d: Its T5D in ranks, likewise: (N,).
    """

    ids: pa.ChunkedArray
    scored: npt.NDArray[np.bool_]
    flip_probability: npt.NDArray[np.float64]
    t5d: npt.NDArray[np.float64]

    @property
    def n(self) -> int:
        """How many were scored."""
        return int(np.count_nonzero(self.scored))

    @property
    def skipped(self) -> int:
        """How many were not."""
        return self.scored.size - self.n

    def also_scored(self, there: npt.NDArray[np.bool_]) -> Self:
        """With every video skipped that is not there."""
        return replace(self, scored=self.scored & there)


def sequences_of(
    records: pa.Table, condition: Condition, *, frames: int, pairs: Pairs
) -> Sequences:
    """What the records of a condition say became of its videos.

    Args:
        records: A row for each frame of each video, or one for a video that was skipped.
        condition: Whose they are, for messages.
        frames: Of each video.
        pairs: Which of its frames are compared.

    Raises:
        InputError: If a video has other frames, or other than five classes a frame.
    """
    numbers: npt.NDArray[np.int32] = pc.fill_null(records["frame"], SKIPPED).to_numpy()
    firsts = _first_rows(records, numbers, condition, frames)
    scored = numbers[firsts] != SKIPPED
    classes = pc.list_flatten(records["top5"]).to_numpy()
    if classes.size != np.count_nonzero(scored) * frames * PLACES:
        raise _not_as_written(condition, f"a frame has other than {PLACES} classes")
    top5 = classes.reshape(-1, frames, PLACES)
    return Sequences(
        records["id"].take(pa.array(firsts)),
        scored,
        _spread(flip_rates(top5[..., 0], pairs), scored),
        _spread(top5_distances(top5, pairs), scored),
    )


def _spread(values: npt.NDArray[np.float64], scored: npt.NDArray[np.bool_]) -> Any:
    """Each value at its video's place."""
    everywhere = np.zeros(scored.size)
    everywhere[scored] = values
    return everywhere


def _first_rows(
    records: pa.Table, numbers: npt.NDArray[np.int32], condition: Condition, frames: int
) -> npt.NDArray[np.int64]:
    """At which row each video begins, whose rows are its frames 0, 1, ... or a single error."""
    ids, rows = records["id"], numbers.size
    another = np.ones(rows, bool)
    another[1:] = pc.not_equal(ids[1:], ids[:-1]).to_numpy()
    firsts = np.flatnonzero(another | (numbers <= 0))
    lengths = np.diff(firsts, append=rows)
    position = np.arange(rows) - np.repeat(firsts, lengths)
    right = (np.maximum(numbers, 0) == position) & (another == (position == 0))
    right &= pc.is_null(records["error"]).to_numpy() == (numbers != SKIPPED)
    whole = lengths == np.where(numbers[firsts] == SKIPPED, 1, frames)
    if rows:
        whole &= np.logical_and.reduceat(right, firsts)
    if not whole.all():
        video = int(np.argmin(whole))
        name = ids[int(firsts[video])]
        found = records["frame"].filter(pc.equal(ids, name)).to_pylist()
        raise _not_as_written(
            condition,
            f"{printable(name.as_py())} has frames {_listed(found)}, expected 0 to {frames - 1}, "
            "or "
            "one row with an error",
        )
    return firsts


def _listed(numbers: list[int | None]) -> str:
    words = ["none" if number is None else str(number) for number in numbers]
    return ", ".join(words if len(words) <= 6 else [*words[:3], "...", *words[-2:]])


def _not_as_written(condition: Condition, what: str) -> InputError:
    return InputError(
        f"The records of {condition} are not as `evaluator score` writes them: {what}. Remove "
        f"records/{condition.folder} of the run; the same command makes it again."
    )
