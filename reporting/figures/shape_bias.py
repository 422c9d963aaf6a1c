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
from . import drawing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LEFT, RIGHT = 0.95, 0.15
ROW, BAND = 0.27, 1.35
"""Height in inches of a category, and of the band above them with the published models' names."""
BARS, GAP = 0.85, 0.25
TOP, BELOW = 0.75, 0.62
NAME_WIDTH = 0.024
"""Least distance of the names of two published models, as a fraction of the axis."""

LONGEST_NAME = 55
PUBLISHED: drawing.Look = {"markeredgewidth": 0.8, "markersize": 4.5}


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

    def value(self, results: ModelResults, metric: str, **keys: object) -> float | None:
        """Value of a metric by this rule; ``None`` if there is none."""
        score = results.find(BENCHMARK, metric, **self.keys, **keys)
        return None if score is None else score.value

    def of_categories(self, results: ModelResults, metric: str) -> list[float | None]:
        """Values of a metric in each category."""
        return [self.value(results, metric, category=name) for name in self.categories]

    def apart(self, total: float) -> float:
        """Distance of two models in a row, so that all models have this much room or less."""
        return min(0.3, total / len(self.models))

    def offset(self, position: int, total: float = 0.8) -> float:
        """Distance of a model from its rows, so that equal models do not overlap."""
        return self.apart(total) * (position - (len(self.models) - 1) / 2)

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
        results
        for results in models
        if (score := results.find(BENCHMARK, "shape_bias", **keys)) and score.value is not None
    ]
    if not models_with_bias:
        return None
    drawn_models = models_with_bias[: drawing.MOST_MODELS]
    data = _Data(drawn_models, category_names(drawn_models), keys, references_of(rule, stimuli))
    lines = _legend(data)
    notes = _notes(data, len(models_with_bias) - len(drawn_models))
    height = BAND + ROW * (len(data.categories) + 1)
    top = TOP + height + BELOW
    figure = drawing.new_figure(top + drawing.LINE * (len(lines) + len(notes) + 0.6))
    decided = [data.of_categories(results, "category_decided") for results in drawn_models]
    bars = BARS + GAP if any(share is not None for row in decided for share in row) else 0.0
    width = drawing.WIDTH - LEFT - RIGHT - bars
    axes = drawing.axes_at(figure, LEFT, TOP, width, height)
    _frame(axes, data)
    _place_references(axes, data)
    for number, reference in enumerate(data.by_category):
        biases = [bias_of(reference, name) for name in data.categories]
        look = drawing.published_look(number, **PUBLISHED)
        _mark_categories(axes, biases, **look, zorder=2, gid=reference.label)
    for position, results in enumerate(drawn_models):
        _place_model(axes, data, results, position)
    if bars:
        _place_bars(drawing.axes_at(figure, LEFT + width + GAP, TOP, BARS, height), data, decided)
    title = f"Shape or texture? Decision rule {rule}, {stimuli:,} cue-conflict stimuli"
    drawing.write_title(figure, title)
    drawing.write_below(figure, top, lines, notes, sample=[0.22], text_left=0.34, notes_left=0.34)
    return figure


def _frame(axes: "Axes", data: _Data) -> None:
    """Draw the rows and both axes: texture along the lower edge, shape along the upper one."""
    axes.set_xlim(0, 1)
    axes.set_ylim(data.pooled_row + 0.5, data.top)
    rows = [*data.categories, "all stimuli"]
    axes.set_yticks(range(len(rows)), rows)
    axes.tick_params(axis="y", length=0, pad=6)
    axes.get_yticklabels()[-1].set_fontweight("bold")
    for row in range(len(data.categories)):
        axes.axhline(row, color=drawing.FAINT, linewidth=0.6, zorder=0)
    axes.axhline(data.pooled_row - 0.5, color=drawing.MUTED, linewidth=0.6, zorder=0)
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
            color=drawing.MUTED, linewidth=0.7, linestyle=drawing.DASHED, zorder=1, gid="reference",
        )  # fmt: skip
        axes.text(
            place, low - 0.1, reference.label,
            rotation=90, ha="center", va="bottom", fontsize=6.5, color=drawing.MUTED,
        )  # fmt: skip


def _mark_categories(
    axes: "Axes", biases: Sequence[float | None], offset: float = 0, **look: Any
) -> None:
    """Draw markers at the biases of categories, as far as they are known."""
    points = [(1 - bias, row + offset) for row, bias in enumerate(biases) if bias is not None]
    x, rows = [x for x, _ in points], [row for _, row in points]
    axes.plot(x, rows, linestyle="none", clip_on=False, **look)


def _place_model(axes: "Axes", data: _Data, results: ModelResults, position: int) -> None:
    """Draw a model's markers, and its line at the bias over all stimuli, with the interval."""
    offset = data.offset(position)
    biases = data.of_categories(results, "category_shape_bias")
    look = drawing.model_look(position, markersize=6, markeredgewidth=0.6)
    _mark_categories(axes, biases, offset, **look, zorder=3, gid=results.name)
    score = results.find(BENCHMARK, "shape_bias", **data.keys)
    assert score is not None
    assert score.value is not None
    x = 1 - score.value
    row = data.pooled_row + offset
    colour = drawing.COLOURS[position]
    axes.plot([x, x], [-0.5, data.pooled_row + 0.5], color=colour, linewidth=1.2, zorder=2)
    if score.low is not None and score.high is not None:
        axes.plot([1 - score.high, 1 - score.low], [row, row], color=colour, zorder=2)
    look = drawing.model_look(position, markersize=7.5, markeredgewidth=0.8)
    axes.plot([x], [row], **look, clip_on=False, zorder=4)


def _place_bars(axes: "Axes", data: _Data, decided: Sequence[Sequence[float | None]]) -> None:
    """Draw bars of how many stimuli were decided for their shape or their texture."""
    axes.set_xlim(0, 1)
    axes.set_ylim(data.pooled_row + 0.5, data.top)
    axes.set_xticks([0, 0.5, 1], ["0", "0.5", "1"])
    axes.set_yticks([])
    axes.set_xlabel("decided")
    drawing.remove_frame(axes)
    axes.spines["left"].set_bounds(data.pooled_row + 0.5, -0.5)
    room = 0.7
    for position, (results, values) in enumerate(zip(data.models, decided, strict=True)):
        bars = [*enumerate(values), (data.pooled_row, data.value(results, "decided"))]
        rows = [row + data.offset(position, room) for row, value in bars if value is not None]
        lengths = [value for _, value in bars if value is not None]
        axes.barh(rows, lengths, height=data.apart(room), color=drawing.COLOURS[position])
    axes.axhline(data.pooled_row - 0.5, color=drawing.MUTED, linewidth=0.6)


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
    return drawing.wrapped_notes(notes, left_out)


def _legend(data: _Data) -> list[tuple[str, drawing.Look | None]]:
    """A line for each model, with its numbers and their marks; then the published models."""
    lines: list[tuple[str, drawing.Look | None]] = []
    for position, results in enumerate(data.models):
        look = drawing.model_look(position, markersize=6, markeredgewidth=0.6)
        lines.append((_legend_line(results, data.keys), look))
    for number, reference in enumerate(data.by_category):
        bias = percent(reference.value, None, None)
        text = f"{reference.label}, as published: shape bias {bias} %"
        lines.append((text, drawing.published_look(number, **PUBLISHED)))
    return lines


def _legend_line(results: ModelResults, keys: dict[str, object]) -> str:
    """A model's numbers over all stimuli, with their intervals and marks."""
    words = []
    for metric, title in (("shape_bias", "shape bias"), ("decided", "decided")):
        cell = results.cell(
            results.find(BENCHMARK, metric, **keys), interval=metric == "shape_bias"
        )
        if cell.text:
            words.append(f"{title} {cell.text} %{cell.marks}")
    return f"{drawing.shortened(results.name, LONGEST_NAME)}: {', '.join(words)}"
