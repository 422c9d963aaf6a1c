"""Images that maximize units before the last layer of a model, from photos and from noise."""

import importlib.metadata
import platform
import shlex
import socket
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

from ...attacks.maximizing.maximizing import (
    Maximized,
    MaximizingSettings,
    as_table,
    climbs,
    rows_of,
    why_impossible,
)
from ...attacks.maximizing.paper_random_state import drawn_units
from ...attacks.maximizing.penultimate import PenultimateUnits, find_penultimate
from ...attacks.maximizing.similarity import likenesses, pair_count
from ...contracts import Device, LoadedNetwork, NullProgress, Progress
from ...engine.table import candidates
from ...engine.torch_engine import exact_float32, torch_spec, torch_versions
from ...errors import EngineMemoryError, InputError, lacks_memory, printable, reason_of
from ...evaluate.jpeg import decoder_versions
from ...exporter.weights.weights import load_network
from ...system.malloc import keep_freed_memory
from ..models.gradient_model import frozen_network, refuse_without_gradients
from ..models.options import ModelOptions, NetworkOptions
from ..models.resolve import resolve_model
from ..runs.selection import places_of
from .checkpoint import begin, check_folder, made_before, read_part, remove_parts, write_part
from .initial_images import FirstPhotos, Start, read_starts
from .results import (
    Circumstances,
    MaximizedDocument,
    MaximizingKey,
    criterion,
    image_rows,
    write_results,
)

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

CPU_BATCH, CUDA_BATCH = 6, 32
"""Images at a time: gradients take about 90 MB an image on EfficientNet-Lite0, and ten times that
on the largest models."""


@dataclass(frozen=True)
class MaximizedImages:
    """What was made.

    Attributes:
        folder: That holds the files.
        document: What they are.
        created: Whether they were made now; otherwise they were there.
    """

    folder: Path
    document: MaximizedDocument
    created: bool


def maximize(
    model: str,
    *,
    out: str | Path,
    units: Sequence[int] | None = None,
    starts: Sequence[str | Path] | None = None,
    data: str | Path | Sequence[str | Path] | None = None,
    labels: str | Path | None = None,
    steps: int = 500,
    step_size: float = 1 / 255,
    epsilon: float = 4.0,
    device: str | None = None,
    batch_size: int | None = None,
    progress: Progress | None = None,
    **options: Unpack[NetworkOptions],
) -> MaximizedImages:
    """Maximize units of the penultimate layer by the paper's method, and write what comes of it.

    The same call continues what was killed, and keeps what is finished.

    Args:
        model: As for ``export_model``; its code is needed, for gradients.
        out: The folder for grids, arrays and their document; a new or an empty one.
        units: Which; without it, drawn as in the paper: 1062 and five more of 2048.
        starts: Photos, or ``noise``; without it, two photos and the paper's noise.
        data: Where the two photos are the first ones of the sorted class folders: folders and tar
            files; without it, the sample photos.
        labels: A list of the classes of photos that are not in class folders; those of a folder
            without any are sorted by name.
        steps: All are made.
        step_size: In [0, 1] pixel units.
        epsilon: Largest change, in the same units; the paper's 4 is no bound.
        device: ``cpu`` or ``cuda:N``; without it, a GPU if there is one.
        batch_size: Images at a time.
        progress: Progress callback.
        options: Which model; see ``NetworkOptions``.

    Raises:
        InputError: If something of it cannot be had as asked for; a unit beyond the layer, say.
        UnavailableError: If weights or the device are not here.
        OutputError: If the folder holds something else or cannot be written.
        RunMismatchError: If the folder holds images that were made in another way.
    """
    progress, folder = progress or NullProgress(), Path(out).expanduser()
    settings = MaximizingSettings(steps, step_size, epsilon)
    if batch_size is not None and batch_size < 1:
        raise InputError(f"--batch-size {batch_size} is not possible; expected 1 or more.")
    choice = ModelOptions(model, **options)
    subject = resolve_model(choice, progress)
    refuse_without_gradients(subject)
    check_folder(folder)
    place = candidates("torch", device)[0].device
    begun, images = read_starts(
        starts, _first_photos(data, labels), subject.spec.preprocessing, progress
    )
    if place.name == "cpu":
        keep_freed_memory()  # before loading, whose threads would keep arenas of their own
    loaded = load_network(subject.spec, progress)
    with exact_float32():
        found = _penultimate(loaded, place)
        chosen = _checked_units(units, found, subject.spec.name)
        key = _key(loaded, found, settings, chosen, begun)
        there = made_before(folder, key)
        if there is not None:
            return MaximizedImages(folder, there, created=False)
        size = batch_size or (CPU_BATCH if place.name == "cpu" else CUDA_BATCH)
        job = _Job(loaded, found, key, begun, images, place, size)
        return MaximizedImages(folder, _made(job, folder, progress), created=True)


def _first_photos(
    data: str | Path | Sequence[str | Path] | None, labels: str | Path | None
) -> FirstPhotos | None:
    if data is None:
        if labels is not None:
            raise InputError(
                f"--labels {printable(labels)} is for the photos of --data. Name them."
            )
        return None
    places = [place.expanduser() for place in places_of(data)]
    return FirstPhotos(places, None if labels is None else Path(labels).expanduser())


@dataclass(frozen=True)
class _Job:
    """Everything that images are made with."""

    loaded: LoadedNetwork
    units_of: PenultimateUnits
    key: MaximizingKey
    starts: tuple[Start, ...]
    images: "npt.NDArray[np.float32]"
    device: Device
    batch_size: int


def _penultimate(loaded: LoadedNetwork, device: Device) -> PenultimateUnits:
    spec, network = loaded.spec, frozen_network(loaded, device)
    return find_penultimate(network, spec.preprocessing.crop_px, spec.name)


def _layer(found: PenultimateUnits) -> str:
    """The last layer as the model itself calls it, without what stands around the model."""
    return found.layer_name.removeprefix("network.")


def _checked_units(asked: Sequence[int] | None, found: PenultimateUnits, name: str) -> list[int]:
    """The units to maximize.

    Raises:
        InputError: If one is beyond the layer or there twice, or a softmax over them is no choice.
    """
    if found.width < 2:
        raise InputError(
            f"The penultimate layer of {name}, before {_layer(found)}, has a single unit, whose "
            "softmax is always 1. Expected several."
        )
    if asked is None:
        return list(drawn_units(found.width))
    for number, unit in enumerate(asked):
        if not 0 <= unit < found.width:
            raise InputError(
                f"There is no unit {unit} in {name}: {_layer(found)} reads {found.width:,} "
                f"units, 0 to {found.width - 1}."
            )
        if unit in asked[:number]:
            raise InputError(f"The unit {unit} is there twice. Name each unit once.")
    if not asked:
        raise InputError("No unit is named. Name some, or none at all for those of the paper.")
    return list(asked)


def _key(
    loaded: LoadedNetwork,
    found: PenultimateUnits,
    settings: MaximizingSettings,
    units: Sequence[int],
    starts: Sequence[Start],
) -> MaximizingKey:
    return MaximizingKey(
        engine=torch_spec(loaded.spec, loaded.weights_sha256, "images"),
        preprocessing=loaded.spec.preprocessing,
        layer=_layer(found),
        width=found.width,
        settings=settings,
        units=tuple(units),
        starts=tuple(start.sha256 for start in starts),
    )


def _made(job: _Job, folder: Path, progress: Progress) -> MaximizedDocument:
    """Make and compare the images, and write it all."""
    key = job.key
    impossible = why_impossible(job.units_of.bounds, key.width, key.settings)
    if impossible is not None:
        progress.note(
            f"No image can reach p > {criterion(key.settings)}: {impossible}. The best are given."
        )
    begin(folder, key)
    parts = _all_parts(job, folder, progress)
    found = as_table([row for row, _ in parts], len(job.starts), len(key.units))
    total = pair_count(len(job.starts), len(key.units))
    alike = likenesses(found.images, job.images, _telling(progress, "compare", total, "pairs"))
    document = MaximizedDocument(
        key=key,
        model=job.loaded.spec,
        weights_sha256=job.loaded.weights_sha256,
        starts=job.starts,
        bounds=job.units_of.bounds,
        impossible=impossible,
        images=tuple(image_rows(found, job.starts, key.units, alike)),
        across_units=alike.across_units,
        across_starts=alike.across_starts,
        circumstances=_distinct([made for _, made in parts]),
    )
    document = write_results(folder, document, found, job.images)
    remove_parts(folder)
    return document


def _all_parts(
    job: _Job, folder: Path, progress: Progress
) -> list[tuple[Maximized, Circumstances]]:
    """What came of each start and unit; what is in the folder is not made again."""
    pairs = [(start, unit) for start in range(len(job.starts)) for unit in job.key.units]
    parts = {pair: part for pair in pairs if (part := read_part(folder, pair)) is not None}
    steps, made = job.key.settings.steps, _circumstances(job)
    tell = _telling(progress, "maximize", len(pairs) * steps, "steps", before=len(parts) * steps)
    tell(0)
    try:
        for batch, rows in climbs(
            job.units_of,
            job.images,
            [pair for pair in pairs if pair not in parts],
            job.key.settings,
            batch_size=job.batch_size,
            lacks_memory=lacks_memory,
            advance=tell,
        ):
            for pair, row in zip(batch, rows_of(rows), strict=True):
                write_part(folder, pair, row, made)
                parts[pair] = (row, made)
    except Exception as error:
        if not lacks_memory(error):
            raise
        raise EngineMemoryError(
            f"PyTorch has no memory on {job.device} for the gradient of a single image: "
            f"{reason_of(error)}. Choose another --device, or a smaller --crop-px."
        ) from error
    return [parts[pair] for pair in pairs]


def _telling(
    progress: Progress, step: str, total: int, unit: str, before: int = 0
) -> Callable[[int], None]:
    return lambda done: progress.advance(step, before + done, total, unit)


def _distinct(made: Sequence[Circumstances]) -> tuple[Circumstances, ...]:
    return tuple(one for number, one in enumerate(made) if one not in made[:number])


def _circumstances(job: _Job) -> Circumstances:
    packages = ("evaluator", "numpy", "Pillow", "scipy")
    return Circumstances(
        host=socket.gethostname(),
        device=job.device,
        versions={
            "python": platform.python_version(),
            **{name: importlib.metadata.version(name) for name in packages},
            **decoder_versions(),
            **torch_versions(),
        },
        batch_size=job.batch_size,
        started=datetime.now(UTC).isoformat(timespec="seconds"),
        command=shlex.join([printable(word) for word in ("evaluator", *sys.argv[1:])]),
    )
