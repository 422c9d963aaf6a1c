import itertools
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from evaluator.tests.evaluate.scoring.bed import PHOTOS_EACH, WNIDS


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty-one JPEGs of many sizes in three class folders. Copy it before you change it."""
    root = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    for number, (n, wnid) in enumerate(itertools.product(range(PHOTOS_EACH), WNIDS)):
        folder = root / wnid
        folder.mkdir(exist_ok=True)
        low, side = int(rng.integers(0, 200)), int(rng.integers(20, 60))
        noise = rng.integers(low, low + 56, (side, 50, 3), np.uint8)
        Image.fromarray(noise).save(folder / f"photo {n}.JPEG", quality=50 + number)
    return root


@pytest.fixture
def own_photos(photos: Path, tmp_path: Path) -> Path:
    """A copy to change."""
    for file in photos.rglob("*.JPEG"):
        copy = tmp_path / file.relative_to(photos)
        copy.parent.mkdir(exist_ok=True)
        copy.write_bytes(file.read_bytes())
    return tmp_path


@pytest.fixture
def decoders() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as pool:
        yield pool
