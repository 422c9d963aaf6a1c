"""What the page shows besides the tables: facts of runs, pictures and figures."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ..model_results import ModelResults
from ..table import Table

MOST_EXAMPLES = 12
"""Largest number of examples in each list of images or videos."""

MOST_MAXIMIZED = 24
"""Largest number of maximizing images on the page."""

THUMBNAIL_PX = 112
"""Longest side of a thumbnail's frame."""


@dataclass(frozen=True)
class RunFacts:
    """Provenance of a run, as text.

    Attributes:
        folder: Folder of the run, as scores name it.
        title: What ran, in a few words.
        facts: Names and values.
        commands: Command lines that made it; empty if none is recorded.
    """

    folder: str
    title: str
    facts: tuple[tuple[str, str], ...]
    commands: tuple[str, ...] = ()


@dataclass(frozen=True)
class Picture:
    """A thumbnail with its caption.

    Attributes:
        jpeg: Bytes of a JPEG.
        size: Width and height in pixels.
        label: What it shows, for readers who do not see it.
        lines: Lines of the caption.
    """

    jpeg: bytes
    size: tuple[int, int]
    label: str
    lines: tuple[str, ...]


@dataclass(frozen=True)
class Gallery:
    """Pictures and the table of what they show.

    Attributes:
        title: Heading of the gallery.
        table: Table of all that the gallery is about.
        pictures: Thumbnails; empty if the images cannot be read.
        note: Number and size of the thumbnails, or why there are none.
        runs: Folders of the runs that the pictures and the table are of.
    """

    title: str
    table: Table
    pictures: tuple[Picture, ...] = ()
    note: str = ""
    runs: tuple[str, ...] = ()


@dataclass(frozen=True)
class Drawing:
    """A figure as SVG.

    Attributes:
        svg: The SVG element, which can stand in HTML.
        label: What it shows.
    """

    svg: str
    label: str


@dataclass(frozen=True)
class PageContents:
    """Content of the page.

    Attributes:
        models: Results of the user's models.
        published: Published results of each model, by the name of the user's results.
        published_top1: Top-1 error that is published with the weights, by folder of a run.
        tables: Tables of the report, in their order.
        runs: Provenance of each run.
        reliability: Name and verdict of each attack.
        table_runs: Folder of the run that all numbers of a table are of, by the table's title.
        drawings: Figures, by ``attacks`` and ``shape-bias``.
        no_drawings: Why there are no figures; empty if there are.
        maximized: Maximizing images.
        examples: Images and videos that models fail on.
        version: Version of this package.
    """

    models: Sequence[ModelResults]
    published: Mapping[str, ModelResults]
    published_top1: Mapping[str, float]
    tables: Sequence[Table]
    runs: Sequence[RunFacts]
    reliability: Sequence[tuple[str, str]] = ()
    table_runs: Mapping[str, str] = field(default_factory=dict)
    drawings: Mapping[str, Sequence[Drawing]] = field(default_factory=dict)
    no_drawings: str = ""
    maximized: Sequence[Gallery] = ()
    examples: Sequence[Gallery] = ()
    version: str = ""
