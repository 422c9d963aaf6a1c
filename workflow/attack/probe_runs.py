"""Making the probes of an attack: runs that may fool images which the attack missed.

A search without gradients costs hundreds of passes for an image that it does not fool. It adds
nothing for an image that the attack has fooled already, so the network is not queried about those.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from ...attacks.reliability.attempts import attempts_of
from ...contracts import AttackSettings, Condition, Item, Progress, Run
from ...evaluate.benchmarks.imagenet import IMAGENET
from ...evaluate.benchmarks.whitebox import epsilon_conditions
from ...evaluate.sources.items import select_items
from ...records.reading import read_run
from ...records.run import MANIFEST
from ...records.shard_runner import Work
from ...records.shards import Pace
from ..runs.attack_scores import epsilons_there
from ..runs.available_images import AvailableImages
from ..runs.complete import is_complete, make_shards, selected_shards
from ..runs.run_data import RunData
from ..runs.selection import Selection
from ..runs.start import open_or_create_run
from .job import PreparedAttack, pace_of
from .probe_plan import Probe, probe_text
from .shards import attack_work, query_work

FORWARD_SHARE = 1 / 3
"""Share of the time of a step that its forward pass takes."""


@dataclass(frozen=True)
class FinishedAttack:
    """An attack to probe.

    Attributes:
        run: Run of the attack.
        attack: Model, images and settings of the attack.
    """

    run: Run
    attack: PreparedAttack


def make_probes(
    probes: Sequence[Probe], finished: FinishedAttack, pace: Pace | None, progress: Progress
) -> None:
    """Make the shards that the probes of an attack lack.

    Args:
        probes: The probes.
        finished: The attack.
        pace: Speed of attacking images on this machine; ``None`` if it was not measured.
        progress: Progress callback.
    """
    job = finished.attack.job
    for probe in probes:
        if pace is None and not (probe.folder / MANIFEST).is_file():
            pace = pace_of(job, progress)
        selection = _selection(probe, finished.attack)
        run = open_or_create_run(
            probe.folder,
            probe.key,
            finished.attack.subject,
            selection,
            None if pace is None else _pace(pace, job.settings, probe),
            finished.run.manifest.batch_size,
            None,
        )
        _complete(probe, run, selection, finished, progress)


def _selection(probe: Probe, attack: PreparedAttack) -> Selection:
    items = select_items(attack.job.items, probe.settings.images)
    conditions = attack.selection.conditions
    if probe.settings.name == "unbounded":
        conditions = list(epsilon_conditions([1.0]))
    return replace(attack.selection, items=dict.fromkeys(conditions, items))


def _complete(
    probe: Probe, run: Run, selection: Selection, finished: FinishedAttack, progress: Progress
) -> None:
    """Make the shards that the run of a probe lacks."""
    attack = finished.attack
    job, conditions = attack.job, selection.conditions
    images = AvailableImages(
        IMAGENET, job.source, selection.items, job.preprocessing, attack.images.places
    )
    data = RunData(run, images, progress, conditions=conditions)
    data.check(every_file=attack.choice.verify_data)
    shards = selected_shards(run, selection)
    if is_complete(run, shards):
        return
    queried = _unchanged(finished.run) if probe.settings.name == "gradient-free" else {}
    items = selection.items[conditions[0]]
    text = probe_text(replace(probe.settings, images=len(items)))
    cost = _largest_cost(probe, conditions, frozenset(item.id for item in items), queried)
    progress.note(f"Probing the attack: {text}; at most {cost}.")
    work = _work(probe, finished, items, queried)
    make_shards(run, shards, work, [data], progress, verb=probe.settings.name)


def _largest_cost(
    probe: Probe,
    conditions: Sequence[Condition],
    ids: frozenset[str],
    queried: Mapping[Condition, frozenset[str]],
) -> str:
    """Cost of a probe if no image is fooled early, as text."""
    if probe.settings.queries is None:
        steps = probe.attack.steps[-1] * probe.attack.attempts
        return f"{steps * len(ids) * len(conditions):,} steps"
    images = sum(len(ids & queried.get(condition, ids)) for condition in conditions)
    return f"{probe.settings.queries * images:,} forward passes"


def _work(
    probe: Probe,
    finished: FinishedAttack,
    items: Sequence[Item],
    queried: Mapping[Condition, frozenset[str]],
) -> Work:
    attack = finished.attack
    job = replace(attack.job, settings=probe.attack, items=items, traced=frozenset())
    provenance = attack.provenance(finished.run.manifest.batch_size)
    if probe.settings.queries is None:
        return attack_work(job, provenance)
    return query_work(job, probe.settings, queried, provenance)


def _pace(attack: Pace, settings: AttackSettings, probe: Probe) -> Pace:
    """Speed of a probe, computed from the speed of the attack."""
    attack_steps = settings.steps[-1] * settings.attempts
    probe_steps = probe.attack.steps[-1] * probe.attack.attempts
    if probe.settings.queries is not None:
        probe_steps = max(1, round(probe.settings.queries * FORWARD_SHARE))
    return replace(attack, items_per_second=attack.items_per_second * attack_steps / probe_steps)


def _unchanged(attack: Run) -> Mapping[Condition, frozenset[str]]:
    """The images of each epsilon whose label the attack did not change at its smallest count."""
    settings = attack.key.attack
    assert settings is not None
    finished = read_run(attack, epsilon_conditions(epsilons_there(attack))).finished
    return {
        condition: frozenset(
            image
            for image, fell in attempts_of(table, "label", settings.steps[0]).by_id().items()
            if not fell
        )
        for condition, table in finished.items()
    }
