"""What is scored: items, their conditions, sources, benchmarks, and the numbers that come out."""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from .differences import Difference

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    import pyarrow as pa

    from .engines import ImageBatch
    from .models import Preprocessing

    Records = Mapping["Condition", pa.Table]
    Decode = Callable[
        [bytes, "Item", Preprocessing, Sequence[npt.NDArray[np.uint8]]],
        None,
    ]


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
    step_size: float | None = None
    relative_epsilon: bool | None = None
    source: str | None = None
    source_model: str | None = None
    protocol: str | None = None
    rule: str | None = None
    stimuli: int | None = None
    category: str | None = None
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
    adversarial_parity: str | None = None
    reason: str | None = None


def _one_frame(condition: Condition) -> int:
    return 1


@dataclass(frozen=True)
class Tree:
    """How a benchmark's items lie in the folder of their condition: ``<folder>/<file>``.

    Attributes:
        folders: What those folders may be called, and the label of the items in each; none where
            items have no label.
        suffixes: Of the files, in lower case.
        noun: What an item is, for messages: ``image`` or ``video``.
        folder_noun: What such a folder is: ``ImageNet class``.
        example: An item's place, for messages.
        ids_have_folders: Whether an id is ``<folder>/<file>``. Where it is the file's name alone,
            files may as well lie in the condition's folder itself.
        listed: Whether files of a benchmark without conditions may be flat, their classes standing
            in a list, as with ImageNet's validation images.
        attributes: What an item's id says of it. Raises InputError where a name says nothing.
        folder_attribute: The attribute that the folder says as well, where items are in one.
        counts: Whether an id is one of the benchmark's; what is not is passed over.
        frames: Of each item of a condition.
    """

    folders: Callable[[], Mapping[str, int | None]]
    suffixes: frozenset[str]
    noun: str
    folder_noun: str
    example: str
    ids_have_folders: bool = True
    listed: bool = False
    attributes: Callable[[str], tuple[tuple[str, str], ...]] | None = None
    folder_attribute: str | None = None
    counts: Callable[[str], bool] | None = None
    frames: Callable[[Condition], int] = _one_frame

    def is_item(self, name: str) -> bool:
        """Whether a file is an item, by its suffix."""
        return os.path.splitext(name)[1].lower() in self.suffixes


@dataclass(frozen=True)
class Beside:
    """Other runs' finished records, which some numbers need.

    Attributes:
        clean: Of the same model on ImageNet's validation images.
        baseline: Of the model to normalise by, on the same benchmark.
    """

    clean: "pa.Table | None" = None
    baseline: "Records | None" = None


@dataclass(frozen=True)
class Benchmark:
    """A benchmark as data: what is scored, what is recorded of it, what is made of the records.

    Attributes:
        name: As the command line says it.
        title: As its authors say it.
        conditions: All that the published benchmark has, in its order.
        published_items: The number of items in each condition.
        stimuli_px: The side at which the stimuli are stored; none for photos, which are resized.
        tree: How the items of a condition lie in its folder.
        protocol: Changes whenever the same model and data could give another number.
        schema: The columns of a record. A row is an item, or with a column ``frame`` a frame.
        decode: Puts an item's frames, (S, S, 3) each, into arrays that it is given: from its bytes.
            Raises ImageError if the bytes are not those of such an item; the arrays are then
            of no account.
        record: (logits (N, C), the batch of N rows) to N records.
        scores: From the finished records of each condition, and those of other runs where they
            are at hand, to the numbers. Each condition is read once.
        differences: The same for two models, A and B, with their paired differences.
    """

    name: str
    title: str
    conditions: tuple[Condition, ...]
    published_items: int
    stimuli_px: int | None
    tree: Tree
    protocol: str
    schema: "pa.Schema"
    decode: "Decode"
    record: "Callable[[npt.NDArray[np.float32], ImageBatch], pa.RecordBatch]"
    scores: "Callable[[Records, Beside], Iterable[Score]]"
    differences: "Callable[[Records, Records, Beside, Beside], Iterable[Difference]]"
