"""Numbers of a benchmark; a score of one model, and a difference of two on the same images."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

SCORE_KEYS = (
    *("corruption", "perturbation", "severity", "rule", "stimuli", "category"),
    *("epsilon", "steps", "source_model"),
)
"""Fields of a `Score` that tell the numbers of one metric apart, in the order of a report."""


@dataclass(frozen=True)
class Number:
    """A number of one model or of two, or the reason why it is refused; nothing of their runs.

    Attributes:
        fields: Other fields of its `Score` or `Difference`: its metric, keys and counts.
        values: Value of each model; empty if it is refused.
        interval: Interval of the value, or of the second model's less the first's; `None` if there
            is none.
    """

    fields: Mapping[str, Any]
    values: Sequence[float] = ()
    interval: tuple[float, float] | None = None

    @property
    def reason(self) -> str | None:
        """Why it is refused; `None` if it is not."""
        reason: str | None = self.fields.get("reason")
        return reason

    def score(self, **facts: Any) -> "Score":
        """The number of one model, with the facts of its run."""
        (value,) = self.values or (None,)
        low, high = self.interval or (None, None)
        return Score(**{**self.fields, **facts}, value=value, low=low, high=high)

    def difference(self, **facts: Any) -> "Difference":
        """The number of two models, with the facts of their runs."""
        low, high = self.interval or (None, None)
        difference = Difference(**{**self.fields, **facts}, low=low, high=high)
        if not self.values:
            return difference
        a, b = self.values
        return replace(difference, a=a, b=b, difference=b - a)


@dataclass(frozen=True)
class Score:
    """One number, with everything that says what it is; a row of the report's JSON.

    The first block says which run it came from, the second which condition, the third the number.
    ``value`` is `None` if the number is refused, and ``reason`` says why. Rates are fractions.
    """

    run: str = ""
    model: str = ""
    weights: str = ""
    engine: str = ""
    devices: tuple[str, ...] = ()
    precision: str = ""
    crop_px: int = 0
    benchmark: str = ""

    metric: str = ""
    corruption: str | None = None
    perturbation: str | None = None
    severity: int | None = None
    epsilon: float | None = None
    steps: int | None = None
    restarts: int | None = None
    step_size: float | None = None
    relative_epsilon: bool | None = None
    source: str | None = None
    source_model: str | None = None
    protocol: str | None = None
    attack_protocol: str | None = None
    handed_image: str | None = None
    rule: str | None = None
    stimuli: int | None = None
    category: str | None = None
    normalize_by: str | None = None

    value: float | None = None
    low: float | None = None
    high: float | None = None
    n: int = 0
    skipped: int = 0
    complete: bool = False
    generated: bool = False
    simulated: bool = False
    parity: str = ""
    adversarial_parity: str | None = None
    self_check: str = ""
    reason: str | None = None


@dataclass(frozen=True)
class Difference:
    """One number of two models, A and B, on the same images; a row of a comparison's JSON.

    Attributes:
        benchmark: Benchmark that the number belongs to.
        metric: Metric, by its name in a report.
        corruption: Corruption that the number is of; `None` if it is of none or of several.
        perturbation: Perturbation, likewise.
        severity: Severity, likewise.
        rule: Rule that decides for a category; `None` if the benchmark has no such rules.
        stimuli: Number of stimuli in the set; `None` if the benchmark has only one set.
        a: A's value over the images that both scored; rates are fractions.
        b: B's value, likewise.
        difference: b - a; `None` if it is refused.
        low: Lower end of its 95 % interval, which is paired: the images are the same.
        high: Upper end of the interval.
        only_a_right: Number of images that only A classifies right; `None` if the number is not of
            one condition.
        only_b_right: Number of images that only B classifies right, likewise.
        n: Number of images in each condition.
        skipped: Number of images, over all conditions, that A or B or both skipped; they count for
            neither.
        complete: Whether it covers the whole published benchmark.
        generated: Whether the data were generated.
        reason: Why it is refused; `None` if it is not.
    """

    benchmark: str = ""
    metric: str = ""
    corruption: str | None = None
    perturbation: str | None = None
    severity: int | None = None
    rule: str | None = None
    stimuli: int | None = None
    a: float | None = None
    b: float | None = None
    difference: float | None = None
    low: float | None = None
    high: float | None = None
    only_a_right: int | None = None
    only_b_right: int | None = None
    n: int = 0
    skipped: int = 0
    complete: bool = False
    generated: bool = False
    reason: str | None = None
