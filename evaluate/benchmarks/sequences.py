"""Outcomes of videos, from records with a row per frame: how often and how far classes move."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from ...contracts import Condition
from ...errors import InputError, printable
from ..metrics.frame_changes import PLACES, Pairs, flip_rates, top5_distances
from .numbers import ScoredItems

SKIPPED = -1
"""Stands for the frame number of a video that was skipped."""


@dataclass(frozen=True)
class Sequences(ScoredItems):
    """Outcomes of the N videos of one perturbation, in the order of their ids.

    Attributes:
        ids: Ids of the videos: (N,) strings.
        flip_probability: Fraction of each video's pairs of frames whose likeliest classes differ; 0
            if it was skipped: (N,).
        t5d: T5D of each video in ranks, likewise: (N,).
    """

    ids: pa.ChunkedArray
    flip_probability: npt.NDArray[np.float64]
    t5d: npt.NDArray[np.float64]


def sequences_of(
    records: pa.Table, condition: Condition, *, frames: int, pairs: Pairs
) -> Sequences:
    """The outcomes of a condition's videos.

    Args:
        records: A row for each frame of each video; a single row for a video that was skipped.
        condition: Condition of the records, for messages.
        frames: Number of frames of each video.
        pairs: Pairs of frames that are compared.

    Raises:
        InputError: If a video has other frames, or a frame has not five classes.
    """
    numbers: npt.NDArray[np.int32] = pc.fill_null(records["frame"], SKIPPED).to_numpy()
    firsts = _first_rows(records, numbers, condition, frames)
    scored = numbers[firsts] != SKIPPED
    classes = pc.list_flatten(records["top5"]).to_numpy()
    if classes.size != np.count_nonzero(scored) * frames * PLACES:
        raise _not_as_written(condition, f"a frame does not have {PLACES} classes")
    top5 = classes.reshape(-1, frames, PLACES)
    return Sequences(
        scored,
        records["id"].take(pa.array(firsts)),
        _spread(flip_rates(top5[..., 0], pairs), scored),
        _spread(top5_distances(top5, pairs), scored),
    )


def _spread(values: npt.NDArray[np.float64], scored: npt.NDArray[np.bool_]) -> Any:
    """The values at the places of the scored videos, 0 elsewhere."""
    everywhere = np.zeros(scored.size)
    everywhere[scored] = values
    return everywhere


def _first_rows(
    records: pa.Table, numbers: npt.NDArray[np.int32], condition: Condition, frames: int
) -> npt.NDArray[np.int64]:
    """The first row of each video, whose rows are its frames 0, 1, ... or a single error."""
    ids, rows = records["id"], numbers.size
    new_id = np.ones(rows, bool)
    new_id[1:] = pc.not_equal(ids[1:], ids[:-1]).to_numpy()
    firsts = np.flatnonzero(new_id | (numbers <= 0))
    lengths = np.diff(firsts, append=rows)
    position = np.arange(rows) - np.repeat(firsts, lengths)
    right = (np.maximum(numbers, 0) == position) & (new_id == (position == 0))
    right &= pc.is_null(records["error"]).to_numpy() == (numbers != SKIPPED)
    whole = lengths == np.where(numbers[firsts] == SKIPPED, 1, frames)
    if rows:
        whole &= np.logical_and.reduceat(right, firsts)
    if not whole.all():
        video = int(np.argmin(whole))
        name = ids[int(firsts[video])]
        frame_numbers = records["frame"].filter(pc.equal(ids, name)).to_pylist()
        raise _not_as_written(
            condition,
            f"{printable(name.as_py())} has frames {_listed(frame_numbers)}, expected 0 to "
            f"{frames - 1}, or one row with an error",
        )
    return firsts


def _listed(numbers: list[int | None]) -> str:
    words = ["none" if number is None else str(number) for number in numbers]
    return ", ".join(words if len(words) <= 6 else [*words[:3], "...", *words[-2:]])


def _not_as_written(condition: Condition, what: str) -> InputError:
    return InputError(
        f"The records of {condition} are not as `evaluator score` writes them: {what}. Remove "
        f"records/{condition.folder} of the run and repeat the command that scored it."
    )
