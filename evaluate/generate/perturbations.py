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
from typing import Any, Unpack

import numpy as np

from ...errors import InputError, printable
from ..decode import resized_photo
from ..sources.generated_marker import VIDEO_COMMENT
from ..video import pyav
from .encoding import ENCODER, GRAIN, PLAIN, check_encoder, mp4_from_frames
from .sequences import PERTURBATIONS
from .trees import PHOTO, TreeOptions, check_known, seed_of, write_variants
from .workers import Photo, Recipe


def perturb_photos(
    source: str | Path,
    folder: str | Path,
    *,
    perturbations: Sequence[str] = tuple(PERTURBATIONS),
    **options: Unpack[TreeOptions],
) -> int:
    """Write perturbed sequences of clean photos, laid out like ImageNet-P.

    Existing files are kept: calling again resumes an interrupted call. Worker processes import the
    caller's main module, so a script needs its ``if __name__ == "__main__":``.

    Args:
        source: Clean photos, ``<wnid>/<file>``.
        folder: Folder to create or to extend.
        perturbations: Some of the ten perturbations.
        options: Seed, limit, workers and progress: see ``TreeOptions``.

    Returns:
        The number of files of this call, including those that existed before.

    Raises:
        InputError: If an argument is refused, or a photo cannot be decoded.
        UnavailableError: If PyAV, or its encoder, is not installed.
        OutputError: If ``folder`` cannot be written, or a worker process dies.
    """
    for name in perturbations:
        check_known(name, tuple(PERTURBATIONS), "perturbation")
    if not perturbations:
        raise InputError("Nothing to generate: give at least one perturbation.")
    check_encoder()
    variants = [name for name in PERTURBATIONS if name in perturbations]
    return write_variants(_RECIPE, source, folder, variants, **options)


def _facts() -> dict[str, Any]:
    """What all videos depend on, so not which perturbations a call generates."""
    libraries = pyav().library_versions
    return {
        "encoder": ENCODER,
        "settings": dict(PLAIN),
        "settings_noise": dict(GRAIN),
        "pixel_format": "yuv444p",
        "video_comment": VIDEO_COMMENT.decode(),
        "libraries": {name: ".".join(map(str, version)) for name, version in libraries.items()},
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
    packages=("numpy", "scipy", "Pillow", "av"),
    extra="video",
    facts=_facts,
    check=check_encoder,
    make=_perturbed,
)
