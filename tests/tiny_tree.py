"""Trees of as many images as a test wants: hard links to a few tiny JPEGs."""

import os
from pathlib import Path

import numpy as np
from PIL import Image

WNIDS = ("n01440764", "n02110341", "n15075141")
KINDS = 5


def tiny_tree(folder: Path, count: int, side_px: int = 36) -> Path:
    """``count`` images, split among three classes; their names sort as they were made."""
    originals = folder.parent / f"{folder.name}-originals"
    originals.mkdir()
    rng = np.random.default_rng(0)
    for kind in range(KINDS):
        noise = rng.integers(40 * kind, 40 * kind + 80, (side_px, side_px, 3), np.uint8)
        Image.fromarray(noise).save(originals / f"{kind}.JPEG")
    for wnid in WNIDS:
        (folder / wnid).mkdir(parents=True)
    for number in range(count):
        target = folder / WNIDS[number % len(WNIDS)] / f"photo-{number:05d}.JPEG"
        os.link(originals / f"{number % KINDS}.JPEG", target)
    return folder
