"""Parts that all figures share: matplotlib, imported late, its style and colours, notes and files.

The same numbers give the same bytes: no figure depends on a user's settings of matplotlib, and no
file contains a date. Text in SVG is drawn as paths, so that it looks the same in every viewer.
"""

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from textwrap import wrap
from typing import TYPE_CHECKING, Any

from ...errors import UnavailableError, reason_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DOTS_AN_INCH = 200
WIDTH, LINE = 7.2, 0.16
"""Width of a page and height of a line below the drawing, in inches."""

INK, MUTED, FAINT = "#222222", "#6b6b6b", "#d9d9d9"
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
"""Colours that colour-blind readers can tell apart. Source: Okabe & Ito, *Color Universal Design*,
2008. Each model has a marker of its own as well."""
MARKERS = "os^DvP"
HOLLOW_MARKERS = "Dsp^v"
"""Markers of published models."""
DASHED = (0, (4, 2))
"""Line style of published numbers."""

Look = dict[str, Any]
"""Properties of a line or marker, by matplotlib's names."""

MOST_MODELS = len(COLOURS)
LONGEST_NOTE = 135
"""Largest number of characters in a line of notes."""

_STYLE = {
    "font.family": "DejaVu Sans",  # comes with matplotlib
    "font.size": 8,
    "text.color": INK,
    "text.parse_math": False,  # a model's name may hold dollars
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.6,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "svg.fonttype": "path",
    "svg.hashsalt": "evaluator",
}


def check_drawing() -> None:
    """Check, before the work, that figures can be drawn.

    Raises:
        UnavailableError: If matplotlib is not installed.
    """
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError as error:
        raise UnavailableError(
            f"Figures need matplotlib, which cannot be imported: {reason_of(error)}. "
            "Install it with `pip install 'evaluator[figures]'`."
        ) from error


@contextmanager
def style() -> Iterator[None]:
    """Style in which figures are drawn and saved.

    Raises:
        UnavailableError: If matplotlib is not installed.
    """
    import warnings

    check_drawing()
    from matplotlib import style as styles

    with styles.context(["default", _STYLE]), warnings.catch_warnings():
        # A letter that the font lacks is drawn as a box, which a user cannot change.
        warnings.filterwarnings("ignore", "Glyph .* missing from")
        yield


def new_figure(height: float) -> "Figure":
    """An empty page, its height in inches."""
    from matplotlib.figure import Figure

    return Figure(figsize=(WIDTH, height), dpi=DOTS_AN_INCH, facecolor="white")


def axes_at(figure: "Figure", left: float, top: float, width: float, height: float) -> "Axes":
    """Axes at a place in inches, from the upper left corner of the page."""
    page_width, page_height = figure.get_size_inches()
    return figure.add_axes(
        (
            left / page_width,
            1 - (top + height) / page_height,
            width / page_width,
            height / page_height,
        )
    )


def remove_frame(axes: "Axes") -> None:
    """Draw no line along the upper and the right edge."""
    axes.spines[["top", "right"]].set_visible(False)


def model_look(position: int, **properties: Any) -> Look:
    """Look of a user's model: a colour and a marker of its own."""
    look = {"color": COLOURS[position], "marker": MARKERS[position], "markeredgecolor": "white"}
    return look | properties


def published_look(position: int, **properties: Any) -> Look:
    """Look of a published model: a grey, hollow marker."""
    marker = HOLLOW_MARKERS[position % len(HOLLOW_MARKERS)]
    return {"color": MUTED, "marker": marker, "markerfacecolor": "white", **properties}


def write_title(figure: "Figure", title: str) -> None:
    """Write the title of a page into its upper left corner."""
    x, y = 0.12 / WIDTH, 1 - 0.12 / figure.get_figheight()
    figure.text(x, y, title, fontsize=10, fontweight="bold", va="top")


def write_below(
    figure: "Figure",
    top: float,
    legend: Sequence[tuple[str, Look | None]],
    notes: Sequence[str],
    *,
    sample: Sequence[float],
    text_left: float,
    notes_left: float,
) -> None:
    """Write a legend below the drawing, then notes; sizes in inches from the upper left corner.

    Args:
        figure: The page.
        top: Place of the first line.
        legend: Lines of the legend with the look of what they explain; ``None`` for no sample.
        notes: Lines of notes.
        sample: Horizontal places of a sample's points; the marker is at the middle one.
        text_left: Horizontal place of the legend's text.
        notes_left: Horizontal place of the notes.
    """
    from matplotlib.lines import Line2D

    height = figure.get_figheight()
    for number, (text, look) in enumerate(legend):
        y = 1 - (top + LINE * number) / height
        figure.text(text_left / WIDTH, y, text, va="center", fontsize=7.5)
        if look is not None:
            x = [place / WIDTH for place in sample]
            figure.add_artist(Line2D(x, [y] * len(x), markevery=[len(x) // 2], **look))
    for number, note in enumerate(notes):
        y = 1 - (top + LINE * (len(legend) + 0.3 + number)) / height
        figure.text(notes_left / WIDTH, y, note, va="center", fontsize=6.5, color=MUTED)


def files_of(figure: "Figure") -> dict[str, bytes]:
    """A figure as PNG and SVG, by suffix."""
    files = {}
    for suffix, metadata in ((".png", {"Software": None}), (".svg", {"Date": None})):
        buffer = io.BytesIO()
        figure.savefig(buffer, format=suffix[1:], metadata=metadata)
        files[suffix] = buffer.getvalue()
    return files


def shortened(text: str, most: int) -> str:
    """A text, cut in the middle to a number of characters: names often differ at their end.

    Example:
        >>> shortened("resnet50 (random weights), limit 20", 21)
        'resnet50 (…, limit 20'
    """
    half = (most - 1) // 2
    return text if len(text) <= most else f"{text[:half]}…{text[len(text) - half :]}"


def wrapped_notes(notes: Sequence[str], models_left_out: int) -> list[str]:
    """Lines of notes, with one about models that do not fit into the figure."""
    notes = [*notes]
    if models_left_out:
        notes.append(f"{models_left_out} further models are in the tables only")
    return [line for note in notes for line in wrap(note, LONGEST_NOTE)]
