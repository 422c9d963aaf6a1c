"""The runs of a transferred attack: one for each target model, and one for saved images."""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from ....attacks.saved_images import SavedImages, announce_size
from ....contracts import Engine, Run, TransferSource
from ....errors import InputError, printable
from ....records.run import MANIFEST, open_run
from ....records.shards import Pace, shard_path
from ...runs.start import images_per_second
from ..job import AttackRun, PreparedAttack
from .targets import OpenTarget, TransferTarget


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
