"""Making one shard of an attack or a probe: its records and their provenance."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from ...contracts import Condition, ProbeSettings, Provenance, Shard
from ...evaluate.scoring import refuse_nothing_read
from ...records.shard_runner import Work
from ..runs.provenance import ShardClock
from .job import AttackedData, ReadImages, attack_of, images_of

if TYPE_CHECKING:
    import pyarrow as pa

Advance = Callable[[int], None]


def attack_work(job: AttackedData, provenance: Provenance) -> Work:
    """The function that attacks the images of one shard.

    Args:
        job: Network, settings and images.
        provenance: Fields that the provenances of all shards share.
    """

    def records(shard: Shard, read: ReadImages, advance: Advance) -> "pa.RecordBatch":
        from ...attacks.pgd.pgd import run_pgd
        from ...attacks.records import attack_records

        items = job.items[shard.start : shard.stop]
        attack = attack_of(job, shard.condition)
        attempts = list(run_pgd(attack, images_of(job, items, read), advance))
        return attack_records(items, attempts, read.skipped)

    return _work(job, provenance, records)


def query_work(
    job: AttackedData,
    probe: ProbeSettings,
    queried: Mapping[Condition, frozenset[str]],
    provenance: Provenance,
) -> Work:
    """The function that queries the network about the images of one shard, without gradients.

    Args:
        job: Network, settings and images of the attack that is probed.
        probe: Settings of the probe.
        queried: Ids of the images to query about at each condition; all images at a condition that
            is not given.
        provenance: Fields that the provenances of all shards share.
    """

    def records(shard: Shard, read: ReadImages, advance: Advance) -> "pa.RecordBatch":
        from ...attacks.queries.query_attacks import QueryJob, run_queries
        from ...attacks.records import QUERY_SCHEMA, attack_records

        items = job.items[shard.start : shard.stop]
        queries = QueryJob(
            network=job.network.network,
            probe=probe,
            seed=job.settings.seed,
            epsilon=float(shard.condition["epsilon"]),
            room=job.room,
            note=job.note,
            device=job.network.device.name,
            relative_epsilon=job.settings.relative_epsilon,
            asked=queried.get(shard.condition),
        )
        results = run_queries(queries, images_of(job, items, read), advance)
        return attack_records(items, list(results), read.skipped, QUERY_SCHEMA)

    return _work(job, provenance, records)


def _work(
    job: AttackedData,
    provenance: Provenance,
    records: "Callable[[Shard, ReadImages, Advance], pa.RecordBatch]",
) -> Work:
    def work(shard: Shard, advance: Advance) -> "tuple[pa.Table, Provenance]":
        import pyarrow as pa

        clock, read = ShardClock(), ReadImages()
        table = pa.Table.from_batches([records(shard, read, advance)])
        advance(len(read.skipped))
        items = job.items[shard.start : shard.stop]
        refuse_nothing_read(items, read.skipped, read.unread, "image")
        return table, clock.provenance(provenance, job.room.size, read.digest.hexdigest())

    return work
