"""Whether labels that were read as class indices seem to count from 1.

Indices count the sorted WordNet ids from 0. A list that counts from 1 has the same form, so only
the predictions of a model show it.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ...contracts import Progress, Run, Shard
from ...records.shards import read_records
from .selection import Selection

ALMOST_NONE = 0.02
"""Share of images that are right, at and below which the labels are suspected."""

EVIDENCE = 0.05
"""Share of images that would be right with classes one lower, from which this is evidence. A wrong
prediction is that class by chance in one of 1000 images."""


def report_suspect_labels(
    run: Run, shards: Sequence[Shard], selection: Selection, progress: Progress
) -> None:
    """Note that the class indices of the selected images seem to count from 1."""
    if not selection.index_places:
        return
    text = suspicion(*_predictions(run, shards), ", ".join(selection.index_places))
    if text is not None:
        progress.note(text)


def suspicion(
    predicted: npt.NDArray[np.int64], labels: npt.NDArray[np.int64], place: str
) -> str | None:
    """A sentence on labels that seem to count from 1; `None` if they do not.

    Args:
        predicted: Likeliest class of each image, (N,).
        labels: Its label, (N,).
        place: Place that the class indices were read from.

    Example:
        >>> from_one = np.arange(20) + 1
        >>> suspicion(np.arange(20), from_one, "list.txt")
        'warning: 0 of 20 images are right by the class indices of list.txt, but 20 would be if \
these count from 1. Subtract 1 from each, or give WordNet ids.'
    """
    images, right = len(labels), int((predicted == labels).sum())
    one_lower = int((predicted == labels - 1).sum())
    if right > ALMOST_NONE * images or one_lower < max(2, EVIDENCE * images):
        return None
    return (
        f"warning: {right:,} of {images:,} images are right by the class indices of {place}, but "
        f"{one_lower:,} would be if these count from 1. Subtract 1 from each, or give WordNet ids."
    )


def _predictions(
    run: Run, shards: Sequence[Shard]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """The likeliest class and the label of each image of the first condition that was scored."""
    predicted: dict[str, int] = {}
    labels: dict[str, int] = {}
    for shard in shards:
        if shard.condition != shards[0].condition:
            continue
        for row in read_records(run, shard).to_pylist():
            if row["error"] is None:
                predicted[row["id"]] = row["top5"][0] if "top5" in row else row["clean"]
                labels[row["id"]] = row["label"]
    return np.array([*predicted.values()], np.int64), np.array([*labels.values()], np.int64)
