"""Parts that all figures share: matplotlib, imported late, its style and colours, notes and files.

The same numbers give the same bytes: no figure depends on a user's settings of matplotlib, and no
file contains a date. Text in SVG is drawn as paths, so that it looks the same in every viewer.
"""

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from textwrap import wrap
from typing import TYPE_CHECKING

from ...errors import UnavailableError, reason_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DOTS_AN_INCH = 200

INK, MUTED, FAINT = "#222222", "#6b6b6b", "#d9d9d9"
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
"""Colours that colour-blind readers can tell apart. Source: Okabe & Ito, *Color Universal Design*,
2008. Each model has a marker of its own as well."""
MARKERS = "os^DvP"

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


def new_figure(width: float, height: float) -> "Figure":
    """An empty page, sizes in inches."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), dpi=DOTS_AN_INCH, facecolor="white")


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
