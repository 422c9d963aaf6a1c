"""Sample photos as a network sees them, and in folders of classes that a test chooses."""

import shutil
from collections.abc import Mapping
from pathlib import Path

import torch

from evaluator.contracts import Preprocessing
from evaluator.evaluate.classes import wnids
from evaluator.evaluate.decode import photo_pixels
from evaluator.evaluate.generate.photos import shipped_photos


def images_of_photos(
    preprocessing: Preprocessing, count: int | None = None
) -> dict[str, torch.Tensor]:
    """Each of so many photos (1, 3, S, S), by the name of its file."""
    found = {}
    for photo in shipped_photos()[:count]:
        pixels = photo_pixels(photo.path.read_bytes(), str(photo.path), preprocessing)
        found[photo.path.name] = torch.from_numpy(pixels.transpose(2, 0, 1).copy())[None] / 255
    return found


def tree_of(labels: Mapping[str, int], folder: Path) -> Path:
    """The photos of these names, each under its class."""
    for photo in shipped_photos():
        if photo.path.name in labels:
            place = folder / wnids()[labels[photo.path.name]] / photo.path.name
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(photo.path, place)
    return folder
