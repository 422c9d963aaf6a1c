"""The models that are to classify what was made on another one: opened, believed, asked."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from ....attacks.pgd.attempts import CleanImage
from ....attacks.protocols import attack_settings
from ....attacks.transfer import transfer_records
from ....contracts import (
    AttackSettings,
    Engine,
    EngineSpec,
    ImageBatch,
    Item,
    ParityResult,
    Progress,
    Provenance,
    Run,
    Shard,
    TransferSource,
)
from ....engine.parity import ParityImages
from ....errors import EngineError, ParityError, printable
from ....evaluate.batch_splitting import run_batches
from ....evaluate.decode import photo_pixels
from ....evaluate.generate.photos import sample_photos
from ....evaluate.sources.listing import read_file
from ....storage.documents import document_sha256
from ....system.batch_limit import BatchLimit
from ...models.parity import compare_logits, stored_parity
from ...models.resolve import ResolvedModel
from ...models.verified_engine import VerifiedEngine, failure
from ...runs.run_data import RunData
from ..job import AttackedData

if TYPE_CHECKING:
    import pyarrow as pa

PARITY_STEPS = 10
"""Of the attack on the sample photos; images after more of them are no further from photos."""


@dataclass(frozen=True)
class TransferTarget:
    """A model that classifies images which were made on another one.

    Attributes:
        subject: The model.
        believed: Its engine, and how far it is believed on photos.
        adversarial: How far on adversarial images; none for the reference, or where it was waived.
    """

    subject: ResolvedModel
    believed: VerifiedEngine
    adversarial: ParityResult | None = None

    @property
    def spec(self) -> EngineSpec:
        """What it computes, of images."""
        return replace(self.believed.loaded.spec, input_kind="images")


@dataclass
class OpenTarget:
    """A victim at work.

    Attributes:
        victim: Which.
        engine: Opened, for images.
        batch_size: Images that it is given at once.
        run: Where its records belong.
        made: What the provenances of its shards share.
        limit: The largest batch that the engine is given.
        note: Callback that is given the sentence to print when the limit becomes smaller.
        data: The photos of the run, compared with those at hand.
        clean: Its class of each clean image that it has seen: the same at every epsilon.
    """

    victim: TransferTarget
    engine: Engine
    batch_size: int
    run: Run
    made: Provenance
    limit: BatchLimit
    note: Callable[[str], None]
    data: RunData
    clean: dict[str, int] = field(default_factory=dict)

    def begin(self, shard: Shard) -> "ShardOfTarget":
        """Its part of a shard."""
        return ShardOfTarget(self)

    def stop(self) -> None:
        """End what is computed now."""
        self.engine.stop()


class Classifier:
    """Classes of images that come one by one, by an engine, in its batches and their order."""

    def __init__(self, victim: OpenTarget) -> None:
        self._victim = victim
        self._waiting: list[tuple[Item, Any]] = []
        self._classes: list[int] = []

    def add(self, item: Item, image: Any) -> None:
        """One more image (3, S, S)."""
        self._waiting.append((item, image))
        if len(self._waiting) == self._victim.batch_size:
            self._ask()

    def classes(self) -> list[int]:
        """Of all images so far."""
        if self._waiting:
            self._ask()
        return self._classes

    def _ask(self) -> None:
        items = tuple(item for item, _ in self._waiting)
        engine = self._victim.engine
        data = engine.allocate(len(items))
        data[:] = np.stack([image for _, image in self._waiting])
        self._waiting = []
        batch = ImageBatch(data, "images", items)
        limit, note = self._victim.limit, self._victim.note
        for part, logits in run_batches(engine, iter([batch]), limit, note):
            for item, row in zip(part.items, logits, strict=True):
                if not np.isfinite(row).all():
                    raise EngineError(
                        f"{engine.spec.backend} gave a logit that is not finite for "
                        f"{printable(item.id)}, attacked or not: no class of it can be believed."
                    )
                self._classes.append(int(row.argmax()))


class ShardOfTarget:
    """What a victim says of the images of one shard."""

    def __init__(self, victim: OpenTarget) -> None:
        self.run, self.made = victim.run, victim.made
        self._victim = victim
        self._clean, self._handed = Classifier(victim), Classifier(victim)
        self._new: list[str] = []
        self._places: list[tuple[str, int]] = []

    def clean(self, image: CleanImage) -> None:
        """One that is about to be attacked."""
        if image.item.id not in self._victim.clean:
            self._new.append(image.item.id)
            self._clean.add(image.item, image.image)

    def consume(self, item: Item, attempt: int, image: Any) -> None:
        """What came out of an attempt on it."""
        self._places.append((item.id, attempt))
        self._handed.add(item, image)

    def records(self, attack: "pa.RecordBatch") -> "pa.Table":
        """The records of the attack, with what this victim says."""
        self._victim.clean.update(zip(self._new, self._clean.classes(), strict=True))
        found = dict(zip(self._places, self._handed.classes(), strict=True))
        return transfer_records(attack, self._victim.clean, found)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass


def believed_on_adversarial(
    victims: Sequence[TransferTarget],
    job: AttackedData,
    source: TransferSource,
    epsilon: float,
    *,
    parity: bool,
    progress: Progress,
) -> list[TransferTarget]:
    """The victims with their parity on adversarial images, which is measured if it never was.

    Args:
        victims: Whose parity on photos is known.
        job: What the source is attacked with.
        source: The model that images are made on.
        epsilon: The largest that is asked for.
        parity: Whether it must have passed.
        progress: Is told what happens.

    Raises:
        ParityError: If an engine does not agree with its reference on such images.
    """
    words = _described(job, source, epsilon)
    images: ParityImages | None = None
    found = []
    for victim in victims:
        loaded = replace(victim.believed.loaded, spec=victim.spec)
        if loaded.is_reference:
            found.append(victim)
            continue
        result = stored_parity(victim.subject, loaded, words)
        if result is None and parity:
            images = images or _adversarial(job, epsilon, words)
            result = compare_logits(victim.subject, loaded, images, progress=progress)
        if parity and result is not None and not result.passed:
            raise ParityError(f"On adversarial images: {failure(result, loaded)}")
        found.append(replace(victim, adversarial=result))
    return found


def _described(job: AttackedData, source: TransferSource, epsilon: float) -> str:
    digest = document_sha256([source, _sample_settings(job.settings), epsilon])[:8]
    return (
        f"{len(sample_photos())} sample photos clean, the same attacked on {source.model} at "
        f"epsilon {epsilon:.4g} ({digest})"
    )


def _sample_settings(settings: AttackSettings) -> AttackSettings:
    """The attack of which some images are wanted, and not its numbers: a short one."""
    return replace(
        attack_settings(settings.protocol, steps=(PARITY_STEPS,)),
        step_size=settings.step_size,
        relative_step=settings.relative_step,
        losses=settings.losses[:1],
        restarts=1,
        seed=settings.seed,
        relative_epsilon=settings.relative_epsilon,
        attack_wrong=True,
    )


def _adversarial(job: AttackedData, epsilon: float, words: str) -> ParityImages:
    from ....attacks.pgd.pgd import AttackJob, run_pgd

    photos = [
        CleanImage(
            Item(photo.id, photo.label, str(photo.path)),
            photo_pixels(read_file(str(photo.path)), printable(photo.path), job.preprocessing)
            .transpose(2, 0, 1)
            .astype(np.float32)
            / 255,
        )
        for photo in sample_photos()
    ]
    attack = AttackJob(
        network=job.network.network,
        settings=_sample_settings(job.settings),
        epsilon=epsilon,
        room=job.room,
        note=job.note,
        device=job.network.device.name,
        keep_images=True,
    )
    made = {attempt.item.id: attempt.adversarial for attempt in run_pgd(attack, photos)}
    attacked_items = [replace(photo.item, id=f"{photo.item.id} (attacked)") for photo in photos]
    adversarial = [
        photo.image if (image := made[photo.item.id]) is None else image for photo in photos
    ]
    return ParityImages(
        items=(*(photo.item for photo in photos), *attacked_items),
        data=np.stack([*(photo.image for photo in photos), *adversarial]).astype(np.float32),
        clean=len(photos),
        description=words,
        kind="images",
    )
