"""Thumbnails of a run's images and videos, read again from its data."""

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ...contracts import Benchmark, Condition, Progress
from ...errors import InputError
from ...evaluate.sources.open_source import open_source
from ...reporting.html.contents import THUMBNAIL_PX
from ..runs.scored_run import ScoredRun

QUALITY = 75
"""Quality of the JPEGs."""

FRAMES = 3
"""Number of frames of a video: the first, the middle and the last one."""

Pixels = npt.NDArray[np.uint8]


def thumbnails(
    one: ScoredRun, condition: Condition, ids: Sequence[str], progress: Progress
) -> dict[str, tuple[bytes, tuple[int, int]]]:
    """A JPEG and its size for each of these items of a run; of videos, some frames side by side.

    Items that cannot be read are left out.

    Raises:
        InputError: If the data of the run are gone.
    """
    benchmark, shards = one.benchmark, one.records.provenance
    if not isinstance(benchmark, Benchmark):
        raise InputError(f"{benchmark.title} has no images of its own.")
    places = dict.fromkeys(place for shard in shards for place in shard.data)
    labels = next((shard.labels for shard in shards if shard.labels), None)
    source = open_source(
        [Path(place) for place in places],
        benchmark.conditions,
        progress=progress,
        layout=benchmark.layout,
        labels=None if labels is None else Path(labels),
        damaged_ok=True,
    )
    if condition not in source.conditions():
        raise InputError(f"{', '.join(places)} no longer holds {condition}.")
    items = {item.id: item for item in source.items(condition) if item.id in set(ids)}
    preprocessing = one.key.preprocessing
    side = benchmark.stimuli_px or preprocessing.crop_px
    count = benchmark.layout.frames(condition)
    pictures = {}
    for id, item in items.items():
        frames = [np.empty((side, side, 3), np.uint8) for _ in range(count)]
        try:
            benchmark.decode(source.read(item), item, preprocessing, frames)
        except InputError:
            continue
        pictures[id] = jpeg(frames if count == 1 else _some(frames))
    return pictures


def _some(frames: Sequence[Pixels]) -> list[Pixels]:
    return [frames[position * (len(frames) - 1) // (FRAMES - 1)] for position in range(FRAMES)]


def jpeg(frames: Sequence[Pixels]) -> tuple[bytes, tuple[int, int]]:
    """Frames (S, S, 3), made small, side by side, as the bytes of a JPEG; and its size."""
    from PIL import Image

    small = []
    for pixels in frames:
        image = Image.fromarray(pixels)
        image.thumbnail((THUMBNAIL_PX, THUMBNAIL_PX))
        small.append(np.asarray(image))
    strip = Image.fromarray(np.concatenate(small, axis=1))
    buffer = io.BytesIO()
    strip.save(buffer, "JPEG", quality=QUALITY)
    return buffer.getvalue(), strip.size
