"""Making one shard of an attack or a probe: its records, their cross-check and provenance."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from ...contracts import Condition, ProbeSettings, Provenance, Run, Shard
from ...records.shard_runner import Work
from ...records.shards import read_records, shard_path
from .cross_check import CrossCheck
from .job import PreparedAttack, ShardImages

if TYPE_CHECKING:
    import pyarrow as pa

Advance = Callable[[int], None]

Compare = Callable[["pa.Table", Shard, Sequence[Run]], None]
"""Function that is given a shard's records before these runs have them; raises ``ParityError``."""


@contextmanager
def comparing(
    check: CrossCheck | None, runs: Sequence[tuple[Run, Sequence[Shard]]]
) -> Iterator[Compare]:
    """A function that compares a shard before any run has it.

    Finished shards are compared at the beginning, and those that other processes made at the end.
    Differences are reported once, however many runs there are.

    Args:
        check: The cross-check; if ``None``, nothing is compared.
        runs: All runs that hold records of the attack, each with its shards.

    Raises:
        ParityError: If predictions and run contradict each other.
    """
    if check is None:
        yield lambda *_: None
        return
    compared: set[tuple[Path, Shard]] = set()

    def compare_finished() -> None:
        for run, shards in runs:
            for shard in shards:
                place = (run.folder, shard)
                if place in compared or not shard_path(run, shard).is_file():
                    continue
                check.compare(read_records(run, shard), kept_in=run.folder)
                compared.add(place)

    def compare(table: "pa.Table", shard: Shard, writers: Sequence[Run]) -> None:
        check.compare(table)
        compared.update((run.folder, shard) for run in writers)

    compare_finished()
    yield compare
    compare_finished()
    check.report()


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
        from ...attacks.records import QUERY_SCHEMA, attack_records

        queries = QueryJob(
            network=attack.network.network,
            probe=probe,
            seed=attack.settings.seed,
            epsilon=float(shard.condition["epsilon"]),
            room=attack.batch_limit,
            note=attack.progress.note,
            device=attack.network.device.torch_name,
            relative_epsilon=attack.settings.relative_epsilon,
            asked=queried.get(shard.condition),
        )
        results = list(run_queries(queries, images, advance))
        return attack_records(images.items, results, images.skipped, QUERY_SCHEMA)

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
