"""Tables of the report as the page shows them: cells that open provenance, shades, CSV."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import quote

from ...contracts import Difference, Score, epsilon_text
from ..csv_files import csv_of, slug
from ..footnotes import MARKS, counted
from ..metric_info import quantity_of
from ..model_results import ModelResults
from ..published.comparators import WHY_NOT_COMPARABLE
from ..table import Table

PUBLISHED_ID = "published"
"""Id of the panel on published numbers."""

PRINTED = ", as printed"

RUNS = "What ran"
"""Title of the table of runs, whose first column has their folders."""


@dataclass(frozen=True)
class CellView:
    """A cell.

    Attributes:
        text: Text of the cell.
        panel: Id of the panel that it opens; empty if there is none.
        what: Description of the number; empty for words.
        shade: Strength of the cell's colour in a heat map, 0 to 1; ``None`` in other tables.
        model: Index of the model that the cell is about; ``None`` if it is about several or none.
        why: Why the row cannot be compared directly; empty if it can.
    """

    text: str
    panel: str = ""
    what: str = ""
    shade: float | None = None
    model: int | None = None
    why: str = ""


@dataclass(frozen=True)
class TableView:
    """A table.

    Attributes:
        title: Title of the table.
        id: Id in the page.
        header: Headers and the index of the model that each column is about.
        rows: Cells of each row, with the index of the model that the row is about.
        words: Indices of the columns that contain words.
        notes: Notes that are always shown: marks and intervals.
        folded: Notes that are folded.
        csv: Address of the table as CSV, with its content.
        file: Name of the CSV file.
        model: Index of the model that the table is about; ``None`` if it is about several.
    """

    title: str
    id: str
    header: tuple[tuple[str, int | None], ...]
    rows: tuple[tuple[int | None, tuple[CellView, ...]], ...]
    words: tuple[int, ...]
    notes: tuple[str, ...]
    folded: tuple[str, ...]
    csv: str
    file: str
    model: int | None


@dataclass(frozen=True)
class Places:
    """Where cells lead.

    Attributes:
        panels: Id of the panel of each run, by its folder.
        models: Models of the report.
        table_runs: Folder of the run that all numbers of a table are of, by the table's title.
        described: Whether cells carry a description of their number.
    """

    panels: Mapping[str, str]
    models: Sequence[ModelResults]
    table_runs: Mapping[str, str] = field(default_factory=dict)
    described: bool = True

    def panel(self, number: Score | Difference | None) -> str:
        """Id of the panel on a number; empty if there is none."""
        if not isinstance(number, Score):
            return ""
        return PUBLISHED_ID if number.source and not number.run else self.panels.get(number.run, "")

    def model(self, text: str) -> int | None:
        """Index of the model that a row or column is about; ``None`` if it is about none."""
        name = text.rstrip("".join(MARKS))
        for suffix in (", as published", PRINTED):
            if name.endswith(suffix):
                name = name.removesuffix(suffix)
                return next((i for i, m in enumerate(self.models) if m.model == name), None)
        return next((i for i, m in enumerate(self.models) if m.name == name), None)


def table_view(table: Table, id: str, places: Places) -> TableView:
    """A table as the page shows it."""
    shaded = _is_heat_map(table)
    title_model = places.model(table.title.partition(": ")[0])
    visible = [note for note in table.notes if _is_legend(note)]
    return TableView(
        table.title,
        id,
        tuple((name, places.model(name)) for name in table.header),
        tuple(_row(table, row, places, shaded) for row in range(len(table.rows))),
        table.words,
        tuple(visible),
        tuple(note for note in table.notes if note not in visible),
        csv_address(table),
        f"{slug(table.title)}.csv",
        title_model,
    )


def _row(
    table: Table, position: int, places: Places, shaded: bool
) -> tuple[int | None, tuple[CellView, ...]]:
    texts = table.rows[position]
    numbers = table.numbers[position] if table.numbers else (None,) * len(texts)
    why = WHY_NOT_COMPARABLE.get(texts[0].removesuffix(PRINTED), "")
    cells = tuple(
        CellView(
            text,
            _panel(table, places, text, column, number),
            describe(number) if isinstance(number, Score) and places.described else "",
            _shade(number) if shaded else None,
            why=why if column == 0 else "",
        )
        for column, (text, number) in enumerate(zip(texts, numbers, strict=True))
    )
    return places.model(texts[0]), cells


def _panel(
    table: Table, places: Places, text: str, column: int, number: Score | Difference | None
) -> str:
    """Id of the panel that a cell opens; empty if there is none."""
    if table.title == RUNS and column == 0:
        return places.panels.get(text, "")
    if number is not None or column in table.words or text in ("", "refused"):
        return places.panel(number)
    if table.title in places.table_runs:
        return places.panels.get(places.table_runs[table.title], "")
    return PUBLISHED_ID if table.numbers else ""  # copied from a printed table


def _is_legend(note: str) -> bool:
    return note.startswith("[low, high]") or note[:2] in {f"{mark} " for mark in MARKS}


def _is_heat_map(table: Table) -> bool:
    """Whether a table is of top-1 errors by severity."""
    return any(isinstance(n, Score) and n.severity for row in table.numbers for n in row)


def _shade(number: Score | Difference | None) -> float | None:
    if not isinstance(number, Score) or number.severity is None or number.value is None:
        return None
    return round(number.value, 2)


def describe(score: Score) -> str:
    """A number in words: metric, condition, value, interval, counts and baseline.

    Example:
        >>> describe(Score(benchmark="imagenet-c", metric="top1_error", corruption="fog",
        ...     severity=3, value=0.25, n=20, complete=True))
        'top-1 error, fog, severity 3: 25.00 %; 20 images a condition'
    """
    quantity = quantity_of(score.metric)
    name = ", ".join((quantity.title, *_condition(score)))
    if score.value is None:
        return f"{name}: refused: {score.reason}"
    scale, unit = (100, " %") if quantity.unit == "%" else (1, "")
    value = f"{scale * score.value:.2f}{unit}"
    if score.low is not None and score.high is not None:
        value += f", 95 % interval {scale * score.low:.2f} to {scale * score.high:.2f}{unit}"
    parts = [f"{name}: {value}", counted(f"{score.n:,}", score)]
    if score.skipped:
        parts.append(f"{score.skipped:,} skipped")
    if score.normalize_by:
        parts.append(f"normalised by {score.normalize_by}")
    return "; ".join(parts)


def _condition(score: Score) -> list[str]:
    words = [score.corruption, score.perturbation]
    words += [f"severity {score.severity}"] if score.severity else []
    words += [f"epsilon {epsilon_text(score.epsilon)}"] if score.epsilon else []
    words += [f"{score.steps} steps"] if score.steps else []
    words += [f"made on {score.source_model}"] if score.source_model else []
    words += [f"rule {score.rule}"] if score.rule else []
    words += [f"{score.stimuli:,} stimuli"] if score.stimuli else []
    return [word for word in (*words, score.category) if word]


def csv_address(table: Table) -> str:
    """A table as CSV, as the address of a link that needs no server.

    Example:
        >>> csv_address(Table("T", ("a", "b"), (("x, y", "1"),)))
        'data:text/csv;charset=utf-8,a%2Cb%0D%0A%22x%2C%20y%22%2C1%0D%0A'
    """
    return f"data:text/csv;charset=utf-8,{quote(csv_of(table), safe='')}"
