"""White-box attacks on a model: from words to a run on disk."""

import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from ..attacks.protocols import attack_settings, check_epsilon, find_protocol
from ..attacks.randomness import traced_sample
from ..attacks.room import Room
from ..contracts import (
    AttackSettings,
    Condition,
    Item,
    ModelSpec,
    OneAtATime,
    Progress,
    Provenance,
    Run,
    RunKey,
    Shard,
    Silence,
    Source,
)
from ..engine.torch_engine import exact_float32
from ..errors import EngineMemoryError, ImageError, InputError, UnreadError, shown
from ..evaluate.benchmarks.imagenet import IMAGENET
from ..evaluate.benchmarks.whitebox import WHITEBOX, epsilon_conditions
from ..evaluate.report.attack_tables import epsilon_text
from ..evaluate.scoring import refuse_nothing_read
from ..evaluate.sources.items import select_items
from ..evaluate.sources.opening import open_source
from ..records.reading import check_finished
from ..records.run import MANIFEST, check_run_folder, key_sha256
from ..records.running import Work, run_shards
from ..records.shards import Pace, shards_of
from ..records.skipped import skipped_in
from ..storage.atomic import check_place
from .beginning import begun_run
from .circumstances import circumstances, default_folder
from .cross_check import CrossCheck, cross_checked, run_to_check_against
from .gradients import GradientNetwork, gradient_network, refuse_without_gradients
from .selection import Selection, places_of, select, skips_bad_files
from .subject import ModelChoice, find_subject

if TYPE_CHECKING:
    import pyarrow as pa

    from ..attacks.attempts import CleanImage

SUBSETS = {"every-second": 2}
"""Which of the sorted images, by name: each n-th of them."""

CPU_BATCH, CUDA_BATCH = 8, 64
TRIED_IMAGES = 32
"""How many images are classified before an attack begins, to find out whether any is right."""


@dataclass(frozen=True)
class _Job:
    """Everything that a shard is attacked with."""

    network: GradientNetwork
    settings: AttackSettings
    spec: ModelSpec
    source: Source
    items: Sequence[Item]
    room: Room
    traced: frozenset[str]
    skip_bad_images: bool
    check: CrossCheck | None = None


@dataclass
class _Read:
    """What was read for a shard.

    Attributes:
        digest: SHA-256 over (id, bytes).
        skipped: Images that could not be had, and why.
        unread: How many of these are there by their names, but not their bytes.
    """

    digest: "hashlib._Hash" = field(default_factory=hashlib.sha256)
    skipped: list[tuple[Item, str]] = field(default_factory=list)
    unread: int = 0


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
    weights: str = "default",
    crop_px: int | None = None,
    description: str | Path | None = None,
    classes: str | Path | None = None,
    parity: bool = True,
    on_error: str = "fail",
    check_against: str | Path | None = None,
    progress: Progress | None = None,
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
        weights: ``default``, ``random`` or a checkpoint's path.
        crop_px: Another crop than the training's.
        description: A TOML file on a model of the user's own.
        classes: A file that says what each output is.
        parity: Whether PyTorch on a GPU must have agreed with the CPU's.
        on_error: What an image that cannot be read or decoded is: ``fail``, an error; ``skip``, a
            row that says so, and every number counts it.
        check_against: A finished run of imagenet by any engine, whose predictions the clean ones
            are compared with, photo by photo; no part of the run's identity.
        progress: Is told what happens.

    Raises:
        InputError: If the data, the model or a choice do not serve.
        RunMismatchError: If ``out`` holds a run of another identity.
        UnavailableError: If the device or the weights are not here.
        EngineError: If a loss or a gradient is not finite.
        ParityError: If PyTorch and the run of ``check_against`` contradict each other.
    """
    progress = OneAtATime(progress or Silence())
    skip = skips_bad_files(on_error)
    settings = attack_settings(
        protocol,
        steps=steps,
        restarts=restarts,
        step_size=step_size,
        relative_epsilon=relative_epsilon or None,
        traced=traced,
        seed=seed,
    )
    conditions = _conditions(epsilons or find_protocol(protocol).epsilons)
    if batch_size is not None and batch_size < 1:
        raise InputError(f"--batch-size {batch_size} is not possible; expected 1 or more.")
    every, places = _every(subset), places_of(data)
    labels, out = (None if path is None else Path(path) for path in (labels, out))
    of_weights = seed if weights == "random" else 0  # other weights refuse one that is theirs
    choice = ModelChoice(model, weights, of_weights, crop_px, None, None, description, classes)
    subject = find_subject(choice, progress)
    refuse_without_gradients(subject)
    against = None if check_against is None else run_to_check_against(check_against, subject.spec)
    if out is not None:
        check_run_folder(out)
    else:
        check_place(default_folder(subject, WHITEBOX.name, "") / MANIFEST)
    source = open_source(
        places,
        IMAGENET.conditions,
        progress=progress,
        tree=IMAGENET.tree,
        labels=labels,
        damaged_ok=skip,
    )
    found = select(
        IMAGENET, source, {}, limit=limit, progress=progress, every=every, missing_ok=skip
    )
    items = next(iter(found.items.values()))
    network = gradient_network(subject, device, parity=parity, progress=progress)
    batch = batch_size or (CPU_BATCH if network.device.name == "cpu" else CUDA_BATCH)
    job = _Job(
        network=network,
        settings=settings,
        spec=subject.spec,
        source=source,
        items=items,
        room=Room(batch, progress.note),
        traced=traced_sample([item.id for item in items], settings.traced, seed),
        skip_bad_images=skip,
        check=None
        if against is None
        else CrossCheck.of(
            against,
            network,
            subject.spec,
            items=items,
            generated=source.generated,
            progress=progress,
        ),
    )
    key = RunKey(
        benchmark=WHITEBOX.name,
        protocol=f"{WHITEBOX.protocol}-{settings.protocol}",
        weights_sha256=network.believed.loaded.weights_sha256,
        engine=network.spec,
        preprocessing=subject.spec.preprocessing,
        ids_sha256=found.ids_sha256,
        generated=source.generated,
        limit=limit,
        seed=seed,
        subset=subset,
        attack=settings,
    )
    folder = out or default_folder(subject, WHITEBOX.name, key_sha256(key)[:8])
    selection = Selection(WHITEBOX, dict.fromkeys(conditions, items), found.ids_sha256)
    with exact_float32():
        pace = None if (folder / MANIFEST).is_file() else _pace(job, progress)
        run = begun_run(folder, key, subject, selection, pace, batch, batch_size)
        made = circumstances(
            network.believed,
            network.device,
            network.believed.loaded.placement.kind.versions(),
            places,
            labels,
            run.manifest.batch_size,
        )
        _complete(run, selection, job, made, progress)
    return run


def _complete(
    run: Run, selection: Selection, job: _Job, made: Provenance, progress: Progress
) -> None:
    """Make what is missing of the run."""
    job.room.size = run.manifest.batch_size
    shards = shards_of(selection.conditions, selection.count, run.manifest.shard_size)
    check_finished(run, shards)
    epsilons = ", ".join(epsilon_text(float(c["epsilon"])) for c in selection.conditions)
    progress.note(
        f"Attacking {job.spec.name}: {selection.count:,} images at epsilon {epsilons}, into "
        f"{shown(run.folder)}."
    )
    with cross_checked(_work(job, made), job.check, run, shards) as work:
        run_shards(run, shards, work, workers=1, progress=progress, verb="attack")
    if (skipped := skipped_in(run, shards)) is not None:
        progress.note(str(skipped))


def _conditions(epsilons: Sequence[float]) -> tuple[Condition, ...]:
    for epsilon in epsilons:
        check_epsilon(epsilon)
    return epsilon_conditions(sorted(set(epsilons)))


def _every(subset: str | None) -> int:
    if subset is None:
        return 1
    if subset not in SUBSETS:
        raise InputError(f"There is no subset {subset!r}. Expected {' or '.join(SUBSETS)}.")
    return SUBSETS[subset]


def _pace(job: _Job, progress: Progress) -> Pace:
    """How fast images are attacked here; and a warning where hardly one is right as it is."""
    tried = select_items(job.items, min(TRIED_IMAGES, len(job.items)))
    images = list(_images(job, tried, _Read()))
    right, done, seconds, size = 0, 0, 0.0, job.room.size
    while done < len(images):
        some = images[done : done + size]
        began = time.monotonic()
        try:
            right += _right(job, some)
        except EngineMemoryError:
            if len(some) == 1:
                raise
            size = (len(some) + 1) // 2
            continue
        seconds += time.monotonic() - began
        done += len(some)
    if right <= len(tried) // 20:
        progress.note(
            f"warning: {right} of {len(tried)} images are right without an attack. An attack says "
            "nothing of images that are wrong: look at the model, its weights and its "
            "preprocessing with `evaluator score` first."
        )
    steps = job.settings.steps[-1] * job.settings.attempts
    return Pace(len(images) / (max(seconds, 1e-6) * steps), 1)


def _right(job: _Job, images: "Sequence[CleanImage]") -> int:
    """How many images are right, at the cost of a step of each."""
    import torch

    from ..attacks.gradients import gradients_of

    device = job.network.device.name
    batch = torch.stack([torch.from_numpy(image.image) for image in images]).to(device)
    labels = torch.tensor([image.label for image in images], device=device)
    losses = [job.settings.losses[0]] * len(images)
    found = gradients_of(job.network.network, batch, losses, labels)
    return int((found.logits.argmax(1) == labels).sum())


def _images(job: _Job, items: Sequence[Item], read: _Read) -> Iterator["CleanImage"]:
    """The images as the model sees them, each read when it is asked for."""
    import numpy as np

    from ..attacks.attempts import CleanImage

    preprocessing = job.spec.preprocessing
    side = preprocessing.crop_px
    for item in items:
        found, pixels = hashlib.sha256(), np.empty((side, side, 3), np.uint8)
        try:
            data = job.source.read(item)
            found.update(data)
            IMAGENET.decode(data, item, preprocessing, [pixels])
        except ImageError as error:
            if not job.skip_bad_images:
                advice = "To go on without such images, add --on-error skip."
                raise ImageError(f"{error} {advice}") from error
            read.skipped.append((item, shown(str(error))))
            read.unread += isinstance(error, UnreadError)
            continue
        finally:
            read.digest.update(item.id.encode() + b"\0" + found.digest())
        yield CleanImage(item, pixels.transpose(2, 0, 1).astype(np.float32) / 255)


def _work(job: _Job, made: Provenance) -> Work:
    """What makes one shard: its records, and under which circumstances they were made."""

    def work(shard: Shard, advance: Callable[[int], None]) -> "tuple[pa.Table, Provenance]":
        import pyarrow as pa

        from ..attacks.pgd import AttackJob, attacked
        from ..attacks.records import attack_records

        started, began, read = datetime.now(UTC), time.monotonic(), _Read()
        items = job.items[shard.start : shard.stop]
        attack = AttackJob(
            network=job.network.network,
            settings=job.settings,
            epsilon=float(shard.condition["epsilon"]),
            room=job.room,
            device=job.network.device.name,
            traced=job.traced,
        )
        attempts = list(attacked(attack, _images(job, items, read), advance))
        advance(len(read.skipped))
        refuse_nothing_read(items, read.skipped, read.unread, "image")
        table = pa.Table.from_batches([attack_records(items, attempts, read.skipped)])
        return table, replace(
            made,
            batch_size=min(made.batch_size, job.room.size),
            data_sha256=read.digest.hexdigest(),
            started=started.isoformat("T", "seconds"),
            seconds=round(time.monotonic() - began, 3),
        )

    return work
