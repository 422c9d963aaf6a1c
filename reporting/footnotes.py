"""Cells of tables: the text of a number, and marks that footnotes explain.

If all numbers of a column have the same marks, these are in its header; if all numbers of a table
do, in its title.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ..contracts import BENCHMARK_INFO, PASSED_AGAINST_ONNX, Difference, Score

MARKS = {
    "*": "not the whole benchmark",
    "+": "generated data, not the published benchmark; how they deviate: docs/protocols.md",
    "!": "the engine's parity is not proved, or its reference did not pass the self-check",
    "~": "what was skipped is left out of the number",
    "^": "another crop than the model was trained with",
    "@": "images are prepared as a description says, not as published with the weights",
    "#": "the model exists only as ONNX: the reference is ONNX Runtime, not PyTorch",
}

PROVED = ("passed", "reference", PASSED_AGAINST_ONNX, "")
"""Statuses of parity and of self-checks that need no mark."""


@dataclass(frozen=True)
class TableCell:
    """Cell of a table: a number with its marks; empty if there is no number.

    Attributes:
        text: The number as text.
        marks: Marks of the number: keys of ``MARKS``.
        number: Score or difference; ``None`` if it is copied from a printed table.
    """

    text: str = ""
    marks: str = ""
    number: Score | Difference | None = None

    def __str__(self) -> str:
        return self.text + self.marks

    def without(self, marks: str) -> str:
        """The text, without its marks if they equal those in the header or title."""
        return self.text if self.marks == marks else str(self)


def marks_of(number: Score | Difference, *statuses: str) -> str:
    """Marks of a number.

    Args:
        number: Score or difference to mark.
        statuses: Parity of each engine that computed it, and self-checks of their references.
    """
    marks = "" if number.complete else "*"
    marks += "+" if number.generated else ""
    marks += "" if all(status in PROVED for status in statuses) else "!"
    marks += "#" if any(PASSED_AGAINST_ONNX in status for status in statuses) else ""
    return marks + ("~" if number.skipped else "")


def common_marks(cells: Iterable[TableCell]) -> str:
    """Marks that all numbers share; empty if they differ."""
    marks = {cell.marks for cell in cells if cell.number is not None}
    return marks.pop() if len(marks) == 1 else ""


def united_marks(marks: Iterable[str]) -> str:
    """All marks that occur in any of these, each once."""
    occurring = set().union(*marks)
    return "".join(mark for mark in MARKS if mark in occurring)


def legend(cells: Iterable[TableCell]) -> list[str]:
    """What the marks of these cells mean, with the counts behind them."""
    numbers = [(cell.marks, cell.number) for cell in cells if cell.number is not None]
    used = {mark for marks, _ in numbers for mark in marks}
    details = {
        "*": f": {_parts_of_benchmarks([s for _, s in numbers if not s.complete])}",
        "~": f": up to {_most_skipped([s for _, s in numbers if s.skipped])}",
    }
    return [
        f"{mark} {meaning}{details.get(mark, '')}"
        for mark, meaning in MARKS.items()
        if mark in used
    ]


def counted(count: str, number: Score | Difference) -> str:
    """A count with the noun of its benchmark's items, per condition if there are several."""
    info = BENCHMARK_INFO[number.benchmark]
    return f"{count} {info.noun}{' a condition' if info.conditions > 1 else ''}"


def _parts_of_benchmarks(numbers: Iterable[Score | Difference]) -> str:
    """Numbers of items, out of those of the benchmarks; benchmarks of one size share a part.

    A benchmark with conditions comes last and sets the noun: ImageNet, then ImageNet-C.
    """
    counts: dict[str, set[int]] = {}
    wholes: dict[str, str] = {}
    for number in sorted(numbers, key=lambda n: BENCHMARK_INFO[n.benchmark].conditions):
        whole = number.stimuli or BENCHMARK_INFO[number.benchmark].published_items
        # A white-box attack may be of more than the paper's photos, and some of them be skipped.
        part = f"{'of' if number.n <= whole else 'instead of'} {whole:,}"
        size = f"{part} {BENCHMARK_INFO[number.benchmark].noun}"
        counts.setdefault(size, set()).add(number.n)
        wholes[size] = counted(part, number)
    return "; ".join(f"{_range_text(parts)} {wholes[size]}" for size, parts in counts.items())


def _most_skipped(numbers: Sequence[Score | Difference]) -> str:
    """The largest count of skipped items, with their noun."""
    count = max((number.skipped for number in numbers), default=0)
    nouns = {BENCHMARK_INFO[number.benchmark].noun for number in numbers}
    return f"{count:,} of the {' or '.join(sorted(nouns))}"


def percent(value: float, low: float | None, high: float | None, *, sign: str = "") -> str:
    """A fraction in %, with its interval if there is one.

    Example:
        >>> percent(0.1, 0.0279, 0.301), percent(-0.02, None, None, sign="+")
        ('10.0 [2.8, 30.1]', '-2.0')
    """
    return interval_text(value, low, high, f"{sign}.1f", scale=100)


def interval_text(
    value: float, low: float | None, high: float | None, form: str, scale: float = 1
) -> str:
    """A number, scaled and formatted, with its interval if there is one."""
    text = f"{scale * value:{form}}"
    if low is not None and high is not None:
        text += f" [{scale * low:{form}}, {scale * high:{form}}]"
    return text


def _range_text(counts: Iterable[int]) -> str:
    ordered = sorted(counts) or [0]
    ends = dict.fromkeys((ordered[0], ordered[-1]))
    return " to ".join(f"{count:,}" for count in ends)
