"""Transferred attacks: images that are made on one model, the source, and classified by others.

The images of a shard are made once, and each target model classifies them as they come; they are
not saved unless the user asks for it. A run belongs to a target model and holds the attack's own
records as well, so that its report can say what the attack did to its source. A pass makes what any
of the runs lacks.
"""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Unpack, cast

from ....attacks.transfer import check_transfer
from ....contracts import (
    OWN_IMAGE,
    PAPERS_SOURCE,
    NullProgress,
    Progress,
    Run,
    ThreadSafeProgress,
    TransferredImage,
    TransferSource,
)
from ....engine.torch_engine import exact_float32
from ....errors import InputError, printable
from ....evaluate.benchmarks.transfer import TRANSFER
from ....records.run import check_run_folder
from ...models.options import ModelOptions, WeightsOptions
from ...models.resolve import ResolvedModel, resolve_model
from ...models.verified_engine import select_engine
from ...runs.complete import is_complete, make_shards, note_skipped, selected_shards
from ...runs.provenance import check_run_place
from ..cross_checked_shards import comparing
from ..job import PreparedAttack, attacked_model, prepare_attack, size_text
from ..options import AttackChoice, AttackOptions, split_options
from .runs import SavedRun, Transfer, open_targets, run_place
from .shards import ImageConsumer, shard_work
from .targets import OpenTarget, TransferTarget, check_adversarial_parity

PAPERS_STEPS = (10,)


def attack_transfer(
    models: str | Sequence[str],
    data: str | Path | Sequence[str | Path],
    *,
    source: str = PAPERS_SOURCE,
    image: str | None = None,
    engine: str | None = None,
    source_weights: str = "default",
    source_crop_px: int | None = None,
    precision: str | None = None,
    keep: str | Path | None = None,
    progress: Progress | None = None,
    **options: Unpack[AttackOptions],
) -> tuple[Run, ...]:
    """Attack one model, and let others classify the images; finished shards are not made again.

    Args:
        models: Target models, one or several; they need no gradients.
        data: ImageNet's validation photos: folders and tar files.
        source: Model that is attacked; its code is needed.
        image: Adversarial image that is handed on: ``first-hit``, as in the paper, or the ``last``
            iterate. If not given, the former for a protocol with targets, else the latter.
        engine: Engine of the target models. If not given, the best available one that passes
            parity.
        source_weights: Weights of the source, as ``weights`` are those of the target models.
        source_crop_px: Crop of the source, as ``crop_px`` is that of the target models.
        precision: Precision of the target models, for engines that run bundles.
        keep: Folder in which the images are saved, losslessly; saved images are not made again.
        progress: Progress callback.
        options: Choices of the attack and of the target models' weights; see ``AttackOptions``. By
            default the paper's protocol has 10 steps here, last iterates have one step count, and
            parity is required on adversarial images as well.

    Returns:
        The run of each model, in their order.

    Raises:
        InputError: If the data, a model or a choice cannot be used, or crops differ.
        RunMismatchError: If a folder holds a run of another identity, or of other images.
        ParityError: If an engine does not agree with its reference, or PyTorch and the run of
            ``check_against`` contradict each other.
        UnavailableError: If an engine, the device or weights are not available.
        EngineError: If a loss, a gradient or a logit is not finite.
    """
    progress = ThreadSafeProgress(progress or NullProgress())
    choice, weights = split_options(options)
    if choice.steps is None and choice.protocol == "paper":
        choice = replace(choice, steps=PAPERS_STEPS)
    settings, conditions = choice.settings(attack_wrong=True), choice.conditions()
    handed_image = cast(TransferredImage, image or OWN_IMAGE[settings.protocol])
    check_transfer(settings, handed_image)
    images = choice.images(data)
    out, keep = (None if path is None else Path(path) for path in (choice.out, keep))
    seed = choice.weights_seed(source_weights)
    source_options = ModelOptions(source, source_weights, seed, source_crop_px)
    attacked = attacked_model(source_options, choice, progress, role="source")
    names = [models] if isinstance(models, str) else models
    subjects = _target_models(names, choice, weights, precision, progress)
    _check_models(attacked.subject, subjects, progress)
    for subject in subjects:
        check_run_place(subject, TRANSFER.name, None if out is None else run_place(subject, out))
    if keep is not None:
        check_run_folder(keep)
    attack = prepare_attack(
        attacked,
        choice,
        settings,
        images,
        progress,
        trace_all=handed_image == "last",
    )
    transfer = Transfer(attack, _source_of(attack, handed_image), out, keep)
    targets = [
        TransferTarget(
            subject,
            select_engine(subject, engine, choice.device, parity=choice.parity, progress=progress),
        )
        for subject in subjects
    ]
    with exact_float32(), ExitStack() as opened:
        targets = check_adversarial_parity(
            targets,
            attack.job,
            transfer.source,
            float(conditions[-1]["epsilon"]),
            parity=choice.parity,
            progress=progress,
        )
        saved, open_models = open_targets(targets, transfer, opened, progress)
        _complete(open_models, saved, transfer, progress)
    return tuple(target.run for target in open_models)


def _target_models(
    names: Sequence[str],
    choice: AttackChoice,
    weights: WeightsOptions,
    precision: str | None,
    progress: Progress,
) -> list[ResolvedModel]:
    seed = choice.weights_seed(weights.get("weights", "default"))
    options = ModelOptions("", seed=seed, precision=precision, input_kind="images", **weights)
    return [resolve_model(replace(options, model=name), progress) for name in names]


def _check_models(
    source: ResolvedModel, targets: Sequence[ResolvedModel], progress: Progress
) -> None:
    """Refuse crops that differ, and names that occur twice; note where only the resize differs.

    Raises:
        InputError: If a target model does not take the source's images.
    """
    if not targets:
        raise InputError("There is no model to classify the images: name one or several.")
    ours = source.spec.preprocessing
    names = [target.spec.name for target in targets]
    for target in targets:
        if names.count(target.spec.name) > 1:
            raise InputError(
                f"{target.spec.name} is named more than once, but each model has one run. Name it "
                "once, or use a separate command for the other."
            )
        theirs = target.spec.preprocessing
        if theirs.crop_px != ours.crop_px:
            raise InputError(
                f"{source.spec.name} is attacked on {ours.crop_px} px, {target.spec.name} takes "
                f"{theirs.crop_px} px, and an adversarial image cannot be resized. Choose one "
                f"crop for both: --crop-px {ours.crop_px} here, or --source-crop-px "
                f"{theirs.crop_px}; either is marked."
            )
        if (theirs.resize_px, theirs.interpolation) != (ours.resize_px, ours.interpolation):
            progress.note(
                f"{target.spec.name} gets the photos as {source.spec.name} does: short side "
                f"{ours.resize_px} px, {ours.interpolation}; its own is {theirs.resize_px} px, "
                f"{theirs.interpolation}. Its clean accuracy here is of those."
            )


def _source_of(attack: PreparedAttack, image: TransferredImage) -> TransferSource:
    spec = attack.subject.spec
    return TransferSource(
        model=spec.name,
        weights=str(spec.weights),
        weights_sha256=attack.job.network.verified.loaded.weights_sha256,
        engine=attack.job.network.spec,
        preprocessing=attack.job.preprocessing,
        image=image,
    )


def _complete(
    targets: Sequence[OpenTarget], saved: SavedRun | None, transfer: Transfer, progress: Progress
) -> None:
    """Make the shards that any of the runs lacks."""
    attack = transfer.attack
    consumers: list[ImageConsumer] = [*([saved] if saved else []), *targets]
    shards = {
        id(consumer): selected_shards(consumer.run, attack.selection) for consumer in consumers
    }
    names = ", ".join(target.target.subject.spec.name for target in targets)
    progress.note(
        f"Attacking {transfer.source.model}, classified by {names}: {size_text(attack.selection)}, "
        f"into {', '.join(printable(target.run.folder) for target in targets)}."
    )
    # In one order, so that processes that were given the same models lease the same run's shards.
    ordered = sorted(
        consumers, key=lambda consumer: (consumer is not saved, str(consumer.run.folder))
    )
    job, data = attack.job, [consumer.data for consumer in consumers]
    with comparing(
        attack.check, [(consumer.run, shards[id(consumer)]) for consumer in ordered]
    ) as compare:
        for consumer in ordered:
            if is_complete(consumer.run, shards[id(consumer)]):
                continue
            job.room.size = consumer.run.manifest.batch_size
            work = shard_work(consumer, consumers, saved, job, transfer.source, compare=compare)
            stop = partial(_stop, consumers)
            make_shards(consumer.run, shards[id(consumer)], work, data, progress, stop=stop)
    note_skipped(targets[0].run, shards[id(targets[0])], progress)


def _stop(consumers: Sequence[ImageConsumer]) -> None:
    for consumer in consumers:
        consumer.stop()
