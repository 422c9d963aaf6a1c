"""Extra runs beside an attack, in its folder: what may find images that it missed.

``RUN/probes/<name>`` is a run of its own, of an even sample of the attack's images at the same
epsilons, in the attack's settings or in none where it asks for no gradient. So probes are sealed,
continued and shared among processes as attacks are. ``workflow/report/probe_records.py`` reads
them where the attack is judged.

A search without gradients costs hundreds of passes for an image that stands, and can say nothing of
one that the attack has fooled already: of those it is not asked.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ...attacks.reliability.attempts import attempts_of
from ...contracts import (
    AttackSettings,
    Condition,
    Item,
    ProbeName,
    ProbeSettings,
    Progress,
    Provenance,
    Run,
    RunKey,
)
from ...errors import InputError, RunMismatchError, printable
from ...evaluate.benchmarks.imagenet import IMAGENET
from ...evaluate.benchmarks.whitebox import epsilon_conditions
from ...evaluate.sources.items import select_items
from ...records.reading import check_finished, read_run
from ...records.run import MANIFEST, check_run_folder, open_run
from ...records.shard_runner import Work, run_shards
from ...records.shards import Pace, shard_path, shards_of
from ...storage.documents import document_differences
from ..models.resolve import ResolvedModel
from ..runs.attack_scores import epsilons_there
from ..runs.available_images import AvailableImages
from ..runs.run_data import RunData
from ..runs.selection import Selection
from ..runs.start import open_or_create_run
from .job import AttackedData, pace_of
from .shards import attack_work, query_work

PROBES: tuple[ProbeName, ...] = ("noise", "unbounded", "twice-the-steps", "gradient-free")
"""The cheapest first."""

IMAGES = 200
"""In a probe, unless the user says otherwise: the fewest that can show a share of 2 % absent."""

NOISE_QUERIES = 100
SQUARE_QUERIES = 1000
"""AutoAttack's standard version has 5000."""

FORWARD_SHARE = 1 / 3
"""Of the time of a step, what its pass without a gradient takes."""


@dataclass(frozen=True)
class ProbeChoice:
    """What a user may choose of probes.

    Attributes:
        images: Of how many images they are.
        queries: How often the search without gradients may ask the network about each.
    """

    images: int = IMAGES
    queries: int = SQUARE_QUERIES

    @classmethod
    def of(cls, wanted: bool, images: int | None, queries: int | None) -> "ProbeChoice | None":
        """What was asked for; none where no probe was.

        Raises:
            InputError: If there are choices of probes and no probes, or one is none.
        """
        chosen = {"images": images, "queries": queries}
        if wanted:
            found = cls(**{name: n for name, n in chosen.items() if n is not None})
            found.settings()  # refuses what is none
            return found
        for name, n in chosen.items():
            if n is not None:
                raise InputError(f"--probe-{name} is of probes: add --probe, or leave it out.")
        return None

    def settings(self) -> tuple[ProbeSettings, ...]:
        """Every probe, the cheapest first.

        Raises:
            InputError: If there are no images, or no queries.
        """
        asked = {"noise": NOISE_QUERIES, "gradient-free": self.queries}
        return tuple(ProbeSettings(name, self.images, asked.get(name)) for name in PROBES)


@dataclass(frozen=True)
class Probe:
    """One that is to be made.

    Attributes:
        settings: Which.
        key: Of its run.
        folder: Of its run.
    """

    settings: ProbeSettings
    key: RunKey
    folder: Path

    @property
    def attack(self) -> AttackSettings:
        """The attack that it makes; of one without gradients, that which it is to judge."""
        assert self.key.attack is not None
        return self.key.attack


@dataclass(frozen=True)
class FinishedAttack:
    """An attack that is to be probed.

    Attributes:
        run: Its run.
        subject: The model.
        selection: Its images at each epsilon.
        job: What they were attacked with.
        made: The circumstances.
        places: Folders and tar files that its images come from.
        verify_data: Whether to compare every image of finished shards.
    """

    run: Run
    subject: ResolvedModel
    selection: Selection
    job: AttackedData
    made: Provenance
    places: Sequence[Path]
    verify_data: bool


def probe_folder(attack: Path, name: ProbeName) -> Path:
    """Where a probe lies, in the folder of its attack."""
    return attack / "probes" / name


def planned_probes(folder: Path, key: RunKey, choice: ProbeChoice) -> list[Probe]:
    """The probes of an attack; before it is made, so that what cannot be is told at once.

    Args:
        folder: Of the attack's run.
        key: Of the attack's run.
        choice: The user's.

    Raises:
        InputError: If there are no images, or no queries.
        OutputError: If something else lies where a probe is to be.
        RunMismatchError: If a probe that is there was made with other choices.
    """
    found = []
    for settings in choice.settings():
        place = probe_folder(folder, settings.name)
        probe = Probe(settings, probe_key(key, settings), place)
        _refuse_other(probe)
        found.append(probe)
    return found


def probe_key(attack: RunKey, settings: ProbeSettings) -> RunKey:
    """What a probe of an attack is."""
    assert attack.attack is not None
    return replace(attack, attack=_attack(attack.attack, settings.name), probe=settings)


def _refuse_other(probe: Probe) -> None:
    check_run_folder(probe.folder, "Remove it, and --probe makes it again.")
    if not (probe.folder / MANIFEST).is_file():
        return
    differences = list(document_differences(open_run(probe.folder).key, probe.key))
    if differences:
        raise RunMismatchError(
            f"{printable(probe.folder)} is a probe of another identity: {'; '.join(differences)}. "
            f"Repeat what it was made with, or remove {printable(probe.folder.parent)}."
        )


def _attack(settings: AttackSettings, name: ProbeName) -> AttackSettings:
    """What a probe attacks with: nothing of it needs the diagnostics of a traced sample."""
    if name == "twice-the-steps":
        return replace(settings, steps=tuple(2 * count for count in settings.steps), traced=0)
    if name == "unbounded":
        return replace(settings, relative_epsilon=False, traced=0)
    return settings


def make_probes(
    probes: Sequence[Probe], attack: FinishedAttack, pace: Pace | None, progress: Progress
) -> None:
    """Make what is missing of the probes of an attack.

    Args:
        probes: As they were planned.
        attack: The attack.
        pace: How fast images are attacked here, where that is known.
        progress: Is told what happens.
    """
    for probe in probes:
        if pace is None and not (probe.folder / MANIFEST).is_file():
            pace = pace_of(attack.job, progress)
        items = select_items(attack.job.items, probe.settings.images)
        conditions = attack.selection.conditions
        if probe.settings.name == "unbounded":
            conditions = list(epsilon_conditions([1.0]))
        selection = replace(attack.selection, items=dict.fromkeys(conditions, items))
        run = open_or_create_run(
            probe.folder,
            probe.key,
            attack.subject,
            selection,
            None if pace is None else _pace(pace, attack.job.settings, probe),
            attack.run.manifest.batch_size,
            None,
        )
        source, preprocessing = attack.job.source, attack.job.preprocessing
        images = AvailableImages.of(IMAGENET, source, selection, preprocessing, attack.places)
        run_data = RunData(run, images, progress, conditions=conditions)
        run_data.check(every_file=attack.verify_data)
        shards = shards_of(conditions, selection.count, run.manifest.shard_size)
        check_finished(run, shards)
        if all(shard_path(run, shard).is_file() for shard in shards):
            continue
        asked = _standing(attack.run) if probe.settings.name == "gradient-free" else {}
        words = probe_text(replace(probe.settings, images=len(items)))
        most = _most(probe, conditions, frozenset(item.id for item in items), asked)
        progress.note(f"Probing the attack: {words}; at most {most}.")
        with run_data.watched(_work(probe, attack, items, asked)) as work:
            run_shards(run, shards, work, workers=1, progress=progress, verb=probe.settings.name)


def _most(
    probe: Probe,
    conditions: Sequence[Condition],
    ids: frozenset[str],
    asked: Mapping[Condition, frozenset[str]],
) -> str:
    """What a probe costs where nothing falls early."""
    if probe.settings.queries is None:
        steps = probe.attack.steps[-1] * probe.attack.attempts
        return f"{steps * len(ids) * len(conditions):,} steps"
    images = sum(len(ids & asked.get(condition, ids)) for condition in conditions)
    return f"{probe.settings.queries * images:,} forward passes"


def _work(
    probe: Probe,
    attack: FinishedAttack,
    items: Sequence[Item],
    asked: Mapping[Condition, frozenset[str]],
) -> Work:
    job = replace(attack.job, settings=probe.attack, items=items, traced=frozenset())
    if probe.settings.queries is None:
        return attack_work(job, attack.made)
    return query_work(job, probe.settings, asked, attack.made)


def _pace(attacking: Pace, settings: AttackSettings, probe: Probe) -> Pace:
    """How fast images are probed, from how fast they are attacked."""
    steps = settings.steps[-1] * settings.attempts
    theirs = probe.attack.steps[-1] * probe.attack.attempts
    if probe.settings.queries is not None:
        theirs = max(1, round(probe.settings.queries * FORWARD_SHARE))
    return replace(attacking, items_per_second=attacking.items_per_second * steps / theirs)


def probe_text(settings: ProbeSettings) -> str:
    """What a probe is, and of how much, in words."""
    what = {
        "noise": f"noise, {settings.queries} draws",
        "unbounded": "epsilon 1",
        "twice-the-steps": "twice the steps",
        "gradient-free": f"Square, up to {settings.queries} queries where the attack left some",
    }[settings.name]
    return f"{what}, {settings.images:,} image{'s' if settings.images > 1 else ''}"


def _standing(attack: Run) -> Mapping[Condition, frozenset[str]]:
    """The images of each epsilon whose label the attack had not changed at its smallest count."""
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
