"""The tables of a report, as text in cells: what the terminal and Markdown both show.

A number that is not the whole published benchmark, or comes from generated data, never stands
without a mark that says so. Where all numbers of a column have the same marks they stand in its
header, where all of a table have them in its title.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ...contracts import PASSED_AGAINST_ONNX, Score
from .published import published_models, published_scores

MARKS = {
    "*": "not the whole benchmark",
    "+": "generated data, not the published benchmark; how they deviate: docs/protocols.md",
    "!": "the engine's parity is not proved",
    "~": "images were skipped",
    "^": "another crop than the model was trained with",
    "#": "the model exists only as ONNX: the reference is ONNX Runtime, not PyTorch",
}

SUMMARY_COLUMNS = (
    ("imagenet", "top1_error", "top-1 error %"),
    ("imagenet", "top5_error", "top-5 error %"),
    ("imagenet-c", "mean_error", "mean error %"),
    ("imagenet-c", "mce", "mCE %"),
    ("imagenet-c", "relative_mce", "relative mCE %"),
)
SEVERITIES = (1, 2, 3, 4, 5)

DEFINITIONS = {
    "mean_error": "mean error: top-1 error, mean over the 75 cells of ImageNet-C",
    "mce": "CE of a corruption: top-1 error, summed over its severities, as a fraction of "
    "AlexNet's; mCE: mean of the 15",
    "relative_mce": "relative CE: the same of what the errors exceed the clean error by (AlexNet's "
    "clean error, 43.5 %, is a fit to results of arXiv 1907.07640); relative mCE: mean of the 15",
}
"""Below the first table, by the column that needs it. The formulas: docs/protocols.md."""

INTERVAL = "[low, high]: 95 % Wilson interval"


@dataclass(frozen=True)
class Entry:
    """One model on one engine, with its numbers on every benchmark.

    Attributes:
        name: What the tables call it, unique in a report.
        model: Its name in the zoo.
        scores: Of all its runs.
        marks: That hold for all its numbers.
    """

    name: str
    model: str
    scores: tuple[Score, ...]
    marks: str = ""


@dataclass(frozen=True)
class Table:
    """Text in cells.

    Attributes:
        title: Above the table.
        header: One for each column.
        rows: Each as long as the header.
        notes: Below the table.
        words: The columns that hold words; the others hold numbers.
    """

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()
    words: tuple[int, ...] = (0,)


@dataclass(frozen=True)
class _Cell:
    """A number and what must be said of it; empty where there is none."""

    text: str = ""
    marks: str = ""
    score: Score | None = None

    def __str__(self) -> str:
        return self.text + self.marks

    def without(self, marks: str) -> str:
        return self.text if self.marks == marks else str(self)


def report_tables(
    entries: Sequence[Entry], *, all_published: bool = False, left_out: Sequence[str] = ()
) -> list[Table]:
    """All tables of a report.

    Args:
        entries: The user's models.
        all_published: Show all the paper's models, not only those that are among the entries.
        left_out: What was found and is in no table, a line each.
    """
    names = {entry.model for entry in entries}
    beside = [model for model in published_models() if all_published or model in names]
    published = [
        Entry(f"{model}, as published", model, tuple(published_scores(model))) for model in beside
    ]
    tables = [summary_table(entries, published)] if entries or published else []
    corrupted = [entry for entry in entries if _has(entry, "ce")]
    for metric in _CE_TITLES:
        known = [entry for entry in corrupted if _has(entry, metric)]
        if known and len(known) + len(published) > 1:
            tables.append(corruption_table([*known, *published], metric))
    return [
        *tables,
        *(severity_table(entry) for entry in corrupted),
        provenance_table(entries, left_out),
    ]


def summary_table(entries: Sequence[Entry], published: Sequence[Entry]) -> Table:
    """One row a model, the user's first."""
    shown = entries or published
    columns = [column for column in SUMMARY_COLUMNS if any(_find(e, *column[:2]) for e in shown)]
    rows = [
        (entry.name, [_cell(entry, _find(entry, benchmark, m)) for benchmark, m, _ in columns])
        for entry in (*entries, *published)
    ]
    return Table(
        "Robustness",
        ("model", *(title for _, _, title in columns)),
        tuple((name, *map(str, cells)) for name, cells in rows),
        (
            *_legend(cell for _, cells in rows for cell in cells),
            *([INTERVAL] if any("[" in cell.text for _, cells in rows for cell in cells) else []),
            *(DEFINITIONS[metric] for _, metric, _ in columns if metric in DEFINITIONS),
            *_refusals(entries),
        ),
    )


def corruption_table(entries: Sequence[Entry], metric: str) -> Table:
    """``ce`` or ``relative_ce`` of each corruption, models side by side."""
    scores = (score for entry in entries for score in entry.scores)
    corruptions = dict.fromkeys(s.corruption for s in scores if s.metric == metric)
    columns = [[_cell(e, _ce(e, name, metric)) for name in corruptions] for e in entries]
    shared = [_common_marks(cells) for cells in columns]
    rows = []
    for position, corruption in enumerate(corruptions):
        cells = [
            column[position].without(marks) for column, marks in zip(columns, shared, strict=True)
        ]
        rows.append((str(corruption), *cells))
    header = (entry.name + marks for entry, marks in zip(entries, shared, strict=True))
    return Table(
        _CE_TITLES[metric],
        ("corruption", *header),
        tuple(rows),
        tuple(_legend(cell for column in columns for cell in column)),
    )


_CE_TITLES = {
    "ce": "Corruption error, CE % (AlexNet = 100)",
    "relative_ce": "Relative corruption error, relative CE % (AlexNet = 100)",
}


def severity_table(entry: Entry) -> Table:
    """Top-1 error of each corruption at each severity, its CE, and its relative CE if known."""
    errors = {
        (score.corruption, score.severity): score
        for score in entry.scores
        if score.metric == "top1_error" and score.severity is not None
    }
    last = {m: t for m, t in (("ce", "CE"), ("relative_ce", "relative CE")) if _has(entry, m)}
    rows = {}
    for corruption in dict.fromkeys(corruption for corruption, _ in errors):
        cells = [_cell(entry, errors.get((corruption, s)), interval=False) for s in SEVERITIES]
        rows[str(corruption)] = [*cells, *(_cell(entry, _ce(entry, corruption, m)) for m in last)]
    everything = [cell for cells in rows.values() for cell in cells]
    shared = _common_marks(everything)
    return Table(
        f"{entry.name}: {', '.join(('top-1 error by severity', *last.values()))}, in %"
        f"{' ' + shared if shared else ''}",
        ("corruption", *map(str, SEVERITIES), *last.values()),
        tuple((name, *(c.without(shared) for c in cells)) for name, cells in rows.items()),
        tuple(_legend(everything)),
    )


def provenance_table(entries: Sequence[Entry], left_out: Sequence[str] = ()) -> Table:
    """What ran: one row a run; below it, what was found and left out."""
    rows: dict[str, tuple[str, str]] = {}
    for score in (score for entry in entries for score in entry.scores):
        images = max(s.n for e in entries for s in e.scores if s.run == score.run)
        rows[score.run] = (
            score.run,
            f"{score.benchmark}{' (generated)' if score.generated else ''}, {score.model} "
            f"({score.weights}), {score.crop_px} px, {score.engine} {score.precision} on "
            f"{' and '.join(score.devices)}, parity {score.parity}, "
            f"{images:,} images a condition",
        )
    return Table("What ran", ("run", "what"), tuple(rows.values()), tuple(left_out), words=(0, 1))


def marks_of(score: Score) -> str:
    """What must be said of a number wherever it is shown."""
    marks = "" if score.complete else "*"
    marks += "+" if score.generated else ""
    marks += "" if score.parity in ("passed", "reference", PASSED_AGAINST_ONNX, "") else "!"
    marks += "#" if PASSED_AGAINST_ONNX in score.parity else ""
    return marks + ("~" if score.skipped else "")


def _cell(entry: Entry, score: Score | None, *, interval: bool = True) -> _Cell:
    if score is None:
        return _Cell()
    if score.value is None:
        return _Cell("refused")
    text = f"{100 * score.value:.1f}"
    if interval and score.low is not None and score.high is not None:
        text += f" [{100 * score.low:.1f}, {100 * score.high:.1f}]"
    return _Cell(text, marks_of(score) + entry.marks, score)


def _common_marks(cells: Iterable[_Cell]) -> str:
    """The marks that all numbers have, or none."""
    found = {cell.marks for cell in cells if cell.score is not None}
    return found.pop() if len(found) == 1 else ""


def _legend(cells: Iterable[_Cell]) -> list[str]:
    """What the marks that were used mean, with the numbers behind them."""
    numbers = [(cell.marks, cell.score) for cell in cells if cell.score is not None]
    used = {mark for marks, _ in numbers for mark in marks}
    details = {
        "*": f": {_span({s.n for _, s in numbers if not s.complete})} of 50,000 images a condition",
        "~": f": up to {max((s.skipped for _, s in numbers), default=0):,}",
    }
    return [
        f"{mark} {meaning}{details.get(mark, '')}"
        for mark, meaning in MARKS.items()
        if mark in used
    ]


def _span(counts: Iterable[int]) -> str:
    ordered = sorted(counts) or [0]
    ends = dict.fromkeys((ordered[0], ordered[-1]))
    return " to ".join(f"{count:,}" for count in ends)


def _refusals(entries: Sequence[Entry]) -> list[str]:
    """Why numbers were refused, each reason once."""
    titles = {column[:2]: column[2].removesuffix(" %") for column in SUMMARY_COLUMNS}
    reasons: dict[tuple[str, str], list[str]] = {}
    for entry in entries:
        for score in entry.scores:
            title = titles.get((score.benchmark, score.metric))
            if score.reason and title:
                reasons.setdefault((entry.name, score.reason), []).append(title)
    return [
        f"{name}: {', '.join(refused)} refused: {reason}"
        for (name, reason), refused in reasons.items()
    ]


def _has(entry: Entry, metric: str) -> bool:
    return any(score.metric == metric for score in entry.scores)


def _find(entry: Entry, benchmark: str, metric: str) -> Score | None:
    for score in entry.scores:
        if (score.benchmark, score.metric, score.severity) == (benchmark, metric, None):
            return score
    return None


def _ce(entry: Entry, corruption: str | None, metric: str) -> Score | None:
    for score in entry.scores:
        if score.metric == metric and score.corruption == corruption:
            return score
    return None
