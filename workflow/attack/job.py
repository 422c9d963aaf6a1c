"""Preparing an attack: its model, images and settings, and its speed on this machine."""

import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ...attacks.randomness import traced_sample
from ...contracts import (
    AttackSettings,
    Condition,
    Item,
    Preprocessing,
    Progress,
    Provenance,
    RunKey,
    Source,
    epsilon_text,
    images_from_pixels,
    protocol_name,
)
from ...errors import EngineMemoryError, ImageError, UnavailableError, UnreadError, printable
from ...evaluate.benchmarks.imagenet import IMAGENET
from ...evaluate.benchmarks.whitebox import WHITEBOX
from ...evaluate.sources.digests import digest_entry
from ...evaluate.sources.items import select_items
from ...records.shards import Pace
from ...system.batch_limit import BatchLimit
from ..models.gradient_model import GradientNetwork, gradient_network, refuse_without_gradients
from ..models.options import ModelOptions
from ..models.resolve import ResolvedModel, resolve_model
from ..runs.available_images import AvailableImages
from ..runs.provenance import circumstances
from ..runs.scored_run import ScoredRun
from ..runs.selection import Selection
from .cross_check import CrossCheck, cross_check, run_to_check_against
from .options import AttackChoice, ImageChoice

if TYPE_CHECKING:
    from ...attacks.pgd.attempts import CleanImage
    from ...attacks.pgd.pgd import AttackJob

SAMPLE = 32
"""Images that are classified before an attack begins, to see whether any is classified rightly."""


@dataclass(frozen=True)
class AttackedModel:
    """The model to attack.

    Attributes:
        subject: The model.
        against: Run of an engine that its clean predictions are compared with; ``None`` if not
            given.
        role: Name of the model in messages: ``model``, or ``source`` of a transferred attack.
    """

    subject: ResolvedModel
    against: ScoredRun | None
    role: str

    def network(self, choice: AttackChoice, progress: Progress) -> GradientNetwork:
        """The network, before anything is exported, so that missing weights are reported early.

        Raises:
            UnavailableError: If the weights or the device are not available.
        """
        try:
            return gradient_network(
                self.subject, choice.device, parity=choice.parity, progress=progress
            )
        except UnavailableError as error:
            if self.role == "source":
                raise type(error)(f"{error} (Of the source: --source-weights.)") from error
            raise


@dataclass(frozen=True)
class AttackedData:
    """Inputs of an attack that all its shards share.

    Attributes:
        network: Network to attack.
        settings: Settings of the attack.
        preprocessing: Preprocessing of the model.
        source: Source of the images.
        items: Images to attack.
        room: Batch size, which gets smaller when the device is out of memory.
        note: Callback that is given a sentence to print.
        traced: Ids of the images that make all steps.
        skip_bad_images: Whether to skip images that cannot be read or decoded.
    """

    network: GradientNetwork
    settings: AttackSettings
    preprocessing: Preprocessing
    source: Source
    items: Sequence[Item]
    room: BatchLimit
    note: Callable[[str], None]
    traced: frozenset[str]
    skip_bad_images: bool


@dataclass(frozen=True)
class PreparedAttack:
    """An attack that is ready to run.

    Attributes:
        subject: The attacked model.
        choice: Choices of the user.
        images: Choice of images by the user.
        job: Network, settings and images.
        selection: The images at each epsilon.
        available: The images, for comparison with those that runs were made from.
        check: Comparison with an engine's run; ``None`` if none was given.
    """

    subject: ResolvedModel
    choice: AttackChoice
    images: ImageChoice
    job: AttackedData
    selection: Selection
    available: AvailableImages
    check: CrossCheck | None

    def key(self) -> RunKey:
        """Key of the run of this attack on the model itself."""
        job, images = self.job, self.images
        return RunKey(
            benchmark=WHITEBOX.name,
            protocol=protocol_name("whitebox", job.settings.protocol),
            weights_sha256=job.network.verified.loaded.weights_sha256,
            engine=job.network.spec,
            preprocessing=job.preprocessing,
            ids_sha256=self.selection.ids_sha256,
            generated=job.source.generated,
            limit=images.limit,
            seed=job.settings.seed,
            subset=images.subset,
            attack=job.settings,
        )

    def provenance(self, batch_size: int) -> Provenance:
        """Fields that the provenances of all shards of the attack share."""
        images = self.images
        return circumstances(self.job.network.verified, images.places, images.labels, batch_size)


@dataclass
class ReadImages:
    """Record of the images that were read for a shard.

    Attributes:
        digest: SHA-256 over (id, bytes).
        skipped: Images that could not be read or decoded, each with the reason.
        unread: Number of skipped images whose bytes could not be read.
    """

    digest: "hashlib._Hash" = field(default_factory=hashlib.sha256)
    skipped: list[tuple[Item, str]] = field(default_factory=list)
    unread: int = 0


def attacked_model(
    options: ModelOptions, choice: AttackChoice, progress: Progress, *, role: str = "model"
) -> AttackedModel:
    """The model to attack, and the run that it is compared with.

    Raises:
        InputError: If the model has no gradients, or the run is not one of its predictions.
    """
    subject = resolve_model(options, progress)
    refuse_without_gradients(subject)
    against = None
    if choice.check_against is not None:
        against = run_to_check_against(choice.check_against, subject.spec, role=role)
    return AttackedModel(subject, against, role)


def prepare_attack(
    model: AttackedModel,
    choice: AttackChoice,
    settings: AttackSettings,
    images: ImageChoice,
    progress: Progress,
    *,
    trace_all: bool = False,
) -> PreparedAttack:
    """Find the images, load the network, and begin the comparison with an engine's run.

    Args:
        model: Model to attack.
        choice: Choices of the user.
        settings: Settings of the attack.
        images: Images to attack.
        progress: Progress callback.
        trace_all: Whether every image makes all steps.

    Raises:
        InputError: If the data cannot be used, or the run to check against is of others.
        ParityError: If PyTorch on the device does not agree with PyTorch on the CPU.
        UnavailableError: If the weights or the device are not available.
    """
    subject = model.subject
    source, selected = images.select(progress)
    items = next(iter(selected.items.values()))
    ids = [item.id for item in items]
    network = model.network(choice, progress)
    job = AttackedData(
        network=network,
        settings=settings,
        preprocessing=subject.spec.preprocessing,
        source=source,
        items=items,
        room=BatchLimit(choice.batch_on(network.device)),
        note=progress.note,
        traced=frozenset(ids) if trace_all else traced_sample(ids, settings.traced, settings.seed),
        skip_bad_images=images.skip,
    )
    check = cross_check(
        model.against, network, subject.spec, source, items, progress, role=model.role
    )
    conditions = choice.conditions()
    selection = Selection(dict.fromkeys(conditions, items), selected.ids_sha256)
    available = AvailableImages(IMAGENET, source, selection.items, job.preprocessing, images.places)
    return PreparedAttack(subject, choice, images, job, selection, available, check)


def size_text(selection: Selection) -> str:
    """Number of images and epsilons, for notes."""
    epsilons = ", ".join(epsilon_text(float(c["epsilon"])) for c in selection.conditions)
    return f"{selection.count:,} images at epsilon {epsilons}"


def pace_of(job: AttackedData, progress: Progress) -> Pace:
    """Speed of attacking images on this machine; warns if nearly all are misclassified."""
    sample = select_items(job.items, min(SAMPLE, len(job.items)))
    images = list(images_of(job, sample, ReadImages()))
    correct, done, seconds, size = 0, 0, 0.0, job.room.size
    while done < len(images):
        batch = images[done : done + size]
        start = time.monotonic()
        try:
            correct += _count_correct(job, batch)
        except EngineMemoryError:
            if len(batch) == 1:
                raise
            size = (len(batch) + 1) // 2
            continue
        seconds += time.monotonic() - start
        done += len(batch)
    if correct <= len(sample) // 20:
        progress.note(
            f"warning: {correct} of {len(sample)} images are right without an attack. An attack "
            "says nothing about images that are wrong anyway: check the model, its weights and its "
            "preprocessing with `evaluator score` first."
        )
    steps = job.settings.steps[-1] * job.settings.attempts
    return Pace(len(images) / (max(seconds, 1e-6) * steps), 1)


def _count_correct(job: AttackedData, images: "Sequence[CleanImage]") -> int:
    """Count the images that are classified rightly, at the cost of one step each."""
    import torch

    from ...attacks.pgd.gradients import gradients_of

    device = job.network.device.name
    batch = torch.stack([torch.from_numpy(image.image) for image in images]).to(device)
    labels = torch.tensor([image.label for image in images], device=device)
    losses = [job.settings.losses[0]] * len(images)
    result = gradients_of(job.network.network, batch, losses, labels)
    return int((result.logits.argmax(1) == labels).sum())


def attack_of(job: AttackedData, condition: Condition) -> "AttackJob":
    """The attack under a condition, which is an epsilon."""
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
    """The images as the model sees them, each read when it is needed."""
    import numpy as np

    from ...attacks.pgd.attempts import CleanImage

    preprocessing = job.preprocessing
    side = preprocessing.crop_px
    for item in items:
        digest, pixels = hashlib.sha256(), np.empty((side, side, 3), np.uint8)
        try:
            data = job.source.read(item)
            digest.update(data)
            IMAGENET.decode(data, item, preprocessing, [pixels])
        except ImageError as error:
            if not job.skip_bad_images:
                advice = "To go on without such images, add --on-error skip."
                raise ImageError(f"{error} {advice}") from error
            read.skipped.append((item, printable(str(error))))
            read.unread += isinstance(error, UnreadError)
            continue
        finally:
            read.digest.update(digest_entry(item, digest))
        yield CleanImage(item, images_from_pixels(pixels))
