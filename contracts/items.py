"""Items, the conditions that they are in, and where their bytes come from."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol


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
