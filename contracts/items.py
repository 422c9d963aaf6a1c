"""Items, the conditions that they are in, and where their bytes come from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

CONDITION_OPTIONS: Mapping[str, str] = {
    "corruption": "--corruptions",
    "severity": "--severities",
    "perturbation": "--perturbations",
}
"""Options of `evaluator score` that select conditions, by the key whose values they list."""


@dataclass(frozen=True, slots=True)
class Extent:
    """Where an item's bytes are inside a larger file.

    Attributes:
        path: Path of the file, a tar or a Parquet file.
        offset: Offset of the first byte; in a Parquet file, number of the row.
        size: Number of bytes; 0 in a Parquet file, where it is not known before.
    """

    path: str
    offset: int
    size: int


@dataclass(frozen=True, slots=True)
class Item:
    """An image or a video to score.

    Attributes:
        id: Name that is the same in every condition, so that images can be paired:
            ``<wnid>/<file>``.
        label: Class index; `None` if it is not known.
        location: Place of the item's bytes, in words that a user can act on.
        attributes: Facts that a benchmark needs in addition to the label.
        frames: Number of frames; 1 for an image.
        extent: Place of its bytes inside the file that ``location`` begins with; `None` if
            ``location`` is a file of its own.
        missing: Whether only other conditions have the item, so that it cannot be read.
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
    """How a set of items was modified, as ordered key-value pairs; empty for clean images.

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
        """Its folder in a run: Hive partitions, empty for a benchmark without conditions."""
        return "/".join(f"{key}={value}" for key, value in self.values)

    def __getitem__(self, key: str) -> str | int | float:
        return dict(self.values)[key]


class Source(Protocol):
    """Where the bytes of a benchmark's items come from."""

    def conditions(self) -> Sequence[Condition]:
        """The benchmark's conditions that the source holds."""

    def items(self, condition: Condition) -> Sequence[Item]:
        """The items of one condition, sorted by id."""

    def read(self, item: Item) -> bytes:
        """The encoded bytes of one item; safe to call from several threads."""

    @property
    def generated(self) -> Mapping[str, Any] | None:
        """How the data were generated; `None` if this tool did not generate them."""
