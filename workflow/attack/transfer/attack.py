"""Attacks that are made on one model and classified by others: from words to runs on disk.

The images of a shard are made once, and each victim classifies them as they come; nothing of them
stays unless it is asked for. A run belongs to a victim and holds the attack's own records as well,
so that its report can say what the attack did to its source. A pass makes what any of the runs
lacks.
"""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Unpack, cast

from ....attacks.randomness import traced_sample
from ....attacks.transfer import check_transfer
from ....contracts import (
    OWN_IMAGE,
    NullProgress,
    Progress,
    Run,
    ThreadSafeProgress,
    TransferredImage,
    TransferSource,
    epsilon_text,
)
from ....engine.torch_engine import exact_float32
from ....errors import InputError, UnavailableError, printable
from ....evaluate.benchmarks.imagenet import IMAGENET
from ....evaluate.benchmarks.transfer import TRANSFER
from ....records.reading import check_finished
from ....records.run import check_run_folder
from ....records.shard_runner import run_shards
from ....records.shards import shard_path, shards_of
from ....records.skipped import skipped_in
from ....system.batch_limit import Room
from ...models.gradient_model import GradientNetwork, gradient_network, refuse_without_gradients
from ...models.options import ModelOptions, WeightsOptions
from ...models.resolve import ResolvedModel, resolve_model
from ...models.verified_engine import select_engine
from ...runs.available_images import AvailableImages
from ...runs.provenance import check_run_place
from ...runs.selection import Selection
from ..cross_check import CrossCheck, cross_check, run_to_check_against
from ..cross_checked_shards import comparing
from ..job import AttackedData, ImageChoice
from ..options import AttackChoice
from .runs import KeptRun, Transfer, TransferOptions, open_targets, run_place
from .shards import ImageConsumer, shard_work
from .targets import OpenTarget, TransferTarget, believed_on_adversarial

PAPERS_SOURCE = "resnext50_32x4d"
PAPERS_STEPS = (10,)


def attack_transfer(
    models: str | Sequence[str],
    data: str | Path | Sequence[str | Path],
    *,
    source: str = PAPERS_SOURCE,
    protocol: str = "paper",
    image: str | None = None,
    epsilons: Sequence[float] | None = None,
    steps: Sequence[int] | None = None,
    restarts: int | None = None,
    step_size: float | None = None,
    relative_epsilon: bool = False,
    subset: str | None = None,
    limit: int | None = None,
    traced: int | None = None,
    seed: int = 0,
    labels: str | Path | None = None,
    out: str | Path | None = None,
    engine: str | None = None,
    device: str | None = None,
    batch_size: int | None = None,
    source_weights: str = "default",
    source_crop_px: int | None = None,
    precision: str | None = None,
    parity: bool = True,
    on_error: str = "fail",
    keep: str | Path | None = None,
    check_against: str | Path | None = None,
    verify_data: bool = False,
    progress: Progress | None = None,
    **options: Unpack[WeightsOptions],
) -> tuple[Run, ...]:
    """Attack one model, and let others classify what comes out; what is finished stays.

    Args:
        models: The victims, one or several; they need no gradients.
        data: ImageNet's validation photos: folders and tar files.
        source: The model that is attacked; its code is needed.
        protocol: ``paper`` or ``standard``: how the source is attacked. The paper's transfer has
            10 steps.
        image: What is handed on: ``first-hit``, as in the paper, or the ``last`` iterate. Without
            it, the former where the protocol aims at a target, else the latter.
        epsilons: Of the L-infinity norm, in [0, 1] pixel units; no part of a run's identity.
        steps: The counts for which there is an answer; one for last iterates.
        restarts: Starts that are tried.
        step_size: In [0, 1] pixel units.
        relative_epsilon: Whether epsilon is a share of the largest value of each image.
        subset: ``every-second`` of the sorted images; without it, all, as in the paper.
        limit: So many images, evenly spaced.
        traced: How many images do all steps, for the diagnostics that need them.
        seed: Of starts, targets and the traced sample, and of random weights.
        labels: A list of the classes of images that are not in class folders.
        out: A folder in which each victim has its run, under its name; without it
            ``runs/<model>/transfer-<hash of the key>``.
        engine: Of the victims; without it, the best that is here and passes parity.
        device: Without it, the first GPU that is here, else the CPU.
        batch_size: Images that are attacked at a time.
        source_weights: The same of the source.
        source_crop_px: The same of the source.
        precision: In which the victims compute, on engines that run bundles.
        parity: Whether engines must agree with their reference, on adversarial images as well.
        on_error: What an image that cannot be read or decoded is: ``fail``, an error; ``skip``, a
            row that says so, and every number counts it.
        keep: A folder in which the images are kept, losslessly; what is there is not made again.
        check_against: A finished run of imagenet by any engine of the source, whose predictions
            the source's clean ones are compared with, photo by photo; no part of a run's identity.
        verify_data: Whether to compare every file of the shards that are finished with what was
            read for them; without it, a sample of the files is compared.
        progress: Progress callback.
        options: Which model; see ``WeightsOptions``.

    Returns:
        The run of each model, in their order.

    Raises:
        InputError: If the data, a model or a choice do not serve, or crops differ.
        RunMismatchError: If a folder holds a run of another identity, or of other images.
        ParityError: If an engine does not agree with its reference, or PyTorch and the run of
            ``check_against`` contradict each other.
        UnavailableError: If an engine, the device or weights are not here.
        EngineError: If a loss, a gradient or a logit is not finite.
    """
    progress = ThreadSafeProgress(progress or NullProgress())
    choice = AttackChoice(
        protocol=protocol,
        epsilons=epsilons,
        steps=PAPERS_STEPS if steps is None and protocol == "paper" else steps,
        restarts=restarts,
        step_size=step_size,
        relative_epsilon=relative_epsilon,
        traced=traced,
        seed=seed,
        batch_size=batch_size,
    )
    settings, conditions = choice.settings(attack_wrong=True), choice.conditions()
    handed = cast(TransferredImage, image or OWN_IMAGE[settings.protocol])
    check_transfer(settings, handed)
    images = ImageChoice.of(data, labels=labels, subset=subset, limit=limit, on_error=on_error)
    out, keep = (None if path is None else Path(path) for path in (out, keep))
    named = ModelOptions(source, source_weights, choice.seed_of(source_weights), source_crop_px)
    attacked = resolve_model(named, progress)
    refuse_without_gradients(attacked)
    against = None
    if check_against is not None:
        against = run_to_check_against(check_against, attacked.spec, role="source")
    asked_as = ModelOptions(
        "",
        seed=choice.seed_of(options.get("weights", "default")),
        precision=precision,
        input_kind="images",
        **options,
    )
    names = [models] if isinstance(models, str) else models
    subjects = [resolve_model(replace(asked_as, model=name), progress) for name in names]
    _check_models(attacked, subjects, progress)
    for subject in subjects:
        check_run_place(subject, TRANSFER.name, None if out is None else run_place(subject, out))
    if keep is not None:
        check_run_folder(keep)
    data_source, found = images.selected(progress)
    network = _source_network(attacked, device, parity=parity, progress=progress)
    items = next(iter(found.items.values()))
    ids = [item.id for item in items]
    batch = choice.batch_on(network.device)
    job = AttackedData(
        network=network,
        settings=settings,
        preprocessing=attacked.spec.preprocessing,
        source=data_source,
        items=items,
        room=Room(batch, progress.note),
        traced=frozenset(ids) if handed == "last" else traced_sample(ids, settings.traced, seed),
        skip_bad_images=images.skip,
    )
    check = cross_check(
        against, network, attacked.spec, data_source, items, progress, role="source"
    )
    victims = [
        TransferTarget(
            subject, select_engine(subject, engine, device, parity=parity, progress=progress)
        )
        for subject in subjects
    ]
    selection = Selection(TRANSFER, dict.fromkeys(conditions, items), found.ids_sha256)
    at_hand = AvailableImages.of(IMAGENET, data_source, selection, job.preprocessing, images.places)
    transfer = Transfer(
        job, _source_of(job, attacked, handed), selection, images, attacked, at_hand
    )
    largest = float(conditions[-1]["epsilon"])
    with exact_float32(), ExitStack() as opened:
        victims = believed_on_adversarial(
            victims, job, transfer.source, largest, parity=parity, progress=progress
        )
        asked = TransferOptions(out, keep, batch, batch_size, verify_data)
        kept, opened_victims = open_targets(victims, transfer, asked, opened, progress)
        _complete(opened_victims, kept, transfer, check, progress)
    return tuple(victim.run for victim in opened_victims)


def _source_network(
    subject: ResolvedModel, device: str | None, *, parity: bool, progress: Progress
) -> GradientNetwork:
    """The network to attack: before anything is exported, so that what it lacks is told at once.

    Raises:
        UnavailableError: If its weights or the device are not here.
    """
    try:
        return gradient_network(subject, device, parity=parity, progress=progress)
    except UnavailableError as error:
        raise type(error)(f"{error} (Of the source: --source-weights.)") from error


def _check_models(
    source: ResolvedModel, victims: Sequence[ResolvedModel], progress: Progress
) -> None:
    """Refuse crops that differ, and names that stand twice; say where only the resize does.

    Raises:
        InputError: If the source's images are none that a victim takes.
    """
    if not victims:
        raise InputError("There is no model to classify the images: name one or several.")
    ours = source.spec.preprocessing
    names = [victim.spec.name for victim in victims]
    for victim in victims:
        if names.count(victim.spec.name) > 1:
            raise InputError(
                f"{victim.spec.name} is named more than once: each has one run. Name it once, or "
                "ask for the other in a command of its own."
            )
        theirs = victim.spec.preprocessing
        if theirs.crop_px != ours.crop_px:
            raise InputError(
                f"{source.spec.name} is attacked on {ours.crop_px} px, {victim.spec.name} takes "
                f"{theirs.crop_px} px, and an adversarial image cannot be resized. Choose one "
                f"crop for both: --crop-px {ours.crop_px} here, or --source-crop-px "
                f"{theirs.crop_px}; either is marked."
            )
        if (theirs.resize_px, theirs.interpolation) != (ours.resize_px, ours.interpolation):
            progress.note(
                f"{victim.spec.name} sees the photos as {source.spec.name} does: short side "
                f"{ours.resize_px} px, {ours.interpolation}; its own is {theirs.resize_px} px, "
                f"{theirs.interpolation}. Its clean accuracy here is of those."
            )


def _source_of(
    job: AttackedData, subject: ResolvedModel, image: TransferredImage
) -> TransferSource:
    return TransferSource(
        model=subject.spec.name,
        weights=str(subject.spec.weights),
        weights_sha256=job.network.believed.loaded.weights_sha256,
        engine=job.network.spec,
        preprocessing=job.preprocessing,
        image=image,
    )


def _complete(
    victims: Sequence[OpenTarget],
    kept: KeptRun | None,
    transfer: Transfer,
    check: CrossCheck | None,
    progress: Progress,
) -> None:
    """Make what is missing of any of the runs."""
    selection = transfer.selection
    everyone: list[ImageConsumer] = [*([kept] if kept else []), *victims]
    shards = {
        id(one): shards_of(selection.conditions, selection.count, one.run.manifest.shard_size)
        for one in everyone
    }
    for one in everyone:
        check_finished(one.run, shards[id(one)])
    epsilons = ", ".join(epsilon_text(float(c["epsilon"])) for c in selection.conditions)
    names = ", ".join(victim.victim.subject.spec.name for victim in victims)
    progress.note(
        f"Attacking {transfer.source.model}, classified by {names}: {selection.count:,} images at "
        f"epsilon {epsilons}, into {', '.join(printable(victim.run.folder) for victim in victims)}."
    )
    # In one order, so that processes that were given the same models lease the same run's shards.
    ordered = sorted(everyone, key=lambda one: (one is not kept, str(one.run.folder)))
    job = transfer.job
    with comparing(check, [(one.run, shards[id(one)]) for one in ordered]) as compare:
        for one in ordered:
            if all(shard_path(one.run, shard).is_file() for shard in shards[id(one)]):
                continue
            job.room.size = one.run.manifest.batch_size
            work = shard_work(one, everyone, kept, job, transfer.source, compare=compare)
            with ExitStack() as watching:
                for other in everyone:
                    work = watching.enter_context(other.data.watched(work))
                run_shards(
                    one.run,
                    shards[id(one)],
                    work,
                    workers=1,
                    progress=progress,
                    verb="attack",
                    stop=partial(_stop, everyone),
                )
    skipped = skipped_in(victims[0].run, shards[id(victims[0])])
    if skipped is not None:
        progress.note(str(skipped))


def _stop(everyone: Sequence[ImageConsumer]) -> None:
    for one in everyone:
        one.stop()
