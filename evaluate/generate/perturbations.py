"""Data like ImageNet-P, generated from the clean photos of a user.

    SOURCE/<wnid>/<file>  ->  DIR/<perturbation>/<wnid>/<stem>.mp4, 224 x 224

    Resize(256, bilinear) -> ``sequences.py`` -> ``encoding.py``

The perturbations are written from the published parameters; random numbers, and some libraries,
differ from the original's: such data are not the benchmark, and ``generated.json`` says so before
the first video is written. A video depends on its photo and on
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
    package_version,
    photos_sha256,
    seed_of,
    write_variants,
)

PHOTO = Preprocessing(256, CROP_PX, "bilinear", (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
"""Preprocessing of the original generator before it perturbs; mean and std are not used."""

ARITHMETIC = ("numpy", "scipy", "Pillow", "av")
"""The packages whose versions can change a byte of the videos."""


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
    """Write perturbed sequences of clean photos, laid out like ImageNet-P.

    Existing files are kept: calling again resumes an interrupted call. Worker processes import the
    caller's main module, so a script needs its ``if __name__ == "__main__":``.

    Args:
        source: Clean photos, ``<wnid>/<file>``.
        folder: Folder to create or to extend.
        perturbations: Some of the ten perturbations.
        seed: Seed of all random numbers.
        limit: Number of photos, evenly spaced over the sorted ids; all if ``None``. Another limit
            needs another folder.
        workers: Number of processes; one for each processor if ``None``.
        progress: Progress callback.

    Returns:
        The number of files of this call, including those that existed before.

    Raises:
        InputError: If an argument is refused, or a photo cannot be decoded.
        UnavailableError: If PyAV, or its encoder, is not installed.
        OutputError: If ``folder`` cannot be written, or a worker process dies.
    """
    variants = _variants(perturbations)
    check_encoder()
    return write_variants(
        _RECIPE,
        source,
        folder,
        variants,
        seed=seed,
        limit=limit,
        workers=workers,
        marker=_marker,
        progress=progress,
    )


def _variants(perturbations: Sequence[str]) -> list[str]:
    """The folder of each perturbation, once, in the published order."""
    for name in perturbations:
        check_known(name, tuple(PERTURBATIONS), "perturbation")
    if not perturbations:
        raise InputError("Nothing to generate: give at least one perturbation.")
    return [name for name in PERTURBATIONS if name in perturbations]


def _marker(photos: Sequence[Photo], seed: int) -> dict[str, Any]:
    """Everything that the videos depend on, so not which perturbations a call generates."""
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
        "packages": {
            name: package_version(name, "Perturbing photos", "video") for name in ARITHMETIC
        },
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
    unit="videos",
    products="perturbed sequences",
    objection="perturbing it again gives no known perturbation",
    suffixes=(".mp4",),
    suffix=".mp4",
    make=_perturbed,
)
