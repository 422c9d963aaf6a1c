"""Figure of example stimuli with the likeliest classes of each, as in the paper's Figure 4.

Source of the layout: Orhan, arXiv 1907.07640, Figure 4.
"""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from ..footnotes import TableCell, legend
from ..model_results import ModelResults
from ..tables.shape_bias import BENCHMARK
from .drawing import COLOURS, FAINT, INK, MUTED, WIDTH, Look, new_figure, shortened
from .stimulus_examples import Answer, Example

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLUMNS = 4
MOST_MODELS = 3
MARGIN, GAP = 0.15, 0.22
SIDE = (WIDTH - 2 * MARGIN - (COLUMNS - 1) * GAP) / COLUMNS
TOP, HEADING, NAME, LINE, BETWEEN = 0.45, 0.2, 0.2, 0.15, 0.22
"""Heights in inches: above all examples, of an example's heading, of a model's name, of an answer,
and between rows of examples."""

LONGEST_CLASS, LONGEST_NAME = 20, 31

MATCHES = {"shape": ("●", COLOURS[0]), "texture": ("■", COLOURS[1]), "": ("", INK)}
"""Sign and colour of a class by its match, so that colour is not needed to tell them apart."""

CREDIT = "stimuli: Geirhos et al. (2019), rgeirhos/texture-vs-shape, CC BY 4.0"


def stimulus_figure(models: Sequence[ModelResults], examples: Sequence[Example]) -> "Figure":
    """A page of examples, with the answers of each model below.

    Call it within ``drawing.style``.

    Args:
        models: Results of the models, as many as an example has lists of answers.
        examples: Examples to show.
    """
    cells = [_cell(results) for results in models]
    names = [
        f"{shortened(results.name, LONGEST_NAME)}{cell.marks}"
        for results, cell in zip(models, cells, strict=True)
    ]
    notes = [
        *legend(cells),
        f"chosen, not drawn at random: first stimuli that {names[0]} decides, by the rule mean, "
        "for their shape, then for their texture, as far as there are such",
        CREDIT,
    ]
    height = HEADING + SIDE + len(names) * (NAME + 5 * LINE) + BETWEEN
    rows = -(-len(examples) // COLUMNS)
    page = TOP + rows * height + 0.3 + 0.15 * len(notes)
    figure = new_figure(page)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    title = "What the stimuli are taken for: top-5 of 1,000 classes"
    _text(axes, MARGIN, 0.2, title, fontsize=10, fontweight="bold")
    for position, example in enumerate(examples):
        row, column = divmod(position, COLUMNS)
        left, top = MARGIN + column * (SIDE + GAP), TOP + row * height
        _place_example(axes, left, top, example, names)
    _below(axes, TOP + rows * height, notes)
    axes.set_xlim(0, WIDTH)  # inches, from the upper left corner
    axes.set_ylim(page, 0)
    return figure


def _cell(results: ModelResults) -> TableCell:
    """Cell of the shape bias, whose marks also hold for the answers that it is computed from."""
    scores = list(results.of(BENCHMARK, "shape_bias"))
    return results.cell(next((s for s in scores if s.value is not None), scores[0]))


def _place_example(
    axes: "Axes", left: float, top: float, example: Example, names: Iterable[str]
) -> None:
    """Draw the categories of an example, its pixels, and the answers of each model."""
    for match, words, x, side in (
        ("shape", example.shape, left, "left"),
        ("texture", example.texture, left + SIDE, "right"),
    ):
        sign, colour = MATCHES[match]
        _text(
            axes, x, top + HEADING / 2, f"{sign} {words}", color=colour, ha=side, fontweight="bold"
        )
    top += HEADING
    axes.imshow(
        example.pixels, extent=(left, left + SIDE, top + SIDE, top), aspect="auto",
        interpolation="lanczos", gid=example.id,
    )  # fmt: skip
    top += SIDE
    for name, answers in zip(names, example.answers, strict=True):
        _text(axes, left, top + 0.6 * NAME, name, color=MUTED, fontsize=6.5)
        top += NAME
        for answer in answers:
            _place_answer(axes, left, top + LINE / 2, answer)
            top += LINE


def _place_answer(axes: "Axes", left: float, middle: float, answer: Answer) -> None:
    """Draw the name of a class over a bar as long as its probability."""
    sign, colour = MATCHES[answer.match]
    name = answer.name
    if len(name) > LONGEST_CLASS:
        name = f"{name[: LONGEST_CLASS - 1]}…"
    axes.barh(
        [middle], [answer.probability * SIDE], left=left, height=0.85 * LINE,
        color=colour if answer.match else FAINT, alpha=0.22 if answer.match else 0.8,
    )  # fmt: skip
    weight = "bold" if answer.match else "normal"
    look: Look = {"color": colour, "fontweight": weight, "fontsize": 6.5}
    _text(axes, left + 0.03, middle, f"{sign} {name}".strip(), **look)
    _text(axes, left + SIDE - 0.02, middle, likelihood(answer.probability), ha="right", **look)


def likelihood(probability: float) -> str:
    """A probability in whole %.

    Example:
        >>> likelihood(0.421), likelihood(0.004)
        ('42 %', '< 1 %')
    """
    return f"{100 * probability:.0f} %" if probability >= 0.005 else "< 1 %"


def _below(axes: "Axes", top: float, notes: Sequence[str]) -> None:
    left = MARGIN
    for match, words in (
        ("shape", "class of the shape's category"),
        ("texture", "class of the texture's category"),
    ):
        sign, colour = MATCHES[match]
        _text(axes, left, top, f"{sign} {words}", color=colour, fontweight="bold")
        left += 2.1
    for number, note in enumerate(notes):
        _text(axes, MARGIN, top + 0.22 + 0.15 * number, note, color=MUTED, fontsize=6.5)


def _text(axes: "Axes", x: float, y: float, words: str, **look: Any) -> None:
    """Write in black at a height in inches, unless the look says otherwise."""
    axes.text(x, y, words, **{"va": "center", "color": INK, "fontsize": 7.5, **look})
