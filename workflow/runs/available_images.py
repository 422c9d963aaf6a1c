"""The images that a command was given, read to be compared with those that a run was made of."""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Self

import numpy as np

from ...contracts import Benchmark, Condition, Item, Preprocessing, Source
from ...errors import printable
from ...evaluate.sources.digests import file_digests, shard_digest
from ...evaluate.sources.items import select_items
from ...records.fingerprints import SAMPLE
from .selection import Selection

Digests = dict[str, str | None]


class AvailableImages:
    """The images that a command was given; each is read once to be compared.

    Args:
        benchmark: The benchmark that they are of; for an attack, that of the clean images.
        source: Where they are.
        items: Those of each condition, sorted by id.
        preprocessing: Of the model.
        places: The folders and tar files of the source.
    """

    def __init__(
        self,
        benchmark: Benchmark,
        source: Source,
        items: Mapping[Condition, Sequence[Item]],
        preprocessing: Preprocessing,
        places: Sequence[Path] = (),
    ) -> None:
        self.items, self.noun = items, benchmark.tree.noun
        self.places = tuple(printable(place.absolute()) for place in places)
        self._benchmark, self._source, self._preprocessing = benchmark, source, preprocessing
        self._digests: dict[Condition, Digests] = {}
        self._shard_digests: dict[tuple[Condition, int, int], str] = {}

    @classmethod
    def of(
        cls,
        benchmark: Benchmark,
        source: Source,
        selection: Selection,
        preprocessing: Preprocessing,
        places: Sequence[Path],
    ) -> Self:
        """Those of a selection, whose conditions are the data's or an attack's."""
        there = source.conditions()
        items = {_data_condition(c, there): items for c, items in selection.items.items()}
        return cls(benchmark, source, items, preprocessing, places)

    def condition(self, condition: Condition) -> Condition:
        """The condition of the data: an attack has clean images at every epsilon."""
        return _data_condition(condition, self.items)

    def other_conditions(self) -> Iterator[Condition]:
        """Conditions of the data that were not asked for."""
        return (c for c in self._source.conditions() if c not in self.items)

    def sample(self, condition: Condition) -> Digests:
        """SHA-256 of an even sample of a condition's files, by id."""
        ids = [item.id for item in select_items(self.items[condition], SAMPLE)]
        return self.digests({condition: ids})[condition]

    def digests(self, ids: Mapping[Condition, Iterable[str]]) -> dict[Condition, Digests]:
        """SHA-256 of the files with these ids of each condition; less those that are not there.

        Raises:
            InputError: If the data are gone.
        """
        items = {c: self._with_ids(c, wanted) for c, wanted in ids.items()}
        unread = [
            (condition, item)
            for condition, wanted in items.items()
            for item in wanted
            if item.id not in self._digests.setdefault(condition, {})
        ]
        digests = file_digests(self._source, [item for _, item in unread])
        for (condition, item), digest in zip(unread, digests, strict=True):
            self._digests[condition][item.id] = digest
        return {c: {item.id: self._digests[c][item.id] for item in w} for c, w in items.items()}

    def damaged(self, condition: Condition, ids: Iterable[str]) -> list[str]:
        """Those of the images that cannot be read or decoded."""
        items = self._with_ids(condition, ids)
        digests = file_digests(self._source, items, self._decode)
        return [item.id for item, digest in zip(items, digests, strict=True) if digest is None]

    def shard_digest(self, condition: Condition, start: int, stop: int) -> str:
        """SHA-256 over (id, bytes) of a range of a condition's items."""
        key = condition, start, stop
        if key not in self._shard_digests:
            items = self.items[condition][start:stop]
            self._shard_digests[key] = shard_digest(self._source, items)
        return self._shard_digests[key]

    def _with_ids(self, condition: Condition, ids: Iterable[str]) -> list[Item]:
        items = self.items.get(condition)
        return _with_ids(self._source.items(condition) if items is None else items, ids)

    def _decode(self, data: bytes, item: Item) -> None:
        side_px = self._preprocessing.crop_px
        frames = np.empty((item.frames, side_px, side_px, 3), np.uint8)
        self._benchmark.decode(data, item, self._preprocessing, list(frames))


def _data_condition(condition: Condition, of_data: Iterable[Condition]) -> Condition:
    return condition if condition in of_data else Condition()


def _with_ids(items: Sequence[Item], ids: Iterable[str]) -> list[Item]:
    """The items that have these ids; items are sorted by id."""
    found = []
    for id in ids:
        position = bisect_left(items, id, key=lambda item: item.id)
        if position < len(items) and items[position].id == id:
            found.append(items[position])
    return found
