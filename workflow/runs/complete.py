"""Completing a run: its missing shards are made, and the finished ones are kept."""

from collections.abc import Callable, Sequence

from ...contracts import Condition, Progress, Run, Shard
from ...records.reading import check_finished
from ...records.shard_runner import Work, run_shards
from ...records.shards import shards_of
from ...records.skipped import skipped_in
from .run_data import RunData


def checked_shards(run: Run, conditions: Sequence[Condition]) -> list[Shard]:
    """All shards of these conditions, after a check that the finished ones can be read.

    Raises:
        InputError: If the file of a finished shard is damaged or belongs to another shard.
    """
    shards = shards_of(conditions, run.manifest.items, run.manifest.shard_size)
    check_finished(run, shards)
    return shards


def complete_run(
    run: Run,
    shards: Sequence[Shard],
    work: Work,
    data: RunData,
    progress: Progress,
    *,
    workers: int = 1,
    noun: str = "image",
    verb: str = "score",
    stop: Callable[[], None] = lambda: None,
) -> None:
    """Make the missing shards of a run, compare its images, and report which were skipped.

    Args:
        run: The run.
        shards: Shards to complete, as ``checked_shards`` returns them.
        work: Function that makes one shard.
        data: Images of the run; they are recorded before the first shard of each condition.
        progress: Progress callback.
        workers: Number of threads.
        noun: Word for an item.
        verb: Word for the work.
        stop: Called after an error, to end work that is still going on.

    Raises:
        RunMismatchError: If another process made shards of the run from other images.
        OutputError: If a shard or a fingerprint cannot be written.
    """
    with data.watched(work) as watched:
        run_shards(
            run,
            shards,
            watched,
            workers=workers,
            progress=progress,
            noun=noun,
            verb=verb,
            stop=stop,
        )
    if (skipped := skipped_in(run, shards, noun)) is not None:
        progress.note(str(skipped))
