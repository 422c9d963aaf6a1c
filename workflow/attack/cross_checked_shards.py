"""Cross-check of the shards of an attack: each is compared once, before it is written."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from ...contracts import Run, Shard
from ...records.reading import records_of_shard
from .cross_check import CrossCheck

if TYPE_CHECKING:
    import pyarrow as pa

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
                if place in compared or (table := records_of_shard(run, shard)) is None:
                    continue
                check.compare(table, kept_in=run.folder)
                compared.add(place)

    def compare(table: "pa.Table", shard: Shard, writers: Sequence[Run]) -> None:
        check.compare(table)
        compared.update((run.folder, shard) for run in writers)

    compare_finished()
    yield compare
    compare_finished()
    check.report()
