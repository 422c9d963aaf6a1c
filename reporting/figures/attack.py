"""Accuracy under attack over epsilon and over steps, as in the paper's Figure 1.

One panel for each source of transferred attacks, one for white-box attacks over epsilon, and one
over steps, as far as there are numbers. The label of the vertical axis says what is counted.

Source of the layout: Orhan, arXiv 1907.07640, Figure 1.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from textwrap import wrap
from typing import TYPE_CHECKING, Any

from ..attack_numbers import PAPERS_COUNT, TRANSFER, UNDER_ATTACK, WHITE_BOX
from ..footnotes import MARKS, TableCell, legend
from ..metric_info import WILSON_INTERVAL
from ..model_results import ModelResults, ReportContents
from ..published.paper import SOURCE
from ..published.paper_deviations import deviation_notes, is_like_papers
from ..tables.attack import OF_SOURCE, weakness
from . import drawing
from .attack_curves import Curve, Panel, panels_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LEFT, RIGHT, GAP = 0.6, 0.12, 0.62
COLUMNS, HEIGHT = 3, 1.95
TOP, HEADING, BELOW = 0.36, 0.38, 0.55
"""Inches."""

LONGEST_NAME, LONGEST_TITLE, LONGEST_LINE = 60, 36, 115
LETTERS = "abcdefghijkl"
"""Names of panels."""

PUBLISHED: drawing.Look = {"linestyle": drawing.DASHED, "linewidth": 0.9}
SOURCES: drawing.Look = {"color": drawing.MUTED, "linestyle": (0, (1, 1.5)), "linewidth": 1.3}
UNCHANGED: drawing.Look = {"linewidth": 0.6}
"""Looks of curves other than those of the user's accuracies."""


@dataclass(frozen=True)
class _Looks:
    """How each model is drawn.

    Attributes:
        models: The user's models, each with a colour and a marker.
        others: The paper's models that are not among the user's models.
    """

    models: Sequence[ModelResults]
    others: Sequence[ModelResults]

    def of(self, results: ModelResults) -> drawing.Look:
        """Look of a user's model."""
        position = self.models.index(results)
        return drawing.model_look(position, markeredgewidth=0.5, markersize=5, linewidth=1.3)

    def of_published(self, results: ModelResults) -> drawing.Look:
        """Look of a published model: the colour of the same user's model, or a hollow marker."""
        if results not in self.others:
            return {**PUBLISHED, "color": self.of(self._twin(results))["color"]}
        position = self.others.index(results)
        return drawing.published_look(position, markeredgewidth=0.7, markersize=3.5, **PUBLISHED)

    def _twin(self, published: ModelResults) -> ModelResults:
        """The user's results of a published model; of several, those attacked as in the paper."""
        same = [results for results in self.models if results.model == published.model]
        return next(filter(_is_attacked_alike, same), same[0])


def _is_attacked_alike(results: ModelResults) -> bool:
    return any(
        is_like_papers([score])
        for benchmark in (TRANSFER, WHITE_BOX)
        for score in results.of(benchmark, UNDER_ATTACK)
    )


def attack_figure(contents: ReportContents) -> "Figure | None":
    """The figure of the models that were attacked; ``None`` if there are none.

    Call it within ``drawing.style``. Only the first six models are drawn; a note counts the others.
    """
    with_curves = [curve.results for panel in panels_of(contents) for curve in panel.curves]
    attacked = [results for results in contents.models if results in with_curves]
    if not attacked:
        return None
    drawn_models = attacked[: drawing.MOST_MODELS]
    panels = panels_of(ReportContents(drawn_models, contents.published))
    names = {results.model for results in drawn_models}
    published = {c.results.name: c.results for panel in panels for c in panel.published}
    looks = _Looks(drawn_models, [r for r in published.values() if r.model not in names])
    lines = _legend(panels, looks)
    notes = _notes(panels, looks, len(attacked) - len(drawn_models))
    rows = -(-len(panels) // COLUMNS)
    columns = min(len(panels), COLUMNS)
    width = (drawing.WIDTH - LEFT - RIGHT - (columns - 1) * GAP) / columns
    row = HEADING + HEIGHT + BELOW
    figure = drawing.new_figure(TOP + rows * row + drawing.LINE * (len(lines) + len(notes) + 0.8))
    for position, panel in enumerate(panels):
        down, across = divmod(position, COLUMNS)
        left = LEFT + across * (width + GAP)
        axes = drawing.axes_at(figure, left, TOP + HEADING + down * row, width, HEIGHT)
        _draw(axes, panel, looks)
        _head(axes, panel, LETTERS[position % 12] if len(panels) > 1 else "")
    drawing.write_title(figure, "Accuracy under attack")
    top = TOP + rows * row + drawing.LINE / 2
    sample = (0.16, 0.34, 0.52)
    drawing.write_below(figure, top, lines, notes, sample=sample, text_left=0.62, notes_left=0.16)
    return figure


def _draw(axes: "Axes", panel: Panel, looks: _Looks) -> None:
    """Draw the curves of a panel, the user's in front."""
    axes.set_ylim(0, 100)
    axes.set_ylabel(f"{panel.counted}, %", labelpad=2)
    axes.set_xlabel("steps" if panel.over_steps else "epsilon, of pixels in [0, 1]")
    axes.grid(axis="y", color=drawing.FAINT, linewidth=0.5)
    axes.set_axisbelow(True)
    drawing.remove_frame(axes)
    for curve in panel.sources:
        _line(axes, curve, "source", **SOURCES)
    for curve in panel.published:
        _line(axes, curve, curve.results.name, **looks.of_published(curve.results))
    for curve in panel.unchanged:
        _line(axes, curve, "unchanged", color=looks.of(curve.results)["color"], **UNCHANGED)
    for curve in panel.curves:
        look = looks.of(curve.results)
        if band := curve.band:
            x, low, high = zip(*band, strict=True)
            axes.fill_between(x, low, high, color=look["color"], alpha=0.15, linewidth=0)
        _line(axes, curve, curve.results.name, clip_on=False, zorder=3, **look)
    axes.set_xlim(left=0)
    _tick(axes, panel.ticks)


def _tick(axes: "Axes", ticks: Sequence[float]) -> None:
    """Set the ticks of the horizontal axis: these, or round numbers if there are none."""
    from matplotlib.ticker import MaxNLocator

    if ticks:
        axes.set_xticks([0, *ticks])
    else:
        axes.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
    axes.xaxis.set_major_formatter("{x:g}")


def _line(axes: "Axes", curve: Curve, gid: str, **look: Any) -> None:
    x, y = zip(*curve.points, strict=True)
    axes.plot(x, y, gid=gid, **look)


def _head(axes: "Axes", panel: Panel, letter: str) -> None:
    """Write the letter of a panel and the name of its attack."""
    lines = (drawing.shortened(line, LONGEST_TITLE) for line in (panel.attack.name, panel.fixed))
    axes.set_title("\n".join(lines), loc="left", fontsize=7, color=drawing.INK, pad=6)
    if letter:
        axes.annotate(
            letter, (0, 1), xycoords="axes fraction", xytext=(-34, 6), textcoords="offset points",
            fontsize=10, fontweight="bold", va="bottom",
        )  # fmt: skip


def _legend(panels: Sequence[Panel], looks: _Looks) -> list[tuple[str, drawing.Look | None]]:
    """Lines of the legend, each with its look; ``None`` for the continuation of a long line."""
    return [
        (line, look if number == 0 else None)
        for text, look in _entries(panels, looks)
        for number, line in enumerate(wrap(text, LONGEST_LINE))
    ]


def _entries(panels: Sequence[Panel], looks: _Looks) -> Iterator[tuple[str, drawing.Look]]:
    """Entries of the legend, models first, then kinds of curves: text and look."""
    for results in looks.models:
        yield _model_line(results, panels), looks.of(results)
    for results in looks.others:
        yield results.name, looks.of_published(results)
    if any(curve.results not in looks.others for p in panels for curve in p.published):
        text = f"the same model as published ({SOURCE}), by its count, in the model's colour"
        yield text, {"color": drawing.MUTED, **PUBLISHED}
    if any(panel.unchanged for panel in panels):
        text = "label left by no iterate, in the model's colour"
        yield text, {"color": drawing.MUTED, **UNCHANGED}
    sources = ((panel.attack.source, c.protocol) for panel in panels for c in panel.sources)
    for source, protocol in dict.fromkeys(sources):
        yield f"{source} itself, {OF_SOURCE[protocol]}", SOURCES


def _model_line(results: ModelResults, panels: Sequence[Panel]) -> str:
    """Name of a model with its marks, and what its curves count if those of a panel differ."""
    words = []
    for letter, panel in zip(LETTERS, panels, strict=False):
        curve = next((curve for curve in panel.curves if curve.results is results), None)
        if curve is not None and (text := panel.own_words(curve)):
            words.append(f"{letter}: {text}" if len(panels) > 1 else text)
    marks = "".join(mark for mark in MARKS if any(mark in c.marks for c in _cells(results, panels)))
    name = f"{drawing.shortened(results.name, LONGEST_NAME)}{marks}"
    return f"{name} ({'; '.join(words)})" if words else name


def _cells(results: ModelResults, panels: Sequence[Panel]) -> list[TableCell]:
    """Cells of a model's numbers in the figure, which have its marks."""
    return [
        results.cell(score)
        for panel in panels
        for curve in (*panel.curves, *panel.unchanged)
        if curve.results is results
        for score in curve.scores
    ]


def _notes(panels: Sequence[Panel], looks: _Looks, left_out: int) -> list[str]:
    """Notes on marks and bands, on what is counted, and on the sources of attacks."""
    notes = legend([cell for results in looks.models for cell in _cells(results, panels)])
    if any(curve.band for panel in panels for curve in panel.curves):
        notes.append(f"band: {WILSON_INTERVAL}")
    curves = [curve for panel in panels for curve in panel.curves]
    if any(curve.protocol == "paper" for curve in curves):
        notes.append(PAPERS_COUNT)
    for attack, benchmark in (("transferred", TRANSFER), ("white-box", WHITE_BOX)):
        notes += [f"{attack}: {note}" for note in deviation_notes(looks.models, benchmark)]
    alike = any(is_like_papers(curve.under_attack) for curve in curves)
    if not any(panel.published for panel in panels) and not alike:
        notes.append(
            "the paper's curves are not drawn beside attacks that are made or counted otherwise"
        )
    for panel in panels:
        source = panel.attack.source
        if source and not panel.sources:
            notes.append(f"how {source} itself fares under its own attack is not known")
    for panel in panels:
        warnings = (weakness(str(panel.attack.source), c.under_attack) for c in panel.sources)
        notes += filter(None, warnings)
    return drawing.wrapped_notes(notes, left_out)
