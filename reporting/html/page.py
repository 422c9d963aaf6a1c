"""The page: its sections, and its rendering as one file of bounded size."""

import base64
import hashlib
import importlib.resources
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache

import jinja2

from ...contracts import Score
from ...errors import OutputError
from ..csv_files import slug
from ..published.paper import SOURCE
from ..table import Table
from .cells import PUBLISHED_ID, RUNS, Places, TableView, table_view
from .contents import MOST_EXAMPLES, MOST_MAXIMIZED, THUMBNAIL_PX, Gallery, PageContents
from .summary import summary_cards

MOST_BYTES = 5_000_000
"""Largest size of the page."""

CLAIMS = "Claims of the paper"
RELIABILITY = "is the attack reliable?"
_SECTIONS = {
    "summary": "Summary",
    "claims": CLAIMS,
    "paper": "Tables of the paper",
    "imagenet-c": "Corruptions",
    "imagenet-p": "Perturbations",
    "attacks": "Attacks",
    "cue-conflict": "Shape bias",
    "others": "Other tables",
    "maximized": "Maximizing images",
    "examples": "Examples",
    "runs": RUNS,
}
"""Headings, by id, in their order."""

_OF_BENCHMARK = {"whitebox": "attacks", "transfer": "attacks"}


@dataclass(frozen=True)
class Section:
    """A section of the page.

    Attributes:
        id: Id in the page.
        heading: Heading.
        tables: Tables of the section.
    """

    id: str
    heading: str
    tables: tuple[TableView, ...]


def page(contents: PageContents) -> str:
    """The page as HTML.

    If it is larger than ``MOST_BYTES``, thumbnails are left out, then figures, then descriptions of
    numbers, and the page says so.

    Raises:
        OutputError: If it is too large without them.
    """
    left_out: list[str] = []
    html = _rendered(contents, left_out)
    for name, smaller in _REDUCTIONS:
        if len(html.encode()) <= MOST_BYTES:
            return html
        contents, left_out = smaller(contents), [*left_out, name]
        html = _rendered(contents, left_out)
    size = len(html.encode())
    if size > MOST_BYTES:
        raise OutputError(
            f"The page would have {size / 1e6:.1f} MB; expected at most {MOST_BYTES / 1e6:g} MB. "
            f"Its {len(contents.models)} models are too many: give fewer runs."
        )
    return html


def _without_pictures(contents: PageContents) -> PageContents:
    def bare(galleries: Sequence[Gallery]) -> tuple[Gallery, ...]:
        return tuple(replace(gallery, pictures=()) for gallery in galleries)

    return replace(contents, maximized=bare(contents.maximized), examples=bare(contents.examples))


def _without_drawings(contents: PageContents) -> PageContents:
    return replace(contents, drawings={}, no_drawings="")


DESCRIPTIONS = "the descriptions of numbers"
_REDUCTIONS: tuple[tuple[str, Callable[[PageContents], PageContents]], ...] = (
    ("thumbnails", _without_pictures),
    ("figures", _without_drawings),
    (DESCRIPTIONS, lambda contents: contents),
)
"""What is left out of a page that is too large, in this order."""


def _rendered(contents: PageContents, left_out: Sequence[str]) -> str:
    panels = {run.folder: f"run-{number}" for number, run in enumerate(contents.runs, 1)}
    table_runs = {
        **contents.table_runs,
        **{g.table.title: g.runs[0] for g in contents.maximized if g.runs},
    }
    described = DESCRIPTIONS not in left_out
    places = Places(panels, contents.models, table_runs, described)
    cards, sections = summary_cards(contents, places), list(_sections(contents, places))
    script = _file("page.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    html = _template().render(
        contents=contents,
        cards=cards,
        sections=sections,
        panels=[(panels[run.folder], run) for run in contents.runs],
        run_of={run.folder: (panels[run.folder], run.title) for run in contents.runs},
        galleries=_galleries(contents, places),
        published_id=PUBLISHED_ID,
        source=SOURCE,
        left_out=left_out,
        caps={"examples": MOST_EXAMPLES, "maximized": MOST_MAXIMIZED, "px": THUMBNAIL_PX},
        style=_file("page.css"),
        script=script,
        script_sha256=digest,
    )
    # A path may hold bytes that are not text.
    return html.encode("utf-8", "backslashreplace").decode("utf-8")


def _sections(contents: PageContents, places: Places) -> Iterator[Section]:
    tables: dict[str, list[TableView]] = {name: [] for name in _SECTIONS}
    for number, table in enumerate(contents.tables):
        view = table_view(table, f"t{number}-{slug(table.title)}", places)
        tables[section_of(table)].append(view)
    always = {
        "summary": bool(contents.models),
        "attacks": bool(contents.drawings.get("attacks") or contents.reliability),
        "cue-conflict": bool(contents.drawings.get("shape-bias")),
        "maximized": bool(contents.maximized),
        "examples": bool(contents.examples),
        "runs": bool(contents.runs),
    }
    for name, heading in _SECTIONS.items():
        if tables[name] or always.get(name):
            yield Section(name, heading, tuple(tables[name]))


def section_of(table: Table) -> str:
    """Id of the section that a table belongs to, by its title and numbers.

    Example:
        >>> section_of(Table("What ran", ("run",), ())), section_of(Table("New", ("a",), ()))
        ('runs', 'others')
    """
    if table.title.startswith(CLAIMS):
        return "claims"
    if table.title.startswith("Table ") and SOURCE in table.title:
        return "paper"
    if table.title.endswith(RELIABILITY):
        return "attacks"
    if table.title == RUNS:
        return "runs"
    if table.title == "Robustness":
        return "summary"
    numbers = (number for row in table.numbers for number in row)
    first = next((number for number in numbers if isinstance(number, Score)), None)
    if first is None:
        return "others"
    name = _OF_BENCHMARK.get(first.benchmark, first.benchmark)
    return name if name in _SECTIONS else "others"


def _galleries(
    contents: PageContents, places: Places
) -> dict[str, list[tuple[Gallery, TableView]]]:
    return {
        name: [
            (gallery, table_view(gallery.table, f"{name}-{number}", places))
            for number, gallery in enumerate(galleries)
        ]
        for name, galleries in (("maximized", contents.maximized), ("examples", contents.examples))
    }


@cache
def _template() -> jinja2.Template:
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(_file),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters["jpeg"] = lambda data: (
        f"data:image/jpeg;base64,{base64.b64encode(data).decode()}"
    )
    return environment.get_template("page.html")


def _file(name: str) -> str:
    folder = importlib.resources.files("evaluator") / "reporting" / "html" / "templates"
    return (folder / name).read_text("utf-8")
