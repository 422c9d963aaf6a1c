"""White-box attacks on a model."""

from collections.abc import Sequence
from pathlib import Path
from typing import Unpack

from ...contracts import NullProgress, Progress, Run, ThreadSafeProgress
from ...engine.torch_engine import exact_float32
from ...errors import printable
from ...evaluate.benchmarks.whitebox import WHITEBOX
from ...records.run import MANIFEST
from ..models.options import ModelOptions
from ..runs.complete import make_shards, note_skipped, selected_shards
from ..runs.provenance import check_run_place
from ..runs.run_data import RunData, find_folder
from ..runs.start import open_or_create_run
from .cross_checked_shards import cross_checked
from .job import PreparedAttack, attacked_model, pace_of, prepare_attack, size_text
from .options import AttackOptions, split_options
from .probe_plan import ProbeChoice, planned_probes
from .probe_runs import FinishedAttack, make_probes
from .shards import attack_work


def attack_whitebox(
    model: str,
    data: str | Path | Sequence[str | Path],
    *,
    probe: bool = False,
    probe_images: int | None = None,
    probe_queries: int | None = None,
    progress: Progress | None = None,
    **options: Unpack[AttackOptions],
) -> Run:
    """Attack a model with its own gradients; what the run already holds is not attacked again.

    Args:
        model: As for ``score``; its code is needed, for gradients.
        data: ImageNet's validation photos: folders and tar files.
        probe: Whether to make the probes of the attack, extra runs that its reliability diagnostics
            need.
        probe_images: Number of images in a probe. If not given, 200.
        probe_queries: Queries of the gradient-free probe per image. If not given, 1000.
        progress: Progress callback.
        options: Choices of the attack and of the model's weights; see ``AttackOptions``.

    Raises:
        InputError: If the data, the model or a choice cannot be used.
        RunMismatchError: If ``out`` holds a run of another identity, or of other images.
        UnavailableError: If the device or the weights are not available.
        EngineError: If a loss or a gradient is not finite.
        ParityError: If PyTorch and the run of ``check_against`` contradict each other.
    """
    progress = ThreadSafeProgress(progress or NullProgress())
    choice, weights = split_options(options)
    probe_choice = ProbeChoice.of(probe, probe_images, probe_queries)
    settings, _ = choice.settings(), choice.conditions()
    images = choice.images(data)
    out = None if choice.out is None else Path(choice.out)
    seed = choice.weights_seed(weights.get("weights", "default"))
    attacked = attacked_model(ModelOptions(model, seed=seed, **weights), choice, progress)
    check_run_place(attacked.subject, WHITEBOX.name, out)
    attack = prepare_attack(attacked, choice, settings, images, progress)
    key = attack.key()
    folder = out or find_folder(attack.subject, key, attack.available, progress)
    probes = [] if probe_choice is None else planned_probes(folder, key, probe_choice)
    with exact_float32():
        pace = None if (folder / MANIFEST).is_file() else pace_of(attack.job, progress)
        batch = choice.batch_on(attack.job.network.device)
        run = open_or_create_run(
            folder, key, attack.subject, attack.selection, pace, batch, choice.batch_size
        )
        _complete(run, attack, progress)
        make_probes(probes, FinishedAttack(run, attack), pace, progress)
    return run


def _complete(run: Run, attack: PreparedAttack, progress: Progress) -> None:
    """Make the shards that the run lacks."""
    selection = attack.selection
    data = RunData(run, attack.available, progress, conditions=selection.conditions)
    data.check(every_file=attack.choice.verify_data)
    shards = selected_shards(run, selection)
    progress.note(
        f"Attacking {run.manifest.model.name}: {size_text(selection)}, into "
        f"{printable(run.folder)}."
    )
    attack.job.room.size = run.manifest.batch_size
    work = attack_work(attack.job, attack.provenance(run.manifest.batch_size))
    with cross_checked(work, attack.check, run, shards) as checked:
        make_shards(run, shards, checked, [data], progress)
    note_skipped(run, shards, progress)
