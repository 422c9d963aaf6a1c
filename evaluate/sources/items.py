"""The items of a condition without an object for each: made when they are asked for.

ImageNet-C has 3.75 million items. Their ids are the same in every condition and kept once; where
an item's bytes are follows from its condition's place and its id.
"""

import os
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
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
T = TypeVar("T")


class Place(Protocol):
    """Where a condition's items are."""

    def location(self, id: str) -> str:
        """Of an item, in words that a user can act on; also of one that is not there."""

    def extent(self, row: int) -> Extent | None:
        """Of the item with this position among those of the place."""


@dataclass(frozen=True)
class Files:
    """A file for each item: ``DIR/<wnid>/<file>``, or ``DIR/<file>`` where the folder is flat.

    Attributes:
        folder: In which all are.
        flat: Whether the files lie in it although their ids have folders.
        paths: Of each item below the folder, where its id does not say it.
    """

    folder: Path
    flat: bool = False
    paths: Mapping[str, str] = field(default_factory=dict)

    def location(self, id: str) -> str:
        """The file's path."""
        path = id.partition("/")[2] if self.flat else self.paths.get(id, id)
        return os.path.join(self.folder, path)

    def extent(self, row: int) -> None:
        """None: the item is the whole file."""


@dataclass(frozen=True, eq=False)
class Items(Sequence[Item]):
    """Items in order of their ids, each made when it is asked for; so are slices.

    Attributes:
        ids: Sorted; conditions share them.
        place: Where the bytes are.
        chosen: Positions among the ids, where these are not all of them.
        there: For each of the ids its position in the place, -1 where it is missing; none where
            the place has just these ids.
        tree: What an id says of its item.
        frames: Of each item.
    """

    ids: Ids
    place: Place
    chosen: Sequence[int] | None = None
    there: npt.NDArray[np.int64] | None = None
    tree: DatasetLayout = IMAGES_IN_CLASS_FOLDERS
    frames: int = 1

    def __len__(self) -> int:
        return len(self.ids if self.chosen is None else self.chosen)

    @overload
    def __getitem__(self, index: int) -> Item: ...
    @overload
    def __getitem__(self, index: slice) -> "Items": ...
    def __getitem__(self, index: int | slice) -> "Item | Items":
        if isinstance(index, slice):
            return replace(self, chosen=self._positions[index])
        return self._item(self._positions[index])

    def __iter__(self) -> Iterator[Item]:
        return map(self._item, self._positions)

    def at(self, positions: Sequence[int]) -> "Items":
        """Those at these positions, which conditions can share."""
        assert self.chosen is None
        return replace(self, chosen=positions)

    def among(self, ids: Ids) -> "Items":
        """An item for each of these ids, which hold all of its own; the others are missing."""
        rows = {id: row for row, id in enumerate(self.ids)}
        there = np.fromiter((rows.get(id, -1) for id in ids), np.int64, len(ids))
        return replace(self, ids=ids, chosen=None, there=there)

    @property
    def _positions(self) -> Sequence[int]:
        return range(len(self.ids)) if self.chosen is None else self.chosen

    def _item(self, position: int) -> Item:
        id, tree = self.ids[position], self.tree
        row = position if self.there is None else int(self.there[position])
        return Item(
            id,
            tree.folders()[id.partition("/")[0]] if tree.id_includes_dir else None,
            self.place.location(id),
            () if tree.attributes is None else tree.attributes(id),
            self.frames,
            extent=self.place.extent(row) if row >= 0 else None,
            missing=row < 0,
        )


class ItemSource(Source, Protocol):
    """A source whose items are lazy."""

    def items(self, condition: Condition) -> Items:
        """The items of one condition, sorted by id."""


@dataclass(frozen=True)
class IdPool:
    """Lists of ids, each kept once however many conditions have it."""

    known: list[Ids] = field(default_factory=list)

    def shared(self, ids: Sequence[str]) -> Ids:
        """These ids, as the tuple that is there already if one is equal."""
        wanted = tuple(ids)
        for known in self.known:
            if known == wanted:
                return known
        self.known.append(wanted)
        return wanted


def shared_items(
    source: ItemSource, conditions: Sequence[Condition], *, missing_ok: bool = False
) -> dict[Condition, Items]:
    """The items of each condition, which must have the same ids.

    Args:
        source: Where they are.
        conditions: Which.
        missing_ok: Give a condition that lacks ids an item for each of them, which cannot be read.

    Raises:
        InputError: If a condition lacks ids that others have: which, how many, which first.
    """
    items = {condition: source.items(condition) for condition in conditions}
    distinct = {id(found.ids): found.ids for found in items.values()}
    everything = next(iter(distinct.values()), ())
    if len(distinct) > 1:
        everything = tuple(sorted(set().union(*distinct.values())))
    for condition, found in items.items():
        if len(found) < len(everything):
            if not missing_ok:
                raise _lacking(condition, items, everything)
            items[condition] = found.among(everything)
    return items


def ids_of_names(
    tree: DatasetLayout, paths: Iterable[str], where: Callable[[str], str]
) -> dict[str, str]:
    """Of each item its path, by its id, sorted; for a tree whose ids are names of files alone.

    Args:
        tree: How the items lie.
        paths: ``<file>`` or ``<folder>/<file>``, below the folder of their condition.
        where: From such a path to words that a user can act on.

    Raises:
        InputError: If a name says nothing, or not what its folder says, or is there twice.
    """
    assert tree.attributes is not None
    found: dict[str, str] = {}
    for path in paths:
        folder, _, name = path.rpartition("/")
        if tree.is_benchmark_item is not None and not tree.is_benchmark_item(name):
            continue
        try:
            says = dict(tree.attributes(name))
        except InputError as error:
            raise InputError(f"{where(path)}: {error}") from error
        if folder and tree.folder_attribute and folder != says[tree.folder_attribute]:
            raise InputError(
                f"{where(path)} lies in the folder {folder}, but its name says "
                f"{says[tree.folder_attribute]}. Move or rename it."
            )
        other = found.setdefault(name, path)
        if other != path:
            raise InputError(
                f"{name} is there twice: {where(other)} and {where(path)}. Leave one of them."
            )
    return {id: found[id] for id in sorted(found)}


def select_items(items: Sequence[T], limit: int | None) -> list[T]:
    """``limit`` of the items, evenly spaced over the sorted ids.

    The first ones would all be of one class; the same positions in every condition are the same
    images.

    Raises:
        InputError: If the limit is below one.

    Example:
        >>> [item.id for item in select_items([Item(str(i), 0, "") for i in range(10)], 4)]
        ['0', '2', '5', '7']
    """
    if limit is None or limit >= len(items):
        return list(items)
    if limit < 1:
        raise InputError(f"--limit {limit} leaves no image; expected at least 1.")
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
    """Name an item that other conditions have and its own does not.

    Raises:
        ImageError: If it is one.
    """
    if item.missing:
        raise ImageError(f"{printable(item.location)} is not there, but other conditions have it.")


def _lacking(condition: Condition, items: Mapping[Condition, Items], everything: Ids) -> InputError:
    own = items[condition].ids
    first = min(set(everything).difference(own))
    holder = next(c for c, found in items.items() if _holds(found.ids, first))
    noun = items[condition].tree.noun
    options = " and ".join(CONDITION_OPTIONS[key] for key, _ in condition.values)
    return InputError(
        f"The condition {condition} lacks {len(everything) - len(own)} of "
        f"{len(everything)} {noun}s, first {printable(first)}, which {holder} has. All "
        f"conditions must hold the same {noun}s: complete the tree, or name the conditions "
        f"to score with {options}."
    )


def _holds(ids: Ids, wanted: str) -> bool:
    position = bisect_left(ids, wanted)
    return position < len(ids) and ids[position] == wanted
