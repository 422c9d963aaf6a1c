"""Completing a run: make the missing shards, keep the finished ones."""

from collections.abc import Callable, Sequence

from ...contracts import Progress, Run, Shard
from ...errors import InputError
from ...records.reading import skipped_in
from ...records.shard_runner import Work, run_shards
from ...records.shards import check_finished, shard_path, shards_of
from .run_data import RunData
from .selection import Selection


def selected_shards(run: Run, selection: Selection) -> list[Shard]:
    """The shards of a selection, after a check that the finished ones can be read.

    Raises:
        InputError: If the file of a finished shard is damaged or belongs to another shard.
    """
    shards = shards_of(selection.conditions, selection.count, run.manifest.shard_size)
    check_finished(run, shards)
    return shards


def is_complete(run: Run, shards: Sequence[Shard]) -> bool:
    """Whether all these shards of a run are finished."""
    return all(shard_path(run, shard).is_file() for shard in shards)


def make_shards(
    run: Run,
    shards: Sequence[Shard],
    work: Work,
    data: Sequence[RunData],
    progress: Progress,
    *,
    workers: int = 1,
    noun: str = "image",
    verb: str = "attack",
    stop: Callable[[], None] = lambda: None,
) -> None:
    """Make the missing shards of a run; compare its images before and afterwards.

    Args:
        run: The run.
        shards: Shards to finish, as ``selected_shards`` returns them.
        work: Function that makes one shard.
        data: Images of this run, and of other runs that the work writes shards of; they are
            recorded before the first shard of each condition.
        progress: Progress callback.
        workers: Number of threads.
        noun: Word for an item.
        verb: Word for the work.
        stop: Called after an error, to end work that is still going on.

    Raises:
        RunMismatchError: If another process made shards of a run from other images.
        OutputError: If a shard or a fingerprint cannot be written.
    """
    for images in data:
        work = images.watched(work)
    run_shards(
        run, shards, work, workers=workers, progress=progress, noun=noun, verb=verb, stop=stop
    )
    for images in data:
        images.finish()


def report_skipped(
    run: Run, shards: Sequence[Shard], progress: Progress, noun: str = "image"
) -> None:
    """Report the items of a run that were skipped, if there are any.

    Raises:
        InputError: If no item of these shards was scored.
    """
    skipped = skipped_in(run, shards, noun)
    if skipped is None:
        return
    if skipped.count == sum(shard.size for shard in shards):
        raise InputError(
            f"No {noun} was scored: all {skipped.count:,} were skipped. {skipped.advice}"
        )
    progress.note(str(skipped))
