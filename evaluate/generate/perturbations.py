"""A tree like ImageNet-P, made from the clean photos of a user.

    SOURCE/<wnid>/<file>  ->  DIR/<perturbation>/<wnid>/<stem>.mp4, 224 x 224

    Resize(256, bilinear) -> ``sequences.py`` -> ``encoding.py``

The perturbations are written from the published parameters; random numbers, and some of the
libraries that the original used, are others: such a tree is not the benchmark, and
``generated.json`` says so before the first video is there. A video depends on its photo and on
(seed, id, perturbation) alone: see ``trees.py``.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...contracts import Preprocessing, Progress
from ...errors import InputError, printable
from ..decode import resized_photo
from ..sources.generated_marker import VIDEO_COMMENT
from ..video import pyav
from .encoding import ENCODER, GRAIN, PLAIN, check_encoder, mp4_from_frames
from .sequences import CROP_PX, PERTURBATIONS
from .trees import (
    Photo,
    Recipe,
    check_known,
    checked_processes,
    photos_of,
    photos_sha256,
    refuse_places,
    seed_of,
    version_of,
    write_tree,
)

PHOTO = Preprocessing(256, CROP_PX, "bilinear", (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
"""How the original generator makes the photo that it perturbs; mean and std play no part."""

ARITHMETIC = ("numpy", "scipy", "Pillow", "av")
"""The packages whose versions can change a byte of what is made."""


def write_perturbed(
    source: Path,
    folder: Path,
    *,
    perturbations: Sequence[str] = tuple(PERTURBATIONS),
    seed: int = 0,
    limit: int | None = None,
    workers: int | None = None,
    progress: Progress,
) -> int:
    """Write perturbed sequences of clean photos, as a tree that is scored like ImageNet-P.

    Files that are there are kept: calling again continues a killed call. Worker processes import
    the caller's main module, so a script needs its ``if __name__ == "__main__":``.

    Args:
        source: Clean photos, ``<wnid>/<file>``.
        folder: The tree to make or to extend.
        perturbations: Of the ten.
        seed: Of all that is random.
        limit: So many photos, evenly spaced over the sorted ids; other limits are other trees.
        workers: Processes; by default one for each processor.
        progress: Is told how many files are there.

    Returns:
        How many files this call asked for, those included that were there before.

    Raises:
        InputError: If an argument is refused, or a photo cannot be decoded.
        UnavailableError: If PyAV, or its encoder, is not installed.
        OutputError: If ``folder`` cannot be written, or a worker process dies.
    """
    chosen = _checked(perturbations)
    refuse_places(source, folder, _RECIPE)
    processes = checked_processes(workers)
    check_encoder()
    photos = photos_of(source, _RECIPE, progress, limit)
    return write_tree(
        _RECIPE,
        photos,
        folder,
        chosen,
        seed=seed,
        mark=_mark(photos, seed),
        processes=processes,
        progress=progress,
    )


def _checked(perturbations: Sequence[str]) -> list[str]:
    """Each that was asked for once, in the published order."""
    for name in perturbations:
        check_known(name, tuple(PERTURBATIONS), "perturbation")
    if not perturbations:
        raise InputError("Nothing to make: give at least one perturbation.")
    return [name for name in PERTURBATIONS if name in perturbations]


def _mark(photos: Sequence[Photo], seed: int) -> dict[str, Any]:
    """All that the videos depend on, and so not which of them were asked for."""
    return {
        "by": "evaluator data perturb",
        "seed": seed,
        "encoder": ENCODER,
        "settings": dict(PLAIN),
        "settings_noise": dict(GRAIN),
        "pixel_format": "yuv444p",
        "video_comment": VIDEO_COMMENT.decode(),
        "resize_px": PHOTO.resize_px,
        "crop_px": PHOTO.crop_px,
        "interpolation": PHOTO.interpolation,
        "source_sha256": photos_sha256(photos),
        "packages": {name: version_of(name, "Perturbing photos", "video") for name in ARITHMETIC},
        "libraries": {
            name: ".".join(map(str, version)) for name, version in pyav().library_versions.items()
        },
    }


def _perturbed(photo: Photo, data: bytes, seed: int, variants: Sequence[str]) -> Iterator[bytes]:
    whole = resized_photo(data, printable(photo.location), PHOTO)
    for name in variants:
        perturbation = PERTURBATIONS[name]
        random = np.random.default_rng(seed_of(seed, photo.id, name))
        settings = GRAIN if perturbation.grain else PLAIN
        yield mp4_from_frames(perturbation.sequence(whole, random), settings)


_RECIPE = Recipe(
    verb="perturb",
    files="videos",
    made="perturbed sequences",
    again="perturbing it again gives no known perturbation",
    suffixes=(".mp4",),
    suffix=".mp4",
    make=_perturbed,
)
