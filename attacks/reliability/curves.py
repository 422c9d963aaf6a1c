"""The diagnostics that compare runs of one attack: over epsilons, and over counts of steps.

A ball of a larger epsilon holds the smaller one. So an image that a smaller epsilon fooled and a
larger one does not is no matter of chance: what was found is still there, and was missed.
"""

from collections.abc import Iterator, Mapping

from ...contracts import epsilon_text, wilson_interval
from .attempts import Attempts
from .diagnostics import TOLERANCE, Diagnostic, judged, of_share, percent, undecided
from .shares import verdict_of

SPAN = 4 / 255
"""Ours: below it a curve may be flat; the smallest epsilon in common use for ImageNet."""


def curve_diagnostics(of_epsilon: Mapping[float, Attempts]) -> Iterator[Diagnostic]:
    """What the attempts at several epsilons say beside each other."""
    epsilons = sorted(of_epsilon)
    yield _flat_curve(of_epsilon[epsilons[0]], of_epsilon[epsilons[-1]], epsilons)
    for position, epsilon in enumerate(epsilons[1:], 1):
        smaller = [of_epsilon[below] for below in epsilons[:position]]
        yield _smaller_epsilon(smaller, of_epsilon[epsilon], epsilon)


def _smaller_epsilon(smaller: list[Attempts], judged_: Attempts, epsilon: float) -> Diagnostic:
    fell: dict[str, bool] = {}
    for attempts in smaller:
        for image, fooled in attempts.by_id().items():
            fell[image] = fell.get(image, False) or fooled
    here = judged_.by_id()
    common = [image for image in here if image in fell]
    missed = sum(fell[image] and not here[image] for image in common)
    return of_share("smaller_epsilon", missed, len(common), epsilon=epsilon, steps=judged_.steps)


def _flat_curve(least: Attempts, most: Attempts, epsilons: list[float]) -> Diagnostic:
    """Passes where more images fall, or where none is left to; fails where neither is so."""
    name, steps = "flat_curve", most.steps
    if len(epsilons) < 2:
        return undecided(name, "one epsilon makes no curve", None, steps)
    before, after = least.by_id(), most.by_id()
    common = [image for image in after if image in before]
    gained = sum(after[image] and not before[image] for image in common)
    words = {"smallest": epsilon_text(epsilons[0]), "largest": epsilon_text(epsilons[-1])}
    if not common:
        return undecided(name, "no image was attacked at both ends", None, steps)
    standing = sum(not after[image] for image in common)
    low, high = wilson_interval(standing / len(common), len(common))
    nothing_left = verdict_of(low, high, TOLERANCE)
    if nothing_left == "passed":
        sentence = (
            f"At epsilon {words['largest']} nearly all images fall: {percent(high)} may stand."
        )
        return judged(
            name, gained / len(common), "passed", sentence, epsilon=None, steps=steps, n=len(common)
        )
    found = of_share(
        name,
        gained,
        len(common),
        epsilon=None,
        steps=steps,
        stand=percent(standing / len(common)),
        **words,
    )
    if found.verdict == "failed" and nothing_left == "undecided":
        return undecided(name, "too few images stand at the largest epsilon", None, steps)
    if found.verdict == "failed" and epsilons[-1] < SPAN:
        return undecided(name, f"all epsilons are below {epsilon_text(SPAN)}", None, steps)
    return found
