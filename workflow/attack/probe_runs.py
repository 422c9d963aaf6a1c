"""Making the probes of an attack: runs that may fool images which the attack missed.

A search without gradients costs hundreds of passes for an image that it does not fool. It adds
nothing for an image that the attack has fooled already, so the network is not queried about those.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from ...attacks.reliability.attempts import attempts_of
from ...contracts import AttackSettings, Condition, Run
from ...evaluate.benchmarks.whitebox import epsilon_conditions
from ...evaluate.sources.items import select_items
from ...records.reading import read_run
from ...records.run import MANIFEST
from ...records.shards import Pace
from ..runs.attack_scores import epsilons_there
from ..runs.complete import is_complete, make_shards
from ..runs.start import open_or_create_run
from .job import PreparedAttack
from .probe_plan import Probe, probe_text
from .shards import attack_work, query_work

FORWARD_SHARE = 1 / 3
"""Share of the time of a step that its forward pass takes."""


def make_probes(
    probes: Sequence[Probe], attack: PreparedAttack, run: Run, pace: Pace | None
) -> None:
    """Make the shards that the probes of an attack lack.

    Args:
        probes: The probes.
        attack: The attack, which is finished.
        run: Run of the attack.
        pace: Speed of attacking images on this machine; ``None`` if it was not measured.
    """
    for probe in probes:
        if pace is None and not (probe.folder / MANIFEST).is_file():
            pace = attack.pace()
        _make_probe(probe, attack, run, pace and _pace(pace, attack.settings, probe))


def _make_probe(probe: Probe, attack: PreparedAttack, run: Run, pace: Pace | None) -> None:
    """Make the shards that a probe lacks, given the speed of the probe."""
    settings, conditions = probe.settings, attack.selection.conditions
    if settings.name == "unbounded":
        conditions = list(epsilon_conditions([1.0]))
    items = select_items(attack.items, settings.images)
    selection = replace(attack.selection, items=dict.fromkeys(conditions, items))
    choice = replace(attack.choice, settings=probe.attack)
    probing = replace(attack, choice=choice, selection=selection, traced=frozenset())
    batch_size = run.manifest.batch_size
    opened = probing.checked(
        open_or_create_run(probe.folder, probe.key, attack.model, selection, pace, batch_size, None)
    )
    if is_complete(opened.run, opened.shards):
        return
    queried = _unchanged(run) if settings.name == "gradient-free" else {}
    cost = _largest_cost(probe, conditions, frozenset(item.id for item in items), queried)
    text = probe_text(replace(settings, images=len(items)))
    attack.progress.note(f"Probing the attack: {text}; at most {cost}.")
    if settings.queries is None:
        work = attack_work(probing, run)
    else:
        work = query_work(probing, run, settings, queried)
    make_shards(opened.run, opened.shards, work, [opened.data], attack.progress, verb=settings.name)


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
            for image, fell in attempts_of(table, "untargeted", settings.steps[0]).by_id().items()
            if not fell
        )
        for condition, table in finished.items()
    }
