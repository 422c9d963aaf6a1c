"""Can an attack be believed? Arithmetic on its records, and on those of extra runs.

Accuracy under attack is an upper bound: a search that fails leaves images standing, and looks like
robustness. What is computed here says where it failed, each time against a bound, with a verdict
only where enough images stand behind it (``shares.py``). What passes all of this may still be
wrong, since no list of known faults is complete; what fails any of it should not be quoted.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from ...contracts import epsilon_text
from ...errors import InputError
from .attempts import Attempts, Settings, attempts_of, check_columns
from .curves import curve_diagnostics
from .diagnostics import CHECKS, Check, Diagnostic, Needs, percent
from .probes import Probes, Tables, not_run, probe_diagnostics
from .shares import Verdict
from .traces import trace_diagnostics

__all__ = [
    "CHECKS",
    "HEADERS",
    "AttackAssessment",
    "Check",
    "Diagnostic",
    "Probes",
    "Settings",
    "assess_attack",
    "trust_document",
    "trust_rows",
]

COLUMNS = (
    *("id", "label", "clean", "restart", "last", "steps", "traced", "loss", "gradient_norm"),
    *("zero_share", "dead_steps", "at_bound", "turned"),
)
"""What the records of an attack must have, beside the column of their goal."""

HEADERS = ("diagnostic", "from", "epsilon", "value", "95 % interval", "bound", "n", "verdict")
"""Of the columns of ``trust_rows``."""

_RANK: dict[Verdict, int] = {"failed": 0, "undecided": 1, "passed": 2}


@dataclass(frozen=True)
class AttackAssessment:
    """What is to be said of an attack.

    Attributes:
        diagnostics: The worst first: failed, undecided, passed; then as in ``CHECKS``; then those
            that are furthest beyond their bound.
        images: How many images were right from the start, so that there was something to attack.
        traced: How many of these made all steps whatever was hit: the sample that says what the
            last iterate forgot.
        unprobed: The names of the diagnostics whose extra run was not made, at any epsilon.
    """

    diagnostics: tuple[Diagnostic, ...]
    images: int
    traced: int
    unprobed: tuple[str, ...] = ()

    @property
    def verdict(self) -> Verdict:
        """``failed`` where any diagnostic is, else ``undecided`` where any is, else ``passed``."""
        return self.diagnostics[0].verdict if self.diagnostics else "undecided"

    @property
    def failed(self) -> tuple[Diagnostic, ...]:
        """Those that speak against the attack, the worst first."""
        return tuple(d for d in self.diagnostics if d.verdict == "failed")

    @property
    def sentence(self) -> str:
        """What a reader should know first."""
        if self.failed:
            return self.failed[0].sentence
        total = len(self.diagnostics)
        open_ = sum(d.verdict == "undecided" for d in self.diagnostics)
        if open_ or not total:
            return (
                f"Nothing was found against the attack, but {open_} of {total} diagnostics are "
                "undecided."
            )
        return f"All {total} diagnostics passed."

    def only(self, *needs: Needs) -> "AttackAssessment":
        """What those diagnostics say that are made of this: ``settings``, ``traces``, ``probe``."""
        kept = (d for d in self.diagnostics if d.needs in needs)
        return replace(self, diagnostics=tuple(kept))

    def at(self, epsilon: float) -> "AttackAssessment":
        """What bears on the accuracy at one epsilon: its own, and what is of all epsilons."""
        kept = (d for d in self.diagnostics if d.epsilon in (None, epsilon))
        return replace(self, diagnostics=tuple(kept))


def assess_attack(
    settings: Settings, tables: Tables, probes: Probes | None = None, *, steps: int | None = None
) -> AttackAssessment:
    """Judge an attack by its records.

    Args:
        settings: Of the attack.
        tables: Its finished records at each epsilon, a row an attempt.
        probes: Records of extra runs.
        steps: The count that is judged, one of ``settings.steps``; the largest where none.

    Raises:
        InputError: If there is no epsilon, a column is missing, a loss is not finite, a probe is of
            another epsilon, or the count was not asked for.
    """
    judged = max(settings.steps) if steps is None else steps
    if judged not in settings.steps:
        counts = ", ".join(map(str, settings.steps))
        raise InputError(f"An attack over {counts} steps cannot be judged at {judged}.")
    if not tables:
        raise InputError("An attack is judged by its records, and there are none of any epsilon.")
    for table in tables.values():
        check_columns(table, COLUMNS)
    of_epsilon = {
        epsilon: attempts_of(table, settings.stop, judged) for epsilon, table in tables.items()
    }
    found = list(_all_of(settings, tables, of_epsilon, probes or Probes(), judged))
    lacking = list(not_run(found, sorted(tables), judged))
    unprobed = dict.fromkeys(d.name for d in lacking if d.epsilon is None)
    ranked = tuple(sorted([*found, *lacking], key=_badness))
    return AttackAssessment(ranked, *_sampled(of_epsilon), tuple(unprobed))


def _all_of(
    settings: Settings,
    tables: Tables,
    of_epsilon: Mapping[float, Attempts],
    probes: Probes,
    steps: int,
) -> Iterator[Diagnostic]:
    for epsilon, attempts in sorted(of_epsilon.items()):
        yield from trace_diagnostics(attempts, settings, epsilon)
    yield from curve_diagnostics(of_epsilon)
    yield from probe_diagnostics(tables, settings, steps, probes)


def _badness(diagnostic: Diagnostic) -> tuple[int, int, float]:
    """Sorts the worst first."""
    check = CHECKS[diagnostic.name]
    order = list(CHECKS).index(diagnostic.name)
    if diagnostic.value is None:  # what was measured at another epsilon says more
        return _RANK[diagnostic.verdict], order, math.inf
    beyond = diagnostic.value - check.bound
    return _RANK[diagnostic.verdict], order, beyond if check.at_least else -beyond


def _sampled(of_epsilon: Mapping[float, Attempts]) -> tuple[int, int]:
    """How many images were right, and how many of these were traced, at any epsilon."""
    right: set[str] = set()
    traced: set[str] = set()
    for attempts in of_epsilon.values():
        right.update(attempts.ids)
        chosen = attempts.any_of(attempts.column("traced").astype(bool))
        traced.update(image for image, is_so in zip(attempts.ids, chosen, strict=True) if is_so)
    return len(right), len(traced)


def trust_rows(trust: AttackAssessment) -> list[tuple[str, ...]]:
    """A table of the diagnostics, the worst first, under ``HEADERS``."""
    return [_row(diagnostic) for diagnostic in trust.diagnostics]


def _row(found: Diagnostic) -> tuple[str, ...]:
    interval = (
        ""
        if found.low is None or found.high is None
        else (f"{percent(found.low)} to {percent(found.high)}")
    )
    return (
        found.title,
        found.needs,
        "" if found.epsilon is None else epsilon_text(found.epsilon),
        "" if found.value is None else percent(found.value),
        interval,
        f"{'at least' if CHECKS[found.name].at_least else 'at most'} {percent(found.bound)}",
        str(found.n) if found.n else "",
        found.verdict,
    )


def trust_document(trust: AttackAssessment) -> dict[str, Any]:
    """The same for JSON: rates are fractions, null where there is no value."""
    return {
        "verdict": trust.verdict,
        "sentence": trust.sentence,
        "images": trust.images,
        "traced": trust.traced,
        "diagnostics": [asdict(diagnostic) for diagnostic in trust.diagnostics],
    }
