"""A number as it is shown: its text, and the marks without which it never stands.

Where all numbers of a column have the same marks they stand in its header, where all of a table
have them in its title.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ..contracts import BENCHMARK_INFO, PASSED_AGAINST_ONNX, Difference, Score

MARKS = {
    "*": "not the whole benchmark",
    "+": "generated data, not the published benchmark; how they deviate: docs/protocols.md",
    "!": "the engine's parity is not proved",
    "~": "what was skipped is left out of the number",
    "^": "another crop than the model was trained with",
    "#": "the model exists only as ONNX: the reference is ONNX Runtime, not PyTorch",
}

_PROVED = ("passed", "reference", PASSED_AGAINST_ONNX, "")


@dataclass(frozen=True)
class TableCell:
    """A number and what must be said of it; empty where there is none."""

    text: str = ""
    marks: str = ""
    of: Score | Difference | None = None

    def __str__(self) -> str:
        return self.text + self.marks

    def without(self, marks: str) -> str:
        """Its text where these marks, and no others, stand elsewhere."""
        return self.text if self.marks == marks else str(self)


def marks_of(of: Score | Difference, *parities: str) -> str:
    """What must be said of a number wherever it is shown.

    Args:
        of: The number.
        parities: Of all engines that it comes from.
    """
    marks = "" if of.complete else "*"
    marks += "+" if of.generated else ""
    marks += "" if all(parity in _PROVED for parity in parities) else "!"
    marks += "#" if any(PASSED_AGAINST_ONNX in parity for parity in parities) else ""
    return marks + ("~" if of.skipped else "")


def common_marks(cells: Iterable[TableCell]) -> str:
    """The marks that all numbers have, or none."""
    found = {cell.marks for cell in cells if cell.of is not None}
    return found.pop() if len(found) == 1 else ""


def legend(cells: Iterable[TableCell]) -> list[str]:
    """What the marks that were used mean, with the numbers behind them."""
    numbers = [(cell.marks, cell.of) for cell in cells if cell.of is not None]
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


def counted(count: str, of: Score | Difference) -> str:
    """So many of what a benchmark holds, in each of its conditions if it has several."""
    info = BENCHMARK_INFO[of.benchmark]
    return f"{count} {info.noun}{' a condition' if info.conditions > 1 else ''}"


def _parts_of_benchmarks(numbers: Iterable[Score | Difference]) -> str:
    """How many items of how many the numbers are of; benchmarks of the same size are told as one.

    Of these the one with conditions comes last and has the word: ImageNet, then ImageNet-C.
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
    return "; ".join(f"{_span(found)} {wholes[size]}" for size, found in counts.items())


def _most_skipped(numbers: Sequence[Score | Difference]) -> str:
    """The largest count, and of what."""
    most = max((number.skipped for number in numbers), default=0)
    nouns = {BENCHMARK_INFO[number.benchmark].noun for number in numbers}
    return f"{most:,} of the {' or '.join(sorted(nouns))}"


def percent(value: float, low: float | None, high: float | None, *, sign: str = "") -> str:
    """A fraction in %, with its interval if there is one.

    Example:
        >>> percent(0.1, 0.0279, 0.301), percent(-0.02, None, None, sign="+")
        ('10.0 [2.8, 30.1]', '-2.0')
    """
    text = f"{100 * value:{sign}.1f}"
    if low is not None and high is not None:
        text += f" [{100 * low:{sign}.1f}, {100 * high:{sign}.1f}]"
    return text


def _span(counts: Iterable[int]) -> str:
    ordered = sorted(counts) or [0]
    ends = dict.fromkeys((ordered[0], ordered[-1]))
    return " to ".join(f"{count:,}" for count in ends)
