"""A tree like ImageNet-C, made from the clean photos of a user.

    SOURCE/<wnid>/<file>  ->  DIR/<corruption>/<severity>/<wnid>/<file>, 224 x 224, JPEG

    Resize(256, bilinear) -> CenterCrop(224) -> corruption -> JPEG of quality 85, optimised,
    with a comment that says that it was generated

Source: Hendrycks & Dietterich, "Benchmarking Neural Network Robustness to Common Corruptions and
Perturbations", ICLR 2019; resize, crop, quality and names are those of its generator,
hendrycks/robustness, ``ImageNet-C/create_c/make_imagenet_c.py``. The corruptions are those of the
package imagecorruptions-imaug, close to the original but not the same: such a tree is not the
benchmark, and ``generated.json`` says so before the first image is there.

An image depends on its photo and on (seed, id, corruption, severity), never on the process that
made it or on what else was asked for. So a killed call is continued by calling again, and a
second call with other severities extends the same tree.
"""

import difflib
import hashlib
import importlib.metadata
import io
import itertools
import multiprocessing
import os
import signal
import threading
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ...contracts import Condition, Item, Preprocessing, Progress
from ...errors import InputError, OutputError, UnavailableError, reason_of, shown
from ...storage.atomic import write_whole
from ...storage.digest import file_sha256
from ..decode import Pixels, photo_pixels
from ..sources.folder import FolderSource
from ..sources.marks import COMMENT, mark_above, was_generated
from .mark import mark_tree

BENCHMARK_CORRUPTIONS = (
    "gaussian_noise", "shot_noise", "impulse_noise",
    "defocus_blur", "glass_blur", "motion_blur", "zoom_blur",
    "snow", "frost", "fog", "brightness",
    "contrast", "elastic_transform", "pixelate", "jpeg_compression",
)  # fmt: skip
"""The 15 that count, in the order of the paper's tables; here again, so that a worker process need
not load the benchmark. A test compares."""

SEVERITIES = (1, 2, 3, 4, 5)
JPEG_QUALITY = 85
STIMULUS = Preprocessing(256, 224, "bilinear", (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
"""How the original generator makes the square that it corrupts; mean and std play no part."""

DISTRIBUTION = "imagecorruptions-imaug"
ARITHMETIC = ("numpy", "opencv-python", "scikit-image", "Pillow", "numba", "scipy")
"""The packages whose versions can change a byte of what is made."""

_OWN_SEED = frozenset(("impulse_noise", "glass_blur"))
"""These take their seed as an argument; the others draw from numpy's global state."""

Variant = tuple[str, int]  # corruption, severity


@dataclass(frozen=True)
class _Photo:
    """A clean photo: its id, where it is, the name of what is made of it, and its bytes' hash."""

    id: str
    location: str
    target: str
    sha256: str


@dataclass(frozen=True)
class _Task:
    """What one worker does at a time: the missing variants of one photo."""

    photo: _Photo
    folder: Path
    seed: int
    missing: tuple[Variant, ...]


def write_corrupted(
    source: Path,
    folder: Path,
    *,
    corruptions: Sequence[str] = BENCHMARK_CORRUPTIONS,
    severities: Sequence[int] = SEVERITIES,
    seed: int = 0,
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
    _refuse_places(source, folder)
    processes = _checked_processes(workers)
    versions = {name: _version(name) for name in (DISTRIBUTION, *ARITHMETIC)}
    photos = _photos(source, progress)
    mark_tree(folder, _recipe(photos, seed, versions))
    total = len(photos) * len(variants)
    _corrupt_all(_tasks(folder, photos, variants, seed), processes, total, progress)
    return total


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
    words = "\0".join((str(seed), photo_id, corruption, str(severity)))
    return int.from_bytes(hashlib.sha256(words.encode()).digest()[:4], "big")


def _checked_variants(corruptions: Sequence[str], severities: Sequence[int]) -> list[Variant]:
    """Each that was asked for once, in the published order."""
    for name in corruptions:
        if name not in BENCHMARK_CORRUPTIONS:
            near = difflib.get_close_matches(name, BENCHMARK_CORRUPTIONS, n=3)
            known = f"Expected some of {' '.join(BENCHMARK_CORRUPTIONS)}."
            hint = f"Did you mean {' or '.join(near)}?" if near else known
            raise InputError(f"There is no corruption {name!r}. {hint}")
    for severity in severities:
        if severity not in SEVERITIES:
            raise InputError(f"There is no severity {severity}. Expected some of 1 2 3 4 5.")
    if not corruptions or not severities:
        raise InputError("Nothing to make: give at least one corruption and one severity.")
    every = itertools.product(BENCHMARK_CORRUPTIONS, SEVERITIES)
    return [(c, s) for c, s in every if c in corruptions and s in severities]


def _checked_processes(workers: int | None) -> int:
    if workers is not None and workers < 1:
        raise InputError(f"There cannot be {workers} workers. Expected 1 or more.")
    return workers or os.cpu_count() or 1


def _refuse_places(source: Path, folder: Path) -> None:
    if not source.is_dir():
        raise InputError(
            f"SOURCE {shown(source)} is no folder. Give the folder that holds <wnid>/<file>."
        )
    clean, made = source.resolve(), folder.resolve()
    if clean == made or clean in made.parents or made in clean.parents:
        raise InputError(
            f"SOURCE {shown(source)} and DIR {shown(folder)} lie in each other, so corrupted "
            "images would mix with clean photos. Give a DIR beside SOURCE."
        )
    if (mark := mark_above(clean)) is not None:
        raise _generated_source(source, str(mark))


def _generated_source(source: Path, evidence: str) -> InputError:
    return InputError(
        f"SOURCE {shown(source)} was itself generated, says {shown(evidence)}: "
        "corrupting it again gives no known severity. Give clean photos."
    )


def _version(distribution: str) -> str:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError as error:
        raise UnavailableError(
            f"Corrupting photos needs the package {distribution}, which is not installed. "
            "Install it with `pip install 'evaluator[demo]'`."
        ) from error


def _photos(source: Path, progress: Progress) -> list[_Photo]:
    """The clean photos, sorted by id, once each is known to have a name of its own in the tree."""
    items = FolderSource(source, [Condition()]).items(Condition())
    if was_generated(items[0].location):
        raise _generated_source(source, items[0].location)
    by_target: dict[str, Item] = {}
    for item in items:
        other = by_target.setdefault(_target(item.id), item)
        if other is not item:
            raise InputError(
                f"{shown(other.location)} and {shown(item.location)} would both become "
                f"{shown(_target(item.id))}. Rename or remove one of them."
            )
    photos: list[_Photo] = []
    for target, item in by_target.items():
        if len(photos) % 100 == 0:
            progress.advance("read", len(photos), len(items), "photos")
        photos.append(_Photo(item.id, item.location, target, file_sha256(Path(item.location))))
    progress.advance("read", len(photos), len(items), "photos")
    return photos


def _target(photo_id: str) -> str:
    """The name that a corrupted photo gets: its own where that is the name of a JPEG."""
    stem, suffix = os.path.splitext(photo_id)
    return photo_id if suffix.lower() in (".jpg", ".jpeg") else f"{stem}.JPEG"


def _recipe(photos: Sequence[_Photo], seed: int, versions: Mapping[str, str]) -> dict[str, Any]:
    """All that the images depend on, and so not which of them were asked for."""
    digest = hashlib.sha256()
    for photo in photos:
        digest.update(f"{photo.id}\0{photo.sha256}\n".encode())
    return {
        "by": "evaluator data corrupt",
        "generator": f"{DISTRIBUTION} {versions[DISTRIBUTION]}",
        "seed": seed,
        "jpeg_quality": JPEG_QUALITY,
        "jpeg_comment": COMMENT.decode(),
        "resize_px": STIMULUS.resize_px,
        "crop_px": STIMULUS.crop_px,
        "interpolation": STIMULUS.interpolation,
        "source_sha256": digest.hexdigest(),
        "packages": {name: versions[name] for name in ARITHMETIC},
    }


def _tasks(
    folder: Path, photos: Sequence[_Photo], variants: Sequence[Variant], seed: int
) -> list[_Task]:
    tasks = []
    for photo in photos:
        missing = [v for v in variants if not os.path.exists(_path(folder, photo, v))]
        tasks.append(_Task(photo, folder, seed, tuple(missing)))
    return [task for task in tasks if task.missing]


def _path(folder: Path, photo: _Photo, variant: Variant) -> str:
    corruption, severity = variant
    return f"{folder}/{corruption}/{severity}/{photo.target}"


def _corrupt_all(tasks: Sequence[_Task], processes: int, total: int, progress: Progress) -> None:
    """Do every task; the first error, or an interrupt, ends those that are running as well."""
    done = total - sum(len(task.missing) for task in tasks)
    progress.advance("corrupt", done, total, "images")
    if not tasks:
        return
    # A process that was forked would inherit the locks of threads that it does not have.
    context = multiprocessing.get_context("spawn")
    stopped = context.Event()
    processes, told = min(processes, len(tasks)), time.monotonic()
    with ProcessPoolExecutor(processes, context, _begin_worker, (stopped,)) as pool:
        try:
            for future in as_completed([pool.submit(_corrupt_photo, task) for task in tasks]):
                done += future.result()
                if done == total or time.monotonic() - told > 0.1:
                    told = time.monotonic()
                    progress.advance("corrupt", done, total, "images")
        except BrokenProcessPool as error:
            raise OutputError(
                f"One of {processes} worker processes died, perhaps for lack of memory. "
                "Call again, with fewer workers: what is there is kept."
            ) from error
        except BaseException:
            stopped.set()
            pool.shutdown(wait=False, cancel_futures=True)
            raise


_stopped: Event | None = None
"""In a worker process: whether the call has ended without waiting for it."""


def _begin_worker(stopped: Event) -> None:
    global _stopped
    _stopped = stopped
    # Ctrl-C reaches all processes of a terminal; the caller's own decides.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # OpenCV would start a thread for each processor in each process.
    os.environ["OPENCV_FOR_THREADS_NUM"] = "1"
    threading.Thread(target=_end_with_caller, daemon=True).start()


def _end_with_caller() -> None:
    """Without this, the workers of a call that was killed would wait for tasks for ever."""
    if (caller := multiprocessing.parent_process()) is not None:
        caller.join()
        os._exit(1)


def _corrupt_photo(task: _Task) -> int:
    """Make what is missing of one photo; returns how many files."""
    photo = task.photo
    clean = photo_pixels(_bytes(photo), shown(photo.location), STIMULUS)
    for corruption, severity in task.missing:
        if _stopped is not None and _stopped.is_set():
            break
        seed = image_seed(task.seed, photo.id, corruption, severity)
        pixels = corrupted_pixels(clean, corruption, severity, seed)
        write_whole(Path(_path(task.folder, photo, (corruption, severity))), _jpeg(pixels))
    return len(task.missing)


def _bytes(photo: _Photo) -> bytes:
    """The bytes that the mark speaks of, and no others."""
    data = b""
    with suppress(OSError):
        data = Path(photo.location).read_bytes()
    if hashlib.sha256(data).hexdigest() != photo.sha256:
        raise InputError(
            f"{shown(photo.location)} changed, or cannot be read any more, while the tree was "
            "made. Leave SOURCE as it is until the end; if it changed, give another DIR."
        )
    return data


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
