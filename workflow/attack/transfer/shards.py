"""Making the shards of all runs: their images are attacked once, or read if they were saved."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from ....attacks.saved_images import ShardOfImages
from ....attacks.transfer import hands_on
from ....contracts import Provenance, Shard, TransferSource
from ....errors import InputError, printable
from ....records.shards import shard_path, write_shard
from ...runs.complete import is_complete, make_shards
from ..job import PreparedAttack, ShardImages
from ..shards import Compare, comparing
from .runs import OpenTarget, SavedRun, ShardOfTarget, cut_of

if TYPE_CHECKING:
    import pyarrow as pa

    from ....attacks.pgd.attempts import CleanImage

Advance = Callable[[int], None]

ImageConsumer = SavedRun | OpenTarget
"""Consumer of the images of all shards."""

ShardConsumer = ShardOfImages | ShardOfTarget
"""Consumer of the images of one shard."""


@dataclass(frozen=True)
class TransferJob:
    """The work of a transferred attack.

    Attributes:
        attack: The attack on the source.
        source: The source, and which image is handed on.
        saved: Folder of saved images, which are not made again; ``None`` if not given.
        targets: The target models.
    """

    attack: PreparedAttack
    source: TransferSource
    saved: SavedRun | None
    targets: Sequence[OpenTarget]

    @property
    def consumers(self) -> list[ImageConsumer]:
        """All consumers, in one order: so processes with the same models lease the same shards."""
        targets = sorted(self.targets, key=lambda target: str(target.attack_run.run.folder))
        return [*([self.saved] if self.saved is not None else []), *targets]

    def complete(self) -> None:
        """Make the shards that any of the runs lacks.

        Raises:
            ParityError: If PyTorch and the run to check against contradict each other.
        """
        attack, runs = self.attack, [consumer.attack_run for consumer in self.consumers]
        data = [each.data for each in runs]
        with comparing(attack.check, [(each.run, each.shards) for each in runs]) as compare:
            for consumer in self.consumers:
                run, shards = consumer.attack_run.run, consumer.attack_run.shards
                if is_complete(run, shards):
                    continue
                attack.batch_limit.size = run.manifest.batch_size
                work = partial(self._make_shard, consumer, compare)
                make_shards(run, shards, work, data, attack.progress, stop=self._stop)

    def _stop(self) -> None:
        for consumer in self.consumers:
            consumer.stop()

    def _make_shard(
        self, first: ImageConsumer, compare: Compare, shard: Shard, advance: Advance
    ) -> "tuple[pa.Table, Provenance]":
        """Make a shard of a run, and of the other runs of the same cut that lack it."""
        import pyarrow as pa

        images = ShardImages(self.attack, self.attack.items[shard.start : shard.stop])
        lacking = [other for other in self.consumers if _lacks(other, first, shard)]
        with ExitStack() as stack:
            parts = [stack.enter_context(_begin(each, shard)) for each in (first, *lacking)]
            if self.saved is not None and self.saved.has(shard):
                records = self._hand_on_saved(self.saved, shard, parts, images, advance)
            else:
                records = self._attack_images(shard, parts, images, advance)
            compare(pa.Table.from_batches([records]), shard, [part.run for part in parts])
            tables = [part.records(records) for part in parts]
        provenances = [images.provenance(part.provenance) for part in parts]
        for part, table, provenance in list(zip(parts, tables, provenances, strict=True))[1:]:
            advance(0)  # raises if the work has been stopped
            write_shard(part.run, shard, table, provenance)
        return tables[0], provenances[0]

    def _attack_images(
        self, shard: Shard, parts: Sequence[ShardConsumer], images: ShardImages, advance: Advance
    ) -> "pa.RecordBatch":
        """Make the images, and hand each on as its attempt ends. Returns the attack's records."""
        from ....attacks.pgd.pgd import run_pgd
        from ....attacks.records import attack_records

        job = replace(
            self.attack.pgd_job(shard.condition),
            keep_images=True,
            keep_last=self.source.image == "last",
        )
        attempts, counts = [], Counter[str]()
        for attempt in run_pgd(job, _with_clean_images(parts, images), advance):
            if hands_on(attempt, self.attack.settings, self.source.image):
                for part in parts:
                    part.consume(attempt.item, counts[attempt.item.id], attempt.adversarial)
            counts[attempt.item.id] += 1
            attempts.append(replace(attempt, adversarial=None))
        images.finish(advance)
        return attack_records(images.items, attempts, images.skipped)

    def _hand_on_saved(
        self,
        saved: SavedRun,
        shard: Shard,
        parts: Sequence[ShardConsumer],
        images: ShardImages,
        advance: Advance,
    ) -> "pa.RecordBatch":
        """Hand on saved images; the photos are read again from the data, and must be the same."""
        for _ in _with_clean_images(parts, images):
            advance(1)
        advance(len(images.skipped))
        records, provenance = saved.records(shard)
        if provenance.data_sha256 != images.sha256:
            raise InputError(
                f"The photos of {printable(shard_path(saved.run, shard))} have changed since they "
                "were attacked. Restore them, or save the images in another --keep."
            )
        by_id = {item.id: item for item in images.items}
        for id, attempt, image in saved.images(shard):
            for part in parts:
                part.consume(by_id[id], attempt, image)
            advance(0)
        return records


def _begin(consumer: ImageConsumer, shard: Shard) -> AbstractContextManager[ShardConsumer]:
    return consumer.begin(shard)


def _lacks(other: ImageConsumer, first: ImageConsumer, shard: Shard) -> bool:
    """Whether another consumer's run, of the same cut, lacks the shard."""
    run = other.attack_run.run
    same_cut = cut_of(run) == cut_of(first.attack_run.run)
    return other is not first and same_cut and not shard_path(run, shard).is_file()


def _with_clean_images(
    parts: Sequence[ShardConsumer], images: ShardImages
) -> "Iterator[CleanImage]":
    for image in images:
        for part in parts:
            part.clean(image)
        yield image
