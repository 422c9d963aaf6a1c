"""Figures of the report as SVG inside the page.

Text stays text, colours become variables of the page's style, so that a figure follows dark mode,
and marks that carry a name get it as a title.
"""

import io
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING
from xml.etree import ElementTree

import numpy as np

from ..figures import drawing
from ..figures.attack import attack_figure
from ..figures.shape_bias import shape_bias_figure
from ..model_results import ReportContents
from ..tables.shape_bias import OF_CATEGORIES
from .contents import Drawing

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

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

_CURVES = {
    "source": "the attacked model itself, under its own attack",
    "unchanged": "label left by no iterate",
    "reference": "published, over all stimuli",
}
"""Titles of curves that are not named after a model."""

_NUMBER = re.compile(r"\W?[\d.]+")


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
    _name_marks(root, figure)
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


def _name_marks(root: ElementTree.Element, figure: "Figure") -> None:
    """Give each marker of a named curve a title with its numbers."""
    groups = [
        element
        for element in root.iter(f"{{{_SVG}}}g")
        if (id := element.get("id")) and not _OWN_NAME.fullmatch(id)
    ]
    lines = [
        (axes, line)
        for axes in figure.axes
        for line in sorted(axes.lines, key=lambda line: line.get_zorder())
        if line.get_gid()
    ]
    if [group.get("id") for group in groups] != [line.get_gid() for _, line in lines]:
        return  # drawn in another order: the curves keep their names, and the tables have all
    for group, (axes, line) in zip(groups, lines, strict=True):
        marks = group.findall(f".//{{{_SVG}}}use")
        titles = _point_titles(axes, line)
        if len(marks) == len(titles):
            for mark, text in zip(marks, titles, strict=True):
                ElementTree.SubElement(mark, f"{{{_SVG}}}title").text = text


def _point_titles(axes: "Axes", line: "Line2D") -> list[str]:
    """The name of a curve with the numbers of each point; of its row, if the rows have names."""
    rows = [label.get_text() for label in axes.get_yticklabels()]
    named = bool(rows) and not any(_NUMBER.fullmatch(row) for row in rows)
    name, titles = str(line.get_gid()), []
    axis = axes.get_xlabel().partition(",")[0]
    for x, y in np.asarray(line.get_xydata(), float).tolist():
        if named:
            row = rows[min(max(round(y), 0), len(rows) - 1)]
            titles.append(f"{name}, {row}: {axis} {x:.2f}")
        else:
            titles.append(f"{name}: {y:.1f} %, {axis} {x:g}")
    return titles


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
            title.text = _CURVES.get(id, id)
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
