"""Making the shards that a run of an attack lacks."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack

from ...contracts import Progress, Run, Shard, epsilon_text
from ...records.reading import check_finished
from ...records.shard_runner import Work, run_shards
from ...records.shards import shard_path, shards_of
from ...records.skipped import skipped_in
from ..runs.run_data import RunData
from ..runs.selection import Selection


def selected_shards(run: Run, selection: Selection) -> list[Shard]:
    """The shards that hold a selection in a run; finished ones are checked.

    Raises:
        InputError: If a finished shard is damaged.
    """
    shards = list(shards_of(selection.conditions, selection.count, run.manifest.shard_size))
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
    verb: str = "attack",
    stop: Callable[[], None] = lambda: None,
) -> None:
    """Make the shards that a run lacks.

    Args:
        run: The run.
        shards: Its shards.
        work: Function that makes a shard.
        data: The images of this run, and of others that the work writes shards of.
        progress: Progress callback.
        verb: Word for the work in the progress.
        stop: Function that ends what is being computed once it has become useless.
    """
    with ExitStack() as watching:
        for images in data:
            work = watching.enter_context(images.watched(work))
        run_shards(run, shards, work, workers=1, progress=progress, verb=verb, stop=stop)


def size_text(selection: Selection) -> str:
    """Number of images and epsilons, for notes."""
    epsilons = ", ".join(epsilon_text(float(c["epsilon"])) for c in selection.conditions)
    return f"{selection.count:,} images at epsilon {epsilons}"


def note_skipped(run: Run, shards: Sequence[Shard], progress: Progress) -> None:
    """Report the images of a run that were skipped, if any."""
    if (skipped := skipped_in(run, shards)) is not None:
        progress.note(str(skipped))
