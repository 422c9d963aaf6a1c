"""Target models of a transferred attack: their parity on adversarial images, and their classes."""

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
    images_from_pixels,
)
from ....engine.parity import ParityImages
from ....errors import EngineError, ParityError, printable
from ....evaluate.batch_splitting import run_batches
from ....evaluate.decode import photo_pixels
from ....evaluate.generate.photos import sample_photos
from ....evaluate.sources.listing import read_file
from ....storage.documents import document_sha256
from ....system.batch_limit import BatchLimit
from ...models.parity import measure_parity, stored_parity
from ...models.resolve import ResolvedModel
from ...models.verified_engine import VerifiedEngine, failure
from ...runs.run_data import RunData
from ..job import AttackedData

if TYPE_CHECKING:
    import pyarrow as pa

PARITY_STEPS = 10
"""Steps of the attack on the sample photos; more of them move images no further from photos."""


@dataclass(frozen=True)
class TransferTarget:
    """A model that classifies images which were made on another one.

    Attributes:
        subject: Model that classifies.
        verified: Engine of the model, with its parity on photos.
        adversarial: Parity on adversarial images; ``None`` for the reference, or if not required.
    """

    subject: ResolvedModel
    verified: VerifiedEngine
    adversarial: ParityResult | None = None

    @property
    def spec(self) -> EngineSpec:
        """Specification of the engine, which takes images."""
        return replace(self.verified.loaded.spec, input_kind="images")


@dataclass
class OpenTarget:
    """A target model whose engine and run are open.

    Attributes:
        target: The target model.
        engine: Engine of the model, which takes images.
        batch_size: Images in a batch.
        run: Run that the records belong to.
        provenance: Fields that the provenances of all shards share.
        limit: Largest batch that the engine is given.
        note: Callback that is given the sentence to print when the limit becomes smaller.
        data: The photos of the run, compared with the available ones.
        clean: Predicted class of each clean image so far, which is the same at every epsilon.
    """

    target: TransferTarget
    engine: Engine
    batch_size: int
    run: Run
    provenance: Provenance
    limit: BatchLimit
    note: Callable[[str], None]
    data: RunData
    clean: dict[str, int] = field(default_factory=dict)

    def begin(self, shard: Shard) -> "ShardOfTarget":
        """Begin a shard."""
        return ShardOfTarget(self)

    def stop(self) -> None:
        """Stop the current computation."""
        self.engine.stop()


class Classifier:
    """Collects images one by one, and classifies them in batches, in their order."""

    def __init__(self, target: OpenTarget) -> None:
        self._target = target
        self._waiting: list[tuple[Item, Any]] = []
        self._classes: list[int] = []

    def add(self, item: Item, image: Any) -> None:
        """Add an image (3, S, S)."""
        self._waiting.append((item, image))
        if len(self._waiting) == self._target.batch_size:
            self._classify()

    def classes(self) -> list[int]:
        """The classes of all images so far."""
        if self._waiting:
            self._classify()
        return self._classes

    def _classify(self) -> None:
        items = tuple(item for item, _ in self._waiting)
        engine = self._target.engine
        data = engine.allocate(len(items))
        data[:] = np.stack([image for _, image in self._waiting])
        self._waiting = []
        batch = ImageBatch(data, "images", items)
        for part, logits in run_batches(
            engine, iter([batch]), self._target.limit, self._target.note
        ):
            for item, row in zip(part.items, logits, strict=True):
                if not np.isfinite(row).all():
                    raise EngineError(
                        f"{engine.spec.backend} gave a logit that is not finite for "
                        f"{printable(item.id)}, clean or adversarial, so its class is undefined."
                    )
                self._classes.append(int(row.argmax()))


class ShardOfTarget:
    """Classes that a target model predicts for the images of one shard."""

    def __init__(self, target: OpenTarget) -> None:
        self.run, self.provenance = target.run, target.provenance
        self._target = target
        self._clean, self._adversarial = Classifier(target), Classifier(target)
        self._new: list[str] = []
        self._attempts: list[tuple[str, int]] = []

    def clean(self, image: CleanImage) -> None:
        """Take an image that is about to be attacked."""
        if image.item.id not in self._target.clean:
            self._new.append(image.item.id)
            self._clean.add(image.item, image.image)

    def consume(self, item: Item, attempt: int, image: Any) -> None:
        """Take the image that an attempt hands on."""
        self._attempts.append((item.id, attempt))
        self._adversarial.add(item, image)

    def records(self, attack: "pa.RecordBatch") -> "pa.Table":
        """The records of the attack, with the classes that the target model predicts."""
        self._target.clean.update(zip(self._new, self._clean.classes(), strict=True))
        classes = dict(zip(self._attempts, self._adversarial.classes(), strict=True))
        return transfer_records(attack, self._target.clean, classes)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass


def check_adversarial_parity(
    targets: Sequence[TransferTarget],
    job: AttackedData,
    source: TransferSource,
    epsilon: float,
    *,
    parity: bool,
    progress: Progress,
) -> list[TransferTarget]:
    """The target models with their parity on adversarial images, measured if it is not stored.

    Args:
        targets: Target models.
        job: Network, settings and images of the attack on the source.
        source: The source.
        epsilon: The largest epsilon of the attack.
        parity: Whether parity is required.
        progress: Progress callback.

    Raises:
        ParityError: If an engine does not agree with its reference on such images.
    """
    description = _description(job, source, epsilon)
    images: ParityImages | None = None
    checked = []
    for target in targets:
        loaded = replace(target.verified.loaded, spec=target.spec)
        if loaded.is_reference:
            checked.append(target)
            continue
        result = stored_parity(target.subject.spec, loaded, description)
        if result is None and parity:
            images = images or _parity_images(job, epsilon, description)
            result = measure_parity(target.subject.spec, loaded, images, progress=progress)
        if parity and result is not None and not result.passed:
            raise ParityError(f"On adversarial images: {failure(result)}")
        checked.append(replace(target, adversarial=result))
    return checked


def _description(job: AttackedData, source: TransferSource, epsilon: float) -> str:
    digest = document_sha256([source, _sample_settings(job.settings), epsilon])[:8]
    return (
        f"{len(sample_photos())} sample photos clean, the same attacked on {source.model} at "
        f"epsilon {epsilon:.4g} ({digest})"
    )


def _sample_settings(settings: AttackSettings) -> AttackSettings:
    """A short attack: only its images are needed, not its numbers."""
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


def _parity_images(job: AttackedData, epsilon: float, description: str) -> ParityImages:
    from ....attacks.pgd.pgd import AttackJob, run_pgd

    photos = [
        CleanImage(
            Item(photo.id, photo.label, str(photo.path)),
            images_from_pixels(
                photo_pixels(read_file(str(photo.path)), printable(photo.path), job.preprocessing)
            ),
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
    images = {attempt.item.id: attempt.adversarial for attempt in run_pgd(attack, photos)}
    attacked_items = [replace(photo.item, id=f"{photo.item.id} (attacked)") for photo in photos]
    adversarial = [
        photo.image if (image := images[photo.item.id]) is None else image for photo in photos
    ]
    return ParityImages(
        items=(*(photo.item for photo in photos), *attacked_items),
        data=np.stack([*(photo.image for photo in photos), *adversarial]).astype(np.float32),
        clean=len(photos),
        description=description,
        kind="images",
    )
