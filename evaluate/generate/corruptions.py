"""A tree like ImageNet-C, made from the clean photos of a user.

    SOURCE/<wnid>/<file>  ->  DIR/<corruption>/<severity>/<wnid>/<file>, 224 x 224, JPEG

    Resize(256, bilinear) -> CenterCrop(224) -> corruption -> JPEG of quality 85, optimised,
    with a comment that says that it was generated

Source: Hendrycks & Dietterich, "Benchmarking Neural Network Robustness to Common Corruptions and
Perturbations", ICLR 2019; resize, crop, quality and names are those of its generator,
hendrycks/robustness, ``ImageNet-C/create_c/make_imagenet_c.py``. The corruptions are those of the
package imagecorruptions-imaug, close to the original but not the same: such a tree is not the
benchmark, and ``generated.json`` says so before the first image is there.

An image depends on its photo and on (seed, id, corruption, severity) alone: see ``trees.py``.
"""

import io
import itertools
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ...contracts import Preprocessing, Progress
from ...errors import InputError, UnavailableError, printable, reason_of
from ..decode import Pixels, photo_pixels
from ..layouts import CORRUPTIONS, SEVERITIES
from ..sources.generated_marker import COMMENT
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

JPEG_QUALITY = 85
STIMULUS = Preprocessing(256, 224, "bilinear", (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
"""How the original generator makes the square that it corrupts; mean and std play no part."""

DISTRIBUTION = "imagecorruptions-imaug"
ARITHMETIC = ("numpy", "opencv-python", "scikit-image", "Pillow", "numba", "scipy")
"""The packages whose versions can change a byte of what is made."""

_OWN_SEED = frozenset(("impulse_noise", "glass_blur"))
"""These take their seed as an argument; the others draw from numpy's global state."""


def write_corrupted(
    source: Path,
    folder: Path,
    *,
    corruptions: Sequence[str] = CORRUPTIONS,
    severities: Sequence[int] = SEVERITIES,
    seed: int = 0,
    limit: int | None = None,
    workers: int | None = None,
    progress: Progress,
) -> int:
    """Write corrupted variants of clean photos, as a tree that is scored like ImageNet-C.

    Files that are there are kept: calling again continues a killed call. Worker processes import
    the caller's main module, so a script needs its ``if __name__ == "__main__":``.

    Args:
        source: Clean photos, ``<wnid>/<file>``.
        folder: The tree to make or to extend.
        corruptions: Of the 15.
        severities: Of 1 to 5.
        seed: Of all that is random.
        limit: So many photos, evenly spaced over the sorted ids; other limits are other trees.
        workers: Processes; by default one for each processor.
        progress: Is told how many files are there.

    Returns:
        How many files this call asked for, those included that were there before.

    Raises:
        InputError: If an argument is refused, or a photo cannot be decoded.
        UnavailableError: If the package that corrupts is not installed whole.
        OutputError: If ``folder`` cannot be written, or a worker process dies.
    """
    variants = _checked_variants(corruptions, severities)
    refuse_places(source, folder, _RECIPE)
    processes = checked_processes(workers)
    versions = {
        name: version_of(name, "Corrupting photos", "demo") for name in (DISTRIBUTION, *ARITHMETIC)
    }
    photos = photos_of(source, _RECIPE, progress, limit)
    return write_tree(
        _RECIPE,
        photos,
        folder,
        variants,
        seed=seed,
        mark=_mark(photos, seed, versions),
        processes=processes,
        progress=progress,
    )


def corrupted_pixels(clean: Pixels, corruption: str, severity: int, seed: int) -> Pixels:
    """A corrupted photo before it is stored: (S, S, 3) uint8, as ``clean`` is.

    ``seed`` is below 2^32. numpy's global state, from which the package draws, is put back.

    Raises:
        UnavailableError: If the package that corrupts cannot be imported.
    """
    corrupt = _generator()
    own_seed = {"seed": seed} if corruption in _OWN_SEED else {}
    state = np.random.get_state()
    np.random.seed(seed)
    try:
        # Nobody who runs this can act on what the package and its dependencies warn of.
        with warnings.catch_warnings(action="ignore"):
            return corrupt(clean, severity, corruption, **own_seed)
    finally:
        np.random.set_state(state)


def image_seed(seed: int, photo_id: str, corruption: str, severity: int) -> int:
    """The seed of one image, below 2^32.

    Example:
        >>> image_seed(0, "n01440764/a.JPEG", "fog", 3)
        2775884718
    """
    return seed_of(seed, photo_id, corruption, severity)


def _checked_variants(corruptions: Sequence[str], severities: Sequence[int]) -> list[str]:
    """The folder of each that was asked for, once, in the published order."""
    for name in corruptions:
        check_known(name, CORRUPTIONS, "corruption")
    for severity in severities:
        if severity not in SEVERITIES:
            raise InputError(f"There is no severity {severity}. Expected some of 1 2 3 4 5.")
    if not corruptions or not severities:
        raise InputError("Nothing to make: give at least one corruption and one severity.")
    every = itertools.product(CORRUPTIONS, SEVERITIES)
    return [f"{c}/{s}" for c, s in every if c in corruptions and s in severities]


def _mark(photos: Sequence[Photo], seed: int, versions: Mapping[str, str]) -> dict[str, Any]:
    """All that the images depend on, and so not which of them were asked for."""
    return {
        "by": "evaluator data corrupt",
        "generator": f"{DISTRIBUTION} {versions[DISTRIBUTION]}",
        "seed": seed,
        "jpeg_quality": JPEG_QUALITY,
        "jpeg_comment": COMMENT.decode(),
        "resize_px": STIMULUS.resize_px,
        "crop_px": STIMULUS.crop_px,
        "interpolation": STIMULUS.interpolation,
        "source_sha256": photos_sha256(photos),
        "packages": {name: versions[name] for name in ARITHMETIC},
    }


def _corrupted(photo: Photo, data: bytes, seed: int, variants: Sequence[str]) -> Iterator[bytes]:
    clean = photo_pixels(data, printable(photo.location), STIMULUS)
    for variant in variants:
        corruption, severity = variant.split("/")
        own_seed = image_seed(seed, photo.id, corruption, int(severity))
        yield _jpeg(corrupted_pixels(clean, corruption, int(severity), own_seed))


def _jpeg(pixels: Pixels) -> bytes:
    buffer = io.BytesIO()
    image = Image.fromarray(pixels)
    image.save(buffer, "JPEG", quality=JPEG_QUALITY, optimize=True, comment=COMMENT)
    return buffer.getvalue()


def _generator() -> Callable[..., Pixels]:
    """The function ``corrupt`` of the package; imported late, for it brings OpenCV and numba."""
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
    files="images",
    made="corrupted images",
    again="corrupting it again gives no known severity",
    suffixes=(".jpg", ".jpeg"),
    suffix=".JPEG",
    make=_corrupted,
)
