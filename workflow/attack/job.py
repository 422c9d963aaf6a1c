"""Preparing an attack: its model, images and settings, its runs, and its speed on this machine."""

import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from ...attacks.randomness import traced_sample
from ...contracts import (
    AttackSettings,
    Condition,
    Item,
    Preprocessing,
    Progress,
    Provenance,
    Run,
    RunKey,
    Shard,
    Source,
    epsilon_text,
    images_from_pixels,
    protocol_name,
)
from ...errors import EngineMemoryError, ImageError, InputError, UnreadError, printable
from ...evaluate.benchmarks.imagenet import IMAGENET
from ...evaluate.benchmarks.whitebox import WHITEBOX
from ...evaluate.scoring import refuse_nothing_read
from ...evaluate.sources.digests import digest_entry
from ...evaluate.sources.items import select_items
from ...records.shards import Pace
from ...system.batch_limit import BatchLimit
from ..models.gradient_model import GradientNetwork, gradient_network, refuse_without_gradients
from ..models.resolve import ResolvedModel
from ..models.self_check import check_reference
from ..runs.available_images import AvailableImages
from ..runs.complete import selected_shards
from ..runs.networks import differing_network
from ..runs.provenance import ShardClock, circumstances
from ..runs.run_data import RunData
from ..runs.scored_run import ScoredRun
from ..runs.selection import Selection
from ..runs.start import open_or_create_run, refuse_other_data
from .cross_check import CrossCheck, run_to_check_against
from .options import AttackChoice

if TYPE_CHECKING:
    from ...attacks.pgd.attempts import CleanImage
    from ...attacks.pgd.pgd import AttackJob

SAMPLE = 32
"""Images that are classified before an attack begins, to see whether any is classified rightly."""


@dataclass(frozen=True)
class AttackRun:
    """A run of an attack.

    Attributes:
        run: The run.
        shards: All its shards of the selected images and epsilons.
        data: Its photos, compared with the available ones.
    """

    run: Run
    shards: Sequence[Shard]
    data: RunData


@dataclass(frozen=True)
class PreparedAttack:
    """An attack that is ready to run, with what all its shards share.

    Attributes:
        model: Model to attack.
        network: Its network, for gradients.
        choice: Choices of the user.
        source: Source of the images.
        selection: Images to attack, at each epsilon.
        traced: Ids of the images that make all steps.
        batch_limit: Batch size, which gets smaller when the device is out of memory.
        check: Comparison with an engine's run; ``None`` if none was given.
        progress: Progress callback.
    """

    model: ResolvedModel
    network: GradientNetwork
    choice: AttackChoice
    source: Source
    selection: Selection
    traced: frozenset[str]
    batch_limit: BatchLimit
    check: CrossCheck | None
    progress: Progress

    @property
    def settings(self) -> AttackSettings:
        """Settings of the attack."""
        return self.choice.settings

    @property
    def items(self) -> Sequence[Item]:
        """The images, which are the same at each epsilon."""
        return self.selection.items[self.selection.conditions[0]]

    @property
    def preprocessing(self) -> Preprocessing:
        """Preprocessing of the attacked model."""
        return self.model.spec.preprocessing

    @cached_property
    def available(self) -> AvailableImages:
        """The images, for comparison with those that runs were made from."""
        items, places = self.selection.items, self.choice.places
        return AvailableImages(IMAGENET, self.source, items, self.preprocessing, places)

    @property
    def size_text(self) -> str:
        """Number of images and epsilons, for notes."""
        conditions = self.selection.conditions
        epsilons = ", ".join(epsilon_text(float(c["epsilon"])) for c in conditions)
        return f"{self.selection.count:,} images at epsilon {epsilons}"

    def key(self) -> RunKey:
        """Key of the run of this attack on the model itself."""
        return RunKey(
            benchmark=WHITEBOX.name,
            protocol=protocol_name("whitebox", self.settings.protocol),
            weights_sha256=self.network.verified.loaded.weights_sha256,
            engine=self.network.spec,
            preprocessing=self.preprocessing,
            ids_sha256=self.selection.ids_sha256,
            generated=self.source.generated,
            **self.choice.key_fields,
        )

    def provenance(self, batch_size: int) -> Provenance:
        """Fields that the provenances of all shards of the attack share."""
        choice = self.choice
        return circumstances(self.network.verified, choice.places, choice.labels, batch_size)

    def open_run(
        self,
        folder: Path,
        key: RunKey,
        model: ResolvedModel,
        pace: Pace | None,
        *,
        like: Run | None = None,
        option: str = "--out",
    ) -> AttackRun:
        """Begin or continue a run.

        Args:
            folder: Folder of the run.
            key: Key of the run.
            model: Model of the run.
            pace: How fast images are processed here; ``None`` if the run or ``like`` exists.
            like: Run whose shard and batch size a new one gets; ``None`` if there is none.
            option: Option that sets the folder, for messages.

        Raises:
            InputError: If the batch size differs from the run's.
            RunMismatchError: If the folder holds a run of another identity, or of other images.
        """
        batch, chosen_batch = self.choice.batch_on(self.network.device), self.choice.batch_size
        source = None if key.transfer is None else self.model
        run = open_or_create_run(
            folder,
            key,
            model,
            self.selection,
            pace,
            batch,
            chosen_batch,
            like=like,
            source=source,
        )
        return self.checked(run, option=option)

    def checked(self, run: Run, *, option: str = "--out") -> AttackRun:
        """A run, after a check that its finished shards are of the available images.

        Raises:
            RunMismatchError: If the run is of other images.
            InputError: If a finished shard is damaged.
        """
        conditions = self.selection.conditions
        data = RunData(run, self.available, self.progress, conditions=conditions, option=option)
        data.check(every_file=self.choice.verify_data)
        return AttackRun(run, selected_shards(run, self.selection), data)

    def pace(self) -> Pace:
        """Speed of attacking images on this machine; warns if nearly all are misclassified."""
        sample = select_items(self.items, min(SAMPLE, len(self.items)))
        images = list(ShardImages(self, sample))
        correct, done, seconds, size = 0, 0, 0.0, self.batch_limit.size
        while done < len(images):
            batch = images[done : done + size]
            start = time.monotonic()
            try:
                correct += self._count_correct(batch)
            except EngineMemoryError:
                if len(batch) == 1:
                    raise
                size = (len(batch) + 1) // 2
                continue
            seconds += time.monotonic() - start
            done += len(batch)
        if correct <= len(sample) // 20:
            self.progress.note(
                f"warning: {correct} of {len(sample)} images are right without an attack. An "
                "attack says nothing about images that are wrong anyway: check the model, its "
                "weights and its preprocessing with `evaluator score` first."
            )
        steps = self.settings.steps[-1] * self.settings.attempts
        return Pace(len(images) / (max(seconds, 1e-6) * steps), 1)

    def _count_correct(self, images: "Sequence[CleanImage]") -> int:
        """Count the images that are classified rightly, at the cost of one step each."""
        import torch

        from ...attacks.pgd.gradients import gradients_of

        device = self.network.device.torch_name
        batch = torch.stack([torch.from_numpy(image.image) for image in images]).to(device)
        labels = torch.tensor([image.label for image in images], device=device)
        losses = [self.settings.losses[0]] * len(images)
        result = gradients_of(self.network.network, batch, losses, labels)
        return int((result.logits.argmax(1) == labels).sum())

    def pgd_job(self, condition: Condition) -> "AttackJob":
        """The attack by projected gradient descent under a condition, which is an epsilon."""
        from ...attacks.pgd.pgd import AttackJob

        return AttackJob(
            network=self.network.network,
            settings=self.settings,
            epsilon=float(condition["epsilon"]),
            room=self.batch_limit,
            note=self.progress.note,
            device=self.network.device.torch_name,
            traced=self.traced,
        )


class ShardImages:
    """Images of a shard as the model sees them, each read when it is needed.

    Attributes:
        items: The images of the shard.
        skipped: Images that could not be read or decoded, each with the reason.
    """

    def __init__(self, attack: PreparedAttack, items: Sequence[Item]) -> None:
        self.items, self._attack = items, attack
        self.skipped: list[tuple[Item, str]] = []
        self._unread, self._digest, self._clock = 0, hashlib.sha256(), ShardClock()

    def __iter__(self) -> Iterator["CleanImage"]:
        import numpy as np

        from ...attacks.pgd.attempts import CleanImage

        attack, side = self._attack, self._attack.preprocessing.crop_px
        for item in self.items:
            digest, pixels = hashlib.sha256(), np.empty((side, side, 3), np.uint8)
            try:
                data = attack.source.read(item)
                digest.update(data)
                IMAGENET.decode(data, item, attack.preprocessing, [pixels])
            except ImageError as error:
                if not attack.choice.skip_bad_images:
                    advice = "To go on without such images, add --on-error skip."
                    raise ImageError(f"{error} {advice}") from error
                self.skipped.append((item, printable(str(error))))
                self._unread += isinstance(error, UnreadError)
                continue
            finally:
                self._digest.update(digest_entry(item, digest))
            yield CleanImage(item, images_from_pixels(pixels))

    @property
    def sha256(self) -> str:
        """SHA-256 over the id and bytes of each image that was read."""
        return self._digest.hexdigest()

    def finish(self, advance: Callable[[int], None]) -> None:
        """Count the skipped images as done.

        Raises:
            InputError: If none of several images can be read.
        """
        advance(len(self.skipped))
        refuse_nothing_read(self.items, self.skipped, self._unread, "image")

    def provenance(self, shared: Provenance) -> Provenance:
        """The provenance of the shard, which has just been finished."""
        return self._clock.provenance(shared, self._attack.batch_limit.size, self.sha256)


def check_attacked(model: ResolvedModel, choice: AttackChoice) -> ScoredRun | None:
    """Check a model to attack; returns the run that it is compared with, ``None`` if not given.

    Raises:
        InputError: If the model has no gradients, or the run is not one of its predictions.
    """
    refuse_without_gradients(model)
    if choice.check_against is None:
        return None
    return run_to_check_against(choice.check_against, model.spec)


def prepare_attack(
    model: ResolvedModel,
    choice: AttackChoice,
    against: ScoredRun | None,
    progress: Progress,
    *,
    folders: Sequence[Path | None] = (),
    trace_all: bool = False,
) -> PreparedAttack:
    """Find the images, load the network, and begin the comparison with an engine's run.

    Args:
        model: Model to attack.
        choice: Choices of the user.
        against: Run of an engine that its clean predictions are compared with; ``None`` if not
            given.
        progress: Progress callback.
        folders: Folders that the user names, in which runs of other images are refused.
        trace_all: Whether every image makes all steps.

    Raises:
        InputError: If the data cannot be used, or the run to check against is of others.
        SelfCheckError: If the network does not agree with itself, or has no gradients.
        ParityError: If PyTorch on the device does not agree with PyTorch on the CPU.
        UnavailableError: If the weights or the device are not available.
    """
    source, selection = choice.select(progress)
    for folder in folders:
        refuse_other_data(folder, selection, source.generated)
    items = selection.items[selection.conditions[0]]
    model = check_reference(model, progress, gradients=True)
    # Before anything is exported, so that missing weights are reported early.
    network = gradient_network(model, choice.device, parity=choice.parity, progress=progress)
    check = None
    if against is not None:
        if (difference := differing_network(against.run, model)) is not None:
            raise InputError(f"{difference}. Give a run of the attacked network.")
        check = CrossCheck(against, network, model.spec, progress)
        check.check_photos(source, items)
    ids, settings = [item.id for item in items], choice.settings
    return PreparedAttack(
        model=model,
        network=network,
        choice=choice,
        source=source,
        selection=selection,
        traced=frozenset(ids) if trace_all else traced_sample(ids, settings.traced, settings.seed),
        batch_limit=BatchLimit(choice.batch_on(network.device)),
        check=check,
        progress=progress,
    )
