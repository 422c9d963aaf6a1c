"""The tables of a report, as text in cells: what the terminal and Markdown both show.

A number that is not the whole published benchmark, or comes from generated data, never stands
without a mark that says so.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ...contracts import Score
from .marks import Cell, common_marks, legend, marks_of, percent
from .published import published_models, published_scores
from .table import Table

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

WILSON = ("top1_error", "top5_error")
WILSON_INTERVAL = "95 % Wilson interval"
MEAN_INTERVAL = "95 % interval over the images, the same ones in all cells"
CALIBRATION = (
    ("rms_calibration_error", "RMS calibration error %"),
    ("ece", "ECE %"),
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
    if calibrated := [entry for entry in entries if _find(entry, "imagenet", "ece")]:
        tables.append(calibration_table(calibrated))
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
            *legend(cell for _, cells in rows for cell in cells),
            *_intervals(
                column[1]
                for position, column in enumerate(columns)
                if any("[" in cells[position].text for _, cells in rows)
            ),
            *(DEFINITIONS[metric] for _, metric, _ in columns if metric in DEFINITIONS),
            *_refusals(entries),
        ),
    )


def calibration_table(entries: Sequence[Entry]) -> Table:
    """How far confidence is from accuracy on the clean images: one row a model."""
    rows = [
        (entry.name, [_cell(entry, _find(entry, "imagenet", metric)) for metric, _ in CALIBRATION])
        for entry in entries
    ]
    return Table(
        "Calibration on ImageNet validation",
        ("model", *(title for _, title in CALIBRATION)),
        tuple((name, *map(str, cells)) for name, cells in rows),
        (
            *legend(cell for _, cells in rows for cell in cells),
            "the probability of the likeliest class against how often it is right: root mean "
            "square over bins of 100 images, and (ECE) mean over 15 bins of equal width; of few "
            "images both are large by chance",
        ),
    )


def corruption_table(entries: Sequence[Entry], metric: str) -> Table:
    """``ce`` or ``relative_ce`` of each corruption, models side by side."""
    scores = (score for entry in entries for score in entry.scores)
    corruptions = dict.fromkeys(s.corruption for s in scores if s.metric == metric)
    columns = [
        [_cell(e, _ce(e, name, metric), interval=False) for name in corruptions] for e in entries
    ]
    shared = [common_marks(cells) for cells in columns]
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
        tuple(legend(cell for column in columns for cell in column)),
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
        last_cells = (_cell(entry, _ce(entry, corruption, m), interval=False) for m in last)
        rows[str(corruption)] = [*cells, *last_cells]
    everything = [cell for cells in rows.values() for cell in cells]
    shared = common_marks(everything)
    return Table(
        f"{entry.name}: {', '.join(('top-1 error by severity', *last.values()))}, in %"
        f"{' ' + shared if shared else ''}",
        ("corruption", *map(str, SEVERITIES), *last.values()),
        tuple((name, *(c.without(shared) for c in cells)) for name, cells in rows.items()),
        (*legend(everything), *_refused_cells(errors.values())),
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


def _cell(entry: Entry, score: Score | None, *, interval: bool = True) -> Cell:
    if score is None:
        return Cell()
    if score.value is None:
        return Cell("refused")
    ends = (score.low, score.high) if interval else (None, None)
    marks = marks_of(score, score.parity) + entry.marks
    return Cell(percent(score.value, *ends), marks, score)


def _intervals(metrics: Iterable[str]) -> list[str]:
    """What the intervals are of the columns that have one."""
    kinds = {metric in WILSON for metric in metrics}
    if not kinds:
        return []
    what = WILSON_INTERVAL if kinds == {True} else MEAN_INTERVAL
    if len(kinds) == 2:
        what = f"{MEAN_INTERVAL}; for top-1 and top-5 error: {WILSON_INTERVAL}"
    return [f"[low, high]: {what}"]


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


def _refused_cells(scores: Iterable[Score]) -> list[str]:
    """Which cells have no number, and why."""
    reasons: dict[str, list[str]] = {}
    for score in scores:
        if score.value is None and score.reason is not None:
            cell = f"{score.corruption} {score.severity} ({score.skipped:,} images)"
            reasons.setdefault(score.reason, []).append(cell)
    return [f"refused, {reason}: {', '.join(cells)}" for reason, cells in reasons.items()]


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
