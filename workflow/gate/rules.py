"""Rules of a gate, read from a TOML file.

    [[rule]]
    benchmark = "imagenet"
    metric = "top1_error"
    max = 0.25

A rule limits a number (``max``, ``min``), limits its change against a baseline run
(``max_increase``, ``max_decrease``), or asks for parity (``parity = true``). Rates are fractions,
as in the JSON of a report. Everything is checked here, before a run is read.
"""

import itertools
import math
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...contracts import BENCHMARK_INFO
from ...errors import InputError, did_you_mean, printable, reported_as
from ...evaluate.benchmarks.table import ATTACKS
from ...reporting.metric_info import QUANTITIES

Value = str | int | float | bool

RUN_KEYS: Mapping[str, type] = {
    "benchmark": str,
    "model": str,
    "engine": str,
    "precision": str,
    "crop_px": int,
}
"""Keys that select runs, with the types of their values."""

COMPARED_KEYS: Mapping[str, type] = {
    **RUN_KEYS,
    "corruption": str,
    "perturbation": str,
    "severity": int,
    "rule": str,
    "stimuli": int,
}
"""Keys that select differences: those of a `Difference`."""

CONDITION_KEYS: Mapping[str, type] = {
    **COMPARED_KEYS,
    "category": str,
    "epsilon": float,
    "steps": int,
    "restarts": int,
    "step_size": float,
    "relative_epsilon": bool,
    "source": str,
    "source_model": str,
    "protocol": str,
    "attack_protocol": str,
    "handed_image": str,
    "normalize_by": str,
}
"""Keys that select numbers: those of a `Score`."""

LIMITS = ("max", "min")
CHANGES = ("max_increase", "max_decrease")
OTHER_KEYS = ("name", "metric", *LIMITS, *CHANGES, "baseline", "allow_partial", "parity")

NORMALIZED = ("mce", "relative_mce", "ce", "relative_ce", "mfr", "mt5d")
"""Rates that are divided by a baseline's, so that they may exceed 1."""

LARGEST_NORMALIZED = 20.0
"""Above it, a limit of a normalised rate is a percentage by mistake: 70 for 0.7."""

_TYPE_NAMES = {str: "a text", int: "a whole number", float: "a number", bool: "true or false"}


@dataclass(frozen=True)
class Rule:
    """One rule.

    Attributes:
        name: Name in the output; unique in a file.
        metric: Metric, by its name in a report's JSON; empty for a rule on parity.
        conditions: Values that a number may have, by key; a key that is absent may have any.
        minimum: Smallest value, or smallest change; `None` if there is none.
        maximum: Largest value, or largest change; `None` if there is none.
        is_change: Whether the change against a baseline is limited.
        baseline: Baseline run of this rule; `None` if it has none.
        allow_partial: Whether a marked number may pass.
        parity: Whether it asks for parity and the self-check, and has no metric.
    """

    name: str
    metric: str = ""
    conditions: Mapping[str, tuple[Value, ...]] = field(default_factory=dict)
    minimum: float | None = None
    maximum: float | None = None
    is_change: bool = False
    baseline: Path | None = None
    allow_partial: bool = False
    parity: bool = False

    @property
    def selections(self) -> Iterator[dict[str, Value]]:
        """Each combination of one value per key; every one must have a number."""
        for values in itertools.product(*self.conditions.values()):
            yield dict(zip(self.conditions, values, strict=True))


@dataclass(frozen=True)
class Rules:
    """The rules of a file.

    Attributes:
        rules: The rules, at least one.
        baseline: Baseline run of rules without their own; `None` if there is none.
    """

    rules: tuple[Rule, ...]
    baseline: Path | None = None


def read_rules(path: Path) -> Rules:
    """Read the rules of a file. Paths in it are relative to its folder.

    Raises:
        InputError: If it cannot be read, is not TOML, has no rule, or a rule is invalid.
    """
    with reported_as(f"The rules {printable(path)} cannot be read", OSError):
        raw = path.read_bytes()
    with reported_as(f"{printable(path)} is not a TOML file", ValueError, RecursionError):
        content = tomllib.loads(raw.decode())
    place = printable(path)
    for key in content:
        if key not in ("rule", "baseline"):
            hint = did_you_mean(key, ("rule", "baseline"), "Expected [[rule]] and baseline.")
            raise InputError(f"{place}: unknown key {printable(key)}. {hint}")
    tables = content.get("rule", [])
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise InputError(f"{place}: rule must be a list of tables: start each with [[rule]].")
    if not tables:
        raise InputError(f"{place} has no rule. Start each with [[rule]] on a line of its own.")
    rules = tuple(
        _Reader(f"{place}: rule {number}", table, path.parent).rule()
        for number, table in enumerate(tables, 1)
    )
    _check_names(place, rules)
    baseline = content.get("baseline")
    if baseline is not None and not (isinstance(baseline, str) and baseline):
        raise InputError(f"{place}: baseline must be the folder of a run; got {baseline!r}.")
    return Rules(rules, None if baseline is None else path.parent / baseline)


def _check_names(place: str, rules: Sequence[Rule]) -> None:
    names = [rule.name for rule in rules]
    for name in names:
        if names.count(name) > 1:
            raise InputError(
                f"{place}: {names.count(name)} rules are called {printable(name)!r}. Give each "
                "its own name = "
            )


@dataclass(frozen=True)
class _Reader:
    """Reads one table of a file.

    Attributes:
        place: File and rule, as errors show them.
        table: The table.
        folder: Folder that paths are relative to.
    """

    place: str
    table: Mapping[str, Any]
    folder: Path

    def rule(self) -> Rule:
        self._refuse_unknown()
        is_parity = self._typed("parity", bool)
        if is_parity is not None:
            return self._parity_rule(is_parity)
        metric = self._typed("metric", str)
        if not metric:
            raise self._error('no metric: give for example metric = "top1_error"')
        minimum, maximum, is_change = self._limits(metric)
        allowed = COMPARED_KEYS if is_change else CONDITION_KEYS
        conditions = self._conditions(allowed, "; attacks and categories have only max and min")
        baseline = self._typed("baseline", str)
        if baseline is not None and not is_change:
            raise self._error("baseline is used by max_increase and max_decrease only; remove it")
        return Rule(
            self._typed("name", str) or _default_name(self.table),
            metric,
            conditions,
            minimum,
            maximum,
            is_change,
            None if baseline is None else self.folder / baseline,
            bool(self._typed("allow_partial", bool)),
        )

    def _parity_rule(self, is_parity: bool) -> Rule:
        if not is_parity:
            raise self._error("parity = false has no meaning; remove the rule")
        for key in (*LIMITS, *CHANGES, "metric", "baseline", "allow_partial"):
            if key in self.table:
                raise self._error(f"parity = true goes without {key}; give two rules")
        conditions = self._conditions(RUN_KEYS, " in a rule on parity")
        name = self._typed("name", str) or _default_name(self.table)
        return Rule(name, conditions=conditions, parity=True)

    def _refuse_unknown(self) -> None:
        known = (*OTHER_KEYS, *CONDITION_KEYS)
        for key in self.table:
            if key not in known:
                hint = did_you_mean(key, known, f"Expected {', '.join(known)}.")
                raise self._error(f"unknown key {printable(key)}", hint)

    def _limits(self, metric: str) -> tuple[float | None, float | None, bool]:
        """Smallest and largest value or change, and whether it is a change."""
        given = [key for key in (*LIMITS, *CHANGES) if key in self.table]
        if not given:
            raise self._error("no limit: give max, min, max_increase or max_decrease")
        is_change = given[0] in CHANGES
        if any((key in CHANGES) != is_change for key in given):
            raise self._error(f"{given[0]} and {given[-1]} limit different numbers; give two rules")
        limits = {key: self._limit(key, metric) for key in given}
        if is_change:
            decrease = limits.get("max_decrease")
            minimum, maximum = None if decrease is None else -decrease, limits.get("max_increase")
        else:
            minimum, maximum = limits.get("min"), limits.get("max")
        if minimum is not None and maximum is not None and maximum < minimum:
            raise self._error(f"no number is at least {minimum:g} and at most {maximum:g}")
        return minimum, maximum, is_change

    def _limit(self, key: str, metric: str) -> float:
        value = self._typed(key, float)
        assert value is not None
        try:
            limit = float(value)
        except OverflowError:  # TOML has whole numbers of any size
            limit = math.inf
        if not math.isfinite(limit):
            raise self._error(f"{key} must be a finite number; got {limit}")
        largest = LARGEST_NORMALIZED if metric in NORMALIZED else 1.0
        quantity = QUANTITIES.get(metric)
        if quantity is not None and quantity.unit == "%" and abs(limit) > largest:
            raise self._error(
                f"{key} = {limit:g}, but {metric} is a fraction: write {limit / 100:g} for "
                f"{limit:g} %"
            )
        return limit

    def _conditions(
        self, allowed: Mapping[str, type], elsewhere: str
    ) -> dict[str, tuple[Value, ...]]:
        conditions: dict[str, tuple[Value, ...]] = {}
        for key in (key for key in self.table if key in CONDITION_KEYS):
            if key not in allowed:
                raise self._error(f"{key} cannot be a condition{elsewhere}")
            given = self.table[key]
            values = given if isinstance(given, list) else [given]
            if not values:
                raise self._error(f"the list {key} is empty; remove it, or name a value")
            conditions[key] = tuple(self._value(key, allowed[key], value) for value in values)
        for name in conditions.get("benchmark", ()):
            if name not in BENCHMARK_INFO:
                expected = f"Expected {', '.join(BENCHMARK_INFO)}."
                hint = did_you_mean(str(name), BENCHMARK_INFO, expected)
                raise self._error(f"unknown benchmark {printable(str(name))}", hint)
            if name in ATTACKS and allowed is COMPARED_KEYS:
                raise self._error(f"{name} is an attack, and attacks have only max and min")
        return conditions

    def _value(self, key: str, kind: type, value: object) -> Value:
        if kind is float and isinstance(value, str):
            numerator, _, denominator = value.partition("/")
            try:
                value = float(numerator) / float(denominator or 1)
            except (ValueError, ZeroDivisionError):
                raise self._error(
                    f"{key} must be a number such as 0.01 or 8/255; got {value!r}"
                ) from None
        checked: Value = self._checked(key, kind, value)
        return checked

    def _typed(self, key: str, kind: type) -> Any:
        """A value of the table; `None` if it is not given."""
        return self._checked(key, kind, self.table[key]) if key in self.table else None

    def _checked(self, key: str, kind: type, value: object) -> Any:
        kinds = (int, float) if kind is float else (kind,)
        if type(value) not in kinds or value == "":
            raise self._error(f"{key} must be {_TYPE_NAMES[kind]}; got {_shown(value)}")
        return value

    def _error(self, fault: str, hint: str = "") -> InputError:
        return InputError(f"{self.place}: {fault}. {hint}".rstrip())


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return printable(repr(value) if isinstance(value, str) else str(value))


def _default_name(table: Mapping[str, Any]) -> str:
    """Name of a rule without one: what it selects and limits."""
    words = [_words(key, table[key]) for key in CONDITION_KEYS if key in table]
    limits = [f"{key} {table[key]}" for key in (*LIMITS, *CHANGES) if key in table]
    return " ".join([*words, "parity" if "parity" in table else table["metric"], *limits])


def _words(key: str, value: object) -> str:
    values = value if isinstance(value, list) else [value]
    text = ",".join(map(str, values))
    return text if key == "benchmark" else f"{key}={text}"


def near_metrics(metric: str, known: Iterable[str]) -> str:
    """The question whether another metric was meant; else all metrics that there are."""
    names = list(dict.fromkeys(known))
    return did_you_mean(metric, names, f"There are: {', '.join(names) or 'no numbers'}.")
