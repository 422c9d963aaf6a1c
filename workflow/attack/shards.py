"""Making one shard of an attack or a probe: its records and their provenance."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from ...contracts import Condition, ProbeSettings, Provenance, Run, Shard
from ...records.shard_runner import Work
from .cross_checked_shards import Compare
from .job import PreparedAttack, ShardImages

if TYPE_CHECKING:
    import pyarrow as pa

Advance = Callable[[int], None]


def attack_work(attack: PreparedAttack, run: Run, compare: Compare = lambda *_: None) -> Work:
    """The function that attacks the images of one shard.

    Args:
        attack: The attack.
        run: Run of the attack, whose batch size is used.
        compare: Function that checks the records before they are written.
    """

    def records(shard: Shard, images: ShardImages, advance: Advance) -> "pa.RecordBatch":
        from ...attacks.pgd.pgd import run_pgd
        from ...attacks.records import attack_records

        attempts = list(run_pgd(attack.pgd_job(shard.condition), images, advance))
        return attack_records(images.items, attempts, images.skipped)

    return _work(attack, run, records, compare)


def query_work(
    attack: PreparedAttack,
    run: Run,
    probe: ProbeSettings,
    queried: Mapping[Condition, frozenset[str]],
) -> Work:
    """The function that queries the network about the images of one shard, without gradients.

    Args:
        attack: The attack that is probed, on the images of the probe.
        run: Run of the attack, whose batch size is used.
        probe: Settings of the probe.
        queried: Ids of the images to query about at each condition; all images at a condition that
            is not given.
    """

    def records(shard: Shard, images: ShardImages, advance: Advance) -> "pa.RecordBatch":
        from ...attacks.queries.query_attacks import QueryJob, run_queries
        from ...attacks.records import query_records

        queries = QueryJob(
            network=attack.network.network,
            probe=probe,
            seed=attack.settings.seed,
            epsilon=float(shard.condition["epsilon"]),
            room=attack.batch_limit,
            note=attack.progress.note,
            device=attack.network.device.name,
            relative_epsilon=attack.settings.relative_epsilon,
            asked=queried.get(shard.condition),
        )
        results = list(run_queries(queries, images, advance))
        return query_records(images.items, results, images.skipped)

    return _work(attack, run, records)


def _work(
    attack: PreparedAttack,
    run: Run,
    records: "Callable[[Shard, ShardImages, Advance], pa.RecordBatch]",
    compare: Compare = lambda *_: None,
) -> Work:
    shared = attack.provenance(run.manifest.batch_size)

    def work(shard: Shard, advance: Advance) -> "tuple[pa.Table, Provenance]":
        import pyarrow as pa

        images = ShardImages(attack, attack.items[shard.start : shard.stop])
        table = pa.Table.from_batches([records(shard, images, advance)])
        images.finish(advance)
        provenance = images.provenance(shared)
        compare(table, shard, [run])
        return table, provenance

    return work
