"""Data to try the tool on: sample photos, corruptions and perturbations of a user's images."""

from collections.abc import Sequence
from pathlib import Path

from ..contracts import NullProgress, Progress
from ..evaluate.generate.corruptions import write_corrupted
from ..evaluate.generate.perturbations import write_perturbed
from ..evaluate.generate.photos import write_sample
from ..evaluate.generate.sequences import PERTURBATIONS
from ..evaluate.layouts import CORRUPTIONS, SEVERITIES


def sample_photos(folder: str | Path) -> int:
    """Write twenty labelled photos as an ImageNet-style tree; returns how many.

    Raises:
        OutputError: If the folder cannot be written, or holds something else.
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
    """Write an ImageNet-C-style tree of clean photos; every number from it is marked generated.

    Args:
        source: Clean photos in class folders.
        folder: Where the tree will stand; files that are there already are kept.
        corruptions: Which to make.
        severities: At which severities.
        seed: Drawn from for each image, corruption and severity apart.
        limit: So many photos, evenly spaced; a tree that was made with another is refused.
        workers: Processes; without it, one a core.
        progress: Is told what happens.

    Returns:
        The number of files asked for.
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
    """Write an ImageNet-P-style tree of clean photos; every number from it is marked generated.

    Args:
        source: Clean photos in class folders.
        folder: Where the tree will stand; files that are there already are kept.
        perturbations: Which to make.
        seed: Drawn from for each image and perturbation apart.
        limit: So many photos, evenly spaced; a tree that was made with another is refused.
        workers: Processes; without it, one a core.
        progress: Is told what happens.

    Returns:
        The number of files asked for.
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
