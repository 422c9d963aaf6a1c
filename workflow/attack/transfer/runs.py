"""The runs of a transferred attack: one for each target model, and one for saved images."""

import os
from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np

from ....attacks.pgd.attempts import CleanImage
from ....attacks.saved_images import SavedImages, announce_size
from ....attacks.transfer import transfer_records
from ....contracts import (
    Engine,
    ImageBatch,
    Item,
    ParityResult,
    Run,
    RunKey,
    Shard,
    TransferSource,
    protocol_name,
)
from ....errors import EngineError, InputError, printable
from ....evaluate.batch_splitting import run_batches
from ....evaluate.benchmarks.transfer import TRANSFER
from ....records.run import MANIFEST, open_run
from ....records.shards import Pace, shard_path
from ....system.batch_limit import BatchLimit
from ...models.resolve import ResolvedModel
from ...models.self_check import self_check_status
from ...models.verified_engine import VerifiedEngine
from ...runs.provenance import circumstances
from ...runs.run_data import find_folder
from ...runs.start import images_per_second
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
        key, progress = self.key(attack, source), attack.progress
        return find_folder(self.model, key, attack.available, progress, attack.model)


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
        places, labels = attack.choice.places, attack.choice.labels
        batch_size = attack_run.run.manifest.batch_size
        provenance = circumstances(target.verified, places, labels, batch_size)
        source = attack.network.verified
        checks = (*target.verified.self_checks, *source.self_checks)
        self.provenance = replace(
            provenance,
            versions={**provenance.versions, **source.loaded.placement.kind.versions()},
            self_check=self_check_status(*checks),
            adversarial_parity=target.adversarial,
        )

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


@dataclass(frozen=True)
class SavedRun(SavedImages):
    """A folder of saved images.

    Attributes:
        attack_run: Run of the source, under its own attack.
    """

    attack_run: AttackRun


def open_targets(
    targets: Sequence[TransferTarget],
    attack: PreparedAttack,
    source: TransferSource,
    keep: Path | None,
    opened: ExitStack,
) -> tuple[SavedRun | None, list[OpenTarget]]:
    """Open the engines and runs of target models; new runs take the shards of an existing one.

    Args:
        targets: Target models.
        attack: The attack on the source.
        source: The source, and which image is handed on.
        keep: Folder that images are saved in; ``None`` if they are not.
        opened: Closes the engines.

    Raises:
        InputError: If a run has shards of another size than the saved images.
    """
    folders = [target.folder(attack, source) for target in targets]
    engines = [opened.enter_context(target.open_engine()) for target in targets]
    places = [*([keep] if keep else []), *folders]
    like = next((open_run(place) for place in places if (place / MANIFEST).is_file()), None)
    pace = None if like is not None else _pace(attack, targets, engines)
    saved = None
    if keep is not None:
        saved = _saved_run(keep, attack, source, pace, like)
        like = saved.run
    open_targets = []
    for target, folder, engine in zip(targets, folders, engines, strict=True):
        key = target.key(attack, source)
        attack_run = attack.open_run(folder, key, target.model, pace, like=like)
        like = like or attack_run.run
        if saved is not None:
            _refuse_other_cut(attack_run.run, saved.run)
        open_targets.append(OpenTarget(target, engine, attack_run, attack))
    return saved, open_targets


def cut_of(run: Run) -> tuple[int, int]:
    """Shard and batch size of a run; one pass serves all runs with the same."""
    return run.manifest.shard_size, run.manifest.batch_size


def _refuse_other_cut(run: Run, saved: Run) -> None:
    if cut_of(saved) != cut_of(run):
        raise InputError(
            f"{printable(run.folder)} has shards of {run.manifest.shard_size} images, the saved "
            f"images in {printable(saved.folder)} have shards of {saved.manifest.shard_size}. "
            "Choose another --out or another --keep."
        )


def _saved_run(
    folder: Path,
    attack: PreparedAttack,
    source: TransferSource,
    pace: Pace | None,
    like: Run | None,
) -> SavedRun:
    """The folder of saved images: a run of the source under its own attack."""
    key = replace(attack.key(), transfer=source)
    attack_run = attack.open_run(folder, key, attack.model, pace, like=like, option="--keep")
    run, side = attack_run.run, attack.preprocessing.crop_px
    missing = sum(s.size for s in attack_run.shards if not shard_path(run, s).is_file())
    if missing:
        announce_size(folder, missing * attack.settings.attempts, side, attack.progress)
    return SavedRun(run, attack.provenance(run.manifest.batch_size), side, attack_run)


def _pace(
    attack: PreparedAttack, targets: Sequence[TransferTarget], engines: Sequence[Engine]
) -> Pace:
    """Speed of attacking an image and classifying it twice by every target model."""
    seconds = 1 / attack.pace().items_per_second
    for target, engine in zip(targets, engines, strict=True):
        seconds += 2 / images_per_second(engine, target.batch_size(engine))
    return Pace(1 / seconds, 1)
