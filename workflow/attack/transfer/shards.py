"""One pass over a shard: attacked once, or read as it was kept, for everyone who lacks it."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Protocol, Self

from ....attacks.saved_images import KeptImages
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
    """What someone makes of the images of one shard. Use it as a context manager."""

    run: Run
    made: Provenance

    def clean(self, image: "CleanImage") -> None:
        """One that is about to be attacked."""

    def consume(self, item: Item, attempt: int, image: Any) -> None:
        """What came out of an attempt on it."""

    def records(self, attack: "pa.RecordBatch") -> "pa.Table":
        """Its records, from those of the attack; once, at the end."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *error: Any) -> None: ...


class ImageConsumer(Protocol):
    """Someone who is handed the images of every shard: a model that classifies, or a folder."""

    @property
    def run(self) -> Run:
        """Where its records belong."""

    @property
    def data(self) -> RunData:
        """The photos of the run, compared with those at hand."""

    def begin(self, shard: Shard) -> ShardConsumer:
        """Its part of a shard."""

    def stop(self) -> None:
        """End what is computed now, which has become useless."""


def cut_of(run: Run) -> tuple[int, int]:
    """How a run is cut: one pass serves all that are cut alike."""
    return run.manifest.shard_size, run.manifest.batch_size


def shard_work(
    first: ImageConsumer,
    everyone: Sequence[ImageConsumer],
    kept: KeptImages | None,
    job: AttackedData,
    source: TransferSource,
    *,
    compare: Compare,
) -> Work:
    """What makes one shard of a run, and of the others that are cut alike and lack it as well.

    Args:
        first: Whose run it is.
        everyone: The others, and this one.
        kept: Where images are kept; what is there is not made again.
        job: What the source is attacked with.
        source: The model that is attacked, and which images are handed on.
        compare: Is given the records of the attack before anyone keeps anything of the shard.
    """

    def work(shard: Shard, advance: Callable[[int], None]) -> "tuple[pa.Table, Provenance]":
        import pyarrow as pa

        clock, read = ShardClock(), ReadImages()
        lacking = [r for r in everyone if r is not first and _lacks(r, first, shard)]
        with ExitStack() as stack:
            parts = [stack.enter_context(r.begin(shard)) for r in (first, *lacking)]
            if kept is not None and kept.has(shard):
                records = _again(kept, shard, parts, job, read, advance)
            else:
                records = _attacked(shard, parts, job, source, read, advance)
            compare(pa.Table.from_batches([records]), shard, [part.run for part in parts])
            tables = [part.records(records) for part in parts]
        made = [
            clock.provenance(part.made, job.room.size, read.digest.hexdigest()) for part in parts
        ]
        for part, table, provenance in list(zip(parts, tables, made, strict=True))[1:]:
            advance(0)  # raises where the work has become useless
            write_shard(part.run, shard, table, provenance)
        return tables[0], made[0]

    return work


def _attacked(
    shard: Shard,
    parts: Sequence[ShardConsumer],
    job: AttackedData,
    source: TransferSource,
    read: ReadImages,
    advance: Callable[[int], None],
) -> "pa.RecordBatch":
    """Make the images, and hand each on as its attempt ends; the records of the attack."""
    from ....attacks.pgd.pgd import run_pgd
    from ....attacks.records import attack_records

    items = job.items[shard.start : shard.stop]
    attack = replace(
        attack_of(job, shard.condition), keep_images=True, keep_last=source.image == "last"
    )
    attempts, counts = [], dict[str, int]()
    for attempt in run_pgd(attack, _shown_to(parts, images_of(job, items, read)), advance):
        position = counts.get(attempt.item.id, 0)
        counts[attempt.item.id] = position + 1
        if hands_on(attempt, job.settings, source.image):
            for part in parts:
                part.consume(attempt.item, position, attempt.adversarial)
        attempts.append(replace(attempt, adversarial=None))
    advance(len(read.skipped))
    refuse_nothing_read(items, read.skipped, read.unread, "image")
    return attack_records(items, attempts, read.skipped)


def _again(
    kept: KeptImages,
    shard: Shard,
    parts: Sequence[ShardConsumer],
    job: AttackedData,
    read: ReadImages,
    advance: Callable[[int], None],
) -> "pa.RecordBatch":
    """Hand on what was kept; the photos themselves are in the data, and must be the same."""
    items = job.items[shard.start : shard.stop]
    for _ in _shown_to(parts, images_of(job, items, read)):
        advance(1)
    advance(len(read.skipped))
    records, made = kept.records(shard)
    if made.data_sha256 != read.digest.hexdigest():
        raise InputError(
            f"The photos of {printable(shard_path(kept.run, shard))} are not those that were "
            "attacked: the data changed since. Give the data as they were, or keep into another "
            "--keep."
        )
    by_id = {item.id: item for item in items}
    for id, attempt, image in kept.images(shard):
        for part in parts:
            part.consume(by_id[id], attempt, image)
        advance(0)
    return records


def _lacks(one: ImageConsumer, first: ImageConsumer, shard: Shard) -> bool:
    return cut_of(one.run) == cut_of(first.run) and not shard_path(one.run, shard).is_file()


def _shown_to(
    parts: Sequence[ShardConsumer], images: "Iterator[CleanImage]"
) -> "Iterator[CleanImage]":
    for image in images:
        for part in parts:
            part.clean(image)
        yield image
