"""Images that maximize units before the last layer of a model, from photos and from noise."""

import socket
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

from ...attacks.maximizing.maximizing import (
    Maximized,
    MaximizingSettings,
    as_table,
    climbs,
    why_impossible,
)
from ...attacks.maximizing.paper_random_state import drawn_units
from ...attacks.maximizing.penultimate import PenultimateUnits, find_penultimate
from ...attacks.maximizing.similarity import likenesses, pair_count
from ...contracts import Device, LoadedNetwork, NullProgress, Progress
from ...engine.table import candidates
from ...engine.torch_engine import torch_spec, torch_versions
from ...errors import EngineMemoryError, InputError, lacks_memory, reason_of
from ...evaluate.jpeg import decoder_versions
from ...exporter.graph.deployable import frozen_network
from ...exporter.weights.weights import load_network
from ...system.exact_float32 import exact_float32
from ...system.malloc import keep_freed_memory
from ...system.provenance import command_line, package_versions
from ..models.gradient_model import refuse_without_gradients
from ..models.options import ModelOptions, NetworkOptions
from ..models.resolve import resolve_model
from ..models.self_check import check_reference, reference_check, self_check_status
from ..runs.selection import places_of
from .checkpoint import (
    check_folder,
    finished_document,
    read_part,
    remove_parts,
    write_checkpoint,
    write_part,
)
from .initial_images import Start, read_starts
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

PACKAGES = ("evaluator", "numpy", "Pillow", "scipy")
CPU_BATCH, CUDA_BATCH = 6, 32
"""Default batch sizes: gradients take about 90 MB for each image on EfficientNet-Lite0, and ten
times as much on the largest models."""


@dataclass(frozen=True)
class MaximizedImages:
    """Result of ``maximize``.

    Attributes:
        folder: Folder of the files.
        document: Content of ``maximized.json``.
        created: Whether the images were made now; ``False`` if they existed before.
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
    """Make images that maximize units of the penultimate layer by the paper's method.

    The same call resumes after an interruption, and keeps finished images.

    Args:
        model: Model, as for ``export_model``; its code is needed for gradients.
        out: Folder for grids, arrays and their document; a new or an empty one.
        units: Units; if not given, drawn as in the paper: 1062 and five more of 2048.
        starts: Paths of photos, or ``noise``; if not given, two photos and the paper's noise.
        data: Folders and tar files; the two photos are the first ones of the sorted class folders.
            If not given, the sample photos are used.
        labels: List of the classes of photos that are not in class folders; photos of a folder
            without classes are sorted by name.
        steps: Number of steps; all are made.
        step_size: Step size in [0, 1] pixel units.
        epsilon: Largest change in [0, 1] pixel units; the paper's 4 leaves it free.
        device: ``cpu`` or ``cuda:N``; if not given, a GPU if there is one.
        batch_size: Images in a batch.
        progress: Progress callback.
        options: Options of the model; see ``NetworkOptions``.

    Raises:
        InputError: If an argument is not usable, such as a unit beyond the layer.
        UnavailableError: If the weights or the device are missing.
        SelfCheckError: If the network does not agree with itself, or has no gradients.
        OutputError: If the folder contains something else or cannot be written.
        RunMismatchError: If the folder contains images that were made in another way.
    """
    progress, folder = progress or NullProgress(), Path(out).expanduser()
    settings = MaximizingSettings(steps, step_size, epsilon)
    if batch_size is not None and batch_size < 1:
        raise InputError(f"--batch-size {batch_size} is not possible; expected 1 or more.")
    resolved = resolve_model(ModelOptions(model, **options), progress)
    refuse_without_gradients(resolved)
    check_folder(folder)
    torch_device = candidates("torch", device)[0].device
    on_cpu = torch_device.name == "cpu"
    start_records, images = read_starts(
        starts,
        resolved.spec.preprocessing,
        places=None if data is None else [place.expanduser() for place in places_of(data)],
        labels=None if labels is None else Path(labels).expanduser(),
        progress=progress,
    )
    resolved = check_reference(resolved, progress, gradients=True)
    checks = [resolved.checked]
    if not on_cpu:
        checks.append(reference_check(resolved, torch_device, progress, gradients=True))
    if on_cpu:
        keep_freed_memory()  # before loading, whose threads would keep arenas of their own
    loaded = load_network(resolved.spec, progress)
    with exact_float32():
        network = frozen_network(loaded, torch_device)
        layer = find_penultimate(network, loaded.spec.preprocessing.crop_px, loaded.spec.name)
        unit_numbers = _checked_units(units, layer, loaded.spec.name)
        key = MaximizingKey(
            engine=torch_spec(loaded.spec, loaded.weights_sha256, "images"),
            preprocessing=loaded.spec.preprocessing,
            layer=_layer_name(layer),
            width=layer.width,
            settings=settings,
            units=unit_numbers,
            starts=tuple(start.sha256 for start in start_records),
            fingerprint=resolved.fingerprint,
        )
        document = finished_document(folder, key)
        if document is not None:
            return MaximizedImages(folder, document, created=False)
        size = batch_size or (CPU_BATCH if on_cpu else CUDA_BATCH)
        status = self_check_status(*checks)
        job = _Job(loaded, layer, key, start_records, images, torch_device, size, status)
        return MaximizedImages(folder, _make_images(job, folder, progress), created=True)


@dataclass(frozen=True)
class _Job:
    """Inputs of maximizing.

    Attributes:
        loaded: Network with its weights.
        layer: Units of the penultimate layer.
        key: Identity of the images.
        starts: Starts.
        images: Images of the starts: (K, 3, S, S) in [0, 1].
        device: Device that computes.
        batch_size: Largest number of images in a batch.
        self_check: Status of the network's self-check.
    """

    loaded: LoadedNetwork
    layer: PenultimateUnits
    key: MaximizingKey
    starts: tuple[Start, ...]
    images: "npt.NDArray[np.float32]"
    device: Device
    batch_size: int
    self_check: str


def _layer_name(layer: PenultimateUnits) -> str:
    """Name of the last layer in the model itself, without the wrapper around the model."""
    return layer.layer_name.removeprefix("network.")


def _checked_units(
    units: Sequence[int] | None, layer: PenultimateUnits, model: str
) -> tuple[int, ...]:
    """The units to maximize.

    Raises:
        InputError: If a unit does not exist or is given twice, or the layer has only one.
    """
    if layer.width < 2:
        raise InputError(
            f"The penultimate layer of {model}, before {_layer_name(layer)}, has a single unit, "
            "whose softmax is always 1. Expected several."
        )
    if units is None:
        return tuple(drawn_units(layer.width))
    if not units:
        raise InputError("The list of units is empty. Omit the option to use the paper's units.")
    for number, unit in enumerate(units):
        if not 0 <= unit < layer.width:
            raise InputError(
                f"There is no unit {unit} in {model}: {_layer_name(layer)} reads {layer.width:,} "
                f"units, 0 to {layer.width - 1}."
            )
        if unit in units[:number]:
            raise InputError(f"The unit {unit} is given twice. Give each unit once.")
    return tuple(units)


def _make_images(job: _Job, folder: Path, progress: Progress) -> MaximizedDocument:
    """Make and compare the images, and write all results."""
    key = job.key
    impossible = why_impossible(job.layer.bounds, key.width, key.settings)
    if impossible is not None:
        progress.note(
            f"No image can reach p > {criterion(key.settings)}: {impossible}. The images with the "
            "greatest p are given."
        )
    write_checkpoint(folder, key)
    rows, provenances = zip(*_all_parts(job, folder, progress), strict=True)
    table = as_table(rows, len(job.starts), len(key.units))
    total = pair_count(len(job.starts), len(key.units))
    compared = partial(progress.advance, "compare", total=total, unit="pairs")
    similarity = likenesses(table.images, job.images, compared)
    document = MaximizedDocument(
        key=key,
        model=job.loaded.spec,
        weights_sha256=job.loaded.weights_sha256,
        starts=job.starts,
        bounds=job.layer.bounds,
        impossible=impossible,
        images=tuple(image_rows(table, job.starts, key.units, similarity)),
        across_units=similarity.across_units,
        across_starts=similarity.across_starts,
        circumstances=tuple(
            value for number, value in enumerate(provenances) if value not in provenances[:number]
        ),
    )
    document = write_results(folder, document, table, job.images)
    remove_parts(folder)
    return document


def _all_parts(
    job: _Job, folder: Path, progress: Progress
) -> list[tuple[Maximized, Circumstances]]:
    """The results of each start and unit; results in the checkpoint are not made again."""
    pairs = [(start, unit) for start in range(len(job.starts)) for unit in job.key.units]
    parts = {pair: part for pair in pairs if (part := read_part(folder, pair)) is not None}
    steps = job.key.settings.steps
    before, total = len(parts) * steps, len(pairs) * steps
    circumstances = Circumstances(
        host=socket.gethostname(),
        device=job.device,
        versions={**package_versions(PACKAGES), **decoder_versions(), **torch_versions()},
        batch_size=job.batch_size,
        started=datetime.now(UTC).isoformat(timespec="seconds"),
        command=command_line(),
        self_check=job.self_check,
    )

    def advance(done: int) -> None:
        progress.advance("maximize", before + done, total, "steps")

    advance(0)
    try:
        for pair, row in climbs(
            job.layer,
            job.images,
            [pair for pair in pairs if pair not in parts],
            job.key.settings,
            batch_size=job.batch_size,
            advance=advance,
        ):
            write_part(folder, pair, row, circumstances)
            parts[pair] = (row, circumstances)
    except Exception as error:
        if not lacks_memory(error):
            raise
        raise EngineMemoryError(
            f"PyTorch is out of memory on {job.device} for the gradient of a single image: "
            f"{reason_of(error)}. Choose another --device, or a smaller --crop-px."
        ) from error
    return [parts[pair] for pair in pairs]
