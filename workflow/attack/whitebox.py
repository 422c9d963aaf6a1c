"""White-box attacks on a model."""

from collections.abc import Sequence
from pathlib import Path
from typing import Unpack

from ...contracts import NullProgress, Progress, Run, ThreadSafeProgress, protocol_name
from ...errors import printable
from ...evaluate.benchmarks.whitebox import WHITEBOX
from ...records.run import MANIFEST
from ...system.exact_float32 import exact_float32
from ..runs.complete import make_shards, report_skipped
from ..runs.label_check import report_suspect_labels
from ..runs.provenance import check_run_place
from ..runs.run_data import find_folder
from ..runs.several_gpus import on_several_gpus
from ..runs.start import refuse_other_run
from .job import check_attacked, prepare_attack
from .options import AttackOptions, read_options
from .probe_plan import planned_probes, probe_settings
from .probe_runs import make_probes
from .shards import attack_work, comparing


@on_several_gpus
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
        SelfCheckError: If the network does not agree with itself, or has no gradients.
        ParityError: If PyTorch and the run of ``check_against`` contradict each other.
    """
    progress = ThreadSafeProgress(progress or NullProgress())
    choice, weights = read_options(data, options)
    probe_choice = probe_settings(probe, probe_images, probe_queries)
    resolved = choice.resolve(model, progress, **weights)
    against = check_attacked(resolved, choice)
    check_run_place(resolved, WHITEBOX.name, choice.out)
    protocol = protocol_name("whitebox", choice.settings.protocol)
    refuse_other_run(
        choice.out, resolved, benchmark=WHITEBOX.name, protocol=protocol, **choice.key_fields
    )
    attack = prepare_attack(resolved, choice, against, progress, folders=[choice.out])
    resolved = attack.model
    key = attack.key()
    folder = choice.out or find_folder(resolved, key, attack.available, progress)
    probes = planned_probes(folder, key, probe_choice)
    with exact_float32():
        pace = None if (folder / MANIFEST).is_file() else attack.pace()
        opened = attack.open_run(folder, key, resolved, pace)
        run, shards = opened.run, opened.shards
        progress.note(
            f"Attacking {run.manifest.model.name}: {attack.size_text}, into {printable(folder)}."
        )
        attack.batch_limit.size = run.manifest.batch_size
        with comparing(attack.check, [(run, shards)]) as compare:
            make_shards(run, shards, attack_work(attack, run, compare), [opened.data], progress)
        report_skipped(run, shards, progress)
        report_suspect_labels(run, shards, attack.selection, progress)
        make_probes(probes, attack, run, pace)
    return run
