"""Shape bias: the paper's Table 3 with the user's models above it, and the categories one by one.

A shape bias is always shown with its rule and its set of stimuli.
"""

from collections.abc import Iterator, Sequence

from ...contracts import Score
from ..footnotes import TableCell, percent
from ..metric_info import quantity_of
from ..model_results import ModelResults, NumberKey, ReportContents, refusals, refused_conditions
from ..published.paper import SOURCE, printed_table
from ..published.shape_bias import GEIRHOS, PublishedShapeBias, published_shape_bias
from ..table import Table
from ..table_layout import Column, Row, table_of_columns, table_of_rows
from .paper import printed_title

BENCHMARK = "cue-conflict"
PROTOCOLS = (("mean", 1200), ("argmax", 1201), ("mean", 1201), ("argmax", 1200))
"""Rule and number of stimuli: the recommended one, the paper's, and what remains."""

OF_CATEGORIES = PROTOCOLS[:2]
METRICS = ("shape_bias", "decided", "frac_correct")
NOTES = (
    "rule mean: the category with the largest mean probability of its classes (recommended by "
    "Geirhos et al.); argmax: the category of the likeliest of the 207 classes (the paper's)",
    "1,201 stimuli: with the one in which shape and texture do not conflict, as the paper has them",
    "shape bias: of the decisions for shape or texture, those for shape; decided: how many stimuli "
    "were decided for either; frac_correct: the same, but a stimulus right by both counts twice",
)
PUBLISHED_CATEGORIES = f"published: counted from the trials of {GEIRHOS}; their rule is not named"
_PRINTED = " (Geirhos et al., 2019)"


def shape_bias_tables(contents: ReportContents) -> list[Table]:
    """Table 3, then one table by category for each protocol; empty if no model has a number."""
    models = contents.with_number(BENCHMARK, "shape_bias")
    rows = [row for results in models for row in _rows(results)]
    if not any(cell.number is not None for row in rows for cell in row.cells):
        return []
    numbers: list[NumberKey] = [
        (BENCHMARK, metric, {"rule": rule, "stimuli": stimuli})
        for rule, stimuli in PROTOCOLS
        for metric in METRICS
    ]
    table = table_of_rows(
        printed_title("table3"),
        (
            "model", "weights", "rule", "stimuli", *(quantity_of(m).heading for m in METRICS),
        ),
        [*rows, *_published_rows()],
        (*NOTES, *_published_notes(), *refusals(models, numbers)),
    )  # fmt: skip
    return [table, *(t for rule, n in OF_CATEGORIES for t in _by_category(models, rule, n))]


def short_weights(row: PublishedShapeBias) -> str:
    """Short name of the weights, without their file name.

    Example:
        >>> [short_weights(row) for row in published_shape_bias() if row.value == 0.81]
        ['Stylized-ImageNet']
    """
    return row.weights.partition(" (")[0].removeprefix("trained on ")


def _rows(results: ModelResults) -> Iterator[Row]:
    for rule, stimuli in PROTOCOLS:
        scores = [results.find(BENCHMARK, m, rule=rule, stimuli=stimuli) for m in METRICS]
        if first := next(filter(None, scores), None):
            words = (results.name, first.weights, rule, f"{stimuli:,}")
            yield Row(words, [results.cell(score) for score in scores])


def _published_rows() -> Iterator[Row]:
    """Table 3 as the paper prints it, then other numbers that Geirhos et al. published."""
    in_table = []
    for name, (value,) in printed_table("table3").rows.items():
        row = _published_as(name)
        in_table.append(row)
        yield _published_row(f"{name}, as printed", row, f"{value:g}")
    for row in published_shape_bias():
        if row not in in_table:
            yield _published_row(f"{row.name} ({row.source})", row, percent(row.value, None, None))


def _published_as(printed: str) -> PublishedShapeBias:
    """Published number of a row of the printed table, which has its weights and its rule."""
    name = printed.removesuffix(_PRINTED).casefold()
    source = GEIRHOS if printed.endswith(_PRINTED) else SOURCE
    rows = (row for row in published_shape_bias() if row.source == source)
    return next(row for row in rows if row.name.casefold() == name)


def _published_row(name: str, row: PublishedShapeBias, value: str) -> Row:
    rule = row.rule or ("not named" if row.weights else "people")
    words = (name, short_weights(row), rule, f"{row.stimuli:,}")
    return Row(words, [TableCell(value), TableCell(), TableCell()])


def _published_notes() -> list[str]:
    """Notes on published numbers, each once."""
    notes: dict[str, list[str]] = {}
    for row in published_shape_bias():
        if row.note:
            name = f"{row.name} ({row.weights})" if row.weights else row.name
            notes.setdefault(row.note, []).append(name)
    return [f"{', '.join(dict.fromkeys(names))}: {note}" for note, names in notes.items()]


def _by_category(models: Sequence[ModelResults], rule: str, stimuli: int) -> Iterator[Table]:
    """The bias of each category of shapes and how many of its stimuli were decided."""
    keys: dict[str, object] = {"rule": rule, "stimuli": stimuli}
    models = [
        results
        for results in models
        if (pooled := results.find(BENCHMARK, "shape_bias", **keys)) and pooled.value is not None
    ]
    categories = category_names(models)
    if not categories:
        return
    columns = []
    scores: list[Score] = []
    for results in models:
        titles = {"category_shape_bias": results.name, "category_decided": "decided %"}
        for metric, title in titles.items():
            of_categories = [
                results.find(BENCHMARK, metric, **keys, category=c) for c in categories
            ]
            if any(of_categories):
                columns.append(
                    Column(title, [results.cell(s, interval=False) for s in of_categories])
                )
                scores += filter(None, of_categories)
    notes = refused_conditions(scores, lambda score: str(score.category))
    if (rule, stimuli) == PROTOCOLS[0]:
        columns += _published_categories(categories)
        notes = [PUBLISHED_CATEGORIES, *notes]
    yield table_of_columns(
        f"Shape bias % by category of shape, rule {rule} over {stimuli:,} stimuli",
        "category",
        categories,
        columns,
        notes=notes,
        legend_of=[cell for r in models for cell in r.cells([(BENCHMARK, "shape_bias", keys)])],
    )


def _published_categories(categories: Sequence[str]) -> Iterator[Column]:
    """Columns of the published numbers that are given by category."""
    for row in published_shape_bias():
        if row.decisions:
            header = f"{row.name} ({row.weights}), published"
            biases = [bias_of(row, name) for name in categories]
            texts = ("" if bias is None else percent(bias, None, None) for bias in biases)
            yield Column(header, [TableCell(text) for text in texts])


def bias_of(row: PublishedShapeBias, category: str) -> float | None:
    """The published bias of one category of shapes; ``None`` if there is none.

    Example:
        >>> rows = [row for row in published_shape_bias() if row.decisions]
        >>> [(row.name, round(bias_of(row, "airplane") or 0, 3)) for row in rows][:2]
        [('AlexNet', 0.152), ('GoogLeNet', 0.047)]
    """
    shape, texture = row.decisions.get(category, (0, 0))
    return shape / (shape + texture) if shape + texture else None


def category_names(models: Sequence[ModelResults]) -> list[str]:
    """The categories that these models have numbers of, in their order."""
    scores = (s for results in models for s in results.of(BENCHMARK, "category_shape_bias"))
    return list(dict.fromkeys(str(score.category) for score in scores))
