"""What all figures share: matplotlib, imported late, its style, its colours, the files it makes.

The same numbers give the same bytes: nothing depends on a user's settings of matplotlib, and no
date goes into a file. Text in SVG is drawn as paths, so that it looks alike wherever it is opened.
"""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ...errors import UnavailableError, reason_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DOTS_AN_INCH = 200

INK, MUTED, FAINT = "#222222", "#6b6b6b", "#d9d9d9"
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
"""Told apart by everybody who sees, whatever colours they see: Okabe & Ito, *Color Universal
Design*, 2008. Beside it, each model has a marker of its own."""
MARKERS = "os^DvP"

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
    """Find out before the work that figures can be drawn.

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
    """Draw and save inside of this.

    Raises:
        UnavailableError: If matplotlib is not installed.
    """
    import warnings

    check_drawing()
    from matplotlib import style as styles

    with styles.context(["default", _STYLE]), warnings.catch_warnings():
        # A letter that the font lacks is drawn as a box; nobody who runs this can act on it.
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
        written = io.BytesIO()
        figure.savefig(written, format=suffix[1:], metadata=metadata)
        files[suffix] = written.getvalue()
    return files


def shortened(text: str, most: int) -> str:
    """At most so many letters; what goes is in the middle, since names often differ at their end.

    Example:
        >>> shortened("resnet50 (random weights), limit 20", 21)
        'resnet50 (…, limit 20'
    """
    half = (most - 1) // 2
    return text if len(text) <= most else f"{text[:half]}…{text[len(text) - half :]}"
