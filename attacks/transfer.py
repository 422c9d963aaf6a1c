"""Images that are made on one model, the source, and classified by another, the target model.

    records    those of the attack on the source, and for each attempt the target model's class of
               the adversarial image handed on: the first hit, or the last iterate
    right      at k steps, by first hits: the target model is right on the image of the first
               attempt that reached the goal by then, and on the clean image if none did
               by last iterates: the target model is right on the image of every attempt

It does not matter which images the target model gets wrong without an attack, as in the paper,
whose figure is the target model's accuracy on the images handed on.

Source: Orhan, arXiv 1907.07640, and ``evaluate_blackbox.py`` of eminorhan/resnext-wsl: foolbox 1.8
hands back the clean image where the target was not reached.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from ..contracts import SUCCESS_STEP, AttackSettings, TransferredImage
from ..errors import InputError
from .attack_counts import AttackCounts, attack_counts
from .pgd.attempts import AttemptResult
from .records import SCHEMA

Bools = npt.NDArray[np.bool_]

TRANSFER_SCHEMA = pa.schema(
    [
        *SCHEMA,
        pa.field("victim_clean", pa.int32()),
        pa.field("victim", pa.int32()),
    ]
)
"""``victim_clean`` is the target model's class without an attack, ``victim`` that of the
adversarial image handed on; null if the attempt handed none on, so that the clean image replaces
it."""


@dataclass(frozen=True)
class TransferCounts:
    """Numbers of images; those that depend on the step count have one entry for each of K counts.

    Attributes:
        source: Counts of the source, under the attack on itself.
        clean: Images that the target model is right on without an attack.
        right: Images that it is right on as they are handed on: K.
        both: Images that it is right on with and without the attack: K.
    """

    source: AttackCounts
    clean: int
    right: tuple[int, ...]
    both: tuple[int, ...]


def check_transfer(settings: AttackSettings, image: TransferredImage) -> None:
    """Refuse choices that do not give one image for each count of steps.

    Raises:
        InputError: If the image is unknown, or last iterates are chosen with several counts.
    """
    if image not in ("first-hit", "last"):
        raise InputError(f"Unknown image {image!r} to hand on: expected first-hit or last.")
    if image == "last" and len(settings.steps) > 1:
        counts = ", ".join(map(str, settings.steps))
        raise InputError(
            f"The last iterates after {counts} steps are different images: give one count of "
            "steps, or hand on first-hit images, which serve all counts."
        )


def hands_on(attempt: AttemptResult, settings: AttackSettings, image: TransferredImage) -> bool:
    """Whether the target models classify the image of this attempt."""
    if attempt.adversarial is None:
        return False
    return image == "last" or bool(getattr(attempt, SUCCESS_STEP[settings.success]))


def transfer_records(
    records: pa.RecordBatch,
    clean: Mapping[str, int],
    adversarial: Mapping[tuple[str, int], int],
) -> pa.Table:
    """The records of an attack with the classes that the target model predicts.

    Args:
        records: Records of the attack on the source, with the columns of ``records.SCHEMA``.
        clean: Class of each clean image that was not skipped.
        adversarial: Class of each adversarial image handed on, by image and attempt.
    """
    ids, attempts = records["id"].to_pylist(), records["attempt"].to_pylist()
    classes = (
        [clean.get(id) for id in ids],
        [adversarial.get(key) for key in zip(ids, attempts, strict=True)],
    )
    columns = [*records.columns, *(pa.array(values, pa.int32()) for values in classes)]
    return pa.Table.from_arrays(columns, schema=TRANSFER_SCHEMA)


def transfer_counts(
    records: pa.Table, settings: AttackSettings, image: TransferredImage
) -> TransferCounts:
    """Count the images of one epsilon.

    Args:
        records: All records of the epsilon, with the columns of ``TRANSFER_SCHEMA``.
        settings: Settings of the attack on the source.
        image: Adversarial image that was handed on.

    Raises:
        InputError: If an image was attacked with fewer steps than counted, without success.

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
    clean, right = _right(records.filter(pc.is_null(records["error"])), settings, image)
    return TransferCounts(
        source=source,
        clean=int(np.count_nonzero(clean)),
        right=tuple(int(np.count_nonzero(mask)) for mask in right),
        both=tuple(int(np.count_nonzero(mask & clean)) for mask in right),
    )


def fooled_by_transfer(records: pa.Table) -> pa.Table:
    """A transferred attack as a probe of an attack on the target model itself.

    Args:
        records: Records with the columns of ``TRANSFER_SCHEMA``.

    Returns:
        A row an attempt: ``id``, ``label``, ``error``, ``clean``, the target model's class without
        an attack, and ``changed_step``, 1 if it misclassifies the image, else null.
    """
    fooled = pc.fill_null(pc.not_equal(records["victim"], records["label"]), False)
    changed = pc.if_else(fooled, pa.scalar(1, pa.int32()), pa.scalar(None, pa.int32()))
    columns = [records["id"], records["label"], records["error"], records["victim_clean"], changed]
    return pa.table(columns, names=["id", "label", "error", "clean", "changed_step"])


def _right(
    attempts: pa.Table, settings: AttackSettings, image: TransferredImage
) -> tuple[Bools, list[Bools]]:
    """For each image: whether the target model is right without an attack, and at each count."""
    ordered = attempts.sort_by("attempt")
    label, victim_clean, victim, success = (
        pc.fill_null(ordered[name], -1).to_numpy()
        for name in ("label", "victim_clean", "victim", SUCCESS_STEP[settings.success])
    )
    ids = ordered["id"].to_numpy()
    _, first, images = np.unique(ids, return_index=True, return_inverse=True)
    clean = (victim_clean == label)[first]
    classified = victim >= 0
    fooled = classified & (victim != label)
    if image == "last":
        wrong = np.where(classified, fooled, ~clean[images])
        return clean, [np.bincount(images, wrong) == 0 for _ in settings.steps]
    at_counts = []
    for count in settings.steps:
        hits = np.flatnonzero(classified & (success >= 1) & (success <= count))
        # The first attempt that hit decides; the clean image is handed on if none did.
        hit, position = np.unique(images[hits], return_index=True)
        right = clean.copy()
        right[hit] = ~fooled[hits[position]]
        at_counts.append(right)
    return clean, at_counts
