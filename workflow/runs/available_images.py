"""The images that a command was given, for comparison with those that a run was made from."""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from ...contracts import Benchmark, Condition, DataFingerprint, Item, Preprocessing, Source
from ...errors import printable
from ...evaluate.sources.digests import file_digests, shard_digest
from ...evaluate.sources.items import select_items
from ...records.fingerprints import SAMPLE


class AvailableImages:
    """The images that a command was given; each is read at most once for the comparison.

    Args:
        benchmark: Benchmark of the images; for an attack, that of the clean images.
        source: Source of the images.
        items: Items of each condition of the data or of an attack, sorted by id.
        preprocessing: Preprocessing of the model.
        places: Folders and tar files of the source.
    """

    def __init__(
        self,
        benchmark: Benchmark,
        source: Source,
        items: Mapping[Condition, Sequence[Item]],
        preprocessing: Preprocessing,
        places: Sequence[Path] = (),
    ) -> None:
        available = source.conditions()
        self.items = {_data_condition(c, available): own for c, own in items.items()}
        self.noun = benchmark.layout.noun
        self.places = tuple(printable(place.absolute()) for place in places)
        self._benchmark, self._source, self._preprocessing = benchmark, source, preprocessing
        self._digests: dict[tuple[Condition, str], str | None] = {}
        self._shard_digests: dict[tuple[Condition, int, int], str] = {}

    def condition(self, condition: Condition) -> Condition:
        """The condition of the data; it is the clean one for every epsilon of an attack."""
        return _data_condition(condition, self.items)

    def other_conditions(self) -> Iterator[Condition]:
        """Conditions of the data that were not selected."""
        return (c for c in self._source.conditions() if c not in self.items)

    def fingerprint(self, condition: Condition) -> DataFingerprint:
        """Digests of an even sample of a condition's files."""
        ids = [item.id for item in select_items(self.items[condition], SAMPLE)]
        return DataFingerprint(self.digests({condition: ids})[condition], self.places)

    def digests(
        self, ids: Mapping[Condition, Iterable[str]]
    ) -> dict[Condition, dict[str, str | None]]:
        """SHA-256 of the files with these ids in each condition; missing ids are left out.

        Raises:
            InputError: If the data no longer exist.
        """
        items = {condition: self._with_ids(condition, names) for condition, names in ids.items()}
        pairs = [(condition, item) for condition, group in items.items() for item in group]
        unread = [(c, item) for c, item in pairs if (c, item.id) not in self._digests]
        digests = file_digests(self._source, [item for _, item in unread])
        for (condition, item), digest in zip(unread, digests, strict=True):
            self._digests[condition, item.id] = digest
        return {c: {i.id: self._digests[c, i.id] for i in group} for c, group in items.items()}

    def damaged(self, condition: Condition, ids: Iterable[str]) -> list[str]:
        """The ids among these whose images cannot be read or decoded."""
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
        """The items of a condition that have these ids; items are sorted by id."""
        items = self.items.get(condition)
        if items is None:
            items = self._source.items(condition)
        matches = []
        for id in ids:
            position = bisect_left(items, id, key=lambda item: item.id)
            if position < len(items) and items[position].id == id:
                matches.append(items[position])
        return matches

    def _decode(self, data: bytes, item: Item) -> None:
        side_px = self._preprocessing.crop_px
        frames = np.empty((item.frames, side_px, side_px, 3), np.uint8)
        self._benchmark.decode(data, item, self._preprocessing, list(frames))


def _data_condition(condition: Condition, available: Iterable[Condition]) -> Condition:
    return condition if condition in available else Condition()
