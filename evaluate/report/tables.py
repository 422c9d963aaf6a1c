"""The tables of a report, as text in cells: what the terminal and Markdown both show.

Every number carries its marks: a number that is not the whole published benchmark, or comes from
generated data, never stands without saying so.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ...contracts import Score
from .published import published_models, published_scores

MARKS = {
    "*": "not the whole benchmark",
    "+": "generated data, not the published benchmark",
    "!": "the engine's parity was not proved",
    "~": "images were skipped",
    "^": "another crop than the model was trained with",
}

SUMMARY_COLUMNS = (
    ("imagenet", "top1_error", "top-1 error %"),
    ("imagenet", "top5_error", "top-5 error %"),
    ("imagenet-c", "mean_error", "mean error on C %"),
    ("imagenet-c", "mce", "mCE %"),
    ("imagenet-c", "relative_mce", "relative mCE %"),
)


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
    """

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()


def report_tables(entries: Sequence[Entry], *, all_published: bool = False) -> list[Table]:
    """All tables of a report.

    Args:
        entries: The user's models.
        all_published: Show all the paper's models, not only those that are among the entries.
    """
    tables = [summary_table(entries, all_published=all_published)]
    with_corruptions = [e for e in entries if any(s.metric == "ce" for s in e.scores)]
    if with_corruptions:
        tables.append(corruption_table(with_corruptions))
    tables += [
        severity_table(entry)
        for entry in entries
        if any(score.severity is not None for score in entry.scores)
    ]
    return tables


def summary_table(entries: Sequence[Entry], *, all_published: bool = False) -> Table:
    """One row a model; the paper's own numbers in a row below its models."""
    columns = [c for c in SUMMARY_COLUMNS if any(_find(e.scores, *c[:2]) for e in entries)]
    rows, shown = [], []
    for entry in entries:
        scores = [_find(entry.scores, benchmark, metric) for benchmark, metric, _ in columns]
        shown += [(entry, score) for score in scores if score is not None]
        rows.append((entry.name, *(_cell(score, entry.marks) for score in scores)))
    for model in _published_beside(entries, all_published):
        published = tuple(published_scores(model))
        found = [_find(published, benchmark, metric) for benchmark, metric, _ in columns]
        rows.append((f"  {model}, as published", *(_cell(score) for score in found)))
    return Table(
        "Robustness",
        ("model", *(title for _, _, title in columns)),
        tuple(rows),
        (*_legend(shown), *_refusals(entries)),
    )


def corruption_table(entries: Sequence[Entry]) -> Table:
    """CE of each corruption, models side by side, the paper's beside its models."""
    columns: list[tuple[str, Entry]] = []
    for entry in entries:
        columns.append((entry.name, entry))
        published = tuple(published_scores(entry.model))
        if published:
            columns.append((f"{entry.model}, as published", Entry("", entry.model, published)))
    corruptions = list(
        dict.fromkeys(s.corruption for _, e in columns for s in e.scores if s.metric == "ce")
    )
    shown, rows = [], []
    for corruption in corruptions:
        found = [
            (entry, next((s for s in entry.scores if _is_ce(s, corruption)), None))
            for _, entry in columns
        ]
        shown += [(entry, score) for entry, score in found if score is not None]
        rows.append((str(corruption), *(_cell(score, entry.marks) for entry, score in found)))
    return Table(
        "Corruption error (CE %, AlexNet = 100)",
        ("corruption", *(name for name, _ in columns)),
        tuple(rows),
        tuple(_legend(shown)),
    )


def severity_table(entry: Entry) -> Table:
    """Top-1 error of each corruption at each severity."""
    cells = {
        (score.corruption, score.severity): score
        for score in entry.scores
        if score.metric == "top1_error" and score.severity is not None
    }
    severities = (1, 2, 3, 4, 5)
    rows = tuple(
        (str(corruption), *(_cell(cells.get((corruption, s)), entry.marks, short=True)
                            for s in severities))
        for corruption in dict.fromkeys(corruption for corruption, _ in cells)
    )
    return Table(
        f"Top-1 error by severity (%): {entry.name}",
        ("corruption", *(str(severity) for severity in severities)),
        rows,
        tuple(_legend([(entry, score) for score in cells.values()])),
    )


def marks_of(score: Score) -> str:
    """What must be said of a number wherever it is shown."""
    marks = "" if score.complete else "*"
    marks += "+" if score.generated else ""
    marks += "" if score.parity in ("passed", "reference", "") else "!"
    return marks + ("~" if score.skipped else "")


def _cell(score: Score | None, more: str = "", *, short: bool = False) -> str:
    if score is None:
        return ""
    if score.value is None:
        return "refused"
    text = f"{100 * score.value:.1f}"
    if score.low is not None and score.high is not None and not short:
        text += f" [{100 * score.low:.1f}, {100 * score.high:.1f}]"
    return text + marks_of(score) + more


def _legend(shown: Iterable[tuple[Entry, Score]]) -> list[str]:
    """What the marks that were used mean, with the numbers behind them."""
    pairs = [(entry, score) for entry, score in shown if score.value is not None]
    used = {mark for entry, score in pairs for mark in marks_of(score) + entry.marks}
    notes = []
    for mark, meaning in MARKS.items():
        if mark not in used:
            continue
        detail = ""
        if mark == "*":
            counts = sorted({score.n for _, score in pairs if not score.complete})
            detail = f": {_span(counts)} of 50,000 images a condition"
        if mark == "~":
            detail = f": {max(score.skipped for _, score in pairs)} at most"
        notes.append(f"{mark} {meaning}{detail}")
    return notes


def _span(counts: Sequence[int]) -> str:
    if len(counts) == 1:
        return f"{counts[0]:,}"
    return f"{counts[0]:,} to {counts[-1]:,}"


def _refusals(entries: Sequence[Entry]) -> list[str]:
    """Why numbers were refused, each reason once."""
    wanted = {(benchmark, metric) for benchmark, metric, _ in SUMMARY_COLUMNS}
    reasons: dict[str, list[str]] = {}
    for entry in entries:
        for score in entry.scores:
            if score.reason and (score.benchmark, score.metric) in wanted:
                reasons.setdefault(f"{entry.name}: {score.reason}", []).append(score.metric)
    return [
        f"{reason.partition(': ')[0]}: {', '.join(metrics)} refused: {reason.partition(': ')[2]}"
        for reason, metrics in reasons.items()
    ]


def _published_beside(entries: Sequence[Entry], all_published: bool) -> list[str]:
    names = {entry.model for entry in entries}
    return [model for model in published_models() if all_published or model in names]


def _find(scores: Iterable[Score], benchmark: str, metric: str) -> Score | None:
    for score in scores:
        if (score.benchmark, score.metric, score.severity) == (benchmark, metric, None):
            return score
    return None


def _is_ce(score: Score, corruption: str | None) -> bool:
    return score.metric == "ce" and score.corruption == corruption
