"""Probes of an attack: their settings, keys and folders.

``RUN/probes/<name>`` is a run of its own, of an even sample of the attack's images at the same
epsilons, under the attack's settings. So probes are checked, resumed and shared among processes as
attacks are. ``probe_runs.py`` makes them; ``workflow/report/probe_records.py`` reads them for the
reliability diagnostics.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ...contracts import AttackSettings, ProbeName, ProbeSettings, RunKey
from ...errors import InputError, RunMismatchError, printable
from ...records.run import MANIFEST, check_run_folder, open_run
from ...storage.documents import document_differences

PROBES: tuple[ProbeName, ...] = ("noise", "unbounded", "twice-the-steps", "gradient-free")
"""The cheapest first."""

IMAGES = 200
"""Images in a probe by default: the fewest that can show a share of 2 % absent."""

NOISE_QUERIES = 100
SQUARE_QUERIES = 1000
"""AutoAttack's standard version has 5000."""


@dataclass(frozen=True)
class Probe:
    """A probe to make.

    Attributes:
        settings: Settings of the probe.
        key: Key of its run.
        folder: Folder of its run.
    """

    settings: ProbeSettings
    key: RunKey
    folder: Path

    @property
    def attack(self) -> AttackSettings:
        """Settings of the attack that it makes; without gradients, of the attack it probes."""
        assert self.key.attack is not None
        return self.key.attack


def probe_settings(
    probe: bool, images: int | None, queries: int | None
) -> tuple[ProbeSettings, ...]:
    """The settings of every probe that a user chooses, the cheapest first; none without ``probe``.

    Args:
        probe: Whether to make probes.
        images: Number of images in each probe; ``None`` if not given.
        queries: Queries of the gradient-free probe per image; ``None`` if not given.

    Raises:
        InputError: If there are choices but no probes, or a number is not positive.
    """
    if not probe:
        for name, number in (("images", images), ("queries", queries)):
            if number is not None:
                raise InputError(f"--probe-{name} requires --probe.")
        return ()
    images = IMAGES if images is None else images
    query_counts = {
        "noise": NOISE_QUERIES,
        "gradient-free": SQUARE_QUERIES if queries is None else queries,
    }
    return tuple(ProbeSettings(name, images, query_counts.get(name)) for name in PROBES)


def probe_folder(attack: Path, name: ProbeName) -> Path:
    """Folder of a probe, in the folder of its attack."""
    return attack / "probes" / name


def planned_probes(folder: Path, key: RunKey, probes: Sequence[ProbeSettings]) -> list[Probe]:
    """The probes of an attack; checked before the attack begins, so that errors come early.

    Args:
        folder: Folder of the attack's run.
        key: Key of the attack's run.
        probes: Settings of the probes.

    Raises:
        OutputError: If something else is in the folder of a probe.
        RunMismatchError: If a probe was made with other choices.
    """
    planned = [
        Probe(settings, probe_key(key, settings), probe_folder(folder, settings.name))
        for settings in probes
    ]
    for probe in planned:
        check_run_folder(probe.folder, "Remove it, and --probe makes it again.")
        if not (probe.folder / MANIFEST).is_file():
            continue
        differences = list(document_differences(open_run(probe.folder).key, probe.key))
        if differences:
            place, probes_folder = printable(probe.folder), printable(probe.folder.parent)
            raise RunMismatchError(
                f"{place} is a probe of another identity: {'; '.join(differences)}. Use the "
                f"options it was made with, or remove {probes_folder}."
            )
    return planned


def probe_key(attack: RunKey, probe: ProbeSettings) -> RunKey:
    """Key of the run of a probe, with the settings of the attack that the probe makes."""
    settings = attack.attack
    assert settings is not None
    # None of these attacks needs a traced sample.
    if probe.name == "twice-the-steps":
        steps = tuple(2 * count for count in settings.steps)
        settings = replace(settings, steps=steps, traced=0)
    elif probe.name == "unbounded":
        settings = replace(settings, relative_epsilon=False, traced=0)
    return replace(attack, attack=settings, probe=probe)


def probe_text(settings: ProbeSettings) -> str:
    """A probe and its size, in words."""
    text = {
        "noise": f"noise, {settings.queries} draws",
        "unbounded": "epsilon 1",
        "twice-the-steps": "twice the steps",
        "gradient-free": f"Square, up to {settings.queries} queries where the attack left some",
    }[settings.name]
    return f"{text}, {settings.images:,} image{'s' if settings.images > 1 else ''}"
