"""Making sample data: photos, and corruptions and perturbations of a user's images."""

from collections.abc import Sequence
from pathlib import Path
from typing import TypedDict, Unpack

from ..contracts import NullProgress, Progress
from ..evaluate.generate.corruptions import write_corrupted
from ..evaluate.generate.perturbations import write_perturbed
from ..evaluate.generate.photos import write_sample
from ..evaluate.generate.sequences import PERTURBATIONS
from ..evaluate.layouts import CORRUPTIONS, SEVERITIES


def sample_photos(folder: str | Path) -> int:
    """Write twenty labelled photos in ImageNet's layout; return their number.

    Raises:
        OutputError: If the folder cannot be written, or contains something else.
    """
    return write_sample(Path(folder))


class GenerationOptions(TypedDict, total=False):
    """Keywords of functions that generate data.

    Attributes:
        seed: Seed of the random numbers, which differ by image and by what is made of it.
        limit: Number of photos, evenly spaced; a folder made with another limit is refused.
        workers: Number of processes; if not given, one for each core.
    """

    seed: int
    limit: int | None
    workers: int | None


def corrupt_photos(
    source: str | Path,
    folder: str | Path,
    *,
    corruptions: Sequence[str] = CORRUPTIONS,
    severities: Sequence[int] = SEVERITIES,
    progress: Progress | None = None,
    **options: Unpack[GenerationOptions],
) -> int:
    """Write corrupted photos in ImageNet-C's layout; reports mark them as generated.

    Args:
        source: Clean photos in class folders.
        folder: Output folder; existing files are kept.
        corruptions: Corruptions to make.
        severities: Severities to make.
        progress: Progress callback.
        options: Seed, limit and workers; see ``GenerationOptions``.

    Returns:
        The number of requested files.
    """
    return write_corrupted(
        Path(source),
        Path(folder),
        corruptions=corruptions,
        severities=severities,
        progress=progress or NullProgress(),
        **options,
    )


def perturb_photos(
    source: str | Path,
    folder: str | Path,
    *,
    perturbations: Sequence[str] = tuple(PERTURBATIONS),
    progress: Progress | None = None,
    **options: Unpack[GenerationOptions],
) -> int:
    """Write perturbed videos in ImageNet-P's layout; reports mark them as generated.

    Args:
        source: Clean photos in class folders.
        folder: Output folder; existing files are kept.
        perturbations: Perturbations to make.
        progress: Progress callback.
        options: Seed, limit and workers; see ``GenerationOptions``.

    Returns:
        The number of requested files.
    """
    progress = progress or NullProgress()
    return write_perturbed(
        Path(source), Path(folder), perturbations=perturbations, progress=progress, **options
    )
