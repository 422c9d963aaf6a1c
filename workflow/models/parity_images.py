"""The images on which engines are compared: photos, clean and then corrupted."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from ...contracts import Item, ModelSpec, Preprocessing
from ...engine.parity import ParityImages
from ...errors import printable
from ...evaluate.decode import Pixels, photo_pixels
from ...evaluate.generate.photos import shipped_photos
from ...evaluate.generate.simple import SIMPLE_CORRUPTIONS
from ...evaluate.sources.folder import photos_in
from ...evaluate.sources.items import select_items
from ...evaluate.sources.listing import read_file
from ...exporter.graph.cost import model_gmac

SLOW_GMAC = 50
"""Above this cost each photo gets one corruption instead of four. It depends on the model only, so
that the number of images is the same on every machine."""

MOST_PHOTOS = 400


def parity_images(spec: ModelSpec, data: Path | None = None) -> ParityImages:
    """Photos, clean and corrupted, with the preprocessing of a model.

    Args:
        spec: Model.
        data: Folder of photos, in class folders or flat. If not given, the twenty sample photos.

    Raises:
        InputError: If a photo cannot be read or decoded.
    """
    photos = None if data is None else select_items(photos_in(data), MOST_PHOTOS)
    items, clean = zip(*clean_photos(spec.preprocessing, photos), strict=True)
    names = list(SIMPLE_CORRUPTIONS)
    is_slow = (model_gmac(spec) or 0) > SLOW_GMAC
    corruptions_per_photo = 1 if is_slow else len(names)
    corrupted, corrupted_items = [], []
    for position, (item, pixels) in enumerate(zip(items, clean, strict=True)):
        for step in range(corruptions_per_photo):
            name = names[(position + step) % len(names)]
            corrupted.append(SIMPLE_CORRUPTIONS[name](pixels, position))
            corrupted_items.append(replace(item, id=f"{item.id} ({name})"))
    origin = "sample photos" if data is None else "photos of --data"
    return ParityImages(
        items=(*items, *corrupted_items),
        data=np.stack([*clean, *corrupted]),
        clean=len(items),
        description=f"{len(items)} {origin} clean, {len(corrupted)} corrupted ({', '.join(names)})",
    )


def clean_photos(
    preprocessing: Preprocessing, items: Sequence[Item] | None = None
) -> list[tuple[Item, Pixels]]:
    """Photos as a model sees them: (S, S, 3) uint8. If not given, the twenty sample photos.

    Raises:
        InputError: If a photo cannot be read or decoded.
    """
    if items is None:
        items = [Item(photo.id, photo.label, str(photo.path)) for photo in shipped_photos()]
    return [
        (item, photo_pixels(read_file(item.location), printable(item.location), preprocessing))
        for item in items
    ]
