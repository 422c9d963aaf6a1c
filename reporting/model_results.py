"""Results of a model on every benchmark, their cells in tables, and notes on refused numbers."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from ..contracts import SCORE_KEYS, Score
from .footnotes import TableCell, marks_of
from .metric_info import quantity_of

NUMBERS_OF_SOURCE = ("source_accuracy", "source_clean_accuracy")
"""Metrics of the attacked model, which are in the rows of models that classify its images."""

NumberKey = tuple[str, str, Mapping[str, object]]
"""Benchmark, metric, and values of ``SCORE_KEYS``, which identify a number of a table."""


@dataclass(frozen=True)
class ModelResults:
    """One model on one engine, with its numbers on every benchmark.

    Attributes:
        name: Name in the tables, unique in a report.
        model: Name of the model in the zoo.
        scores: Scores of all its runs.
        marks: Marks of all its numbers.
        source_marks: Marks of the numbers of the attacked model, if its attacks are transferred.
    """

    name: str
    model: str
    scores: tuple[Score, ...]
    marks: str = ""
    source_marks: str = ""

    def find(self, benchmark: str, metric: str, **keys: object) -> Score | None:
        """The number of a metric that has these keys and no others.

        Of several that differ in their baseline, one that has a value; of these, the one by the
        published baseline.
        """
        expected = tuple(keys.get(key) for key in SCORE_KEYS)
        scores = (score for score in self.of(benchmark, metric) if keys_of(score) == expected)
        return min(
            scores, key=lambda s: (s.value is None, s.normalize_by is not None), default=None
        )

    def of(self, benchmark: str, metric: str | None = None) -> Iterator[Score]:
        """All numbers of a benchmark, or of one of its metrics."""
        for score in self.scores:
            if score.benchmark == benchmark and metric in (None, score.metric):
                yield score

    def cell(self, score: Score | None, *, interval: bool = True) -> TableCell:
        """Cell of one of the model's numbers; empty if ``score`` is ``None``."""
        if score is None:
            return TableCell()
        if score.value is None:
            return TableCell("refused")
        ends = (score.low, score.high) if interval else (None, None)
        if score.metric in NUMBERS_OF_SOURCE:  # computed by PyTorch, at the source's crop
            marks = marks_of(score, score.self_check) + self.source_marks
        else:
            statuses = (score.parity, score.self_check, score.adversarial_parity or "")
            marks = marks_of(score, *statuses) + self.marks
        return TableCell(quantity_of(score.metric).text(score.value, *ends), marks, score)

    def cells(self, numbers: Iterable[NumberKey], *, interval: bool = True) -> list[TableCell]:
        """Cells of some of the model's numbers; empty for those that it does not have."""
        return [self.cell(self.find(b, m, **keys), interval=interval) for b, m, keys in numbers]


@dataclass(frozen=True)
class ReportContents:
    """Models of a report.

    Attributes:
        models: Results of the user's models.
        published: Results of the paper's models, as published.
    """

    models: Sequence[ModelResults]
    published: Sequence[ModelResults]

    def with_number(self, benchmark: str, metric: str) -> list[ModelResults]:
        """The user's models that have a number of this metric, even a refused one."""
        return [results for results in self.models if any(results.of(benchmark, metric))]

    def published_with(self, benchmark: str, metric: str) -> list[ModelResults]:
        """The paper's models that have a number of this metric."""
        return [results for results in self.published if any(results.of(benchmark, metric))]


def keys_of(score: Score) -> tuple[object, ...]:
    """Values of ``SCORE_KEYS``, in their order."""
    return tuple(getattr(score, key) for key in SCORE_KEYS)


def refusals(models: Sequence[ModelResults], numbers: Iterable[NumberKey]) -> list[str]:
    """Notes on why numbers were refused, each reason of a model once.

    Args:
        models: Models whose numbers a table shows.
        numbers: Numbers that the table shows of each model.
    """
    reasons: dict[tuple[str, str], dict[str, None]] = {}
    for benchmark, metric, keys in numbers:
        for results in models:
            score = results.find(benchmark, metric, **keys)
            if score is not None and score.reason:
                title = quantity_of(metric).title
                reasons.setdefault((results.name, score.reason), {})[title] = None
    return [
        f"{name}: {', '.join(titles)} refused: {reason}"
        for (name, reason), titles in reasons.items()
    ]


def refused_conditions(scores: Iterable[Score], text: Callable[[Score], str]) -> list[str]:
    """Notes on why conditions have no number, each reason once.

    Args:
        scores: A number of each condition.
        text: Name of the condition of a number.
    """
    conditions: dict[str, list[str]] = {}
    for score in scores:
        if score.value is None and score.reason is not None:
            conditions.setdefault(score.reason, []).append(text(score))
    return [f"refused, {reason}: {', '.join(names)}" for reason, names in conditions.items()]
