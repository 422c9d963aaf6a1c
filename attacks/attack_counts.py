"""Counts of images from the records of an attack, for each number of steps.

    right without an attack     clean = label
    success by k                target_step <= k of any attempt, where the attack stops at targets;
                                else changed_step <= k
    accuracy under attack       right, and no success by k: the count of the protocol
    label unchanged             right, and changed_step > k or never, of all attempts

The paper's count is the first with a target: it says that one wrong class out of 999, drawn at
random, was not reached, and is far above the share of images whose label never changed.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from ..contracts import AttackSettings
from ..errors import InputError

_NEVER = np.iinfo(np.int32).max


@dataclass(frozen=True)
class AttackCounts:
    """Numbers of images; those that depend on the step count have one entry for each of K counts.

    Attributes:
        n: Images that were not skipped, which rates are shares of.
        skipped: Images that were skipped.
        clean: Images that are right without an attack.
        steps: The step counts: K.
        under_attack: Images that are right by the count of the protocol: K.
        unchanged: Images that are right, and were never classified otherwise by then: K.
        reached: Images that are right without an attack, and were driven to the target by then: K;
            ``None`` for an untargeted attack.
    """

    n: int
    skipped: int
    clean: int
    steps: tuple[int, ...]
    under_attack: tuple[int, ...]
    unchanged: tuple[int, ...]
    reached: tuple[int, ...] | None


def attack_counts(records: pa.Table, settings: AttackSettings) -> AttackCounts:
    """Count the images of one epsilon.

    Args:
        records: All records of the epsilon, with the columns of ``records.SCHEMA``.
        settings: Settings of the attack.

    Raises:
        InputError: If an image was attacked with fewer steps than counted, without success.

    Example:
        >>> import pyarrow as pa
        >>> from .protocols import attack_settings
        >>> from .records import SCHEMA
        >>> row = {"id": "a", "label": 1, "clean": 1, "steps": 7}
        >>> row |= {"target_step": 7, "changed_step": 2}
        >>> table = pa.Table.from_pylist([row], SCHEMA)
        >>> counts = attack_counts(table, attack_settings("paper", steps=(5, 10)))
        >>> counts.under_attack, counts.unchanged
        ((1, 0), (0, 0))
    """
    skipped = pc.is_valid(records["error"])
    right, target, changed, steps = _images(records.filter(pc.invert(skipped)))
    success = target if settings.success == "targeted" else changed
    largest = settings.steps[-1]
    unfinished = right & (success > largest) & (steps < largest)
    if unfinished.any():
        raise InputError(
            f"{np.count_nonzero(unfinished)} images were attacked with only "
            f"{steps[unfinished].min()} of {largest} steps. Attack them again with {largest}."
        )
    under_attack = [right & (success > count) for count in settings.steps]
    unchanged = [right & (changed > count) for count in settings.steps]
    reached = [right & (target <= count) for count in settings.steps]
    return AttackCounts(
        n=len(right),
        skipped=pc.sum(skipped).as_py() or 0,
        clean=int(right.sum()),
        steps=settings.steps,
        under_attack=_counts(under_attack),
        unchanged=_counts(unchanged),
        reached=_counts(reached) if settings.targeted else None,
    )


def _counts(masks: list[npt.NDArray[np.bool_]]) -> tuple[int, ...]:
    return tuple(int(np.count_nonzero(mask)) for mask in masks)


def _images(attempts: pa.Table) -> tuple[npt.NDArray[Any], ...]:
    """For each image: whether it is right, first steps of target and change, steps made."""
    right = pc.equal(attempts["clean"], attempts["label"])
    firsts = [pc.fill_null(attempts[name], _NEVER) for name in ("target_step", "changed_step")]
    table = pa.table(
        [attempts["id"], right, *firsts, attempts["steps"]],
        names=["id", "right", "target", "changed", "steps"],
    )
    aggregates = [("right", "all"), ("target", "min"), ("changed", "min"), ("steps", "max")]
    grouped = table.group_by("id").aggregate(aggregates)
    return tuple(grouped["_".join(pair)].to_numpy() for pair in aggregates)
