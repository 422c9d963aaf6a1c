"""The diagnostics that compare attacks: over epsilons and counts of steps, and with probes.

A ball of a larger epsilon contains the smaller one. So an image that falls at a smaller epsilon and
not at a larger one is not chance: the adversarial image is still there, and was missed.

Probes are other attacks on the same images, or the same with more steps.

Other attacks are compared by the label: an image is fooled if it is right and a tested image near
it is not, whatever the attack aimed at; noise has no target. They are compared image by image, as
Carlini et al. 2019 recommend: an average hides what one attack finds and the other misses.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from ...contracts import AttackSettings, epsilon_text, wilson_interval
from ...errors import InputError
from .attempts import Attempts, attempts_of, newly_fallen
from .diagnostics import CHECKS, TOLERANCE, Diagnostic, Scope, percent, verdict_of

if TYPE_CHECKING:
    import pyarrow as pa

Tables = Mapping[float, "pa.Table"]

SPAN = 4 / 255
"""Our choice: below it a curve may be flat; the smallest epsilon in common use for ImageNet."""

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


def curve_diagnostics(attempts: Mapping[float, Attempts], steps: int) -> Iterator[Diagnostic]:
    """The diagnostics that compare the attempts at several epsilons."""
    fell = {epsilon: attempts[epsilon].by_id() for epsilon in sorted(attempts)}
    yield _flat_curve(fell, Scope(steps, None))
    first, *larger = fell
    fell_before = dict(fell[first])
    for epsilon in larger:
        missed, common = newly_fallen(fell[epsilon], fell_before)
        yield Scope(steps, epsilon).share("smaller_epsilon", missed, common)
        for image, fallen in fell[epsilon].items():
            fell_before[image] = fallen or fell_before.get(image, False)


def _flat_curve(fell: Mapping[float, Mapping[str, bool]], scope: Scope) -> Diagnostic:
    """Passes if more images fall at the largest epsilon, or if none is left; else fails."""
    name = "flat_curve"
    if len(fell) < 2:
        return scope.undecided(name, "one epsilon makes no curve")
    smallest, *_, largest = fell
    before, after = fell[smallest], fell[largest]
    gained, common = newly_fallen(before, after)
    if not common:
        return scope.undecided(name, "no image was attacked at both ends")
    standing = sum(not after[image] for image in before.keys() & after.keys())
    low, high = wilson_interval(standing / common, common)
    nothing_left = verdict_of(low, high, TOLERANCE)
    words = {"smallest": epsilon_text(smallest), "largest": epsilon_text(largest)}
    if nothing_left == "passed":
        sentence = (
            f"At epsilon {words['largest']} nearly all images fall: {percent(high)} may stand."
        )
        return scope.diagnostic(name, gained / common, "passed", sentence, common)
    result = scope.share(name, gained, common, stand=percent(standing / common), **words)
    if result.verdict == "failed" and nothing_left == "undecided":
        return scope.undecided(name, "too few images stand at the largest epsilon")
    if result.verdict == "failed" and largest < SPAN:
        return scope.undecided(name, f"all epsilons are below {epsilon_text(SPAN)}")
    return result


def probe_diagnostics(
    tables: Tables, settings: AttackSettings, steps: int, probes: Probes
) -> Iterator[Diagnostic]:
    """The diagnostics of the probes that were made.

    Raises:
        InputError: If a probe is of an epsilon at which there was no attack.
    """
    other_attacks = {
        "noise": probes.noise,
        "gradient_free": probes.gradient_free,
        "transfer": probes.transfer,
    }
    for probe_name, probe_tables in other_attacks.items():
        for epsilon, probe in _checked(tables, probe_tables, probe_name):
            scope = Scope(steps, epsilon)
            attack = attempts_of(tables[epsilon], "untargeted", steps).by_id()
            fooled = attempts_of(probe, "untargeted", ANY_STEP).by_id()
            if probe_name == "noise":
                yield _as_strong(attack, fooled, scope)
            yield scope.share(f"{probe_name}_finds_more", *newly_fallen(attack, fooled))
    yield from _twice_the_steps(tables, settings, steps, probes.twice_the_steps)
    if probes.unbounded is not None:
        attempts = attempts_of(probes.unbounded, settings.success, steps)
        standing = attempts.images - len(attempts.first_hits())
        yield Scope(steps, None).share("unbounded", standing, attempts.images)


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
            yield Scope(steps, epsilon).undecided(name, "it needs an extra run")


def _checked(tables: Tables, probes: Tables, name: str) -> "Iterator[tuple[float, pa.Table]]":
    if unknown := sorted(set(probes) - set(tables)):
        raise InputError(
            f"The probe {name} has epsilon {epsilon_text(unknown[0])}, at which there was no "
            f"attack; expected one of {', '.join(map(epsilon_text, sorted(tables)))}."
        )
    yield from sorted(probes.items())


def _as_strong(attack: Mapping[str, bool], noise: Mapping[str, bool], scope: Scope) -> Diagnostic:
    common = attack.keys() & noise.keys()
    either = sum(attack[image] or noise[image] for image in common)
    return scope.share("noise_as_strong", sum(noise[image] for image in common), either)


def _twice_the_steps(
    tables: Tables, settings: AttackSettings, steps: int, probe: Tables
) -> Iterator[Diagnostic]:
    """From the attack itself if its records count twice the steps, on all its images; or a probe.

    An attempt after a success makes no more steps than the largest count that is undecided. A probe
    with a fixed step size makes twice each count.
    """
    in_attack = (
        settings.step_size is not None
        and max(settings.steps) >= 2 * steps
        and (settings.attempts == 1 or 2 * steps in settings.steps)
    )
    longer = tables if in_attack else dict(_checked(tables, probe, "twice_the_steps"))
    for epsilon, table in sorted(longer.items()):
        before = attempts_of(tables[epsilon], settings.success, steps).by_id()
        after = attempts_of(table, settings.success, 2 * steps).by_id()
        result = Scope(steps, epsilon).share("twice_the_steps", *newly_fallen(before, after))
        yield replace(result, needs="traces") if in_attack else result
