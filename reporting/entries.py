"""A model with its numbers on every benchmark, and how one of them becomes a cell of a table."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from ..contracts import SCORE_KEYS, Score
from .footnotes import TableCell, marks_of
from .metric_info import quantity_of

NUMBERS_OF_SOURCE = ("source_accuracy", "source_clean_accuracy")
"""The numbers in a model's row that are of another one, on which its attack was made."""

Number = tuple[str, str, Mapping[str, object]]
"""Benchmark, metric, and which of the metric's numbers."""


@dataclass(frozen=True)
class ModelResults:
    """One model on one engine, with its numbers on every benchmark.

    Attributes:
        name: What the tables call it, unique in a report.
        model: Its name in the zoo.
        scores: Of all its runs.
        marks: That hold for all its numbers.
        source_marks: The same of the model that an attack on it was made on.
    """

    name: str
    model: str
    scores: tuple[Score, ...]
    marks: str = ""
    source_marks: str = ""

    def find(self, benchmark: str, metric: str, **keys: object) -> Score | None:
        """The number of a metric that has these keys and no others.

        Of a number by several baselines it is the one that has a value, and of these the one by
        the published baseline.
        """
        expected = tuple(keys.get(key) for key in SCORE_KEYS)
        found = [
            score
            for score in self.scores
            if (score.benchmark, score.metric) == (benchmark, metric) and keys_of(score) == expected
        ]
        return min(found, key=lambda s: (s.value is None, s.normalize_by is not None), default=None)

    def of(self, benchmark: str, metric: str | None = None) -> Iterator[Score]:
        """All numbers of a benchmark, or of one of its metrics."""
        for score in self.scores:
            if score.benchmark == benchmark and metric in (None, score.metric):
                yield score

    def cell(self, score: Score | None, *, interval: bool = True) -> TableCell:
        """One of its numbers as it is shown; empty where there is none."""
        if score is None:
            return TableCell()
        if score.value is None:
            return TableCell("refused")
        ends = (score.low, score.high) if interval else (None, None)
        if score.metric in NUMBERS_OF_SOURCE:  # which PyTorch computed, at its own crop
            marks = marks_of(score) + self.source_marks
        else:
            marks = marks_of(score, score.parity, score.adversarial_parity or "") + self.marks
        return TableCell(quantity_of(score.metric).text(score.value, *ends), marks, score)


@dataclass(frozen=True)
class ReportContents:
    """What a report is of.

    Attributes:
        entries: The user's models.
        published: Models of the paper, with the numbers that it has of them.
    """

    entries: Sequence[ModelResults]
    published: Sequence[ModelResults]

    def with_number(self, benchmark: str, metric: str) -> list[ModelResults]:
        """Which of the user's models have a row of such a number, be it refused."""
        return [entry for entry in self.entries if any(entry.of(benchmark, metric))]

    def published_with(self, benchmark: str, metric: str) -> list[ModelResults]:
        """Which of the paper's have one."""
        return [entry for entry in self.published if any(entry.of(benchmark, metric))]


def keys_of(score: Score) -> tuple[object, ...]:
    """What tells a number apart from the others of its metric, in the order of ``SCORE_KEYS``."""
    return tuple(getattr(score, key) for key in SCORE_KEYS)


def refusals(entries: Sequence[ModelResults], numbers: Iterable[Number]) -> list[str]:
    """Why numbers were refused, each reason of a model once.

    Args:
        entries: The models.
        numbers: Benchmark, metric and keys of what is shown of each.
    """
    reasons: dict[tuple[str, str], dict[str, None]] = {}
    for benchmark, metric, keys in numbers:
        for entry in entries:
            score = entry.find(benchmark, metric, **keys)
            if score is not None and score.reason:
                title = quantity_of(metric).title
                reasons.setdefault((entry.name, score.reason), {})[title] = None
    return [
        f"{name}: {', '.join(refused)} refused: {reason}"
        for (name, reason), refused in reasons.items()
    ]
