"""Whether the images at hand are those that a run was made of.

A run is found again by the names of its images. Their bytes are compared as well: an even sample of
each condition whenever it is used again, and every file with ``--verify-data``.
"""

import itertools
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from threading import Lock
from typing import Self

import numpy as np

from ..contracts import (
    Benchmark,
    Condition,
    DataFingerprint,
    Item,
    Preprocessing,
    Progress,
    Run,
    Shard,
    Source,
)
from ..errors import RunMismatchError, shown
from ..evaluate.sources.digests import file_digests, shard_digest
from ..evaluate.sources.items import select_items
from ..records.fingerprints import (
    SAMPLE,
    begin_fingerprint,
    can_be_compared,
    differences,
    has_fingerprint,
    has_shards,
    read_fingerprint,
)
from ..records.reading import read_provenance
from ..records.run import MANIFEST, open_run
from ..records.shards import shard_path, shards_of
from .selection import Selection

Difference = tuple[Condition, str, DataFingerprint]
"""A condition, the id of its first image that differs, and the fingerprint that it differs from."""


class ImagesAtHand:
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
        self.places = tuple(shown(place.absolute()) for place in places)
        self._benchmark, self._source, self._preprocessing = benchmark, source, preprocessing
        self._digests: dict[tuple[Condition, str], str | None] = {}
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

    def other_conditions(self) -> list[Condition]:
        """Conditions of the data that were not asked for."""
        return [c for c in self._source.conditions() if c not in self.items]

    def sample(self, condition: Condition) -> dict[str, str | None]:
        """SHA-256 of an even sample of a condition's files, by id.

        ``None`` for damaged files: somebody may repair them, and continue the run.
        """
        items = select_items(self.items[condition], SAMPLE)
        return file_digests(self._source, items, self._decode)

    def is_intact(self, condition: Condition, id: str) -> bool:
        """Whether an image can be decoded."""
        items = _with_ids(self._listed(condition), [id])
        return file_digests(self._source, items, self._decode).get(id) is not None

    def digests(self, condition: Condition, ids: Iterable[str]) -> dict[str, str | None]:
        """SHA-256 of the files with these ids; ids that are not there are left out."""
        items = _with_ids(self._listed(condition), ids)
        unread = [item for item in items if (condition, item.id) not in self._digests]
        digests = file_digests(self._source, unread)
        self._digests.update(((condition, name), digest) for name, digest in digests.items())
        return {item.id: self._digests[condition, item.id] for item in items}

    def shard_digest(self, condition: Condition, start: int, stop: int) -> str:
        """SHA-256 over (id, bytes) of a range of a condition's items."""
        key = condition, start, stop
        if key not in self._shard_digests:
            items = self.items[condition][start:stop]
            self._shard_digests[key] = shard_digest(self._source, items)
        return self._shard_digests[key]

    def _listed(self, condition: Condition) -> Sequence[Item]:
        chosen = self.items.get(condition)
        return self._source.items(condition) if chosen is None else chosen

    def _decode(self, data: bytes, item: Item) -> None:
        side_px = self._preprocessing.crop_px
        frames = np.empty((item.frames, side_px, side_px, 3), np.uint8)
        self._benchmark.decode(data, item, self._preprocessing, list(frames))


class RunData:
    """The images of a run, compared with those at hand.

    Args:
        run: The run.
        images: The images at hand.
        progress: Progress callback.
        conditions: Conditions of the run, which may be those of an attack.
        option: The option that names the folder of the run.
    """

    def __init__(
        self,
        run: Run,
        images: ImagesAtHand,
        progress: Progress,
        *,
        conditions: Sequence[Condition],
        option: str = "--out",
    ) -> None:
        self._run, self._images, self._conditions = run, images, conditions
        self._progress, self._option = progress, option
        self._begun: set[Condition] = set()
        self._lock = Lock()

    def begin(self, *, every_file: bool = False) -> None:
        """Compare the images that the run has, and record those of its other conditions.

        Args:
            every_file: As for ``check``.

        Raises:
            RunMismatchError: If an image differs.
            InputError: If a fingerprint or a shard is damaged, or a fingerprint is missing.
            OutputError: If a fingerprint cannot be written.
        """
        self.check(every_file=every_file)
        for condition in self._images.items:
            self.begin_condition(condition)

    def check(self, *, every_file: bool = False) -> None:
        """Compare the images of the conditions that the run has already.

        Args:
            every_file: Whether to compare every file of the shards that are finished with their
                digests, beside the samples.

        Raises:
            RunMismatchError: If an image differs.
            InputError: If a fingerprint or a shard is damaged, or a fingerprint is missing.
        """
        known = [c for c in self._images.items if has_fingerprint(self._run, c)]
        if (difference := differing_image(self._run, self._images)) is not None:
            raise self._mismatch(difference)
        self._begun.update(known)
        if every_file:
            self._check_every_file()
        elif not all([can_be_compared(self._run, c) for c in self._images.items]):
            noun = self._images.noun
            self._progress.note(
                f"{shown(self._run.folder)} was begun by an older version, which did not record "
                f"the content of its {noun}s: they cannot be compared with these {noun}s. "
                "--verify-data compares them all."
            )

    def begin_condition(self, condition: Condition) -> None:
        """Record the fingerprint of a condition, or compare with the one that another process did.

        Raises:
            RunMismatchError: If an image differs.
            OutputError: If the fingerprint cannot be written.
        """
        condition = self._images.condition(condition)
        with self._lock:
            if condition in self._begun:
                return
            if has_fingerprint(self._run, condition) or not has_shards(self._run, condition):
                self._record(condition)
            self._begun.add(condition)

    def _record(self, condition: Condition) -> None:
        files = self._images.sample(condition)
        fingerprint = DataFingerprint(files, self._images.places)
        recorded = begin_fingerprint(self._run, condition, fingerprint)
        for name in differences(recorded, files):
            raise self._mismatch((condition, name, recorded))

    def _check_every_file(self) -> None:
        """Compare every file of the shards that are finished with their digests."""
        ranges = self._finished_ranges()
        total, done, noun = sum(stop - start for _, start, stop in ranges), 0, self._images.noun
        for (condition, start, stop), shards in ranges.items():
            digest = self._images.shard_digest(condition, start, stop)
            for shard in shards:
                self._check_shard(shard, digest)
            done += stop - start
            self._progress.advance("verify", done, total, f"{noun}s")
        for condition in dict.fromkeys(condition for condition, _, _ in ranges):
            self._record(condition)
        self._progress.note(f"Verified: all {total:,} {noun}s of finished shards are unchanged.")

    def _finished_ranges(self) -> dict[tuple[Condition, int, int], list[Shard]]:
        """Ranges of a condition's items, each with the finished shards that are of it."""
        manifest = self._run.manifest
        ranges: dict[tuple[Condition, int, int], list[Shard]] = {}
        for shard in shards_of(self._conditions, manifest.items, manifest.shard_size):
            if shard_path(self._run, shard).is_file():
                condition = self._images.condition(shard.condition)
                ranges.setdefault((condition, shard.start, shard.stop), []).append(shard)
        return ranges

    def _check_shard(self, shard: Shard, digest: str) -> None:
        provenance = read_provenance(self._run, shard)
        if provenance.data_sha256 == digest:
            return
        items = self._images.items[self._images.condition(shard.condition)]
        where = f" ({shard.condition})" if shard.condition.values else ""
        raise RunMismatchError(
            f"{shown(self._run.folder)} was made of other {self._images.noun}s under these names "
            f"({', '.join(provenance.data)}): of {shown(items[shard.start].id)} to "
            f"{shown(items[shard.stop - 1].id)}{where}, at least one differs. {self._advice}"
        )

    def _mismatch(self, difference: Difference) -> RunMismatchError:
        words = made_of_other_images(self._run, difference, self._images.noun)
        return RunMismatchError(f"{words}. {self._advice}")

    @property
    def _advice(self) -> str:
        return f"Choose another {self._option}, or give the {self._images.noun}s of that run."


def differing_image(run: Run, images: ImagesAtHand) -> Difference | None:
    """The first image at hand that is not the one that the run was made of.

    Compared are the samples of these conditions that the run has; if it has none of them, that of
    another condition which the data have as well.

    Raises:
        InputError: If a fingerprint is damaged.
    """
    known = [condition for condition in images.items if has_fingerprint(run, condition)]
    if not known:
        others = (c for c in images.other_conditions() if has_fingerprint(run, c))
        known = list(itertools.islice(others, 1))
    for condition in known:
        fingerprint = read_fingerprint(run, condition)
        here = images.digests(condition, fingerprint.files)
        for name in differences(fingerprint, here):
            if images.is_intact(condition, name):  # a damaged file is no other image
                return condition, name, fingerprint
    return None


def made_of_other_images(run: Run, difference: Difference, noun: str = "image") -> str:
    """That a run was made of other images, without a full stop."""
    condition, name, fingerprint = difference
    where = f" ({condition})" if condition.values else ""
    return (
        f"{shown(run.folder)} was made of other {noun}s under these names "
        f"({', '.join(fingerprint.data)}): {shown(name)}{where} differs"
    )


def unused_or_same(default: Path, images: ImagesAtHand, progress: Progress) -> Path:
    """The default folder, with a number after it if runs of other images are in those before.

    Raises:
        InputError: If a run that is there is damaged.
    """
    for number in itertools.count(1):
        folder = default if number == 1 else default.with_name(f"{default.name}-{number}")
        if not (folder / MANIFEST).is_file():
            return folder
        run = open_run(folder)
        if (difference := differing_image(run, images)) is None:
            return folder
        words = made_of_other_images(run, difference, images.noun)
        progress.note(f"{words}; it is left as it is.")
    raise AssertionError("unreachable")


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
