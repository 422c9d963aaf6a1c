"""Making a shard for all runs: its images are attacked once, or read if they were saved."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol

from ....attacks.saved_images import SavedImages
from ....attacks.transfer import hands_on
from ....contracts import Item, Provenance, Run, Shard, TransferSource
from ....errors import InputError, printable
from ....evaluate.scoring import refuse_nothing_read
from ....records.shard_runner import Work
from ....records.shards import shard_path, write_shard
from ...runs.provenance import ShardClock
from ...runs.run_data import RunData
from ..cross_checked_shards import Compare
from ..job import AttackedData, ReadImages, attack_of, images_of

if TYPE_CHECKING:
    import pyarrow as pa

    from ....attacks.pgd.attempts import CleanImage


class ShardConsumer(Protocol):
    """Consumer of the images of one shard."""

    run: Run
    provenance: Provenance

    def clean(self, image: "CleanImage") -> None:
        """Take an image that is about to be attacked."""

    def consume(self, item: Item, attempt: int, image: Any) -> None:
        """Take the image that an attempt hands on."""

    def records(self, attack: "pa.RecordBatch") -> "pa.Table":
        """Records of the shard, from those of the attack; called once, at the end."""


class ImageConsumer(Protocol):
    """Consumer of the images of all shards: a target model, or a folder."""

    @property
    def run(self) -> Run:
        """The run that the records belong to."""

    @property
    def data(self) -> RunData:
        """The photos of the run, compared with the available ones."""

    def begin(self, shard: Shard) -> AbstractContextManager[ShardConsumer]:
        """Begin a shard."""

    def stop(self) -> None:
        """Stop the current computation, whose result is no longer needed."""


def cut_of(run: Run) -> tuple[int, int]:
    """Shard and batch size of a run; one pass serves all runs with the same."""
    return run.manifest.shard_size, run.manifest.batch_size


def shard_work(
    first: ImageConsumer,
    everyone: Sequence[ImageConsumer],
    saved: SavedImages | None,
    job: AttackedData,
    source: TransferSource,
    *,
    compare: Compare,
) -> Work:
    """Function that makes one shard of a run, and of other runs of the same cut that lack it.

    Args:
        first: Consumer that the run belongs to.
        everyone: All consumers, this one included.
        saved: Folder of saved images, which are not made again.
        job: Network, settings and images of the attack on the source.
        source: The source, and which image is handed on.
        compare: Function that checks the records of the attack before anything is written.
    """

    def work(shard: Shard, advance: Callable[[int], None]) -> "tuple[pa.Table, Provenance]":
        import pyarrow as pa

        clock, read_images = ShardClock(), ReadImages()
        others = [other for other in everyone if other is not first]
        lacking = [other for other in others if _lacks(other, first, shard)]
        with ExitStack() as stack:
            parts = [stack.enter_context(consumer.begin(shard)) for consumer in (first, *lacking)]
            if saved is not None and saved.has(shard):
                records = _hand_on_saved(saved, shard, parts, job, read_images, advance)
            else:
                records = _attack(shard, parts, job, source, read_images, advance)
            compare(pa.Table.from_batches([records]), shard, [part.run for part in parts])
            tables = [part.records(records) for part in parts]
        provenances = [
            clock.provenance(part.provenance, job.room.size, read_images.digest.hexdigest())
            for part in parts
        ]
        for part, table, provenance in list(zip(parts, tables, provenances, strict=True))[1:]:
            advance(0)  # raises if the work has been stopped
            write_shard(part.run, shard, table, provenance)
        return tables[0], provenances[0]

    return work


def _attack(
    shard: Shard,
    parts: Sequence[ShardConsumer],
    job: AttackedData,
    source: TransferSource,
    read_images: ReadImages,
    advance: Callable[[int], None],
) -> "pa.RecordBatch":
    """Make the images, and hand each on as its attempt ends. Returns the records of the attack."""
    from ....attacks.pgd.pgd import run_pgd
    from ....attacks.records import attack_records

    items = job.items[shard.start : shard.stop]
    attack = replace(
        attack_of(job, shard.condition), keep_images=True, keep_last=source.image == "last"
    )
    attempts, counts = [], dict[str, int]()
    for attempt in run_pgd(
        attack, _with_clean_images(parts, images_of(job, items, read_images)), advance
    ):
        position = counts.get(attempt.item.id, 0)
        counts[attempt.item.id] = position + 1
        if hands_on(attempt, job.settings, source.image):
            for part in parts:
                part.consume(attempt.item, position, attempt.adversarial)
        attempts.append(replace(attempt, adversarial=None))
    advance(len(read_images.skipped))
    refuse_nothing_read(items, read_images.skipped, read_images.unread, "image")
    return attack_records(items, attempts, read_images.skipped)


def _hand_on_saved(
    saved: SavedImages,
    shard: Shard,
    parts: Sequence[ShardConsumer],
    job: AttackedData,
    read_images: ReadImages,
    advance: Callable[[int], None],
) -> "pa.RecordBatch":
    """Hand on saved images; the photos are read again from the data, and must be the same."""
    items = job.items[shard.start : shard.stop]
    for _ in _with_clean_images(parts, images_of(job, items, read_images)):
        advance(1)
    advance(len(read_images.skipped))
    records, provenance = saved.records(shard)
    if provenance.data_sha256 != read_images.digest.hexdigest():
        raise InputError(
            f"The photos of {printable(shard_path(saved.run, shard))} have changed since they were "
            "attacked. Restore them, or save the images in another --keep."
        )
    by_id = {item.id: item for item in items}
    for id, attempt, image in saved.images(shard):
        for part in parts:
            part.consume(by_id[id], attempt, image)
        advance(0)
    return records


def _lacks(other: ImageConsumer, first: ImageConsumer, shard: Shard) -> bool:
    return cut_of(other.run) == cut_of(first.run) and not shard_path(other.run, shard).is_file()


def _with_clean_images(
    parts: Sequence[ShardConsumer], images: "Iterator[CleanImage]"
) -> "Iterator[CleanImage]":
    for image in images:
        for part in parts:
            part.clean(image)
        yield image
