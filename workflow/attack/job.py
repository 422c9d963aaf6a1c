"""What every attack begins with: the images, the network, how fast it is here."""

import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Self

from ...attacks.protocols import check_epsilon, check_list
from ...contracts import (
    AttackSettings,
    Condition,
    Item,
    Preprocessing,
    Progress,
    Provenance,
    Source,
)
from ...errors import EngineMemoryError, ImageError, InputError, UnreadError, printable
from ...evaluate.benchmarks.imagenet import IMAGENET
from ...evaluate.benchmarks.whitebox import epsilon_conditions
from ...evaluate.sources.digests import digest_entry
from ...evaluate.sources.items import select_items
from ...evaluate.sources.open_source import open_source
from ...records.shards import Pace
from ...system.batch_limit import BatchLimit
from ..models.gradient_model import GradientNetwork
from ..runs.provenance import circumstances
from ..runs.selection import Selection, places_of, select, skips_bad_files

if TYPE_CHECKING:
    from ...attacks.pgd.attempts import CleanImage
    from ...attacks.pgd.pgd import AttackJob

SUBSETS = {"every-second": 2}
"""Which of the sorted images, by name: each n-th of them."""

TRIED_IMAGES = 32
"""How many images are classified before an attack begins, to find out whether any is right."""


@dataclass(frozen=True)
class ImageChoice:
    """Which photos a user wants to be attacked.

    Attributes:
        places: Folders and tars.
        labels: A list of the classes of images that are not in class folders.
        subset: ``every-second`` of the sorted images; none for all.
        limit: So many, evenly spaced.
        skip: Whether to go on without images that cannot be read or decoded.
    """

    places: Sequence[Path]
    labels: Path | None = None
    subset: str | None = None
    limit: int | None = None
    skip: bool = False

    def __post_init__(self) -> None:
        every_of(self.subset)

    @classmethod
    def of(
        cls,
        data: str | Path | Sequence[str | Path],
        *,
        labels: str | Path | None,
        subset: str | None,
        limit: int | None,
        on_error: str,
    ) -> Self:
        """From what a user writes.

        Raises:
            InputError: If there is no such subset, or no such way to treat bad files.
        """
        named = None if labels is None else Path(labels)
        return cls(places_of(data), named, subset, limit, skips_bad_files(on_error))

    def selected(self, progress: Progress) -> tuple[Source, Selection]:
        """The source, and the images chosen of it, in the one condition that it has.

        Raises:
            InputError: If the data do not serve.
        """
        every = every_of(self.subset)
        source = open_source(
            self.places,
            IMAGENET.conditions,
            progress=progress,
            layout=IMAGENET.tree,
            labels=self.labels,
            damaged_ok=self.skip,
        )
        found = select(
            IMAGENET,
            source,
            {},
            limit=self.limit,
            progress=progress,
            every=every,
            missing_ok=self.skip,
        )
        return source, found


@dataclass(frozen=True)
class AttackedData:
    """Everything that a shard is attacked with."""

    network: GradientNetwork
    settings: AttackSettings
    preprocessing: Preprocessing
    source: Source
    items: Sequence[Item]
    room: BatchLimit
    note: Callable[[str], None]
    traced: frozenset[str]
    skip_bad_images: bool


@dataclass
class ReadImages:
    """What was read for a shard.

    Attributes:
        digest: SHA-256 over (id, bytes).
        skipped: Images that could not be had, and why.
        unread: How many of these are there by their names, but not their bytes.
    """

    digest: "hashlib._Hash" = field(default_factory=hashlib.sha256)
    skipped: list[tuple[Item, str]] = field(default_factory=list)
    unread: int = 0


def attacked_conditions(epsilons: Sequence[float]) -> tuple[Condition, ...]:
    """The condition of each epsilon, once, in ascending order.

    Raises:
        InputError: If one is outside (0, 1], or there is no list of them, or none in it.
    """
    for epsilon in check_list("epsilons", epsilons):
        check_epsilon(epsilon)
    if not (different := sorted(set(epsilons))):
        raise InputError("There is no epsilon to attack at: name one or several, such as 8/255.")
    return epsilon_conditions(different)


def attack_circumstances(
    network: GradientNetwork, images: ImageChoice, batch_size: int
) -> Provenance:
    """What the provenances of all shards of a network under its own attack share."""
    return circumstances(
        network.believed,
        network.device,
        network.believed.loaded.placement.kind.versions(),
        images.places,
        images.labels,
        batch_size,
    )


def every_of(subset: str | None) -> int:
    """Each how many-th of the sorted images a subset is.

    Raises:
        InputError: If there is no such subset.
    """
    if subset is None:
        return 1
    if subset not in SUBSETS:
        raise InputError(f"There is no subset {subset!r}. Expected {' or '.join(SUBSETS)}.")
    return SUBSETS[subset]


def pace_of(job: AttackedData, progress: Progress) -> Pace:
    """How fast images are attacked here; and a warning where hardly one is right as it is."""
    tried = select_items(job.items, min(TRIED_IMAGES, len(job.items)))
    images = list(images_of(job, tried, ReadImages()))
    right, done, seconds, size = 0, 0, 0.0, job.room.size
    while done < len(images):
        some = images[done : done + size]
        began = time.monotonic()
        try:
            right += _right(job, some)
        except EngineMemoryError:
            if len(some) == 1:
                raise
            size = (len(some) + 1) // 2
            continue
        seconds += time.monotonic() - began
        done += len(some)
    if right <= len(tried) // 20:
        progress.note(
            f"warning: {right} of {len(tried)} images are right without an attack. An attack says "
            "nothing of images that are wrong: look at the model, its weights and its "
            "preprocessing with `evaluator score` first."
        )
    steps = job.settings.steps[-1] * job.settings.attempts
    return Pace(len(images) / (max(seconds, 1e-6) * steps), 1)


def _right(job: AttackedData, images: "Sequence[CleanImage]") -> int:
    """How many images are right, at the cost of a step of each."""
    import torch

    from ...attacks.pgd.gradients import gradients_of

    device = job.network.device.name
    batch = torch.stack([torch.from_numpy(image.image) for image in images]).to(device)
    labels = torch.tensor([image.label for image in images], device=device)
    losses = [job.settings.losses[0]] * len(images)
    found = gradients_of(job.network.network, batch, losses, labels)
    return int((found.logits.argmax(1) == labels).sum())


def attack_of(job: AttackedData, condition: Condition) -> "AttackJob":
    """What images are attacked with under a condition."""
    from ...attacks.pgd.pgd import AttackJob

    return AttackJob(
        network=job.network.network,
        settings=job.settings,
        epsilon=float(condition["epsilon"]),
        room=job.room,
        note=job.note,
        device=job.network.device.name,
        traced=job.traced,
    )


def images_of(job: AttackedData, items: Sequence[Item], read: ReadImages) -> Iterator["CleanImage"]:
    """The images as the model sees them, each read when it is asked for."""
    import numpy as np

    from ...attacks.pgd.attempts import CleanImage

    preprocessing = job.preprocessing
    side = preprocessing.crop_px
    for item in items:
        found, pixels = hashlib.sha256(), np.empty((side, side, 3), np.uint8)
        try:
            data = job.source.read(item)
            found.update(data)
            IMAGENET.decode(data, item, preprocessing, [pixels])
        except ImageError as error:
            if not job.skip_bad_images:
                advice = "To go on without such images, add --on-error skip."
                raise ImageError(f"{error} {advice}") from error
            read.skipped.append((item, printable(str(error))))
            read.unread += isinstance(error, UnreadError)
            continue
        finally:
            read.digest.update(digest_entry(item, found))
        yield CleanImage(item, pixels.transpose(2, 0, 1).astype(np.float32) / 255)
