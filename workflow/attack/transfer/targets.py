"""Target models of a transferred attack: their engines, their classes and their runs."""

import os
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np

from ....attacks.pgd.attempts import CleanImage
from ....attacks.transfer import transfer_records
from ....contracts import (
    Engine,
    ImageBatch,
    Item,
    ParityResult,
    RunKey,
    Shard,
    TransferSource,
    protocol_name,
)
from ....errors import EngineError, printable
from ....evaluate.batch_splitting import run_batches
from ....evaluate.benchmarks.transfer import TRANSFER
from ....records.run import key_sha256
from ....system.batch_limit import BatchLimit
from ...models.resolve import ResolvedModel
from ...models.verified_engine import VerifiedEngine
from ...runs.provenance import circumstances, default_folder
from ...runs.run_data import find_folder
from ..job import AttackRun, PreparedAttack

if TYPE_CHECKING:
    import pyarrow as pa

Key = TypeVar("Key")


@dataclass(frozen=True)
class TransferTarget:
    """A model that classifies images which were made on another one.

    Attributes:
        model: Model that classifies.
        verified: Engine of the model, which takes images, with its parity on photos.
        adversarial: Parity on adversarial images; ``None`` for the reference, or if not required.
    """

    model: ResolvedModel
    verified: VerifiedEngine
    adversarial: ParityResult | None

    def open_engine(self) -> Engine:
        """Open the engine, which takes images."""
        return self.verified.loaded.open(threads=os.cpu_count(), input_kind="images")

    def batch_size(self, engine: Engine) -> int:
        """Images in a batch of the open engine."""
        return self.verified.loaded.placement.kind.batch_size(engine.device)

    def key(self, attack: PreparedAttack, source: TransferSource) -> RunKey:
        """Key of the run of this model, under an attack on the source."""
        return replace(
            attack.key(),
            benchmark=TRANSFER.name,
            protocol=protocol_name("transfer", attack.settings.protocol, source.image),
            weights_sha256=self.verified.loaded.weights_sha256,
            engine=self.verified.loaded.spec,
            preprocessing=self.model.spec.preprocessing,
            transfer=source,
        )

    def folder(self, attack: PreparedAttack, source: TransferSource) -> Path:
        """Folder of the run of this model.

        Raises:
            InputError: If an existing run is damaged.
        """
        if attack.choice.out is not None:
            return run_place(self.model, attack.choice.out)
        digits = key_sha256(self.key(attack, source))[:8]
        default = default_folder(self.model, TRANSFER.name, digits)
        return find_folder(default, attack.available, attack.progress)


def run_place(model: ResolvedModel, out: Path) -> Path:
    """Folder of a target model's run in the folder that a user names."""
    return out / model.spec.name.replace(":", "-").replace("/", "-")


class OpenTarget:
    """A target model whose engine and run are open.

    Attributes:
        engine: Engine of the model, which takes images.
        batch_size: Images in a batch.
        limit: Largest batch that the engine is given.
        note: Callback that is given the sentence to print when the limit becomes smaller.
        attack_run: Run that the records belong to.
        provenance: Fields that the provenances of all shards share.
        clean: Predicted class of each clean image so far, which is the same at every epsilon.
    """

    def __init__(
        self, target: TransferTarget, engine: Engine, attack_run: AttackRun, attack: PreparedAttack
    ) -> None:
        self.engine, self.batch_size = engine, target.batch_size(engine)
        self.limit, self.note = BatchLimit(self.batch_size), attack.progress.note
        self.attack_run = attack_run
        self.clean: dict[str, int] = {}
        provenance = circumstances(
            target.verified,
            engine.device,
            {**engine.versions, **attack.network.verified.loaded.placement.kind.versions()},
            attack.choice.places,
            attack.choice.labels,
            attack_run.run.manifest.batch_size,
        )
        self.provenance = replace(provenance, adversarial_parity=target.adversarial)

    def begin(self, shard: Shard) -> "AbstractContextManager[ShardOfTarget]":
        """Begin a shard."""
        return nullcontext(ShardOfTarget(self))

    def stop(self) -> None:
        """Stop the current computation."""
        self.engine.stop()


class Classifier(Generic[Key]):
    """Collects images one by one, and classifies them in batches, in their order."""

    def __init__(self, target: OpenTarget) -> None:
        self._target = target
        self._waiting: list[tuple[Key, Item, Any]] = []
        self._classes: dict[Key, int] = {}

    def add(self, key: Key, item: Item, image: Any) -> None:
        """Add an image (3, S, S)."""
        self._waiting.append((key, item, image))
        if len(self._waiting) == self._target.batch_size:
            self._classify()

    def classes(self) -> dict[Key, int]:
        """The classes of all images so far, by their keys."""
        if self._waiting:
            self._classify()
        return self._classes

    def _classify(self) -> None:
        keys, items, images = zip(*self._waiting, strict=True)
        self._waiting = []
        target, engine, remaining = self._target, self._target.engine, iter(keys)
        data = engine.allocate(len(items))
        data[:] = np.stack(images)
        batch = ImageBatch(data, "images", items)
        for part, logits in run_batches(engine, iter([batch]), target.limit, target.note):
            for item, row in zip(part.items, logits, strict=True):
                if not np.isfinite(row).all():
                    raise EngineError(
                        f"{engine.spec.backend} gave a logit that is not finite for "
                        f"{printable(item.id)}, clean or adversarial, so its class is undefined."
                    )
                self._classes[next(remaining)] = int(row.argmax())


class ShardOfTarget:
    """Classes that a target model predicts for the images of one shard."""

    def __init__(self, target: OpenTarget) -> None:
        self.run, self.provenance = target.attack_run.run, target.provenance
        self._target = target
        self._clean = Classifier[str](target)
        self._adversarial = Classifier[tuple[str, int]](target)

    def clean(self, image: CleanImage) -> None:
        """Take an image that is about to be attacked."""
        if image.item.id not in self._target.clean:
            self._clean.add(image.item.id, image.item, image.image)

    def consume(self, item: Item, attempt: int, image: Any) -> None:
        """Take the image that an attempt hands on."""
        self._adversarial.add((item.id, attempt), item, image)

    def records(self, attack: "pa.RecordBatch") -> "pa.Table":
        """The records of the attack, with the classes that the target model predicts."""
        self._target.clean.update(self._clean.classes())
        return transfer_records(attack, self._target.clean, self._adversarial.classes())
