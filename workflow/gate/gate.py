"""The gate of a release: rules, checked on the numbers of runs with their intervals."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...contracts import Difference
from ...errors import InputError, printable
from ...reporting.footnotes import PROVED
from ...reporting.junit import JUnitCase, JUnitOutcome, junit_xml
from ...storage.documents import plain
from ..report.report import report_of_runs
from ..runs.scored_run import ScoredRun, read_runs
from .numbers import (
    Candidates,
    GateNumber,
    differences_from,
    numbers_of_runs,
    selected,
    shown_value,
)
from .rules import RUN_KEYS, Rule, Value, read_rules
from .verdicts import VERDICTS, Verdict, interval_of, verdict_of, worst

EXIT_CODES: Mapping[Verdict, int] = {"pass": 0, "fail": 3, "undecided": 4}

_JUNIT_OUTCOMES: Mapping[Verdict, JUnitOutcome] = {
    "pass": "passed",
    "fail": "failure",
    "undecided": "error",
}

_SHOWN_KEYS = (
    *("corruption", "perturbation", "severity", "rule", "stimuli", "category", "epsilon", "steps"),
    *("source_model", "attack_protocol", "normalize_by"),
)
"""Keys that tell the numbers of a rule apart in its text."""


@dataclass(frozen=True)
class Check:
    """A rule on one number or run, or the fact that there is none.

    Attributes:
        verdict: The verdict.
        text: The number, the limit, and what keeps it from passing.
        number: The number; `None` if there is none, and for parity.
        excess: How far the value is beyond the limit; negative on the right side.
    """

    verdict: Verdict
    text: str
    number: GateNumber | None = None
    excess: float = 0.0

    def document(self) -> dict[str, Any]:
        """The check for programs."""
        document: dict[str, Any] = {"verdict": self.verdict, "text": self.text}
        if self.number is not None:
            document |= {"marks": self.number.marks, "model": self.number.keys["model"]}
            document["number"] = plain(self.number.number)
        return document


@dataclass(frozen=True)
class RuleOutcome:
    """The verdict of one rule.

    Attributes:
        rule: The rule.
        checks: One check for each number that the rule selects; at least one.
    """

    rule: Rule
    checks: tuple[Check, ...]

    @property
    def verdict(self) -> Verdict:
        """The worst verdict of its checks."""
        return worst([check.verdict for check in self.checks])

    @property
    def text(self) -> str:
        """The worst check, with the number of checks if there are several."""
        check = max(self.checks, key=lambda c: (VERDICTS.index(c.verdict), c.excess))
        if len(self.checks) == 1:
            return check.text
        words = {"pass": "pass", "fail": "fail", "undecided": "are undecided"}[self.verdict]
        alike = sum(other.verdict == self.verdict for other in self.checks)
        return f"{check.text} ({alike} of {len(self.checks)} {words})"

    @property
    def line(self) -> str:
        """The verdict, the rule and the worst check."""
        return f"{self.verdict:<9}  {printable(self.rule.name)}: {self.text}"


@dataclass(frozen=True)
class GateResult:
    """The verdict of a gate.

    Attributes:
        outcomes: Verdict of each rule, in the order of the file.
        notes: Notes on what the runs lack, a line each.
    """

    outcomes: tuple[RuleOutcome, ...]
    notes: tuple[str, ...] = ()

    @property
    def verdict(self) -> Verdict:
        """``pass`` if all rules pass, ``fail`` if one fails, else ``undecided``."""
        return worst([outcome.verdict for outcome in self.outcomes])

    @property
    def exit_code(self) -> int:
        """0 if all rules pass, 3 if one fails, 4 if none fails and one is undecided."""
        return EXIT_CODES[self.verdict]

    def lines(self) -> list[str]:
        """One line for each rule."""
        return [outcome.line for outcome in self.outcomes]

    def document(self) -> dict[str, Any]:
        """The result for programs: ``schema``, ``verdict``, ``rules`` and ``notes``."""
        return {
            "schema": 1,
            "verdict": self.verdict,
            "rules": [
                {
                    "name": outcome.rule.name,
                    "verdict": outcome.verdict,
                    "text": outcome.text,
                    "rule": plain(outcome.rule),
                    "checks": [check.document() for check in outcome.checks],
                }
                for outcome in self.outcomes
            ],
            "notes": list(self.notes),
        }

    def junit(self) -> str:
        """JUnit XML: a test case for each rule; one that is undecided is an error."""
        return junit_xml(
            "evaluator gate",
            [
                JUnitCase(
                    outcome.rule.name,
                    _JUNIT_OUTCOMES[outcome.verdict],
                    outcome.text,
                    [f"{check.verdict:<9}  {check.text}" for check in outcome.checks],
                )
                for outcome in self.outcomes
            ],
        )


def gate(
    runs: str | Path | Sequence[str | Path],
    rules: str | Path,
    *,
    baseline: str | Path | None = None,
) -> GateResult:
    """Check rules on the numbers of runs.

    Args:
        runs: A run or a folder of runs, or several.
        rules: TOML file with the rules (docs/release-gate.md).
        baseline: Run that changes are measured against, or a folder with the runs of one model,
            for rules that name no baseline of their own.

    Raises:
        InputError: If the rules are invalid, a folder holds no run, a run is damaged, or a
            baseline is missing or has other images.
    """
    rule_file = read_rules(Path(rules))
    default = rule_file.baseline if baseline is None else Path(baseline)
    for rule in rule_file.rules:
        if rule.is_change and rule.baseline is None and default is None:
            raise InputError(
                f"{printable(rules)}: the rule {printable(rule.name)!r} needs a baseline: give "
                "--baseline RUN, or baseline in the rule."
            )
    folders = [Path(run) for run in ([runs] if isinstance(runs, str | Path) else runs)]
    contents = _Contents(folders, default)
    outcomes = tuple(RuleOutcome(rule, tuple(contents.checks(rule))) for rule in rule_file.rules)
    notes = [*contents.notes]
    if baseline is not None and not any(rule.is_change for rule in rule_file.rules):
        notes.append("no rule has max_increase or max_decrease, so the baseline is not used")
    return GateResult(outcomes, tuple(notes))


@dataclass
class _Contents:
    """What rules are checked on.

    Attributes:
        folders: Folders of runs.
        baseline: Baseline of rules without their own; `None` if there is none.
        scored: Runs in the folders.
        notes: Notes of their report.
        numbers: Numbers of their report.
        differences: Differences from each baseline that a rule needed.
    """

    folders: list[Path]
    baseline: Path | None
    scored: list[ScoredRun] = field(init=False)
    notes: tuple[str, ...] = field(init=False)
    numbers: Candidates = field(init=False)
    differences: dict[Path, Candidates] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.scored = read_runs(self.folders)
        contents = report_of_runs(self.folders, self.scored)
        self.notes = contents.notes
        self.numbers = numbers_of_runs(contents.entries, self.scored)

    def checks(self, rule: Rule) -> Iterator[Check]:
        """Checks of a rule; at least one."""
        if rule.parity:
            yield from _parity_checks(rule, self.scored)
            return
        numbers = self.numbers if not rule.is_change else self._differences(rule)
        for selection in rule.selections:
            yield from _number_checks(rule, selection, numbers)

    def _differences(self, rule: Rule) -> Candidates:
        baseline = rule.baseline or self.baseline
        assert baseline is not None
        if baseline not in self.differences:
            self.differences[baseline] = differences_from(baseline, self.scored)
        return self.differences[baseline]


def _number_checks(
    rule: Rule, selection: Mapping[str, Value], candidates: Candidates
) -> Iterator[Check]:
    """Checks of every number that a selection takes; each model must have one."""
    kind = "difference from the baseline" if rule.is_change else "number"
    benchmark = {k: v for k, v in selection.items() if k in ("model", "benchmark")}
    ordered = {**benchmark, "metric": rule.metric, **selection}
    numbers = candidates.numbers
    names = [selection["model"]] if "model" in selection else list(candidates.models)
    if not names:
        yield Check("fail", f"there is no {kind}")
    for name in names:
        of_model = numbers if "model" in selection else _of_model(numbers, name)
        positions, instead = selected([number.keys for number in of_model], ordered)
        if not positions:
            yield Check("fail", f"{printable(str(name))} has no such {kind}: {instead}")
        for position in positions:
            yield _checked(rule, selection, of_model[position])


def _of_model(numbers: Sequence[GateNumber], model: Value) -> list[GateNumber]:
    return [number for number in numbers if number.keys["model"] == model]


def _checked(rule: Rule, selection: Mapping[str, Value], number: GateNumber) -> Check:
    """The check of one number."""
    place = _place(number)
    if (value := number.value) is None:
        return Check("fail", f"{place} is refused: {number.number.reason}", number)
    over = [] if rule.maximum is None else [value - rule.maximum]
    under = [] if rule.minimum is None else [rule.minimum - value]
    excess = max(over + under)
    text = f"{place} {number.text()}, expected {_limits(rule, number)}"
    interval = interval_of(number.number)
    if interval is None:
        reason = "no interval: the images do not vary enough to tell how sure it is"
        return Check("undecided", f"{text}; {reason}", number, excess)
    if (number.number.low, number.number.high) != interval:
        text += _note_on_interval(number, interval)
    verdict = verdict_of(*interval, rule.minimum, rule.maximum)
    faults = [*number.faults, *([] if rule.allow_partial else number.partial(selection))]
    if verdict == "pass" and faults:
        text += f"; does not pass: {', '.join(faults)}"
        if not number.faults:
            text += " (allow_partial = true accepts this)"
        verdict = "undecided"
    return Check(verdict, text, number, excess)


def _note_on_interval(number: GateNumber, interval: tuple[float, float]) -> str:
    if not isinstance(number.number, Difference):
        return "; this metric has no interval"
    bounds = " to ".join(number.text(end) for end in interval)
    return f"; right on the same images, so that it is within {bounds}"


def _place(number: GateNumber) -> str:
    """The model and the conditions of a number."""
    keys = [
        f"{key}={shown_value(key, value)}"
        for key in _SHOWN_KEYS
        if (value := number.keys.get(key)) is not None
    ]
    return " ".join([printable(number.name), *keys])


def _limits(rule: Rule, number: GateNumber) -> str:
    limits = (("at least", rule.minimum), ("at most", rule.maximum))
    return " and ".join(f"{words} {number.text(x)}" for words, x in limits if x is not None)


def _parity_checks(rule: Rule, scored: Sequence[ScoredRun]) -> Iterator[Check]:
    """A check of each run that the rule selects."""
    keys = [{key: run.facts[key] for key in RUN_KEYS} for run in scored]
    for selection in rule.selections:
        positions, instead = selected(keys, selection)
        if not positions:
            yield Check("fail", f"there is no such run: {instead}")
        for position in positions:
            yield _parity_check(scored[position])


def _parity_check(run: ScoredRun) -> Check:
    if not run.records.provenance:
        return Check("fail", f"{run.place}: nothing is finished yet")
    facts = run.facts
    statuses = {
        "parity": facts["parity"],
        "parity on adversarial images": facts["adversarial_parity"] or "passed",
        "self-check": facts["self_check"],
    }
    faults = [f"{name} {status}" for name, status in statuses.items() if status not in PROVED]
    if faults:
        return Check("fail", f"{run.place}: {', '.join(map(printable, faults))}")
    if not facts["self_check"]:
        return Check("undecided", f"{run.place}: the run does not record a self-check")
    return Check("pass", f"{run.place}: parity {facts['parity']}, self-check {facts['self_check']}")
