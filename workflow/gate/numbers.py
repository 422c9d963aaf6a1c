"""The numbers that rules are checked on: scores of runs, and differences from a baseline."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from ...contracts import Difference, Score, epsilon_text
from ...errors import InputError, printable
from ...reporting.footnotes import MARKS, marks_of, united_marks
from ...reporting.metric_info import quantity_of
from ...reporting.model_results import ModelResults
from ..report.compare import Side, compare_sides, side_of
from ..report.rows import report_rows
from ..runs.scored_run import ScoredRun, differing_files_note
from .rules import CONDITION_KEYS, RUN_KEYS, Value, near_metrics

PARTIAL_MARKS = "*+~^@"
"""Marks of numbers that pass only if the rule allows it. Those with ``!`` never do; ``#`` does not
keep a number from passing, since parity was shown, against ONNX Runtime."""


@dataclass(frozen=True)
class GateNumber:
    """A number with what may keep it from passing.

    Attributes:
        number: Score, or difference from the baseline.
        name: Name of the model in the output.
        keys: Values that rules select by, and its metric.
        marks: Its marks in reports.
        unfinished: What its run lacks; empty if it is finished.
        faults: Why it cannot pass, whatever the rule allows.
    """

    number: Score | Difference
    name: str
    keys: Mapping[str, Any]
    marks: str = ""
    unfinished: str = ""
    faults: tuple[str, ...] = ()

    @property
    def value(self) -> float | None:
        """The value or the difference; `None` if it is refused."""
        is_score = isinstance(self.number, Score)
        return self.number.value if is_score else self.number.difference  # type: ignore[union-attr]

    def text(self, value: float | None = None) -> str:
        """The number with its interval, or another value in the same unit."""
        number, quantity = self.number, quantity_of(self.number.metric)
        sign = "+" if isinstance(number, Difference) else ""
        shown = self.value if value is None else value
        assert shown is not None
        ends = (number.low, number.high) if value is None else (None, None)
        return f"{quantity.text(shown, *ends, sign=sign)} {quantity.unit}".strip()

    def partial(self, selection: Mapping[str, Value]) -> list[str]:
        """Why it passes only if the rule allows it: its marks, and what its run lacks."""
        reasons = [MARKS[mark].partition(";")[0] for mark in self.marks if mark in PARTIAL_MARKS]
        keys = {key for key, value in self.keys.items() if value is not None}
        keys &= {"corruption", "perturbation", "severity", "epsilon"}
        is_selected = keys <= selection.keys() and bool(keys)
        return [*reasons, *([self.unfinished] if self.unfinished and not is_selected else [])]


@dataclass(frozen=True)
class Candidates:
    """What a rule selects from.

    Attributes:
        models: Names of the models, also of one that has no number.
        numbers: Their numbers.
    """

    models: tuple[str, ...]
    numbers: Sequence[GateNumber]


def numbers_of_runs(models: Sequence[ModelResults], scored: Sequence[ScoredRun]) -> Candidates:
    """Every score of a report, each once."""
    by_folder = {str(run.run.folder): run for run in scored}
    numbers: dict[Score, GateNumber] = {}
    for results in models:
        for score in results.scores:
            run = by_folder[score.run]
            keys = {key: getattr(score, key) for key in (*CONDITION_KEYS, "metric")}
            marks, name = results.cell(score).marks, results.name
            numbers.setdefault(
                score, GateNumber(score, name, keys, marks, _unfinished(run), _faults(marks, [run]))
            )
    return Candidates(_models(scored), list(numbers.values()))


def differences_from(baseline: Path, scored: Sequence[ScoredRun]) -> Candidates:
    """Every difference of each model from a baseline on the same images.

    Attacks and the runs of the baseline itself are left out.

    Raises:
        InputError: If the baseline is not the run of one model, or has other images.
    """
    first = side_of("The baseline", baseline)
    ours = {run.run.folder.resolve() for run in first.runs.values()}
    others = [run for run in scored if run.run.folder.resolve() not in ours]
    if not others:
        raise InputError(
            f"The baseline {printable(baseline)} is the run that the rules are checked on. Give "
            "the run of another model, for example of the last release."
        )
    compared = [run for run in others if run.key.attack is None]
    numbers = [
        number
        for row in report_rows(compared)
        for number in _differences(first, row.runs if row.clean is None else [row.clean, *row.runs])
    ]
    return Candidates(_models(compared), numbers)


def _models(runs: Iterable[ScoredRun]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(run.facts["model"] for run in runs))


def _differences(first: Side, runs: Iterable[ScoredRun]) -> Iterator[GateNumber]:
    second = Side("B", {run.key.benchmark: run for run in runs})
    common = [name for name in first.runs if name in second.runs]
    if not common:
        return
    place = next(iter(second.runs.values())).place
    try:
        comparison = compare_sides(Side("A", first.runs), second)
    except InputError as error:
        raise InputError(
            f"{place} (B) cannot be compared with the baseline (A): {error}"
        ) from error
    statuses = (*first.statuses, *second.statuses)
    for difference in comparison.differences:
        pair = first.runs[difference.benchmark], second.runs[difference.benchmark]
        marks = marks_of(difference, *statuses) + united_marks((first.marks, second.marks))
        note = differing_files_note(*pair, ("the baseline", "the run"))
        facts = {key: pair[1].facts[key] for key in RUN_KEYS}
        fields_of = {field.name: getattr(difference, field.name) for field in fields(difference)}
        keys = {key: value for key, value in {**fields_of, **facts}.items() if key in _KEYS}
        faults = (*_faults(marks, pair), *([note] if note else []))
        unfinished = _unfinished(pair[0]) or _unfinished(pair[1])
        yield GateNumber(difference, comparison.b.name, keys, marks, unfinished, faults)


_KEYS = {*CONDITION_KEYS, "metric"}


def _unfinished(run: ScoredRun) -> str:
    if not run.missing:
        return ""
    total = len(run.benchmark.conditions)
    return f"{run.place} lacks {len(run.missing)} of {total} conditions"


def _faults(marks: str, runs: Iterable[ScoredRun]) -> tuple[str, ...]:
    simulated = any(run.is_simulated for run in runs)
    return (
        *([MARKS["!"]] if "!" in marks else []),
        *(["it was made on a simulated device"] if simulated else []),
    )


def selected(
    keys: Sequence[Mapping[str, Any]], selection: Mapping[str, Value]
) -> tuple[list[int], str]:
    """Which of some numbers or runs a selection takes.

    Args:
        keys: Keys of each.
        selection: Value that each key must have.

    Returns:
        Their positions; if there are none, also what there is instead.
    """
    positions = list(range(len(keys)))
    if not positions:
        return [], "it has none"
    for key, value in selection.items():
        left = [position for position in positions if _equal(keys[position].get(key), value)]
        if not left:
            values = {keys[p].get(key): None for p in positions}
            return [], _instead(key, value, [v for v in values if v is not None])
        positions = left
    return positions, ""


def _equal(value: object, expected: Value) -> bool:
    if isinstance(value, float) and isinstance(expected, int | float):
        return abs(value - expected) <= 1e-6 * abs(expected)
    return value == expected


def _instead(key: str, value: Value, values: Sequence[object]) -> str:
    if key == "metric":
        return f"no metric {printable(str(value))}: {near_metrics(str(value), map(str, values))}"
    if not values:
        return f"these numbers have no {key}"
    shown = ", ".join(shown_value(key, each) for each in values)
    return f"{key} {shown_value(key, value)} is not there: there is {shown}"


def shown_value(key: str, value: Any) -> str:
    """A value of a key as text.

    Example:
        >>> shown_value("epsilon", 8 / 255), shown_value("severity", 3)
        ('8/255', '3')
    """
    return epsilon_text(value) if key == "epsilon" else printable(str(value))
