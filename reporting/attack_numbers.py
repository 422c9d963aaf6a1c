"""Parts that tables and figures of attacks share: protocols, and the numbers of a curve."""

from collections.abc import Iterable, Iterator

from ..contracts import PAPERS_EPSILON, Score
from .model_results import ModelResults

WHITE_BOX, TRANSFER = "whitebox", "transfer"
"""Benchmarks of attacks."""

UNDER_ATTACK = "accuracy_under_attack"

PAPERS_COUNT = (
    "the paper counts that its target, a wrong class drawn at random, was not reached, which is "
    "not an accuracy against an adversary"
)
"""Note below numbers that the paper's protocol counts."""


def unknown_protocol_notes(models: Iterable[ModelResults]) -> Iterator[str]:
    """A line for each attack whose protocol is unknown, so that no table can say what it counts."""
    for results in models:
        for benchmark in (WHITE_BOX, TRANSFER):
            scores = results.of(benchmark, UNDER_ATTACK)
            for protocol in dict.fromkeys(s.protocol for s in scores if s.attack_protocol is None):
                missing = "; no table shows them" if benchmark == WHITE_BOX else ""
                yield (
                    f"{results.name}: the attack's protocol, {protocol}, is unknown to this "
                    f"version, and so is what its numbers count{missing}"
                )


def fewest_steps(scores: Iterable[Score]) -> int:
    """Step count of the numbers that are shown over epsilon."""
    return min((score.steps or 0 for score in scores), default=0)


def curve_epsilon(scores: Iterable[Score]) -> float:
    """Epsilon of the numbers that are shown over steps: the paper's, or else the largest."""
    epsilons = {score.epsilon for score in scores if score.epsilon}
    return PAPERS_EPSILON if PAPERS_EPSILON in epsilons else max(epsilons, default=0.0)
