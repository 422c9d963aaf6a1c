"""Shape bias by category, drawn as Geirhos et al. (2019) do in their Figure 4.

Each category is a row; decisions for shape are on the left, decisions for texture on the right.
Each model has a marker in each category, and a vertical line at its bias over all stimuli. Bars
show how many stimuli were decided. Published models and humans are lines with their names.

Source of the layout: Geirhos et al., "ImageNet-trained CNNs are biased towards texture; increasing
shape bias improves accuracy and robustness", ICLR 2019.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..footnotes import legend, percent
from ..metric_info import EXEMPLAR_INTERVAL
from ..model_results import ModelResults
from ..published.shape_bias import STYLIZED, UNNAMED, PublishedShapeBias, references_of, spread
from ..tables.shape_bias import BENCHMARK, bias_of, category_names
from .drawing import (
    COLOURS,
    FAINT,
    MARKERS,
    MOST_MODELS,
    MUTED,
    axes_at,
    new_figure,
    shortened,
    wrapped_notes,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

WIDTH, LEFT, RIGHT = 7.2, 0.95, 0.15
ROW, BAND = 0.27, 1.35
"""Height in inches of a category, and of the band above them with the published models' names."""
BARS, GAP = 0.85, 0.25
TOP, BELOW, LINE = 0.75, 0.62, 0.16
NAME_WIDTH = 0.024
"""Least distance of the names of two published models, as a fraction of the axis."""

LONGEST_NAME = 55
HOLLOW_MARKERS = "Dsp^"
"""Markers of published models."""


@dataclass(frozen=True)
class _Data:
    """Numbers of the figure.

    Attributes:
        models: The user's models that have a bias by this rule.
        categories: Categories from top to bottom.
        keys: The rule and the number of stimuli.
        references: Published biases.
    """

    models: Sequence[ModelResults]
    categories: Sequence[str]
    keys: dict[str, object]
    references: Sequence[PublishedShapeBias]

    def offset(self, position: int) -> float:
        """Distance of a model's markers from their rows, so that equal models do not overlap."""
        apart = min(0.3, 0.8 / len(self.models))
        return apart * (position - (len(self.models) - 1) / 2)

    @property
    def by_category(self) -> list[PublishedShapeBias]:
        """The published models whose decisions are known by category."""
        return [reference for reference in self.references if reference.decisions]

    @property
    def top(self) -> float:
        """Upper end of the band of names, in rows."""
        return -0.5 - BAND / ROW

    @property
    def pooled_row(self) -> int:
        """Row of the bias over all stimuli, below the categories."""
        return len(self.categories)


def shape_bias_figure(models: Sequence[ModelResults], rule: str, stimuli: int) -> "Figure | None":
    """The figure of the models with a bias by this rule on these stimuli; ``None`` if none has one.

    Call it within ``drawing.style``. Only the first six models are drawn; a note counts the others.
    """
    keys: dict[str, object] = {"rule": rule, "stimuli": stimuli}
    models_with_bias = [
        results for results in models if _value(results, "shape_bias", keys) is not None
    ]
    if not models_with_bias:
        return None
    drawn_models = models_with_bias[:MOST_MODELS]
    data = _Data(drawn_models, category_names(drawn_models), keys, references_of(rule, stimuli))
    notes = _notes(data, len(models_with_bias) - len(drawn_models))
    height = BAND + ROW * (len(data.categories) + 1)
    figure = new_figure(
        WIDTH,
        TOP
        + height
        + BELOW
        + LINE * (len(drawn_models) + len(data.by_category) + len(notes) + 0.6),
    )
    bars = BARS + GAP if any(_decided_by_category(e, data) for e in drawn_models) else 0.0
    width = WIDTH - LEFT - RIGHT - bars
    axes = axes_at(figure, LEFT, TOP, width, height)
    _frame(axes, data)
    _place_references(axes, data)
    _place_published(axes, data)
    for position, results in enumerate(drawn_models):
        _place_model(axes, data, results, position)
    if bars:
        _place_bars(axes_at(figure, LEFT + width + GAP, TOP, BARS, height), data)
    _title(figure, rule, stimuli)
    _below(figure, data, notes, TOP + height + BELOW)
    return figure


def _value(
    results: ModelResults, metric: str, keys: dict[str, object], **other_keys: object
) -> float | None:
    score = results.find(BENCHMARK, metric, **keys, **other_keys)
    return None if score is None else score.value


def _decided_by_category(results: ModelResults, data: _Data) -> list[float | None]:
    values = [
        _value(results, "category_decided", data.keys, category=name) for name in data.categories
    ]
    return values if any(value is not None for value in values) else []


def _frame(axes: "Axes", data: _Data) -> None:
    """Draw the rows and both axes: texture along the lower edge, shape along the upper one."""
    axes.set_xlim(0, 1)
    axes.set_ylim(data.pooled_row + 0.5, data.top)
    rows = [*data.categories, "all stimuli"]
    axes.set_yticks(range(len(rows)), rows)
    axes.tick_params(axis="y", length=0, pad=6)
    axes.get_yticklabels()[-1].set_fontweight("bold")
    for row in range(len(data.categories)):
        axes.axhline(row, color=FAINT, linewidth=0.6, zorder=0)
    axes.axhline(data.pooled_row - 0.5, color=MUTED, linewidth=0.6, zorder=0)
    ticks = [tenth / 10 for tenth in range(11)]
    axes.set_xticks(ticks)
    axes.set_xlabel("fraction of decisions for texture")
    shape = axes.secondary_xaxis("top")
    shape.set_xticks(ticks, [f"{1 - tick:.1f}" for tick in ticks])
    shape.set_xlabel("fraction of decisions for shape", labelpad=5)


def _place_references(axes: "Axes", data: _Data) -> None:
    """Draw a thin line below the name of each published bias; overlapping names are moved."""
    places = spread([1 - reference.value for reference in data.references], NAME_WIDTH)
    low, elbow = data.top + 0.9 * BAND / ROW, -0.5
    for reference, place in zip(data.references, places, strict=True):
        x = 1 - reference.value
        axes.plot(
            [place, x, x], [low, elbow, data.pooled_row + 0.5],
            color=MUTED, linewidth=0.7, linestyle=(0, (4, 2)), zorder=1, gid="reference",
        )  # fmt: skip
        axes.text(
            place, low - 0.1, reference.label,
            rotation=90, ha="center", va="bottom", fontsize=6.5, color=MUTED,
        )  # fmt: skip


def _place_published(axes: "Axes", data: _Data) -> None:
    """Draw hollow markers of the published models whose decisions are known by category."""
    for number, reference in enumerate(data.by_category):
        points = [
            (1 - bias, row)
            for row, name in enumerate(data.categories)
            if (bias := bias_of(reference, name)) is not None
        ]
        axes.plot(
            [x for x, _ in points], [y for _, y in points],
            **_hollow(number), linestyle="none", clip_on=False, zorder=2, gid=reference.label,
        )  # fmt: skip


def _hollow(number: int) -> dict[str, Any]:
    return {
        "marker": HOLLOW_MARKERS[number % len(HOLLOW_MARKERS)],
        "color": MUTED,
        "markerfacecolor": "white",
        "markeredgewidth": 0.8,
        "markersize": 4.5,
    }


def _place_model(axes: "Axes", data: _Data, results: ModelResults, position: int) -> None:
    """Draw a model's markers, and its line at the bias over all stimuli, with the interval."""
    colour, marker = COLOURS[position], MARKERS[position]
    points = [
        (1 - value, row + data.offset(position))
        for row, name in enumerate(data.categories)
        if (value := _value(results, "category_shape_bias", data.keys, category=name)) is not None
    ]
    look: dict[str, Any] = {
        "color": colour,
        "marker": marker,
        "markeredgecolor": "white",
        "clip_on": False,
    }
    axes.plot(
        [x for x, _ in points], [y for _, y in points],
        **look, linestyle="none", markersize=6, markeredgewidth=0.6, zorder=3, gid=results.name,
    )  # fmt: skip
    score = results.find(BENCHMARK, "shape_bias", **data.keys)
    assert score is not None
    assert score.value is not None
    row = data.pooled_row + data.offset(position)
    axes.plot(
        [1 - score.value] * 2, [-0.5, data.pooled_row + 0.5], color=colour, linewidth=1.2, zorder=2
    )
    if score.low is not None and score.high is not None:
        axes.plot([1 - score.high, 1 - score.low], [row, row], color=colour, zorder=2)
    axes.plot([1 - score.value], [row], **look, markersize=7.5, markeredgewidth=0.8, zorder=4)


def _place_bars(axes: "Axes", data: _Data) -> None:
    """Draw bars of how many stimuli were decided for their shape or their texture."""
    axes.set_xlim(0, 1)
    axes.set_ylim(data.pooled_row + 0.5, data.top)
    axes.set_xticks([0, 0.5, 1], ["0", "0.5", "1"])
    axes.set_yticks([])
    axes.set_xlabel("decided")
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.spines["left"].set_bounds(data.pooled_row + 0.5, -0.5)
    height = min(0.3, 0.7 / len(data.models))
    for position, results in enumerate(data.models):
        values = [*_decided_by_category(results, data), _value(results, "decided", data.keys)]
        shift = height * (position - (len(data.models) - 1) / 2)
        rows = [row + shift for row, value in enumerate(values) if value is not None]
        lengths = [value for value in values if value is not None]
        axes.barh(rows, lengths, height=height, color=COLOURS[position])
    axes.axhline(data.pooled_row - 0.5, color=MUTED, linewidth=0.6)


def _title(figure: "Figure", rule: str, stimuli: int) -> None:
    x, y = 0.12 / WIDTH, 1 - 0.12 / figure.get_figheight()
    figure.text(
        x, y, f"Shape or texture? Decision rule {rule}, {stimuli:,} cue-conflict stimuli",
        fontsize=10, fontweight="bold", va="top",
    )  # fmt: skip


def _notes(data: _Data, left_out: int) -> list[str]:
    """Notes on the marks, the intervals and the lines."""
    cells = [
        results.cell(results.find(BENCHMARK, "shape_bias", **data.keys)) for results in data.models
    ]
    notes = legend(cells)
    if any("[" in cell.text for cell in cells):
        notes.append(f"[low, high]: {EXEMPLAR_INTERVAL}; also the whiskers")
    notes.append("dashed: published, over all stimuli (Geirhos et al., 2019; arXiv 1907.07640)")
    names = " ".join(reference.label for reference in data.references)
    signs = {STYLIZED: "trained on Stylized-ImageNet", UNNAMED: "the source does not name its rule"}
    used = [f"{sign}: {meaning}" for sign, meaning in signs.items() if sign in names]
    notes += ["; ".join(used)] if used else []
    return wrapped_notes(notes, left_out)


def _below(figure: "Figure", data: _Data, notes: Sequence[str], top: float) -> None:
    """Draw one line for each model, with its numbers and their marks; then the notes."""
    height = figure.get_figheight()

    def line(text: str, number: float, **look: Any) -> None:
        figure.text(0.34 / WIDTH, 1 - (top + LINE * number) / height, text, va="center", **look)

    from matplotlib.lines import Line2D

    lines: list[tuple[str, dict[str, Any]]] = [
        (
            legend_line(results, data.keys),
            {"color": COLOURS[position], "marker": MARKERS[position], "markersize": 6,
             "markeredgecolor": "white", "markeredgewidth": 0.6},
        )
        for position, results in enumerate(data.models)
    ]  # fmt: skip
    lines += [
        (
            f"{reference.label}, as published: shape bias {percent(reference.value, None, None)} %",
            _hollow(n),
        )
        for n, reference in enumerate(data.by_category)
    ]
    for number, (text, look) in enumerate(lines):
        line(text, number, fontsize=7.5)
        place = [0.22 / WIDTH], [1 - (top + LINE * number) / height]
        figure.add_artist(Line2D(*place, **look))
    for number, note in enumerate(notes):
        line(note, len(lines) + 0.3 + number, fontsize=6.5, color=MUTED)


def legend_line(results: ModelResults, keys: dict[str, object]) -> str:
    """A model's numbers over all stimuli, with their intervals and marks."""
    words = []
    for metric, title in (("shape_bias", "shape bias"), ("decided", "decided")):
        cell = results.cell(
            results.find(BENCHMARK, metric, **keys), interval=metric == "shape_bias"
        )
        if cell.text:
            words.append(f"{title} {cell.text} %{cell.marks}")
    return f"{shortened(results.name, LONGEST_NAME)}: {', '.join(words)}"
