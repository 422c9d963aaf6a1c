"""The diagnostics that need probes: other attacks on the same images, or the same with more steps.

Other attacks are compared by the label: an image is fooled if it is right and a tested image near
it is not, whatever the attack aimed at; noise has no target. They are compared image by image, as
Carlini et al. 2019 recommend: an average hides what one attack finds and the other misses.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from ...contracts import AttackSettings, epsilon_text
from ...errors import InputError
from .attempts import attempts_of, newly_fallen
from .diagnostics import CHECKS, Diagnostic, of_share, undecided

if TYPE_CHECKING:
    import pyarrow as pa

Tables = Mapping[float, "pa.Table"]

ANY_STEP = 2**31 - 1
"""Count of steps of another attack: all its successes count."""


@dataclass(frozen=True)
class Probes:
    """The records of probes, by epsilon; empty for probes that were not made.

    They need the columns ``id``, ``label``, ``clean`` (of the attacked model) and ``changed_step``,
    null if the image was not fooled; ``twice_the_steps`` and ``unbounded`` have all columns of the
    attack. They may have fewer images.

    Attributes:
        noise: Random noise within the same epsilon.
        transfer: Images made on another model, within the same epsilon.
        gradient_free: An attack that takes no gradients, such as Square.
        twice_the_steps: The same attack with twice the steps.
        unbounded: The same attack at epsilon 1, with the same counts of steps.
    """

    noise: Tables = field(default_factory=dict)
    transfer: Tables = field(default_factory=dict)
    gradient_free: Tables = field(default_factory=dict)
    twice_the_steps: Tables = field(default_factory=dict)
    unbounded: "pa.Table | None" = None


def probe_diagnostics(
    tables: Tables, settings: AttackSettings, steps: int, probes: Probes
) -> Iterator[Diagnostic]:
    """The diagnostics of the probes that were made.

    Raises:
        InputError: If a probe is of an epsilon at which there was no attack.
    """
    for epsilon, probe in _checked(tables, probes.noise, "noise"):
        yield _as_strong(tables[epsilon], probe, epsilon, steps)
    for name, probe_tables in (
        ("gradient_free_finds_more", probes.gradient_free),
        ("transfer_finds_more", probes.transfer),
        ("noise_finds_more", probes.noise),
    ):
        for epsilon, probe in _checked(tables, probe_tables, name):
            yield _finds_more(name, tables[epsilon], probe, epsilon, steps)
    yield from _twice_the_steps(tables, settings, steps, probes.twice_the_steps)
    if probes.unbounded is not None:
        attempts = attempts_of(probes.unbounded, settings.stop, steps)
        standing = int((~attempts.fell).sum())
        yield of_share("unbounded", standing, attempts.images, epsilon=None, steps=steps)


def not_run(
    measured: Sequence[Diagnostic], epsilons: Sequence[float], steps: int
) -> Iterator[Diagnostic]:
    """Undecided diagnostics of probes that were not made: one, or one for each epsilon."""
    for name, check in CHECKS.items():
        if check.needs != "probe":
            continue
        present = {diagnostic.epsilon for diagnostic in measured if diagnostic.name == name}
        missing = [epsilon for epsilon in epsilons if epsilon not in present]
        for epsilon in [None] if not present else [] if None in present else missing:
            yield undecided(name, "it needs an extra run", epsilon, steps)


def _checked(tables: Tables, probes: Tables, name: str) -> "Iterator[tuple[float, pa.Table]]":
    if unknown := sorted(set(probes) - set(tables)):
        raise InputError(
            f"The probe {name} has epsilon {epsilon_text(unknown[0])}, at which there was no "
            f"attack; expected one of {', '.join(map(epsilon_text, sorted(tables)))}."
        )
    yield from sorted(probes.items())


def _fallen(
    table: "pa.Table", probe: "pa.Table", steps: int
) -> tuple[Mapping[str, bool], Mapping[str, bool]]:
    """Whether the attack, and the probe, fooled each of their images."""
    attack = attempts_of(table, "label", steps)
    return attack.by_id(), attempts_of(probe, "label", ANY_STEP).by_id()


def _as_strong(table: "pa.Table", probe: "pa.Table", epsilon: float, steps: int) -> Diagnostic:
    attack, noise = _fallen(table, probe, steps)
    common = attack.keys() & noise.keys()
    either = sum(attack[image] or noise[image] for image in common)
    by_noise = sum(noise[image] for image in common)
    return of_share("noise_as_strong", by_noise, either, epsilon=epsilon, steps=steps)


def _finds_more(
    name: str, table: "pa.Table", probe: "pa.Table", epsilon: float, steps: int
) -> Diagnostic:
    missed, common = newly_fallen(*_fallen(table, probe, steps))
    return of_share(name, missed, common, epsilon=epsilon, steps=steps)


def _twice_the_steps(
    tables: Tables, settings: AttackSettings, steps: int, probe: Tables
) -> Iterator[Diagnostic]:
    """From the attack itself if it makes twice the steps, on all its images; or from a probe.

    A probe with a fixed step size makes twice each count.
    """
    in_attack = _counts(settings, 2 * steps)
    longer = tables if in_attack else dict(_checked(tables, probe, "twice_the_steps"))
    for epsilon, table in sorted(longer.items()):
        before = attempts_of(tables[epsilon], settings.stop, steps).by_id()
        after = attempts_of(table, settings.stop, 2 * steps).by_id()
        gained, common = newly_fallen(before, after)
        result = of_share("twice_the_steps", gained, common, epsilon=epsilon, steps=steps)
        yield replace(result, needs="traces") if in_attack else result


def _counts(settings: AttackSettings, count: int) -> bool:
    """Whether the records of an attack count the images that fall within so many steps.

    An attempt after a success makes no more steps than the largest count that is undecided.
    """
    if settings.step_size is None or max(settings.steps) < count:
        return False
    return settings.attempts == 1 or count in settings.steps
