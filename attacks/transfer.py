"""Images that were made on one model, the source, as another one, the victim, classifies them.

    records    those of the attack on the source, and of each attempt what the victim sees in the
               image that was handed on: the first hit, or the last iterate
    right      at k steps, by first hits: the victim is right on the image of the first attempt that
               reached the goal by then, and where none did on the clean image
               by last iterates: the victim is right on the image of every attempt

Which images the victim gets wrong without an attack plays no part in that, as in the paper, whose
figure is the victim's accuracy on what it is handed.

Source: Orhan, arXiv 1907.07640, and ``evaluate_blackbox.py`` of eminorhan/resnext-wsl: foolbox 1.8
hands back the clean image where the target was not reached.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from ..contracts import AttackSettings, TransferredImage
from ..errors import InputError
from .attack_counts import AttackCounts, attack_counts
from .pgd.attempts import AttemptResult
from .records import SCHEMA

TRANSFER_SCHEMA = pa.schema(
    [
        *SCHEMA,
        pa.field("victim_clean", pa.int32()),
        pa.field("victim", pa.int32()),
    ]
)
"""``victim_clean`` is the victim's class without an attack, ``victim`` that of the image that the
attempt handed on; none where it handed none on, so that the clean image stands for it."""


@dataclass(frozen=True)
class TransferCounts:
    """Of n images: how many are what; one number for each count of steps where it depends on it.

    Attributes:
        source: Of the source, under the attack on itself.
        clean: Of the victim: right without an attack.
        right: Of the victim: right on what it is handed: K.
        both: Of the victim: right with and without: K.
    """

    source: AttackCounts
    clean: int
    right: tuple[int, ...]
    both: tuple[int, ...]


def check_transfer(settings: AttackSettings, image: TransferredImage) -> None:
    """Refuse what would not be one image for each count of steps.

    Raises:
        InputError: If the word is unknown, or last iterates are asked for at several counts.
    """
    if image not in ("first-hit", "last"):
        raise InputError(f"Unknown image {image!r} to hand on: expected first-hit or last.")
    if image == "last" and len(settings.steps) > 1:
        counts = ", ".join(map(str, settings.steps))
        raise InputError(
            f"The last iterates after {counts} steps are different images: give one count of "
            "steps, or hand on first-hit images, of which one attack answers all counts."
        )


def hands_on(attempt: AttemptResult, settings: AttackSettings, image: TransferredImage) -> bool:
    """Whether the image of this attempt is the victim's to classify."""
    if attempt.adversarial is None:
        return False
    return image == "last" or bool(_success(attempt, settings))


def _success(attempt: AttemptResult, settings: AttackSettings) -> int | None:
    return attempt.target_step if settings.stop == "target" else attempt.changed_step


def transfer_records(
    records: pa.RecordBatch,
    clean: Mapping[str, int],
    victims: Mapping[tuple[str, int], int],
) -> pa.Table:
    """The records of an attack with what the victim says.

    Args:
        records: Of the attack on the source, of ``records.SCHEMA``.
        clean: Of each image that was not skipped: the victim's class without an attack.
        victims: Its class of what was handed on, by image and attempt.
    """
    ids, attempts = records["id"].to_pylist(), records["attempt"].to_pylist()
    without = [clean.get(id) for id in ids]
    under = [victims.get((id, attempt)) for id, attempt in zip(ids, attempts, strict=True)]
    columns = [*records.columns, pa.array(without, pa.int32()), pa.array(under, pa.int32())]
    return pa.Table.from_arrays(columns, schema=TRANSFER_SCHEMA)


def transfer_counts(
    records: pa.Table, settings: AttackSettings, image: TransferredImage
) -> TransferCounts:
    """Count the images of one epsilon.

    Args:
        records: All of the condition's, of ``TRANSFER_SCHEMA``.
        settings: Of the attack on the source.
        image: Which one was handed on.

    Raises:
        InputError: If an image has fewer steps than are asked for and is not decided by them.

    Example:
        >>> import pyarrow as pa
        >>> from .protocols import attack_settings
        >>> row = {"id": "a", "attempt": 0, "label": 1, "clean": 1, "steps": 7}
        >>> row |= {"target_step": 7, "changed_step": 2, "victim_clean": 1, "victim": 3}
        >>> table = pa.Table.from_pylist([row], TRANSFER_SCHEMA)
        >>> settings = attack_settings("paper", steps=(5, 10))
        >>> counts = transfer_counts(table, settings, "first-hit")
        >>> counts.clean, counts.right, counts.source.under_attack
        (1, (1, 0), (1, 0))
    """
    source = attack_counts(records, settings)
    there = records.filter(pc.is_null(records["error"]))
    clean, right = _right(there, settings, image)
    return TransferCounts(
        source=source,
        clean=int(np.count_nonzero(clean)),
        right=tuple(int(np.count_nonzero(mask)) for mask in right),
        both=tuple(int(np.count_nonzero(mask & clean)) for mask in right),
    )


def fooled_by_transfer(records: pa.Table) -> pa.Table:
    """What the images did to the victim, as a probe of an attack on the victim itself.

    Args:
        records: Of ``TRANSFER_SCHEMA``.

    Returns:
        A row an attempt: ``id``, ``label``, ``error``, ``clean``, the victim's class without an
        attack, and ``changed_step``, 1 where it takes the image for another class, else none.
    """
    fooled = pc.fill_null(pc.not_equal(records["victim"], records["label"]), False)
    changed = pc.if_else(fooled, pa.scalar(1, pa.int32()), pa.scalar(None, pa.int32()))
    columns = [records["id"], records["label"], records["error"], records["victim_clean"], changed]
    return pa.table(columns, names=["id", "label", "error", "clean", "changed_step"])


def _right(
    attempts: pa.Table, settings: AttackSettings, image: TransferredImage
) -> tuple[npt.NDArray[np.bool_], list[npt.NDArray[np.bool_]]]:
    """Of each image: whether the victim is right without an attack, and at each count of steps."""
    ordered = attempts.sort_by([("id", "ascending"), ("attempt", "ascending")])
    columns: dict[str, npt.NDArray[Any]] = {
        name: pc.fill_null(ordered[name], -1).to_numpy()
        for name in ("label", "victim_clean", "victim", "target_step", "changed_step")
    }
    first = _firsts(ordered)
    clean = columns["victim_clean"] == columns["label"]
    handed = columns["victim"] >= 0
    fooled = handed & (columns["victim"] != columns["label"])
    if image == "last":
        stands = np.where(handed, ~fooled, clean)
        return clean[first], [_all_of(stands, first) for _ in settings.steps]
    success = columns["target_step" if settings.stop == "target" else "changed_step"]
    found = []
    for count in settings.steps:
        hit = handed & (success >= 1) & (success <= count)
        found.append(np.where(_any_of(hit, first), ~_first_of(hit, fooled, first), clean[first]))
    return clean[first], found


def _firsts(attempts: pa.Table) -> npt.NDArray[np.intp]:
    """The rows at which the attempts of each image begin."""
    ids = attempts["id"].to_numpy()
    begins = np.ones(len(ids), bool)
    begins[1:] = ids[1:] != ids[:-1]
    return np.flatnonzero(begins)


def _any_of(mask: npt.NDArray[np.bool_], first: npt.NDArray[np.intp]) -> npt.NDArray[np.bool_]:
    return np.logical_or.reduceat(mask, first) if len(first) else mask[:0]


def _all_of(mask: npt.NDArray[np.bool_], first: npt.NDArray[np.intp]) -> npt.NDArray[np.bool_]:
    return np.logical_and.reduceat(mask, first) if len(first) else mask[:0]


def _first_of(
    hit: npt.NDArray[np.bool_], fooled: npt.NDArray[np.bool_], first: npt.NDArray[np.intp]
) -> npt.NDArray[np.bool_]:
    """Of each image: whether its first attempt that hit fooled the victim."""
    rank = np.where(hit, np.arange(len(hit)), len(hit))
    chosen = np.minimum.reduceat(rank, first) if len(first) else rank[:0]
    padded = np.append(fooled, False)
    answer: npt.NDArray[np.bool_] = padded[chosen]
    return answer
