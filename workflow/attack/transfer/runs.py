"""The runs of a transferred attack: one for each target model, and one for saved images."""

import os
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from ....attacks.saved_images import SavedImages, announce_size
from ....contracts import (
    Engine,
    Progress,
    Provenance,
    Run,
    RunKey,
    TransferSource,
    protocol_name,
)
from ....errors import InputError, printable
from ....evaluate.benchmarks.transfer import TRANSFER
from ....records.run import MANIFEST, open_run
from ....records.shards import Pace, shard_path, shards_of
from ....system.batch_limit import BatchLimit
from ...models.resolve import ResolvedModel
from ...runs.provenance import circumstances
from ...runs.run_data import RunData, find_folder
from ...runs.start import images_per_second, open_or_create_run
from ..job import AttackedData, PreparedAttack, pace_of
from .shards import cut_of
from .targets import OpenTarget, TransferTarget


@dataclass(frozen=True)
class Transfer:
    """A transferred attack.

    Attributes:
        attack: The attack on the source.
        source: The source, and which image is handed on.
        out: Folder that holds the run of each target model; ``None`` if not given.
        keep: Folder that images are saved in; ``None`` if they are not.
    """

    attack: PreparedAttack
    source: TransferSource
    out: Path | None
    keep: Path | None

    def begin_run(
        self, folder: Path, key: RunKey, subject: ResolvedModel, pace: Pace | None, like: Run | None
    ) -> Run:
        """Begin or continue a run; a new one gets the shard and batch size of ``like``."""
        attack = self.attack
        batch = attack.choice.batch_on(attack.job.network.device)
        return open_or_create_run(
            folder, key, subject, attack.selection, pace, batch, attack.choice.batch_size, like=like
        )

    def checked_data(self, run: Run, progress: Progress, *, option: str = "--out") -> RunData:
        """The images of a run, after a check that they are the available ones."""
        attack = self.attack
        conditions = attack.selection.conditions
        data = RunData(run, attack.available, progress, conditions=conditions, option=option)
        data.check(every_file=attack.choice.verify_data)
        return data


@dataclass(frozen=True)
class SavedRun(SavedImages):
    """A folder of saved images.

    Attributes:
        data: Photos of the run, compared with the available ones.
    """

    data: RunData


def open_targets(
    targets: Sequence[TransferTarget],
    transfer: Transfer,
    opened: ExitStack,
    progress: Progress,
) -> tuple[SavedRun | None, list[OpenTarget]]:
    """Open the engines and runs of target models; new runs take the shards of an existing one.

    Raises:
        InputError: If a run has shards of another size than the saved images.
    """
    keys = [_key(target, transfer) for target in targets]
    folders = [
        _folder(target.subject, key, transfer, progress)
        for target, key in zip(targets, keys, strict=True)
    ]
    engines = [
        opened.enter_context(t.verified.loaded.open(threads=os.cpu_count(), input_kind="images"))
        for t in targets
    ]
    places = [*([transfer.keep] if transfer.keep else []), *folders]
    like = next((open_run(place) for place in places if (place / MANIFEST).is_file()), None)
    sizes = [t.verified.loaded.placement.kind.batch_size(e.device) for t, e in
             zip(targets, engines, strict=True)]  # fmt: skip
    pace = None if like is not None else _pace(transfer.attack.job, engines, sizes, progress)
    saved = None
    if transfer.keep is not None:
        saved = _saved_run(transfer.keep, transfer, pace, like, progress)
        like = saved.run
    open_targets = []
    for target, key, folder, engine, size in zip(
        targets, keys, folders, engines, sizes, strict=True
    ):
        run = transfer.begin_run(folder, key, target.subject, pace, like)
        like = like or run
        data = transfer.checked_data(run, progress)
        _refuse_other_cut(run, saved)
        provenance = _provenance(target, run, transfer)
        limit = BatchLimit(size)
        open_targets.append(
            OpenTarget(target, engine, size, run, provenance, limit, progress.note, data)
        )
    return saved, open_targets


def run_place(subject: ResolvedModel, out: Path) -> Path:
    """Folder of a target model's run in the folder that a user names."""
    return out / subject.spec.name.replace(":", "-").replace("/", "-")


def _folder(subject: ResolvedModel, key: RunKey, transfer: Transfer, progress: Progress) -> Path:
    if transfer.out is not None:
        return run_place(subject, transfer.out)
    return find_folder(subject, key, transfer.attack.available, progress)


def _refuse_other_cut(run: Run, saved: SavedRun | None) -> None:
    if saved is not None and cut_of(saved.run) != cut_of(run):
        raise InputError(
            f"{printable(run.folder)} has shards of {run.manifest.shard_size} images, the saved "
            f"images in {printable(saved.run.folder)} have shards of "
            f"{saved.run.manifest.shard_size}. Choose another --out or another --keep."
        )


def _key(target: TransferTarget, transfer: Transfer) -> RunKey:
    source = transfer.source
    protocol = transfer.attack.job.settings.protocol
    return replace(
        transfer.attack.key(),
        benchmark=TRANSFER.name,
        protocol=protocol_name("transfer", protocol, source.image),
        weights_sha256=target.verified.loaded.weights_sha256,
        engine=target.spec,
        preprocessing=target.subject.spec.preprocessing,
        transfer=source,
    )


def _saved_run(
    folder: Path, transfer: Transfer, pace: Pace | None, like: Run | None, progress: Progress
) -> SavedRun:
    """The folder of saved images: a run of the source under its own attack."""
    attack = transfer.attack
    job, selection = attack.job, attack.selection
    key = replace(attack.key(), transfer=transfer.source)
    run = transfer.begin_run(folder, key, attack.subject, pace, like)
    data = transfer.checked_data(run, progress, option="--keep")
    side = job.preprocessing.crop_px
    shards = shards_of(selection.conditions, selection.count, run.manifest.shard_size)
    missing = sum(shard.size for shard in shards if not shard_path(run, shard).is_file())
    if missing:
        announce_size(folder, missing * job.settings.attempts, side, progress)
    return SavedRun(run, attack.provenance(run.manifest.batch_size), side, data)


def _provenance(target: TransferTarget, run: Run, transfer: Transfer) -> Provenance:
    """Fields that the provenances of all shards of a target model share."""
    attack = transfer.attack
    images, batch_size = attack.images, run.manifest.batch_size
    provenance = circumstances(target.verified, images.places, images.labels, batch_size)
    source_versions = attack.job.network.verified.loaded.placement.kind.versions()
    return replace(
        provenance,
        versions={**provenance.versions, **source_versions},
        adversarial_parity=target.adversarial,
    )


def _pace(
    job: AttackedData, engines: Sequence[Engine], sizes: Sequence[int], progress: Progress
) -> Pace:
    """Speed of attacking an image and classifying it twice by every target model."""
    seconds = 1 / pace_of(job, progress).items_per_second
    for engine, size in zip(engines, sizes, strict=True):
        seconds += 2 / images_per_second(engine, size)
    return Pace(1 / seconds, 1)
