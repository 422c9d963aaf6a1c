"""The shards of an attack as a cross-check sees them: each compared once, before it is written."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from ...contracts import Provenance, Run, Shard
from ...records.reading import records_of_shard
from ...records.shard_runner import Work
from .cross_check import CrossCheck

if TYPE_CHECKING:
    import pyarrow as pa

Compare = Callable[["pa.Table", Shard, Sequence[Run]], None]
"""Given a shard's records before these runs have them; raises ``ParityError``."""


@contextmanager
def comparing(
    check: CrossCheck | None, runs: Sequence[tuple[Run, Sequence[Shard]]]
) -> Iterator[Compare]:
    """What compares a shard before any run has it; with no check, it lets everything pass.

    Shards that are there are compared when it begins, and what other processes made when it ends.
    What differs is told once, however many runs there are.

    Args:
        check: The comparison.
        runs: All that hold records of the attack, each with the shards that are wanted.

    Raises:
        ParityError: If predictions and run contradict each other.
    """
    if check is None:
        yield lambda *_: None
        return
    compared: set[tuple[Path, Shard]] = set()

    def compare_those_there() -> None:
        for run, shards in runs:
            for shard in shards:
                place = (run.folder, shard)
                if place in compared or (table := records_of_shard(run, shard)) is None:
                    continue
                check.compare(table, kept_in=run.folder)
                compared.add(place)

    def compare(table: "pa.Table", shard: Shard, recipients: Sequence[Run]) -> None:
        check.compare(table)
        compared.update((run.folder, shard) for run in recipients)

    compare_those_there()
    yield compare
    compare_those_there()
    check.tell()


@contextmanager
def cross_checked(
    work: Work, check: CrossCheck | None, run: Run, shards: Sequence[Shard]
) -> Iterator[Work]:
    """Work of one run that is compared, shard by shard, before it is written.

    Raises:
        ParityError: If predictions and run contradict each other.
    """
    with comparing(check, [(run, shards)]) as compare:

        def compared(shard: Shard, advance: Callable[[int], None]) -> "tuple[pa.Table, Provenance]":
            table, made = work(shard, advance)
            compare(table, shard, [run])
            return table, made

        yield compared
