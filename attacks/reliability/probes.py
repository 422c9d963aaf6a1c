"""The diagnostics that need extra runs: other attacks on the same images, or this one with more.

Other attacks are compared by the label: an image is fooled where it was right and a tested image
near it is not, whatever the attack aimed at; noise hits no target. Compared image by image, as
Carlini et al. 2019 ask: an average hides what one attack finds and the other misses.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from ...contracts import epsilon_text
from ...errors import InputError
from .attempts import Attempts, Settings, attempts_of
from .diagnostics import CHECKS, Diagnostic, of_share, undecided

if TYPE_CHECKING:
    import pyarrow as pa

Tables = Mapping[float, "pa.Table"]

ANY_STEP = 2**31 - 1
"""What another attack's count of steps is: whatever it found is there."""


@dataclass(frozen=True)
class Probes:
    """The records of extra runs, by epsilon; what was not run is left out.

    They need the columns ``id``, ``label``, ``clean`` (of the model that is judged) and
    ``changed_step``, null where the image was not fooled; ``twice_the_steps`` and ``unbounded``
    have all that the attack itself has. They may be of fewer images.

    Attributes:
        noise: Random noise within the same epsilon.
        transfer: Images made on another model, within the same epsilon.
        gradient_free: An attack that takes no gradients, such as Square.
        twice_the_steps: The same attack with twice the steps.
        unbounded: The same attack at epsilon 1, which answers the same counts of steps.
    """

    noise: Tables = field(default_factory=dict)
    transfer: Tables = field(default_factory=dict)
    gradient_free: Tables = field(default_factory=dict)
    twice_the_steps: Tables = field(default_factory=dict)
    unbounded: "pa.Table | None" = None


def probe_diagnostics(
    tables: Tables, settings: Settings, steps: int, probes: Probes
) -> Iterator[Diagnostic]:
    """What the probes say of the attack; what was not run is undecided, once.

    Raises:
        InputError: If a probe is of an epsilon at which there was no attack.
    """
    for epsilon, probe in _of_the_same(tables, probes.noise, "noise"):
        yield _as_strong(tables[epsilon], probe, epsilon, steps)
    for name, probed in (
        ("gradient_free_finds_more", probes.gradient_free),
        ("transfer_finds_more", probes.transfer),
        ("noise_finds_more", probes.noise),
    ):
        for epsilon, probe in _of_the_same(tables, probed, name):
            yield _finds_more(name, tables[epsilon], probe, epsilon, steps)
    yield from _twice_the_steps(tables, settings, steps, probes.twice_the_steps)
    if probes.unbounded is not None:
        attempts = attempts_of(probes.unbounded, settings.stop, steps)
        standing = int((~attempts.fell).sum())
        yield of_share("unbounded", standing, attempts.images, epsilon=None, steps=steps)


def not_run(
    made: Sequence[Diagnostic], epsilons: Sequence[float], steps: int
) -> Iterator[Diagnostic]:
    """The diagnostics whose probe was not run: one, or one for each epsilon that lacks it."""
    for name, check in CHECKS.items():
        if check.needs != "probe":
            continue
        there = {diagnostic.epsilon for diagnostic in made if diagnostic.name == name}
        missing = [epsilon for epsilon in epsilons if epsilon not in there]
        for epsilon in [None] if not there else [] if None in there else missing:
            yield undecided(name, "it needs an extra run", epsilon, steps)


def _of_the_same(tables: Tables, probed: Tables, name: str) -> "Iterator[tuple[float, pa.Table]]":
    if strange := sorted(set(probed) - set(tables)):
        raise InputError(
            f"The probe {name} is of epsilon {epsilon_text(strange[0])}, at which nothing was "
            f"attacked; expected one of {', '.join(map(epsilon_text, sorted(tables)))}."
        )
    yield from sorted(probed.items())


def _both(table: "pa.Table", probe: "pa.Table", steps: int) -> tuple[list[bool], list[bool]]:
    """Whether the attack and the probe fooled each of the images that both attacked."""
    attack = attempts_of(table, "label", steps).by_id()
    other = attempts_of(probe, "label", ANY_STEP).by_id()
    common = [image for image in attack if image in other]
    return [attack[image] for image in common], [other[image] for image in common]


def _as_strong(table: "pa.Table", probe: "pa.Table", epsilon: float, steps: int) -> Diagnostic:
    attack, noise = _both(table, probe, steps)
    either = sum(a or b for a, b in zip(attack, noise, strict=True))
    return of_share("noise_as_strong", sum(noise), either, epsilon=epsilon, steps=steps)


def _finds_more(
    name: str, table: "pa.Table", probe: "pa.Table", epsilon: float, steps: int
) -> Diagnostic:
    attack, other = _both(table, probe, steps)
    missed = sum(b and not a for a, b in zip(attack, other, strict=True))
    return of_share(name, missed, len(attack), epsilon=epsilon, steps=steps)


def _twice_the_steps(
    tables: Tables, settings: Settings, steps: int, probed: Tables
) -> Iterator[Diagnostic]:
    """By the attack itself where it answers twice the steps, on all its images; or a probe.

    A probe of a fixed step answers twice each count.
    """
    goes_on = _answers(settings, 2 * steps)
    longer = tables if goes_on else dict(_of_the_same(tables, probed, "twice_the_steps"))
    for epsilon, table in sorted(longer.items()):
        shorter = attempts_of(tables[epsilon], settings.stop, steps)
        found = _gained(shorter, attempts_of(table, settings.stop, 2 * steps), epsilon)
        yield replace(found, needs="traces") if goes_on else found


def _answers(settings: Settings, count: int) -> bool:
    """Whether an attack says what falls within so many steps.

    An attempt that follows a success makes no more steps than a count that it leaves undecided.
    """
    if settings.step_size is None or max(settings.steps) < count:
        return False
    return settings.attempts == 1 or count in settings.steps


def _gained(shorter: Attempts, longer: Attempts, epsilon: float) -> Diagnostic:
    before, after = shorter.by_id(), longer.by_id()
    common = [image for image in before if image in after]
    gained = sum(after[image] and not before[image] for image in common)
    return of_share("twice_the_steps", gained, len(common), epsilon=epsilon, steps=shorter.steps)
