"""The runs of a transferred attack: one of each victim, and that of the images that are kept."""

import os
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from ....attacks.saved_images import KeptImages, announce_size
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
from ....evaluate.batch_splitting import BatchLimit
from ....evaluate.benchmarks.transfer import TRANSFER
from ....evaluate.benchmarks.whitebox import WHITEBOX
from ....records.run import MANIFEST, key_sha256, open_run
from ....records.shards import Pace, shard_path, shards_of
from ...models.resolve import ResolvedModel
from ...runs.available_images import AvailableImages
from ...runs.provenance import circumstances, default_folder
from ...runs.run_data import RunData, find_folder
from ...runs.selection import Selection
from ...runs.start import begun_run, images_per_second
from ..job import AttackedData, ImageChoice, attack_circumstances, pace_of
from .shards import cut_of
from .targets import OpenTarget, TransferTarget


@dataclass(frozen=True)
class Transfer:
    """What all passes share."""

    job: AttackedData
    source: TransferSource
    selection: Selection
    images: ImageChoice
    attacked: ResolvedModel
    at_hand: AvailableImages


@dataclass(frozen=True)
class TransferOptions:
    """Where runs lie, and how many images are attacked at a time: unless a run says otherwise."""

    out: Path | None
    keep: Path | None
    batch: int
    batch_size: int | None
    verify_data: bool


@dataclass(frozen=True)
class KeptRun(KeptImages):
    """A folder that keeps images, as this command uses it.

    Attributes:
        data: Its photos, compared with those at hand.
    """

    data: RunData


def open_targets(
    victims: Sequence[TransferTarget],
    transfer: Transfer,
    asked: TransferOptions,
    opened: ExitStack,
    progress: Progress,
) -> tuple[KeptRun | None, list[OpenTarget]]:
    """The victims with their engines and runs; new runs are cut as the first that is there.

    Raises:
        InputError: If a run is cut otherwise than the images that are kept.
    """
    keys = [_key(victim, transfer) for victim in victims]
    folders = [
        _folder(victim.subject, key, asked.out, transfer, progress)
        for victim, key in zip(victims, keys, strict=True)
    ]
    engines = [
        opened.enter_context(v.believed.loaded.open(threads=os.cpu_count(), input_kind="images"))
        for v in victims
    ]
    places = [*([asked.keep] if asked.keep else []), *folders]
    like = next((open_run(place) for place in places if (place / MANIFEST).is_file()), None)
    sizes = [v.believed.loaded.placement.kind.batch_size(e.device) for v, e in
             zip(victims, engines, strict=True)]  # fmt: skip
    pace = None if like is not None else _pace(transfer.job, engines, sizes, progress)
    kept, found = None, []
    if asked.keep is not None:
        kept = _kept(asked.keep, transfer, pace, asked, like, progress)
        like = kept.run
    for victim, key, folder, engine, size in zip(
        victims, keys, folders, engines, sizes, strict=True
    ):
        run = begun_run(
            folder,
            key,
            victim.subject,
            transfer.selection,
            pace,
            asked.batch,
            asked.batch_size,
            like=like,
        )
        like = like or run
        data = _checked_data(run, transfer, asked, progress)
        if kept is not None and cut_of(kept.run) != cut_of(run):
            raise InputError(
                f"{printable(run.folder)} is cut into shards of {run.manifest.shard_size} images, "
                f"what is kept in {printable(kept.run.folder)} into "
                f"{kept.run.manifest.shard_size}: choose another --out, or another --keep."
            )
        made = _made(victim, engine, run, transfer)
        found.append(OpenTarget(victim, engine, size, run, made, BatchLimit(progress.note), data))
    return kept, found


def run_place(subject: ResolvedModel, out: Path) -> Path:
    """The run's folder in the one that a user names."""
    return out / subject.spec.name.replace(":", "-").replace("/", "-")


def _folder(
    subject: ResolvedModel, key: RunKey, out: Path | None, transfer: Transfer, progress: Progress
) -> Path:
    if out is not None:
        return run_place(subject, out)
    default = default_folder(subject, TRANSFER.name, key_sha256(key)[:8])
    return find_folder(default, transfer.at_hand, progress)


def _checked_data(
    run: Run,
    transfer: Transfer,
    asked: TransferOptions,
    progress: Progress,
    *,
    option: str = "--out",
) -> RunData:
    """The images of a run, which are those at hand."""
    conditions = transfer.selection.conditions
    data = RunData(run, transfer.at_hand, progress, conditions=conditions, option=option)
    data.check(every_file=asked.verify_data)
    return data


def _key(victim: TransferTarget, transfer: Transfer) -> RunKey:
    job, images = transfer.job, transfer.images
    return RunKey(
        benchmark=TRANSFER.name,
        protocol=protocol_name("transfer", job.settings.protocol, transfer.source.image),
        weights_sha256=victim.believed.loaded.weights_sha256,
        engine=victim.spec,
        preprocessing=victim.subject.spec.preprocessing,
        ids_sha256=transfer.selection.ids_sha256,
        generated=job.source.generated,
        limit=images.limit,
        seed=job.settings.seed,
        subset=images.subset,
        attack=job.settings,
        transfer=transfer.source,
    )


def _kept(
    folder: Path,
    transfer: Transfer,
    pace: Pace | None,
    asked: TransferOptions,
    like: Run | None,
    progress: Progress,
) -> KeptRun:
    """The folder that keeps images: a run of the source under its own attack."""
    job, subject = transfer.job, transfer.attacked
    key = replace(
        _key(TransferTarget(subject, job.network.believed), transfer),
        benchmark=WHITEBOX.name,
        protocol=protocol_name("whitebox", job.settings.protocol),
    )
    run = begun_run(
        folder, key, subject, transfer.selection, pace, asked.batch, asked.batch_size, like=like
    )
    data = _checked_data(run, transfer, asked, progress, option="--keep")
    side = job.preprocessing.crop_px
    shards = shards_of(transfer.selection.conditions, len(job.items), run.manifest.shard_size)
    missing = sum(shard.size for shard in shards if not shard_path(run, shard).is_file())
    if missing:
        announce_size(folder, missing * job.settings.attempts, side, progress)
    made = attack_circumstances(job.network, transfer.images, run.manifest.batch_size)
    return KeptRun(run, made, side, data)


def _made(victim: TransferTarget, engine: Engine, run: Run, transfer: Transfer) -> Provenance:
    made = circumstances(
        victim.believed,
        engine.device,
        {**engine.versions, **transfer.job.network.believed.loaded.placement.kind.versions()},
        transfer.images.places,
        transfer.images.labels,
        run.manifest.batch_size,
    )
    return replace(made, adversarial_parity=victim.adversarial)


def _pace(
    job: AttackedData, engines: Sequence[Engine], sizes: Sequence[int], progress: Progress
) -> Pace:
    """How fast an image is attacked, and classified twice by every victim."""
    seconds = 1 / pace_of(job, progress).items_per_second
    for engine, size in zip(engines, sizes, strict=True):
        seconds += 2 / images_per_second(engine, size)
    return Pace(1 / seconds, 1)
