"""Transferred attacks: images that are made on one model, the source, and classified by others.

The images of a shard are made once, and each target model classifies them as they come; they are
not saved unless the user asks for it. A run belongs to a target model and holds the attack's own
records as well, so that its report can say what the attack did to its source. A pass makes what any
of the runs lacks.
"""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
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
    protocol_name,
)
from ....errors import InputError, UnavailableError, printable
from ....evaluate.benchmarks.transfer import TRANSFER
from ....records.run import check_run_folder
from ....system.exact_float32 import exact_float32
from ...models.options import ModelOptions, PlanOptions
from ...models.resolve import ResolvedModel
from ...models.self_check import check_reference, uses_reference
from ...models.verified_engine import VerifiedEngine, select_engine
from ...runs.complete import report_skipped
from ...runs.label_check import report_suspect_labels
from ...runs.provenance import check_run_place
from ...runs.several_gpus import on_several_gpus
from ...runs.start import refuse_other_network, refuse_other_run
from ..job import check_attacked, prepare_attack
from ..options import AttackOptions, TransferOptions, read_options
from .adversarial_parity import AdversarialParity
from .runs import TransferTarget, open_targets, run_place
from .shards import TransferJob

PAPERS_STEPS = (10,)


@on_several_gpus
def attack_transfer(
    models: str | Sequence[str | ModelOptions],
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
    **options: Unpack[TransferOptions],
) -> tuple[Run, ...]:
    """Attack one model, and let others classify the images; finished shards are not made again.

    Args:
        models: Target models, one or several; they need no gradients. Weights of their own are
            given by ``ModelOptions``.
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
        options: Choices of the attack, of the target models' weights and of their plan; see
            ``AttackOptions`` and ``PlanChoice``. By default the paper's protocol has 10 steps here,
            last iterates have one step count, and parity is required on adversarial images as well.

    Returns:
        The run of each model, in their order.

    Raises:
        InputError: If the data, a model or a choice cannot be used, or crops differ.
        RunMismatchError: If a folder holds a run of another identity, or of other images.
        SelfCheckError: If a reference does not agree with itself, does not give logits, or has no
            gradients on the source.
        ParityError: If an engine does not agree with its reference, or PyTorch and the run of
            ``check_against`` contradict each other.
        UnavailableError: If an engine, the device or weights are not available.
        EngineError: If a loss, a gradient or a logit is not finite.
    """
    progress = ThreadSafeProgress(progress or NullProgress())
    if options.get("steps") is None and options.get("protocol", "paper") == "paper":
        options["steps"] = PAPERS_STEPS
    plan = cast(
        PlanOptions,
        {name: options.pop(name) for name in PlanOptions.__annotations__ if name in options},  # type: ignore[misc]
    )
    choice, weights = read_options(data, cast(AttackOptions, options), attack_wrong=True)
    handed_image = cast(TransferredImage, image or OWN_IMAGE[choice.settings.protocol])
    check_transfer(choice.settings, handed_image)
    source_model = choice.resolve(
        source,
        progress,
        weights=source_weights,
        crop_px=source_crop_px,
        self_check=weights.get("self_check", True),
    )
    against = check_attacked(source_model, choice)
    resolved = [
        choice.resolve(name, progress, precision=precision, input_kind="images", **weights, **plan)
        for name in ([models] if isinstance(models, str) else models)
    ]
    _check_models(source_model, resolved, progress)
    protocol = protocol_name("transfer", choice.settings.protocol, handed_image)
    folders = [None if choice.out is None else run_place(target, choice.out) for target in resolved]
    for target, folder in zip(resolved, folders, strict=True):
        check_run_place(target, TRANSFER.name, folder)
        refuse_other_run(
            folder,
            target,
            backend=engine,
            benchmark=TRANSFER.name,
            protocol=protocol,
            **choice.key_fields,
        )
    if keep is not None:
        keep = Path(keep)
        check_run_folder(keep)
    try:
        attack = prepare_attack(
            source_model,
            choice,
            against,
            progress,
            folders=folders,
            trace_all=handed_image == "last",
        )
    except UnavailableError as error:
        raise type(error)(f"{error} (Of the source: --source-weights.)") from error
    source_model = attack.model
    transfer_source = TransferSource(
        model=source_model.spec.name,
        weights=str(source_model.spec.weights),
        weights_sha256=attack.network.verified.loaded.weights_sha256,
        engine=attack.network.spec,
        preprocessing=attack.preprocessing,
        image=handed_image,
    )
    resolved = [
        check_reference(
            target, progress, needed=uses_reference(target, engine, parity=choice.parity)
        )
        for target in resolved
    ]
    for target, folder in zip(resolved, folders, strict=True):
        refuse_other_network(folder, target, source_model)
    engines = [
        _image_engine(
            select_engine(target, engine, choice.device, parity=choice.parity, progress=progress)
        )
        for target in resolved
    ]
    with exact_float32(), ExitStack() as opened:
        parity = AdversarialParity(attack, transfer_source)
        targets = [
            TransferTarget(target, verified, parity.result(target, verified))
            for target, verified in zip(resolved, engines, strict=True)
        ]
        saved, open_models = open_targets(targets, attack, transfer_source, keep, opened)
        runs = [target.attack_run for target in open_models]
        progress.note(
            f"Attacking {transfer_source.model}, classified by "
            f"{', '.join(target.spec.name for target in resolved)}: {attack.size_text}, into "
            f"{', '.join(printable(each.run.folder) for each in runs)}."
        )
        TransferJob(attack, transfer_source, saved, open_models).complete()
        report_skipped(runs[0].run, runs[0].shards, progress)
        report_suspect_labels(runs[0].run, runs[0].shards, attack.selection, progress)
    return tuple(each.run for each in runs)


def _image_engine(verified: VerifiedEngine) -> VerifiedEngine:
    """The engine as it takes images."""
    loaded = verified.loaded
    return replace(verified, loaded=replace(loaded, spec=replace(loaded.spec, input_kind="images")))


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
