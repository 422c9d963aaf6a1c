"""Figures of the report as SVG inside the page.

Text stays text, colours become variables of the page's style, so that a figure follows dark mode,
and marks that carry a name get it as a title.
"""

import io
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING
from xml.etree import ElementTree

from ..figures import drawing
from ..figures.attack import attack_figure
from ..figures.shape_bias import shape_bias_figure
from ..model_results import ReportContents
from ..tables.shape_bias import OF_CATEGORIES
from .contents import Drawing

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SVG, _XLINK = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"
_VARIABLES = {
    drawing.INK: "--ink",
    drawing.MUTED: "--muted",
    drawing.FAINT: "--line",
    "#ffffff": "--paper",
    "#000000": "--ink",
    **{colour: f"--series-{number}" for number, colour in enumerate(drawing.COLOURS)},
}
"""Variable of the page's style for each colour of the figures."""

_OWN_NAME = re.compile(
    r"(figure|patch|axes|line2d|text|matplotlib\.axis|xtick|ytick|legend|\w*Collection)_\d+"
)
"""Ids that matplotlib gives; all others are names of curves and marks."""


def attack_drawings(contents: ReportContents) -> Iterator[Drawing]:
    """Accuracy under attack over epsilon and steps; nothing if no model was attacked."""
    with drawing.style():
        figure = attack_figure(contents)
        if figure is not None:
            label = (
                "Accuracy under attack over epsilon and over steps; the numbers are in the tables"
            )
            yield Drawing(inline_svg(figure, "attacks", label), label)


def shape_bias_drawings(contents: ReportContents) -> Iterator[Drawing]:
    """Shape bias of each category, beside humans and published models, by both protocols."""
    with drawing.style():
        for rule, stimuli in OF_CATEGORIES:
            figure = shape_bias_figure(contents.models, rule, stimuli)
            if figure is not None:
                label = (
                    f"Shape bias by category, rule {rule} over {stimuli:,} stimuli, beside humans; "
                    "the numbers are in the tables"
                )
                yield Drawing(inline_svg(figure, f"shape-{rule}", label), label)


def inline_svg(figure: "Figure", prefix: str, label: str) -> str:
    """A figure as an SVG element for HTML; ids begin with ``prefix``.

    Raises:
        UnavailableError: If matplotlib is not installed.
    """
    import matplotlib

    buffer = io.BytesIO()
    with matplotlib.rc_context({"svg.fonttype": "none"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None}, transparent=True)
    root = ElementTree.fromstring(buffer.getvalue())
    _prefix_ids(root, prefix)
    for child in [c for c in root if c.tag.endswith("metadata")]:
        root.remove(child)
    for name in ("width", "height"):
        root.attrib.pop(name, None)
    root.set("role", "img")
    root.set("aria-label", label)
    ElementTree.register_namespace("", _SVG)
    ElementTree.register_namespace("xlink", _XLINK)
    return _themed(ElementTree.tostring(root, encoding="unicode"))


def _prefix_ids(root: ElementTree.Element, prefix: str) -> None:
    """Make ids unique in the page; names of curves become titles of their marks."""
    source = ElementTree.tostring(root, encoding="unicode")
    used = set(re.findall(r"(?:url\(#|href=\"#)([^)\"]+)", source))
    for element in root.iter():
        for key in (f"{{{_XLINK}}}href", "clip-path"):
            if (value := element.get(key)) is not None:
                element.set(key, value.replace("#", f"#{prefix}-", 1))
        id = element.attrib.pop("id", None)
        if id is None:
            continue
        if id in used:
            element.set("id", f"{prefix}-{id}")
        elif not _OWN_NAME.fullmatch(id):
            title = ElementTree.Element(f"{{{_SVG}}}title")
            title.text = id
            element.insert(0, title)
            element.set("data-name", id)


def _themed(svg: str) -> str:
    """The same figure with the colours of the page's style."""
    pattern = re.compile("|".join(_VARIABLES))
    return re.sub(
        r'style="[^"]*"',
        lambda match: pattern.sub(lambda c: f"var({_VARIABLES[c.group()]})", match.group()),
        svg,
    )
