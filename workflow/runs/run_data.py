"""Whether the images at hand are those that a run was made of.

A run is found again by the names of its images. Their bytes are compared as well: an even sample of
each condition whenever it is used again, and every file with ``--verify-data``.
"""

import itertools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING

from ...contracts import Condition, DataFingerprint, Progress, Provenance, Run, Shard
from ...errors import ImageError, RunMismatchError, printable
from ...records.fingerprints import (
    begin_fingerprint,
    compare_files,
    conditions_without_fingerprint,
    has_fingerprint,
    is_used,
    leave_out,
    read_fingerprint,
    recorded_places,
    remove_unused,
    tidy,
)
from ...records.reading import read_provenance
from ...records.run import MANIFEST, open_run
from ...records.shard_runner import Work
from ...records.shards import shard_path, shards_of
from ...records.skipped import skipped_in
from .available_images import AvailableImages

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class DifferingImage:
    """An image at hand that is not the one that a run was made of.

    Attributes:
        run: The run.
        id: Of the image.
        condition: Of the image.
        recorded: What the run knows of the condition's images.
        readable: Whether it can be read at all.
        noun: What an image is called.
    """

    run: Run
    id: str
    condition: Condition
    recorded: DataFingerprint
    readable: bool
    noun: str

    def __str__(self) -> str:
        where = f" ({self.condition})" if self.condition.values else ""
        return (
            f"{printable(self.run.folder)} was made of other {self.noun}s under these names "
            f"({', '.join(self.recorded.data)}): {printable(self.id)}{where} "
            f"{'differs' if self.readable else 'cannot be read here'}"
        )


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
        images: AvailableImages,
        progress: Progress,
        *,
        conditions: Sequence[Condition],
        option: str = "--out",
    ) -> None:
        self._run, self._images, self._conditions = run, images, conditions
        self._progress, self._option = progress, option
        self._recorded: set[Condition] = set()
        self._lock = Lock()

    def check(self, *, every_file: bool = False) -> None:
        """Compare the images of the conditions that the run has already.

        Args:
            every_file: Whether to compare every file of the shards that are finished with their
                digests, beside the samples.

        Raises:
            RunMismatchError: If an image differs.
            InputError: If a fingerprint or a shard is damaged, or a fingerprint is missing.
        """
        for condition in self._images.items:
            remove_unused(self._run, condition)
        self._refuse_difference()
        if every_file:
            self._check_every_file()
            return
        noun = self._images.noun
        if conditions_without_fingerprint(self._run):
            self._progress.note(
                f"{printable(self._run.folder)} was begun by an older version, which did not "
                f"record the content of its {noun}s: they cannot be compared with these {noun}s. "
                "--verify-data compares them all."
            )
        others = recorded_places(self._run)
        if others and others.isdisjoint(self._images.places) and not self._any_known():
            self._progress.note(
                f"{printable(self._run.folder)} has other conditions, of {noun}s in "
                f"{', '.join(sorted(others))}: none of them can be compared with these {noun}s."
            )

    @contextmanager
    def watched(self, work: Work) -> Iterator[Work]:
        """Work that records the images of each condition before its first shard.

        At the end the images are compared again: other processes may have made some of the shards.

        Raises:
            RunMismatchError: If an image differs.
            OutputError: If a fingerprint cannot be written.
        """

        def watching(shard: Shard, advance: Callable[[int], None]) -> "tuple[pa.Table, Provenance]":
            condition = self._images.condition(shard.condition)
            self._record(condition)
            try:
                table, provenance = work(shard, advance)
            except ImageError:
                self._leave_out_damaged(condition)
                raise
            if table["error"].null_count < table.num_rows:
                self._leave_out_damaged(condition)
            return table, provenance

        yield watching
        self._refuse_difference()
        for condition in self._images.items:
            tidy(self._run, condition)

    def _refuse_difference(self) -> None:
        difference = differing_image(self._run, self._images)
        if difference is not None:
            raise RunMismatchError(f"{difference}. {self._advice}")

    def _any_known(self) -> bool:
        conditions = [*self._images.items, *self._images.other_conditions()]
        return any(_is_known(self._run, condition) for condition in conditions)

    def _record(self, condition: Condition) -> None:
        with self._lock:
            if condition in self._recorded:
                return
            if self._run.has_fingerprints or not is_used(self._run, condition):
                self._begin(condition)
            self._recorded.add(condition)

    def _begin(self, condition: Condition) -> None:
        files = self._images.sample(condition)
        fingerprint = DataFingerprint(files, self._images.places)
        begin_fingerprint(self._run, condition, fingerprint)
        self._refuse_difference()

    def _leave_out_damaged(self, condition: Condition) -> None:
        if has_fingerprint(self._run, condition):
            ids = read_fingerprint(self._run, condition).files
            leave_out(self._run, condition, self._images.damaged(condition, ids))

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
            self._begin(condition)
        if total:
            self._progress.note(
                f"Verified: all {total:,} {noun}s of finished shards are unchanged."
            )

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
        advice = self._advice
        if skipped_in(self._run, [shard]) is not None:
            advice = (
                f"Some were skipped: if they were repaired, remove "
                f"{printable(shard_path(self._run, shard))} and repeat the command. Otherwise, "
                f"{advice}"
            )
        raise RunMismatchError(
            f"{printable(self._run.folder)} was made of other {self._images.noun}s under these "
            f"names ({', '.join(provenance.data)}): of {printable(items[shard.start].id)} to "
            f"{printable(items[shard.stop - 1].id)}{where}, at least one differs. {advice}"
        )

    @property
    def _advice(self) -> str:
        return f"Choose another {self._option}, or give the {self._images.noun}s of that run."


def differing_image(run: Run, images: AvailableImages) -> DifferingImage | None:
    """The first image at hand that is not the one that the run was made of.

    Compared are the samples of these conditions that the run has, and that of one other condition
    that both have. Images that are damaged or cannot be read are no other images, unless no image
    of their condition is the same.

    Raises:
        InputError: If a fingerprint is damaged, or the data are gone.
    """
    others = (c for c in images.other_conditions() if _is_known(run, c))
    known = [c for c in images.items if _is_known(run, c)] + list(itertools.islice(others, 1))
    recorded = {condition: read_fingerprint(run, condition) for condition in known}
    here = images.digests({condition: r.files for condition, r in recorded.items()})
    for condition, fingerprint in recorded.items():
        result = compare_files(fingerprint, here[condition])
        damaged = images.damaged(condition, result.different)
        different = [name for name in result.different if name not in damaged]
        unread = [*damaged, *result.unread]
        if different or (unread and not result.same):
            name = (different or unread)[0]
            return DifferingImage(
                run, name, condition, fingerprint, name not in result.unread, images.noun
            )
    return None


def find_folder(default: Path, images: AvailableImages, progress: Progress) -> Path:
    """The folder of the run of these images: the default one, or one with a number after it.

    Raises:
        InputError: If a run that is there is damaged.
    """
    numbered = (default.with_name(f"{default.name}-{number}") for number in itertools.count(2))
    folders = [default, *itertools.takewhile(lambda f: f.exists(), numbered)]
    for folder in folders:
        if not (folder / MANIFEST).is_file():
            continue
        difference = differing_image(open_run(folder), images)
        if difference is None:
            return folder
        progress.note(f"{difference}; it is left as it is.")
    unused = (f for f in folders if not (f / MANIFEST).is_file())
    return next(unused, default.with_name(f"{default.name}-{len(folders) + 1}"))


def _is_known(run: Run, condition: Condition) -> bool:
    """Whether the run has records of a condition's images, and says what they were made of."""
    return has_fingerprint(run, condition) and is_used(run, condition)
