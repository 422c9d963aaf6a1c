"""White-box attacks on a model: from words to a run on disk."""

from collections.abc import Sequence
from pathlib import Path
from typing import Unpack

from ...attacks.randomness import traced_sample
from ...contracts import (
    NullProgress,
    Progress,
    Provenance,
    Run,
    RunKey,
    ThreadSafeProgress,
    epsilon_text,
    protocol_name,
)
from ...engine.torch_engine import exact_float32
from ...errors import printable
from ...evaluate.benchmarks.imagenet import IMAGENET
from ...evaluate.benchmarks.whitebox import WHITEBOX
from ...records.reading import check_finished
from ...records.run import MANIFEST, key_sha256
from ...records.shard_runner import run_shards
from ...records.shards import shards_of
from ...records.skipped import skipped_in
from ...system.batch_limit import Room
from ..models.gradient_model import gradient_network, refuse_without_gradients
from ..models.options import ModelOptions, WeightsOptions
from ..models.resolve import resolve_model
from ..runs.available_images import AvailableImages
from ..runs.provenance import check_run_place, default_folder
from ..runs.run_data import RunData, find_folder
from ..runs.selection import Selection
from ..runs.start import begun_run
from .cross_check import CrossCheck, cross_check, run_to_check_against
from .cross_checked_shards import cross_checked
from .job import AttackedData, ImageChoice, attack_circumstances, pace_of
from .options import AttackChoice
from .probe_runs import FinishedAttack, ProbeChoice, make_probes, planned_probes
from .shards import attack_work


def attack_whitebox(
    model: str,
    data: str | Path | Sequence[str | Path],
    *,
    protocol: str = "paper",
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
    device: str | None = None,
    batch_size: int | None = None,
    parity: bool = True,
    on_error: str = "fail",
    check_against: str | Path | None = None,
    verify_data: bool = False,
    probe: bool = False,
    probe_images: int | None = None,
    probe_queries: int | None = None,
    progress: Progress | None = None,
    **options: Unpack[WeightsOptions],
) -> Run:
    """Attack a model with its own gradients; what is finished in the run is not attacked again.

    Args:
        model: As for ``score``; its code is needed, for gradients.
        data: ImageNet's validation photos: folders and tar files.
        protocol: ``paper`` or ``standard``; the other choices are its own unless they are named.
        epsilons: Of the L-infinity norm, in [0, 1] pixel units; no part of the run's identity.
        steps: The counts for which there is an answer.
        restarts: Starts that are tried.
        step_size: In [0, 1] pixel units.
        relative_epsilon: Whether epsilon is a share of the largest value of each image.
        subset: ``every-second`` of the sorted images, as in the paper; without it, all.
        limit: So many images, evenly spaced.
        traced: How many images do all steps, for the diagnostics that need them.
        seed: Of starts, targets and the traced sample, and of random weights.
        labels: A list of the classes of images that are not in class folders.
        out: The run's folder; without it ``runs/<model>/whitebox-<hash of the key>``.
        device: Without it, the first GPU that is here, else the CPU.
        batch_size: Images at a time; without it, the run's or what suits the device.
        parity: Whether PyTorch on a GPU must have agreed with the CPU's.
        on_error: What an image that cannot be read or decoded is: ``fail``, an error; ``skip``, a
            row that says so, and every number counts it.
        check_against: A finished run of imagenet by any engine, whose predictions the clean ones
            are compared with, photo by photo; no part of the run's identity.
        verify_data: Whether to compare every file of the shards that are finished with what was
            read for them; without it, a sample of the files is compared.
        probe: Whether to make the extra runs that judge the attack as well.
        probe_images: Of how many images they are; without it, 200.
        probe_queries: How often a search without gradients may ask about each; without it, 1000.
        progress: Progress callback.
        options: Which model; see ``WeightsOptions``.

    Raises:
        InputError: If the data, the model or a choice do not serve.
        RunMismatchError: If ``out`` holds a run of another identity, or of other images.
        UnavailableError: If the device or the weights are not here.
        EngineError: If a loss or a gradient is not finite.
        ParityError: If PyTorch and the run of ``check_against`` contradict each other.
    """
    progress = ThreadSafeProgress(progress or NullProgress())
    choice = AttackChoice(
        protocol=protocol,
        epsilons=epsilons,
        steps=steps,
        restarts=restarts,
        step_size=step_size,
        relative_epsilon=relative_epsilon,
        traced=traced,
        seed=seed,
        batch_size=batch_size,
    )
    probe_choice = ProbeChoice.of(probe, probe_images, probe_queries)
    settings, conditions = choice.settings(), choice.conditions()
    images = ImageChoice.of(data, labels=labels, subset=subset, limit=limit, on_error=on_error)
    out = None if out is None else Path(out)
    named = ModelOptions(model, seed=choice.seed_of(options.get("weights", "default")), **options)
    subject = resolve_model(named, progress)
    refuse_without_gradients(subject)
    against = None if check_against is None else run_to_check_against(check_against, subject.spec)
    check_run_place(subject, WHITEBOX.name, out)
    source, found = images.selected(progress)
    items = next(iter(found.items.values()))
    network = gradient_network(subject, device, parity=parity, progress=progress)
    batch = choice.batch_on(network.device)
    job = AttackedData(
        network=network,
        settings=settings,
        preprocessing=subject.spec.preprocessing,
        source=source,
        items=items,
        room=Room(batch, progress.note),
        traced=traced_sample([item.id for item in items], settings.traced, seed),
        skip_bad_images=images.skip,
    )
    check = cross_check(against, network, subject.spec, source, items, progress)
    key = _key(job, images, found.ids_sha256)
    selection = Selection(WHITEBOX, dict.fromkeys(conditions, items), found.ids_sha256)
    at_hand = AvailableImages.of(IMAGENET, source, selection, job.preprocessing, images.places)
    folder = out or find_folder(
        default_folder(subject, WHITEBOX.name, key_sha256(key)[:8]), at_hand, progress
    )
    probes = [] if probe_choice is None else planned_probes(folder, key, probe_choice)
    with exact_float32():
        pace = None if (folder / MANIFEST).is_file() else pace_of(job, progress)
        run = begun_run(folder, key, subject, selection, pace, batch, batch_size)
        run_data = RunData(run, at_hand, progress, conditions=selection.conditions)
        run_data.check(every_file=verify_data)
        made = attack_circumstances(network, images, run.manifest.batch_size)
        _complete(run, selection, job, made, run_data, check, progress)
        attack = FinishedAttack(run, subject, selection, job, made, images.places, verify_data)
        make_probes(probes, attack, pace, progress)
    return run


def _key(job: AttackedData, images: ImageChoice, ids_sha256: str) -> RunKey:
    return RunKey(
        benchmark=WHITEBOX.name,
        protocol=protocol_name("whitebox", job.settings.protocol),
        weights_sha256=job.network.believed.loaded.weights_sha256,
        engine=job.network.spec,
        preprocessing=job.preprocessing,
        ids_sha256=ids_sha256,
        generated=job.source.generated,
        limit=images.limit,
        seed=job.settings.seed,
        subset=images.subset,
        attack=job.settings,
    )


def _complete(
    run: Run,
    selection: Selection,
    job: AttackedData,
    made: Provenance,
    run_data: RunData,
    check: CrossCheck | None,
    progress: Progress,
) -> None:
    """Make what is missing of the run."""
    job.room.size = run.manifest.batch_size
    shards = shards_of(selection.conditions, selection.count, run.manifest.shard_size)
    check_finished(run, shards)
    epsilons = ", ".join(epsilon_text(float(c["epsilon"])) for c in selection.conditions)
    progress.note(
        f"Attacking {run.manifest.model.name}: {selection.count:,} images at epsilon {epsilons}, "
        f"into {printable(run.folder)}."
    )
    with (
        run_data.watched(attack_work(job, made)) as watched,
        cross_checked(watched, check, run, shards) as work,
    ):
        run_shards(run, shards, work, workers=1, progress=progress, verb="attack")
    if (skipped := skipped_in(run, shards)) is not None:
        progress.note(str(skipped))
