"""The paper's tables and figures, and the work that each of them needs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ...contracts import PAPERS_SOURCE
from ...errors import InputError, did_you_mean

MAXIMIZE, WHITEBOX, TRANSFER = "maximize", "whitebox", "transfer"

PARTS: Mapping[str, tuple[str, ...]] = {
    "table1": ("imagenet", "imagenet-c", "imagenet-p"),
    "table2": ("imagenet", TRANSFER, WHITEBOX),
    "table3": ("cue-conflict",),
    "figure1": ("imagenet", TRANSFER, WHITEBOX),
    "figure2": (MAXIMIZE,),
    "figure3": (MAXIMIZE,),
    "figure4": ("cue-conflict",),
}
"""Work of each part. Relative mCE and the diagnostics of attacks need clean images."""

ORDER = ("imagenet", "cue-conflict", MAXIMIZE, "imagenet-p", "imagenet-c", TRANSFER, WHITEBOX)
"""What others need comes first, then what is short: most of the report exists early."""

GENERATED = ("imagenet", "imagenet-c", "imagenet-p")
"""Benchmarks whose data ``--sample`` makes of the sample photos."""

SAMPLE_MODELS: Mapping[str, Mapping[str, Any]] = {
    "efficientnet_lite0": {},
    "efficientnet_lite1": {"crop_px": 224},
}
"""Models of ``--sample``. ImageNet-C and the stimuli are stored at 224 px."""


@dataclass(frozen=True)
class Scale:
    """How much of each kind of work is done.

    Attributes:
        limit: Items in each condition; ``None`` for all.
        attack: Further options of both attacks.
        whitebox: Further options of white-box attacks.
        maximize: Further options of maximizing images.
        source: Source of transferred attacks.
    """

    limit: int | None = None
    attack: Mapping[str, Any] = field(default_factory=dict)
    whitebox: Mapping[str, Any] = field(default_factory=lambda: {"subset": "every-second"})
    maximize: Mapping[str, Any] = field(default_factory=dict)
    source: str = PAPERS_SOURCE

    @property
    def maximized_images(self) -> int:
        """Number of images that maximize units: the paper's six units from its three starts."""
        return len(self.maximize.get("units", range(6))) * len(
            self.maximize.get("starts", range(3))
        )


SAMPLE = Scale(
    attack={"limit": 10, "epsilons": (0.002, 0.01), "steps": (10, 20)},
    whitebox={"probe": True, "probe_images": 5, "probe_queries": 100},
    maximize={"units": (7,), "starts": ("noise",), "steps": 40},
    source="efficientnet_lite2",
)
"""Minutes on two cores; the numbers are marked, since they are not of the whole benchmarks."""


def work_of(parts: Sequence[str] | None) -> tuple[str, ...]:
    """The work that parts need, in the order in which it is done.

    Args:
        parts: Names of tables and figures; ``None`` for all.

    Raises:
        InputError: If there is no such part.

    Example:
        >>> work_of(["table3", "table1"])
        ('imagenet', 'cue-conflict', 'imagenet-p', 'imagenet-c')
    """
    for part in parts or ():
        if part not in PARTS:
            hint = did_you_mean(part, PARTS, f"Expected some of {', '.join(PARTS)}.")
            raise InputError(f"Unknown part {part!r} of the paper. {hint}")
    needed = {work for part in (parts or PARTS) for work in PARTS[part]}
    return tuple(work for work in ORDER if work in needed)
