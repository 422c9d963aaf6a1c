"""Data that are generated from the clean photos of a user, by several processes.

    SOURCE/<wnid>/<file>  ->  DIR/<variant>/<wnid>/<file>

A file depends on its photo, the seed and its variant, never on the process that makes it or on the
other variants of a call. So an interrupted call is resumed by calling again, and a second call for
other variants extends the same folder. All photos are decoded before anything is written, since the
data of a call without one of them are other data. A ``Recipe`` says what the variants are and how
their bytes are made: ``corruptions.py`` and ``perturbations.py`` each have one.
"""

import hashlib
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypedDict, Unpack

from ...contracts import Condition, Item, NullProgress, Preprocessing, Progress
from ...errors import InputError, did_you_mean, printable
from ...storage.atomic import make_folder
from ...storage.documents import document_differences, write_document
from ..decode import resized_photo
from ..sources.digests import READERS
from ..sources.folder import FolderSource
from ..sources.generated_marker import GENERATED, generator_command, marker_above, read_marker
from ..sources.items import select_items
from ..sources.listing import read_file
from .workers import Photo, Recipe, Task, make_all

PHOTO = Preprocessing(256, 224, "bilinear", (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
"""Preprocessing of the original generators before they change a photo; mean and std are not
used."""


class TreeOptions(TypedDict, total=False):
    """Options of every kind of generated data.

    Attributes:
        seed: Seed of all random numbers; 0 if not given.
        limit: Number of photos, evenly spaced over the sorted ids; all if ``None``. Another limit
            needs another folder.
        workers: Number of processes; one for each processor if ``None``.
        progress: Progress callback.
    """

    seed: int
    limit: int | None
    workers: int | None
    progress: Progress | None


def write_variants(
    recipe: Recipe,
    source: str | Path,
    folder: str | Path,
    variants: Sequence[str],
    **options: Unpack[TreeOptions],
) -> int:
    """Write ``generated.json`` and the missing files; returns the number of files of the call.

    Args:
        recipe: How the files are made.
        source: Folder of clean photos, ``<wnid>/<file>``.
        folder: Folder to create or to extend.
        variants: Folders in it, each of which gets a file for each photo.
        options: Seed, limit, workers and progress.

    Raises:
        InputError: If an argument is refused, a photo cannot be decoded, or the folder was
            generated in another way.
        UnavailableError: If a package that the recipe needs is not installed.
        OutputError: If ``folder`` cannot be written, or a worker process dies.
    """
    source, folder = Path(source), Path(folder)
    seed, workers = options.get("seed", 0), options.get("workers")
    progress = options.get("progress") or NullProgress()
    facts = _facts(recipe, seed)
    _check_places(source, folder, recipe)
    if workers is not None and workers < 1:
        raise InputError(f"Invalid number of workers: {workers}. Expected 1 or more.")
    is_new = not os.path.lexists(folder / GENERATED)
    photos = _photos(source, recipe, progress, options.get("limit"), decode=is_new)
    if is_new:
        recipe.check()
    _write_marker(folder, {**facts, "source_sha256": _photos_sha256(photos)})
    tasks = []
    for photo in photos:
        missing = [v for v in variants if not os.path.exists(f"{folder}/{v}/{photo.target}")]
        tasks.append(Task(photo, folder, seed, tuple(missing), recipe))
    total = len(photos) * len(variants)
    make_all([task for task in tasks if task.missing], recipe, workers, total, progress)
    return total


def _facts(recipe: Recipe, seed: int) -> dict[str, Any]:
    """What all files depend on besides the photos, as ``generated.json`` has it."""
    return {
        "by": f"evaluator data {recipe.verb}",
        "seed": seed,
        "resize_px": PHOTO.resize_px,
        "crop_px": PHOTO.crop_px,
        "interpolation": PHOTO.interpolation,
        **recipe.facts(),
        "packages": {name: recipe.version(name) for name in recipe.packages},
    }


def seed_of(*words: object) -> int:
    """A seed below 2^32 that depends on all of these words.

    Example:
        >>> seed_of(0, "n01440764/a.JPEG", "fog", 3)
        2775884718
    """
    text = "\0".join(map(str, words))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")


def check_known(name: str, known: Sequence[str], noun: str) -> None:
    """Refuse a name that is not one of the known ones.

    Raises:
        InputError: If the name is unknown; the message suggests similar names, or lists all.
    """
    if name not in known:
        hint = did_you_mean(name, known, f"Expected some of {' '.join(known)}.")
        raise InputError(f"There is no {noun} {name!r}. {hint}")


def _check_places(source: Path, folder: Path, recipe: Recipe) -> None:
    """Refuse a source that was generated, or whose photos would mix with the products."""
    if not source.is_dir():
        raise InputError(
            f"SOURCE {printable(source)} is not a folder. Give the folder that holds <wnid>/<file>."
        )
    clean, target = source.resolve(), folder.resolve()
    if clean == target or clean in target.parents or target in clean.parents:
        raise InputError(
            f"SOURCE {printable(source)} and DIR {printable(folder)} overlap, so "
            f"{recipe.products} would mix with clean photos. Give a DIR outside of SOURCE."
        )
    if (marker := marker_above(clean)) is not None:
        raise _generated_source(source, str(marker), recipe)


def _photos(
    source: Path, recipe: Recipe, progress: Progress, limit: int | None, *, decode: bool
) -> list[Photo]:
    """The clean photos, sorted by id.

    Raises:
        InputError: If one of them was generated, two would have products of one name, or, if they
            are decoded, one cannot be.
    """
    items = select_items(FolderSource(source, [Condition()]).items(Condition()), limit)
    by_target: dict[str, Item] = {}
    for item in items:
        target = _target(item.id, recipe)
        other = by_target.setdefault(target, item)
        if other is not item:
            raise InputError(
                f"{printable(other.location)} and {printable(item.location)} would both become "
                f"{printable(target)}. Rename or remove one of them."
            )

    def photo_of(target: str, item: Item) -> Photo:
        data = read_file(item.location)
        if generator_command(data) is not None:
            raise _generated_source(source, item.location, recipe)
        if decode:
            resized_photo(data, printable(item.location), PHOTO)
        return Photo(item.id, item.location, target, hashlib.sha256(data).hexdigest())

    photos: list[Photo] = []
    with ThreadPoolExecutor(READERS) as pool:
        try:
            for photo in pool.map(photo_of, by_target.keys(), by_target.values()):
                if len(photos) % 100 == 0:
                    progress.advance("read", len(photos), len(items), "photos")
                photos.append(photo)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    progress.advance("read", len(photos), len(items), "photos")
    return photos


def _photos_sha256(photos: Sequence[Photo]) -> str:
    """SHA-256 over the ids and bytes of all photos."""
    digest = hashlib.sha256()
    for photo in photos:
        digest.update(f"{photo.id}\0{photo.sha256}\n".encode())
    return digest.hexdigest()


def _write_marker(folder: Path, content: dict[str, Any]) -> None:
    """Write ``generated.json`` into a new folder, or compare it with the one of a folder to extend.

    It is written before the first file, so that unfinished data are marked as well.

    Raises:
        InputError: If the folder holds something else, or was generated in another way.
        OutputError: If the folder cannot be written.
    """
    if os.path.lexists(folder / GENERATED):
        existing = dict(read_marker(folder / GENERATED))
        differences = list(document_differences(existing, content))
        if differences:
            raise InputError(
                f"{printable(folder / GENERATED)} says that the data were generated differently: "
                f"{'; '.join(differences)}. Give another DIR, or repeat the original options."
            )
        return
    make_folder(folder)
    # A call that was killed at once may have left the file under its temporary name.
    others = [name for name in os.listdir(folder) if not name.startswith(f".{GENERATED}.")]
    if others:
        raise InputError(
            f"DIR {printable(folder)} holds {printable(min(others))} and no {GENERATED}, so it "
            "does not hold generated data. Give a new or an empty DIR."
        )
    write_document(folder / GENERATED, content)


def _generated_source(source: Path, evidence: str, recipe: Recipe) -> InputError:
    return InputError(
        f"SOURCE {printable(source)} was itself generated, according to {printable(evidence)}: "
        f"{recipe.objection}. Give clean photos."
    )


def _target(photo_id: str, recipe: Recipe) -> str:
    """The name of a product: that of its photo if it has a suffix that products may keep."""
    stem, suffix = os.path.splitext(photo_id)
    return photo_id if suffix.lower() in recipe.suffixes else f"{stem}{recipe.suffix}"
