"""Data like ImageNet-C, generated from the clean photos of a user.

    SOURCE/<wnid>/<file>  ->  DIR/<corruption>/<severity>/<wnid>/<file>, 224 x 224, JPEG

    Resize(256, bilinear) -> CenterCrop(224) -> corruption -> JPEG of quality 85, optimised,
    with a comment that says that it was generated

Source: Hendrycks & Dietterich, "Benchmarking Neural Network Robustness to Common Corruptions and
Perturbations", ICLR 2019; resize, crop, quality and names are those of its generator,
hendrycks/robustness, ``ImageNet-C/create_c/make_imagenet_c.py``. The corruptions are those of the
package imagecorruptions-imaug, close to the original but not the same: such data are not the
benchmark, and ``generated.json`` says so before the first image is written.

An image depends on its photo and on (seed, id, corruption, severity) alone: see ``trees.py``.
"""

import io
import itertools
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Unpack

import numpy as np
from PIL import Image

from ...errors import InputError, UnavailableError, printable, reason_of
from ..decode import Pixels, photo_pixels
from ..layouts import CORRUPTIONS, SEVERITIES
from ..sources.generated_marker import COMMENT
from .trees import PHOTO, TreeOptions, check_known, seed_of, write_variants
from .workers import Photo, Recipe

JPEG_QUALITY = 85
DISTRIBUTION = "imagecorruptions-imaug"

_OWN_SEED = frozenset(("impulse_noise", "glass_blur"))
"""Corruptions that take their seed as an argument; others draw from numpy's global state."""


def corrupt_photos(
    source: str | Path,
    folder: str | Path,
    *,
    corruptions: Sequence[str] = CORRUPTIONS,
    severities: Sequence[int] = SEVERITIES,
    **options: Unpack[TreeOptions],
) -> int:
    """Write corrupted variants of clean photos, laid out like ImageNet-C.

    Existing files are kept: calling again resumes an interrupted call. Worker processes import the
    caller's main module, so a script needs its ``if __name__ == "__main__":``.

    Args:
        source: Clean photos, ``<wnid>/<file>``.
        folder: Folder to create or to extend.
        corruptions: Some of the 15 corruptions.
        severities: Some of the severities 1 to 5.
        options: Seed, limit, workers and progress: see ``TreeOptions``.

    Returns:
        The number of files of this call, including those that existed before.

    Raises:
        InputError: If an argument is refused, or a photo cannot be decoded.
        UnavailableError: If the package that corrupts, or one that it needs, is not installed.
        OutputError: If ``folder`` cannot be written, or a worker process dies.
    """
    variants = _variants(corruptions, severities)
    return write_variants(_RECIPE, source, folder, variants, **options)


def corrupted_pixels(clean: Pixels, corruption: str, severity: int, seed: int) -> Pixels:
    """A corrupted photo before it is stored: (S, S, 3) uint8, as ``clean`` is.

    ``seed`` is below 2^32. numpy's global state, from which the package draws, is restored.

    Raises:
        UnavailableError: If the package that corrupts cannot be imported.
    """
    corrupt = _generator()
    own_seed = {"seed": seed} if corruption in _OWN_SEED else {}
    state = np.random.get_state()
    np.random.seed(seed)
    try:
        # Users cannot act on the warnings of the package and its dependencies.
        with warnings.catch_warnings(action="ignore"):
            return corrupt(clean, severity, corruption, **own_seed)
    finally:
        np.random.set_state(state)


def _variants(corruptions: Sequence[str], severities: Sequence[int]) -> list[str]:
    """The folder of each corruption and severity, once, in the published order."""
    for name in corruptions:
        check_known(name, CORRUPTIONS, "corruption")
    for severity in severities:
        if severity not in SEVERITIES:
            raise InputError(f"There is no severity {severity}. Expected some of 1 2 3 4 5.")
    if not corruptions or not severities:
        raise InputError("Nothing to generate: give at least one corruption and one severity.")
    cells = itertools.product(CORRUPTIONS, SEVERITIES)
    return [f"{c}/{s}" for c, s in cells if c in corruptions and s in severities]


def _facts() -> dict[str, Any]:
    """What all images depend on, so not which variants a call generates."""
    return {
        "generator": f"{DISTRIBUTION} {_RECIPE.version(DISTRIBUTION)}",
        "jpeg_quality": JPEG_QUALITY,
        "jpeg_comment": COMMENT.decode(),
    }


def _corrupted(photo: Photo, data: bytes, seed: int, variants: Sequence[str]) -> Iterator[bytes]:
    clean = photo_pixels(data, printable(photo.location), PHOTO)
    for variant in variants:
        corruption, severity = variant.split("/")
        own_seed = seed_of(seed, photo.id, corruption, int(severity))
        yield _jpeg(corrupted_pixels(clean, corruption, int(severity), own_seed))


def _jpeg(pixels: Pixels) -> bytes:
    buffer = io.BytesIO()
    image = Image.fromarray(pixels)
    image.save(buffer, "JPEG", quality=JPEG_QUALITY, optimize=True, comment=COMMENT)
    return buffer.getvalue()


def _generator() -> Callable[..., Pixels]:
    """The function ``corrupt`` of the package; imported late, since it loads OpenCV and numba."""
    try:
        with warnings.catch_warnings(action="ignore"):
            from imagecorruptions import corrupt
    except ImportError as error:
        raise UnavailableError(
            f"The package {DISTRIBUTION} cannot be imported: {reason_of(error)}. "
            "Install it with `pip install 'evaluator[demo]'`."
        ) from error
    return corrupt  # type: ignore[no-any-return]


_RECIPE = Recipe(
    verb="corrupt",
    unit="images",
    products="corrupted images",
    objection="corrupting it again gives no known severity",
    suffixes=(".jpg", ".jpeg"),
    suffix=".JPEG",
    packages=("numpy", "opencv-python", "scikit-image", "Pillow", "numba", "scipy"),
    extra="demo",
    facts=_facts,
    check=_generator,
    make=_corrupted,
)
