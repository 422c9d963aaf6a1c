"""Whether the given images are those that a run was made from.

A run is identified by the names of its images. Their bytes are compared as well: an even sample of
each condition whenever the run is resumed, and every file with ``--verify-data``.
"""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

from ...contracts import Condition, Progress, Provenance, Run, RunKey, Shard
from ...errors import ImageError, RunMismatchError, printable
from ...records.fingerprints import (
    begin_fingerprint,
    compare_files,
    has_fingerprint,
    is_used,
    lacks_fingerprints,
    leave_out,
    read_fingerprint,
    recorded_places,
    remove_unused,
    tidy,
)
from ...records.reading import skipped_in
from ...records.run import MANIFEST, key_sha256, open_run
from ...records.shard_runner import Work
from ...records.shards import read_provenance, shard_path, shards_of
from ..models.resolve import ResolvedModel
from .available_images import AvailableImages
from .networks import differing_network
from .provenance import default_folder

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True, eq=False)
class RunData:
    """The images of a run, compared with those that are given.

    Attributes:
        run: Run.
        images: Given images.
        progress: Progress callback.
        conditions: Conditions of the run, which may be those of an attack.
        option: Option that sets the folder of the run, for messages.
    """

    run: Run
    images: AvailableImages
    progress: Progress
    conditions: Sequence[Condition]
    option: str = "--out"
    _recorded: set[Condition] = field(default_factory=set, init=False)
    _lock: Lock = field(default_factory=Lock, init=False)

    def check(self, *, every_file: bool = False) -> None:
        """Compare the images of the conditions that the run already has.

        Args:
            every_file: Whether to compare every file of the shards that are finished with their
                digests, in addition to the samples.

        Raises:
            RunMismatchError: If an image differs.
            InputError: If a fingerprint or a shard is damaged, or a fingerprint is missing.
        """
        for condition in self.images.items:
            remove_unused(self.run, condition)
        self._refuse_difference()
        if not self.run.knows_network:
            self.progress.note(
                f"{printable(self.run.folder)} was started by an older version, which did not "
                "record what its network answers, so it is not compared with this network."
            )
        if every_file:
            self._check_every_file()
            return
        noun = self.images.noun
        if lacks_fingerprints(self.run):
            self.progress.note(
                f"{printable(self.run.folder)} was started by an older version, which did not "
                f"record the content of its {noun}s, so they are not compared with these {noun}s. "
                "Use --verify-data to compare them all."
            )
        others = recorded_places(self.run)
        conditions = [*self.images.items, *self.images.other_conditions()]
        comparable = any(_is_known(self.run, condition) for condition in conditions)
        if others and others.isdisjoint(self.images.places) and not comparable:
            self.progress.note(
                f"{printable(self.run.folder)} has other conditions, of {noun}s in "
                f"{', '.join(sorted(others))}: none of them can be compared with these {noun}s."
            )

    def watched(self, work: Work) -> Work:
        """Work that records the images of each condition before its first shard.

        The work raises a ``RunMismatchError`` if an image differs, and an ``OutputError`` if a
        fingerprint cannot be written.
        """

        def watched_work(
            shard: Shard, advance: Callable[[int], None]
        ) -> "tuple[pa.Table, Provenance]":
            condition = self.images.condition(shard.condition)
            self._record(condition)
            try:
                table, provenance = work(shard, advance)
            except ImageError:
                self._leave_out_damaged(condition)
                raise
            if table["error"].null_count < table.num_rows:
                self._leave_out_damaged(condition)
            return table, provenance

        return watched_work

    def finish(self) -> None:
        """Compare the images again at the end: other processes may have made some shards.

        Raises:
            RunMismatchError: If an image differs.
        """
        self._refuse_difference()
        for condition in self.images.items:
            tidy(self.run, condition)

    def _refuse_difference(self) -> None:
        difference = differing_image(self.run, self.images)
        if difference is not None:
            raise RunMismatchError(f"{difference}. {self._advice}")

    def _record(self, condition: Condition) -> None:
        with self._lock:
            if condition in self._recorded:
                return
            if self.run.has_fingerprints or not is_used(self.run, condition):
                self._begin(condition)
            self._recorded.add(condition)

    def _begin(self, condition: Condition) -> None:
        begin_fingerprint(self.run, condition, self.images.fingerprint(condition))
        self._refuse_difference()

    def _leave_out_damaged(self, condition: Condition) -> None:
        if has_fingerprint(self.run, condition):
            ids = read_fingerprint(self.run, condition).files
            leave_out(self.run, condition, self.images.damaged(condition, ids))

    def _check_every_file(self) -> None:
        """Compare every file of the finished shards with their digests."""
        ranges = self._finished_ranges()
        total, done, noun = sum(stop - start for _, start, stop in ranges), 0, self.images.noun
        for (condition, start, stop), shards in ranges.items():
            digest = self.images.shard_digest(condition, start, stop)
            for shard in shards:
                self._check_shard(shard, digest)
            done += stop - start
            self.progress.advance("verify", done, total, f"{noun}s")
        for condition in dict.fromkeys(condition for condition, _, _ in ranges):
            self._begin(condition)
        if total:
            self.progress.note(f"Verified: all {total:,} {noun}s of finished shards are unchanged.")

    def _finished_ranges(self) -> dict[tuple[Condition, int, int], list[Shard]]:
        """Ranges of a condition's items, each with its finished shards."""
        manifest = self.run.manifest
        ranges: dict[tuple[Condition, int, int], list[Shard]] = {}
        for shard in shards_of(self.conditions, manifest.items, manifest.shard_size):
            if shard_path(self.run, shard).is_file():
                condition = self.images.condition(shard.condition)
                ranges.setdefault((condition, shard.start, shard.stop), []).append(shard)
        return ranges

    def _check_shard(self, shard: Shard, digest: str) -> None:
        provenance = read_provenance(self.run, shard)
        if provenance.data_sha256 == digest:
            return
        items = self.images.items[self.images.condition(shard.condition)]
        advice = self._advice
        if skipped_in(self.run, [shard]) is not None:
            advice = (
                f"Some were skipped: if they have been repaired, remove "
                f"{printable(shard_path(self.run, shard))} and repeat the command. Otherwise, "
                f"{advice}"
            )
        raise RunMismatchError(
            f"{_made_from_other(self.run, self.images.noun, provenance.data)} of "
            f"{printable(items[shard.start].id)} to {printable(items[shard.stop - 1].id)}"
            f"{_in_condition(shard.condition)}, at least one differs. {advice}"
        )

    @property
    def _advice(self) -> str:
        return f"Choose another {self.option}, or give the {self.images.noun}s of that run."


def differing_image(run: Run, images: AvailableImages) -> str | None:
    """A sentence on the first image that the run was not made from; `None` if there is none.

    The samples of the selected conditions are compared as far as the run has them, and that of one
    further condition that both have. An image that is damaged or cannot be read does not differ,
    unless no image of its condition is the same.

    Raises:
        InputError: If a fingerprint is damaged, or the data no longer exist.
    """
    others = (c for c in images.other_conditions() if _is_known(run, c))
    compared = [c for c in images.items if _is_known(run, c)] + list(itertools.islice(others, 1))
    recorded = {condition: read_fingerprint(run, condition) for condition in compared}
    given_digests = images.digests({condition: r.files for condition, r in recorded.items()})
    for condition, fingerprint in recorded.items():
        result = compare_files(fingerprint, given_digests[condition])
        damaged = images.damaged(condition, result.different)
        different = [name for name in result.different if name not in damaged]
        unread = [*damaged, *result.unread]
        if different or (unread and not result.same):
            name = (different or unread)[0]
            difference = "cannot be read here" if name in result.unread else "differs"
            return (
                f"{_made_from_other(run, images.noun, fingerprint.data)} {printable(name)}"
                f"{_in_condition(condition)} {difference}"
            )
    return None


def find_folder(
    subject: ResolvedModel,
    key: RunKey,
    images: AvailableImages,
    progress: Progress,
    source: ResolvedModel | None = None,
) -> Path:
    """The folder of the run of this network and these images: the default one, or a numbered one.

    Args:
        subject: Model of the run.
        key: Identity of the run.
        images: Given images.
        progress: Progress callback.
        source: Source of a transferred attack; `None` if it is none.

    Raises:
        InputError: If an existing run is damaged.
    """
    default = default_folder(subject, key.benchmark, key_sha256(key)[:8])
    numbered = (default.with_name(f"{default.name}-{number}") for number in itertools.count(2))
    folders = [default, *itertools.takewhile(lambda f: f.exists(), numbered)]
    for folder in folders:
        if not (folder / MANIFEST).is_file():
            continue
        run = open_run(folder)
        difference = differing_network(run, subject, source) or differing_image(run, images)
        if difference is None:
            return folder
        progress.note(f"{difference}; that run is left unchanged.")
    unused = (f for f in folders if not (f / MANIFEST).is_file())
    return next(unused, default.with_name(f"{default.name}-{len(folders) + 1}"))


def _made_from_other(run: Run, noun: str, places: Sequence[str]) -> str:
    return (
        f"{printable(run.folder)} was made from other {noun}s with the same names "
        f"({', '.join(places)}):"
    )


def _in_condition(condition: Condition) -> str:
    return f" ({condition})" if condition.values else ""


def _is_known(run: Run, condition: Condition) -> bool:
    """Whether the run has records of a condition's images, and a fingerprint of them."""
    return has_fingerprint(run, condition) and is_used(run, condition)
