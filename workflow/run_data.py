"""Whether the images at hand are those that a run was made of.

A run is found again by the names of its images. Their bytes are compared as well: an even sample of
each condition whenever it is used again, and every file with ``--verify-data``.
"""

import itertools
from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from threading import Lock

from ..contracts import Condition, DataFingerprint, Item, Progress, Run, Shard, Source
from ..errors import RunMismatchError, shown
from ..evaluate.sources.digests import file_digests, sample_digests, shard_digest
from ..records.fingerprints import (
    begin_fingerprint,
    can_be_compared,
    first_difference,
    has_fingerprint,
    has_shards,
    read_fingerprint,
)
from ..records.reading import read_provenance
from ..records.run import MANIFEST, open_run
from ..records.shards import shard_path, shards_of
from .selection import Selection


class RunData:
    """The images of a run, compared with those at hand.

    Args:
        run: The run.
        source: Where the images at hand are.
        selection: Which of them the run has. Its conditions are those of the data, or those of an
            attack, which has the same images at every epsilon.
        places: The folders and tar files of the source.
        progress: Progress callback.
        option: The option that names the folder of the run.
    """

    def __init__(
        self,
        run: Run,
        source: Source,
        selection: Selection,
        places: Sequence[Path],
        progress: Progress,
        *,
        option: str = "--out",
    ) -> None:
        self._run, self._source, self._selection = run, source, selection
        self._places = tuple(shown(place.absolute()) for place in places)
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
        for condition in data_items(self._source, self._selection):
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
        conditions = data_items(self._source, self._selection)
        known = [condition for condition in conditions if has_fingerprint(self._run, condition)]
        difference = differing_image(self._run, self._source, conditions)
        if difference is not None:
            raise self._mismatch(difference)
        self._begun.update(known)
        if every_file:
            self._verify_all()
        elif not all([can_be_compared(self._run, condition) for condition in conditions]):
            self._progress.note(
                f"{shown(self._run.folder)} was begun by an older version, which did not record "
                f"the content of its {self._noun}s: they cannot be compared with these. "
                "--verify-data compares them all."
            )

    def begin_condition(self, condition: Condition) -> None:
        """Record the fingerprint of a condition, or compare with the one that another process did.

        Raises:
            RunMismatchError: If an image differs.
            OutputError: If the fingerprint cannot be written.
        """
        condition = data_condition(self._source, condition)
        with self._lock:
            if condition in self._begun:
                return
            if has_fingerprint(self._run, condition) or not has_shards(self._run, condition):
                self._record(condition)
            self._begun.add(condition)

    def _verify_all(self) -> None:
        """Compare every file of the shards that are finished with their digests."""
        selection = self._selection
        size = self._run.manifest.shard_size
        shards = shards_of(selection.conditions, selection.count, size)
        finished = [shard for shard in shards if shard_path(self._run, shard).is_file()]
        ranges: dict[tuple[Condition, int, int], list[Shard]] = {}
        for shard in finished:
            condition = data_condition(self._source, shard.condition)
            ranges.setdefault((condition, shard.start, shard.stop), []).append(shard)
        total, done = sum(stop - start for _, start, stop in ranges), 0
        items = data_items(self._source, self._selection)
        for (condition, start, stop), same in ranges.items():
            self._verify(items[condition][start:stop], same)
            done += stop - start
            self._progress.advance("verify", done, total, f"{self._noun}s")
        for condition in dict.fromkeys(condition for condition, _, _ in ranges):
            self._record(condition)
        self._progress.note(
            f"Verified: {total:,} {self._noun}s of {len(finished):,} finished shards are unchanged."
        )

    def _verify(self, items: Sequence[Item], shards: Sequence[Shard]) -> None:
        digest = shard_digest(self._source, items)
        for shard in shards:
            provenance = read_provenance(self._run, shard)
            if provenance.data_sha256 == digest:
                continue
            condition = f" ({shard.condition})" if shard.condition.values else ""
            raise RunMismatchError(
                f"{shown(self._run.folder)} was made of other {self._noun}s under these names "
                f"({', '.join(provenance.data)}): of {shown(items[0].id)} to "
                f"{shown(items[-1].id)}{condition}, at least one differs. {self._advice}"
            )

    def _record(self, condition: Condition) -> None:
        items = data_items(self._source, self._selection)[condition]
        files = sample_digests(self._source, items)
        recorded = begin_fingerprint(self._run, condition, DataFingerprint(files, self._places))
        difference = first_difference(recorded, files)
        if difference is not None:
            raise self._mismatch((condition, difference, recorded))

    def _mismatch(self, difference: "Difference") -> RunMismatchError:
        return RunMismatchError(
            f"{made_of_other_images(self._run, difference, self._noun)}. {self._advice}"
        )

    @property
    def _advice(self) -> str:
        return f"Choose another {self._option}, or give the {self._noun}s of that run."

    @property
    def _noun(self) -> str:
        return self._selection.benchmark.tree.noun


Difference = tuple[Condition, str, DataFingerprint]
"""A condition, the id of its first image that differs, and the fingerprint that it differs from."""


def differing_image(
    run: Run, source: Source, items: Mapping[Condition, Sequence[Item]]
) -> Difference | None:
    """The first image at hand that is not the one that the run was made of.

    Compared are the samples of these conditions that the run has; if it has none of them, that of
    another condition which the data have as well.

    Args:
        run: The run.
        source: Where the images at hand are.
        items: Those of some conditions.

    Raises:
        InputError: If a fingerprint is damaged.
    """
    known = [condition for condition in items if has_fingerprint(run, condition)]
    if not known:
        others = (c for c in source.conditions() if c not in items and has_fingerprint(run, c))
        known = list(itertools.islice(others, 1))
    for condition in known:
        fingerprint = read_fingerprint(run, condition)
        chosen = items[condition] if condition in items else source.items(condition)
        here = file_digests(source, _with_ids(chosen, fingerprint.files))
        if (name := first_difference(fingerprint, here)) is not None:
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


def unused_or_same(default: Path, source: Source, selection: Selection, progress: Progress) -> Path:
    """The default folder, with a number after it if runs of other images are in those before.

    Raises:
        InputError: If a run that is there is damaged.
    """
    noun, items = selection.benchmark.tree.noun, data_items(source, selection)
    for number in itertools.count(1):
        folder = default if number == 1 else default.with_name(f"{default.name}-{number}")
        if not (folder / MANIFEST).is_file():
            return folder
        run = open_run(folder)
        if (difference := differing_image(run, source, items)) is None:
            return folder
        progress.note(f"{made_of_other_images(run, difference, noun)}; it is left as it is.")
    raise AssertionError("unreachable")


def data_condition(source: Source, condition: Condition) -> Condition:
    """The condition of the data: an attack has clean images at every epsilon."""
    return condition if condition in source.conditions() else Condition()


def data_items(source: Source, selection: Selection) -> dict[Condition, Sequence[Item]]:
    """The items of each condition of the data."""
    return {data_condition(source, c): items for c, items in selection.items.items()}


def _with_ids(items: Sequence[Item], ids: Iterable[str]) -> list[Item]:
    """The items that have these ids; items are sorted by id."""
    found = []
    for id in ids:
        position = bisect_left(items, id, key=lambda item: item.id)
        if position < len(items) and items[position].id == id:
            found.append(items[position])
    return found
