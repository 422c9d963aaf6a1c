"""Reliability diagnostics of an attack, from its records and those of its probes.

Accuracy under attack is an upper bound: a search that fails leaves images unfooled, and looks like
robustness. The diagnostics here say where it failed, each against a bound, with a verdict only if
there are enough images. An attack that passes all of them may still be unreliable, since no list of
known faults is complete; numbers of one that fails any should not be quoted.
"""

import itertools
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from ...contracts import AttackSettings, epsilon_text
from ...errors import InputError
from .attempts import Attempts, attempts_of, check_columns
from .comparisons import Probes, Tables, curve_diagnostics, not_run, probe_diagnostics
from .diagnostics import CHECKS, Check, Diagnostic, Verdict, percent
from .traces import Traces

__all__ = [
    "CHECKS",
    "HEADERS",
    "AttackAssessment",
    "Check",
    "Diagnostic",
    "Probes",
    "assess_attack",
    "assessment_document",
    "assessment_rows",
]

COLUMNS = (
    *("id", "label", "clean", "restart", "last", "steps", "traced", "loss", "gradient_norm"),
    *("zero_share", "dead_steps", "at_bound", "turned"),
)
"""Columns that the records of an attack must have, and the column of its goal."""

HEADERS = ("diagnostic", "from", "epsilon", "value", "95 % interval", "bound", "n", "verdict")
"""Headers of the columns of ``assessment_rows``."""

_RANK: dict[Verdict, int] = {"failed": 0, "undecided": 1, "passed": 2}


@dataclass(frozen=True)
class AttackAssessment:
    """The reliability of an attack.

    Attributes:
        diagnostics: The diagnostics, the worst first: failed, undecided, passed; then as in
            ``CHECKS``; then those that are furthest beyond their bound.
        images: Number of images that are right without an attack, so that there is something to
            attack.
        traced: Number of these that made all steps, also after a success.
        unprobed: Names of the diagnostics whose probe was not made at any epsilon.
    """

    diagnostics: tuple[Diagnostic, ...]
    images: int
    traced: int
    unprobed: tuple[str, ...] = ()

    @property
    def verdict(self) -> Verdict:
        """``failed`` if any diagnostic is, else ``undecided`` if any is, else ``passed``."""
        return self.diagnostics[0].verdict if self.diagnostics else "undecided"

    @property
    def failed(self) -> tuple[Diagnostic, ...]:
        """Diagnostics that failed, the worst first."""
        return tuple(d for d in self.diagnostics if d.verdict == "failed")

    @property
    def sentence(self) -> str:
        """Summary in one sentence."""
        if self.failed:
            return self.failed[0].sentence
        total = len(self.diagnostics)
        undecided = sum(d.verdict == "undecided" for d in self.diagnostics)
        if undecided or not total:
            return f"No diagnostic failed, but {undecided} of {total} are undecided."
        return f"All {total} diagnostics passed."


def assess_attack(
    settings: AttackSettings,
    tables: Tables,
    probes: Probes | None = None,
    *,
    steps: int | None = None,
) -> AttackAssessment:
    """Assess an attack by its records.

    Args:
        settings: Settings of the attack.
        tables: Finished records of the attack at each epsilon, a row an attempt.
        probes: Records of its probes.
        steps: Count of steps that is assessed, one of ``settings.steps``. If not given, the
            largest.

    Raises:
        InputError: If ``tables`` is empty, a column is missing, a loss is not finite, a probe is of
            another epsilon, or the count is not one of the settings.
    """
    steps = max(settings.steps) if steps is None else steps
    if steps not in settings.steps:
        counts = ", ".join(map(str, settings.steps))
        raise InputError(f"An attack over {counts} steps cannot be assessed at {steps}.")
    if not tables:
        raise InputError("An attack is assessed by its records, but no epsilon has any.")
    for table in tables.values():
        check_columns(table, COLUMNS)
    attempts = {
        epsilon: attempts_of(table, settings.success, steps)
        for epsilon, table in sorted(tables.items())
    }
    measured = [
        *(d for e in attempts for d in Traces(steps, e, settings, attempts[e]).diagnostics()),
        *curve_diagnostics(attempts, steps),
        *probe_diagnostics(tables, settings, steps, probes or Probes()),
    ]
    missing = list(not_run(measured, list(attempts), steps))
    unprobed = dict.fromkeys(d.name for d in missing if d.epsilon is None)
    ranked = tuple(sorted([*measured, *missing], key=_badness))
    return AttackAssessment(ranked, *_sampled(attempts), tuple(unprobed))


def _badness(diagnostic: Diagnostic) -> tuple[int, int, float]:
    """Sort key that puts the worst first."""
    check = CHECKS[diagnostic.name]
    order = list(CHECKS).index(diagnostic.name)
    if diagnostic.value is None:  # measured ones say more
        return _RANK[diagnostic.verdict], order, math.inf
    beyond = diagnostic.value - check.bound
    return _RANK[diagnostic.verdict], order, beyond if check.at_least else -beyond


def _sampled(of_epsilon: Mapping[float, Attempts]) -> tuple[int, int]:
    """Numbers of images that are right, and of those that were traced, at any epsilon."""
    right: set[str] = set()
    traced: set[str] = set()
    for attempts in of_epsilon.values():
        right.update(attempts.ids)
        is_traced = attempts.any_of(attempts.column("traced").astype(bool))
        traced.update(itertools.compress(attempts.ids, is_traced))
    return len(right), len(traced)


def assessment_rows(assessment: AttackAssessment) -> list[tuple[str, ...]]:
    """A table of the diagnostics, the worst first, under ``HEADERS``."""
    return [
        (
            d.title,
            d.needs,
            "" if d.epsilon is None else epsilon_text(d.epsilon),
            "" if d.value is None else percent(d.value),
            "" if d.low is None or d.high is None else f"{percent(d.low)} to {percent(d.high)}",
            f"{'at least' if CHECKS[d.name].at_least else 'at most'} {percent(d.bound)}",
            str(d.n) if d.n else "",
            d.verdict,
        )
        for d in assessment.diagnostics
    ]


def assessment_document(assessment: AttackAssessment) -> dict[str, Any]:
    """An assessment for JSON: rates are fractions, null if there is no value."""
    return {
        "verdict": assessment.verdict,
        "sentence": assessment.sentence,
        "images": assessment.images,
        "traced": assessment.traced,
        "diagnostics": [asdict(diagnostic) for diagnostic in assessment.diagnostics],
    }
