"""What is scored: items, their conditions, sources, benchmarks, and the numbers that come out."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from .differences import Difference

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa

    Records = Mapping["Condition", pa.Table]


@dataclass(frozen=True, slots=True)
class Extent:
    """Where an item's bytes are inside a larger file.

    Attributes:
        path: Of the file, a tar.
        offset: Of the first byte.
        size: In bytes.
    """

    path: str
    offset: int
    size: int


@dataclass(frozen=True, slots=True)
class Item:
    """One thing to score.

    Attributes:
        id: The same in every condition, so that images can be paired: ``<wnid>/<file>``.
        label: Class index, or none.
        location: Where its bytes are, in words that a user can act on.
        attributes: What a benchmark needs beside the label.
        frames: 1 for an image.
        extent: Where its bytes are inside the file that ``location`` begins with; none where
            ``location`` is a file of its own.
        missing: Whether other conditions have it and this one does not: it cannot be read.
    """

    id: str
    label: int | None
    location: str
    attributes: tuple[tuple[str, str], ...] = ()
    frames: int = 1
    extent: Extent | None = None
    missing: bool = False


@dataclass(frozen=True)
class Condition:
    """What a set of items was put through, as ordered key-value pairs; none for clean images.

    Example:
        >>> fog = Condition((("corruption", "fog"), ("severity", 3)))
        >>> str(fog), fog.folder
        ('corruption=fog, severity=3', 'corruption=fog/severity=3')
    """

    values: tuple[tuple[str, str | int | float], ...] = ()

    def __str__(self) -> str:
        return ", ".join(f"{key}={value}" for key, value in self.values) or "clean"

    @property
    def folder(self) -> str:
        """Its place in a run: Hive partitions, empty for a benchmark without conditions."""
        return "/".join(f"{key}={value}" for key, value in self.values)

    def __getitem__(self, key: str) -> str | int | float:
        return dict(self.values)[key]


class Source(Protocol):
    """Where the bytes of a benchmark's items come from."""

    def conditions(self) -> Sequence[Condition]:
        """Those of the benchmark's conditions that are there."""

    def items(self, condition: Condition) -> Sequence[Item]:
        """The items of one condition, sorted by id."""

    def read(self, item: Item) -> bytes:
        """The encoded bytes of one item; several threads may ask at once."""

    @property
    def generated(self) -> Mapping[str, Any] | None:
        """How the data were made, where the tool made them itself."""


@dataclass(frozen=True)
class Score:
    """One number, with everything that says what it is; a row of the report's JSON.

    The first block says which run it came from, the second which condition, the third the number.
    ``value`` is none where the number is refused, and ``reason`` says why. Rates are fractions.
    """

    run: str = ""
    model: str = ""
    weights: str = ""
    engine: str = ""
    devices: tuple[str, ...] = ()
    precision: str = ""
    crop_px: int = 0
    benchmark: str = ""

    metric: str = ""
    corruption: str | None = None
    perturbation: str | None = None
    severity: int | None = None
    epsilon: float | None = None
    steps: int | None = None
    restarts: int | None = None
    source: str | None = None
    protocol: str | None = None
    rule: str | None = None
    stimuli: int | None = None
    normalize_by: str | None = None

    value: float | None = None
    low: float | None = None
    high: float | None = None
    n: int = 0
    skipped: int = 0
    complete: bool = False
    generated: bool = False
    simulated: bool = False
    parity: str = ""
    reason: str | None = None


@dataclass(frozen=True)
class Benchmark:
    """A benchmark as data: what is scored, what is recorded of an image, what is made of it.

    Attributes:
        name: As the command line says it.
        title: As its authors say it.
        conditions: All that the published benchmark has, in its order.
        published_items: The number of items in each condition.
        stimuli_px: The side at which the stimuli are stored; none for photos, which are resized.
        protocol: Changes whenever the same model and data could give another number.
        schema: The columns of a record.
        record: (logits (N, C), items) to N records.
        scores: From the finished records of each condition, and those of the clean images of the
            same model where they are at hand, to the numbers. Each condition is read once.
        differences: The same for two models, A and B, with their paired differences.
    """

    name: str
    title: str
    conditions: tuple[Condition, ...]
    published_items: int
    stimuli_px: int | None
    protocol: str
    schema: "pa.Schema"
    record: "Callable[[npt.NDArray[np.float32], Sequence[Item]], pa.RecordBatch]"
    scores: "Callable[[Records, pa.Table | None], Iterable[Score]]"
    differences: (
        "Callable[[Records, Records, pa.Table | None, pa.Table | None], Iterable[Difference]]"
    )
