"""The diagnostics that compare runs of one attack: over epsilons, and over counts of steps.

A ball of a larger epsilon contains the smaller one. So an image that falls at a smaller epsilon and
not at a larger one is not chance: the adversarial image is still there, and was missed.
"""

from collections.abc import Iterator, Mapping

from ...contracts import epsilon_text, wilson_interval
from .attempts import Attempts, newly_fallen
from .diagnostics import TOLERANCE, Diagnostic, assess, of_share, percent, undecided
from .shares import verdict_of

SPAN = 4 / 255
"""Our choice: below it a curve may be flat; the smallest epsilon in common use for ImageNet."""


def curve_diagnostics(of_epsilon: Mapping[float, Attempts]) -> Iterator[Diagnostic]:
    """The diagnostics that compare the attempts at several epsilons."""
    epsilons = sorted(of_epsilon)
    yield _flat_curve(of_epsilon[epsilons[0]], of_epsilon[epsilons[-1]], epsilons)
    for position, epsilon in enumerate(epsilons[1:], 1):
        smaller = [of_epsilon[below] for below in epsilons[:position]]
        yield _smaller_epsilon(smaller, of_epsilon[epsilon], epsilon)


def _smaller_epsilon(smaller: list[Attempts], larger: Attempts, epsilon: float) -> Diagnostic:
    fell: dict[str, bool] = {}
    for attempts in smaller:
        for image, fooled in attempts.by_id().items():
            fell[image] = fell.get(image, False) or fooled
    missed, common = newly_fallen(larger.by_id(), fell)
    return of_share("smaller_epsilon", missed, common, epsilon=epsilon, steps=larger.steps)


def _flat_curve(smallest: Attempts, largest: Attempts, epsilons: list[float]) -> Diagnostic:
    """Passes if more images fall at the largest epsilon, or if none is left; else fails."""
    name, steps = "flat_curve", largest.steps
    if len(epsilons) < 2:
        return undecided(name, "one epsilon makes no curve", None, steps)
    before, after = smallest.by_id(), largest.by_id()
    gained, common = newly_fallen(before, after)
    words = {"smallest": epsilon_text(epsilons[0]), "largest": epsilon_text(epsilons[-1])}
    if not common:
        return undecided(name, "no image was attacked at both ends", None, steps)
    standing = sum(not after[image] for image in before.keys() & after.keys())
    low, high = wilson_interval(standing / common, common)
    nothing_left = verdict_of(low, high, TOLERANCE)
    if nothing_left == "passed":
        sentence = (
            f"At epsilon {words['largest']} nearly all images fall: {percent(high)} may stand."
        )
        return assess(
            name, gained / common, "passed", sentence, epsilon=None, steps=steps, n=common
        )
    stand = percent(standing / common)
    result = of_share(name, gained, common, epsilon=None, steps=steps, stand=stand, **words)
    if result.verdict == "failed" and nothing_left == "undecided":
        return undecided(name, "too few images stand at the largest epsilon", None, steps)
    if result.verdict == "failed" and epsilons[-1] < SPAN:
        return undecided(name, f"all epsilons are below {epsilon_text(SPAN)}", None, steps)
    return result
