"""Making sample data: photos, and corruptions and perturbations of a user's images."""

from collections.abc import Sequence
from pathlib import Path

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


def corrupt_photos(
    source: str | Path,
    folder: str | Path,
    *,
    corruptions: Sequence[str] = CORRUPTIONS,
    severities: Sequence[int] = SEVERITIES,
    seed: int = 0,
    limit: int | None = None,
    workers: int | None = None,
    progress: Progress | None = None,
) -> int:
    """Write corrupted photos in ImageNet-C's layout; reports mark them as generated.

    Args:
        source: Clean photos in class folders.
        folder: Output folder; existing files are kept.
        corruptions: Corruptions to make.
        severities: Severities to make.
        seed: Seed of the random numbers, which differ by image, corruption and severity.
        limit: Number of photos, evenly spaced; a folder made with another limit is refused.
        workers: Number of processes; if not given, one for each core.
        progress: Progress callback.

    Returns:
        The number of requested files.
    """
    return write_corrupted(
        Path(source),
        Path(folder),
        corruptions=corruptions,
        severities=severities,
        seed=seed,
        limit=limit,
        workers=workers,
        progress=progress or NullProgress(),
    )


def perturb_photos(
    source: str | Path,
    folder: str | Path,
    *,
    perturbations: Sequence[str] = tuple(PERTURBATIONS),
    seed: int = 0,
    limit: int | None = None,
    workers: int | None = None,
    progress: Progress | None = None,
) -> int:
    """Write perturbed videos in ImageNet-P's layout; reports mark them as generated.

    Args:
        source: Clean photos in class folders.
        folder: Output folder; existing files are kept.
        perturbations: Perturbations to make.
        seed: Seed of the random numbers, which differ by image and perturbation.
        limit: Number of photos, evenly spaced; a folder made with another limit is refused.
        workers: Number of processes; if not given, one for each core.
        progress: Progress callback.

    Returns:
        The number of requested files.
    """
    return write_perturbed(
        Path(source),
        Path(folder),
        perturbations=perturbations,
        seed=seed,
        limit=limit,
        workers=workers,
        progress=progress or NullProgress(),
    )
