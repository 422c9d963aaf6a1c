"""The items of a condition as a lazy sequence: each item is created on access.

ImageNet-C has 3.75 million items. Their ids are the same in every condition and stored once; where
an item's bytes are follows from the place of its condition and its id.
"""

import itertools
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol, TypeVar, overload

import numpy as np
import numpy.typing as npt

from ...contracts import CONDITION_OPTIONS, Condition, DatasetLayout, Extent, Item, Source
from ...errors import ImageError, InputError, UnreadError, printable
from ..layouts import IMAGES_IN_CLASS_FOLDERS
from .listing import read_file, refuse_gone

Ids = tuple[str, ...]
IdPool = dict[Ids, Ids]
"""Lists of ids, each stored once however many conditions have it: ``pool.setdefault(ids, ids)``."""

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Place:
    """Where a condition's items are: files of their own, or members of a tar.

    Attributes:
        prefix: What precedes an item's path in its location: ``DIR/``, or ``noise.tar: fog/1/``.
        paths: Path after the prefix of each item whose id is not that path.
        tar: Path of the tar; ``None`` for files of their own.
        offset: (N,) int64, position of each item's first byte in the tar.
        size: (N,) int64, size of each item in bytes.
    """

    prefix: str
    paths: Mapping[str, str] = field(default_factory=dict)
    tar: str | None = None
    offset: npt.NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    size: npt.NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))

    def location(self, id: str) -> str:
        """The location of an item, for messages; also of a missing one."""
        return f"{self.prefix}{self.paths.get(id, id)}"

    def extent(self, row: int) -> Extent | None:
        """The extent of the item at this position of the place; ``None`` if it is a whole file."""
        if self.tar is None:
            return None
        return Extent(self.tar, int(self.offset[row]), int(self.size[row]))


@dataclass(frozen=True, eq=False)
class JoinedPlace:
    """Where the items of one condition are that several places share.

    Attributes:
        parts: The places.
        ids: Sorted ids of all items.
        part: (N,) int32, position of each item's place among the parts.
        row: (N,) int64, position of each item in its place.
    """

    parts: Sequence[Place]
    ids: Ids
    part: npt.NDArray[np.int32]
    row: npt.NDArray[np.int64]

    def location(self, id: str) -> str:
        """The location of an item, for messages; also of a missing one."""
        position = bisect_left(self.ids, id)
        is_own = position < len(self.ids) and self.ids[position] == id
        return self.parts[int(self.part[position]) if is_own else 0].location(id)

    def extent(self, row: int) -> Extent | None:
        """The extent of the item at this position."""
        return self.parts[int(self.part[row])].extent(int(self.row[row]))


@dataclass(frozen=True, eq=False)
class Items(Sequence[Item]):
    """Items in order of their ids, each created on access; so are slices.

    Attributes:
        ids: Sorted ids; conditions share them.
        place: The place of the bytes.
        layout: Layout of the items, which defines what an id states.
        frames: Frames of each item.
        positions: Positions of the items among the ids; ``None`` for all ids.
        rows: Position in the place of each id, -1 if it is missing; ``None`` if the place has
            exactly these ids.
    """

    ids: Ids
    place: Place | JoinedPlace
    layout: DatasetLayout = IMAGES_IN_CLASS_FOLDERS
    frames: int = 1
    positions: Sequence[int] | None = None
    rows: npt.NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return len(self._positions)

    @overload
    def __getitem__(self, index: int) -> Item: ...
    @overload
    def __getitem__(self, index: slice) -> "Items": ...
    def __getitem__(self, index: int | slice) -> "Item | Items":
        if isinstance(index, slice):
            return replace(self, positions=self._positions[index])
        return self._item(self._positions[index])

    def __iter__(self) -> Iterator[Item]:
        return map(self._item, self._positions)

    def at(self, positions: Sequence[int]) -> "Items":
        """The items at these positions, which conditions can share."""
        assert self.positions is None
        return replace(self, positions=positions)

    def among(self, ids: Ids) -> "Items":
        """An item for each of these ids, which include its own; the others are missing."""
        own_rows = {id: row for row, id in enumerate(self.ids)}
        rows = np.fromiter((own_rows.get(id, -1) for id in ids), np.int64, len(ids))
        return replace(self, ids=ids, positions=None, rows=rows)

    @property
    def _positions(self) -> Sequence[int]:
        return range(len(self.ids)) if self.positions is None else self.positions

    def _item(self, position: int) -> Item:
        id, layout = self.ids[position], self.layout
        row = position if self.rows is None else int(self.rows[position])
        return Item(
            id,
            layout.folders()[id.partition("/")[0]] if layout.id_includes_dir else None,
            self.place.location(id),
            () if layout.attributes is None else layout.attributes(id),
            self.frames,
            extent=self.place.extent(row) if row >= 0 else None,
            missing=row < 0,
        )


def joined_items(parts: Sequence[Items]) -> Items:
    """The items of one condition that lie in several places.

    Raises:
        InputError: If an id is in two places.
    """
    entries = sorted(
        (id, number, row) for number, part in enumerate(parts) for row, id in enumerate(part.ids)
    )
    ids = tuple(id for id, _, _ in entries)
    for (id, one, _), (next_id, other, _) in itertools.pairwise(entries):
        if id == next_id:
            first, second = (printable(parts[n].place.location(id)) for n in (one, other))
            raise InputError(f"{printable(id)} exists twice: {first} and {second}. Keep only one.")
    places = [part.place for part in parts if isinstance(part.place, Place)]
    numbers = np.array([number for _, number, _ in entries], np.int32)
    rows = np.array([row for _, _, row in entries], np.int64)
    return replace(parts[0], ids=ids, place=JoinedPlace(places, ids, numbers, rows))


class ItemSource(Source, Protocol):
    """A source whose items are lazy."""

    @property
    def index_places(self) -> Sequence[str]:
        """The lists and files whose class indices gave labels, of the items read so far."""

    def items(self, condition: Condition) -> Items:
        """The items of one condition, sorted by id."""


def shared_items(
    source: ItemSource, conditions: Sequence[Condition], *, missing_ok: bool = False
) -> dict[Condition, Items]:
    """The items of each condition, which must have the same ids.

    Args:
        source: The source of the items.
        conditions: The conditions.
        missing_ok: Whether a condition that lacks ids gets an item for each of them, which cannot
            be read.

    Raises:
        InputError: If a condition lacks ids that others have.
    """
    items = {condition: source.items(condition) for condition in conditions}
    distinct = {id(own.ids): own.ids for own in items.values()}
    all_ids = next(iter(distinct.values()), ())
    if len(distinct) > 1:
        all_ids = tuple(sorted(set().union(*distinct.values())))
    for condition, own in items.items():
        if len(own) < len(all_ids):
            if not missing_ok:
                raise _lacking(condition, items, all_ids)
            items[condition] = own.among(all_ids)
    return items


def select_items(items: Sequence[T], limit: int | None) -> list[T]:
    """``limit`` of the items, evenly spaced over the sorted ids.

    The first ones would all be of one class; equal positions in all conditions are equal images.

    Raises:
        InputError: If the limit is below one.

    Example:
        >>> [item.id for item in select_items([Item(str(i), 0, "") for i in range(10)], 4)]
        ['0', '2', '5', '7']
    """
    if limit is None or limit >= len(items):
        return list(items)
    if limit < 1:
        raise InputError(f"--limit {limit} leaves no images. Expected at least 1.")
    return [items[position * len(items) // limit] for position in range(limit)]


def read_item_file(item: Item) -> bytes:
    """The bytes of an item that is a file of its own.

    Raises:
        ImageError: If it is missing or cannot be read.
        InputError: If nothing of its condition can be read any more.
    """
    refuse_missing(item)
    try:
        return read_file(item.location)
    except UnreadError:
        file = Path(item.location)
        in_class = file.parent.name == item.id.partition("/")[0]
        refuse_gone(file.parents[1] if in_class else file.parent)
        raise


def refuse_missing(item: Item) -> None:
    """Refuse an item that other conditions have and its own does not.

    Raises:
        ImageError: If it is one.
    """
    if item.missing:
        raise ImageError(f"{printable(item.location)} is missing, but other conditions have it.")


def _lacking(condition: Condition, items: Mapping[Condition, Items], all_ids: Ids) -> InputError:
    own = items[condition].ids
    first = min(set(all_ids).difference(own))
    holder = next(c for c, other in items.items() if first in other.ids)
    noun = items[condition].layout.noun
    options = " and ".join(CONDITION_OPTIONS[key] for key, _ in condition.values)
    return InputError(
        f"The condition {condition} lacks {len(all_ids) - len(own)} of "
        f"{len(all_ids)} {noun}s, first {printable(first)}, which {holder} has. All "
        f"conditions must hold the same {noun}s: complete the data, or name the conditions "
        f"to score with {options}."
    )
