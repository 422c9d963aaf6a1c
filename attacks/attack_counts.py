"""From records of an attack to counts of images, for each number of steps.

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
    """Of n images: how many are what; one number for each count of steps where it depends on it.

    Attributes:
        n: Images that were not skipped: what rates are shares of.
        skipped: Images that were.
        clean: Right without an attack.
        steps: The counts of steps, K of them.
        under_attack: Right by the count of the protocol: K.
        unchanged: Right, and never classified otherwise by then: K.
        reached: Right without an attack, and driven to the target by then: K; none where the
            attack has no target.
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
        records: All of the condition's, of ``records.SCHEMA``.
        settings: Of the attack.

    Raises:
        InputError: If an image has fewer steps than are asked for and is not decided by them.

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
    right, target, changed, made = _images(records.filter(pc.invert(skipped)))
    success = target if settings.stop == "target" else changed
    _check_decided(right, success, made, settings)
    by = [right & (success > count) for count in settings.steps]
    unchanged = [right & (changed > count) for count in settings.steps]
    reached = [right & (target <= count) for count in settings.steps]
    return AttackCounts(
        n=len(right),
        skipped=pc.sum(skipped).as_py() or 0,
        clean=int(right.sum()),
        steps=settings.steps,
        under_attack=_counted(by),
        unchanged=_counted(unchanged),
        reached=_counted(reached) if settings.targeted else None,
    )


def _counted(masks: list[npt.NDArray[np.bool_]]) -> tuple[int, ...]:
    return tuple(int(np.count_nonzero(mask)) for mask in masks)


def _images(attempts: pa.Table) -> tuple[npt.NDArray[Any], ...]:
    """Of each image: whether it is right, its first steps to target and change, steps made."""
    right = pc.equal(attempts["clean"], attempts["label"])
    firsts = [pc.fill_null(attempts[name], _NEVER) for name in ("target_step", "changed_step")]
    table = pa.table(
        [attempts["id"], right, *firsts, attempts["steps"]],
        names=["id", "right", "target", "changed", "steps"],
    )
    wanted = [("right", "all"), ("target", "min"), ("changed", "min"), ("steps", "max")]
    grouped = table.group_by("id").aggregate(wanted)
    return tuple(grouped["_".join(pair)].to_numpy() for pair in wanted)


def _check_decided(
    right: npt.NDArray[np.bool_],
    success: npt.NDArray[np.int32],
    made: npt.NDArray[np.int32],
    settings: AttackSettings,
) -> None:
    count = settings.steps[-1]
    lacking = right & (success > count) & (made < count)
    if lacking.any():
        raise InputError(
            f"{np.count_nonzero(lacking)} images have {made[lacking].min()} steps of the {count} "
            "that are asked for. Attack them again with that many."
        )
