"""Claim: reading, decoding and batching is faster than with ImageFolder and DataLoader.

No network runs. The peer is torchvision's ImageFolder with the usual transforms and a DataLoader
with two workers, the best of batches of 4, 16 and 64, its workers started and its files cached
before the clock starts. Ours is ``score_shard``, as ``evaluator score`` calls it, in two threads,
with an engine that answers at once and nothing to record of its answers. Both read the same 1,500
files, in turns.

Two data sets are made of the sample photos: stimuli of 224x224 pixels as ImageNet-C stores them
(quality 85, optimised), and photos of 500x375 and 375x500 as ImageNet's (quality 95).
"""

import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import pyarrow as pa
import torch
from PIL import Image
from torchvision import datasets, transforms

from evaluator.contracts import Condition, EngineSpec, ImageBatch, Preprocessing, Shard
from evaluator.engine.devices import cpu
from evaluator.engine.engine_io import buffer
from evaluator.evaluate.benchmarks.table import find_benchmark
from evaluator.evaluate.classes import wnids
from evaluator.evaluate.generate.photos import shipped_photos
from evaluator.evaluate.scoring import ScoringJob, score_shard
from evaluator.evaluate.sources.folder import FolderSource
from evaluator.system.malloc import keep_freed_memory

IMAGES, SHARD, BATCH = 1500, 100, 4
ROUNDS, CORES = 5, 2
BATCHES = (4, 16, 64)
HOW = Preprocessing(256, 224, "bilinear", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
FOG = Condition((("corruption", "fog"), ("severity", 3)))


class NoEngine:
    """Takes batches and answers at once."""

    spec = EngineSpec("onnxruntime", "", "fp32", tf32=False, input_kind="pixels")
    device = cpu()
    callers = CORES
    max_batch = 1024
    versions: dict[str, str] = {}  # noqa: RUF012 - the protocol's

    def allocate(self, n: int) -> Any:
        """A buffer for n inputs."""
        return buffer(n, HOW.crop_px, "pixels")

    def stream(self, batches: Iterable[ImageBatch]) -> Iterator[tuple[ImageBatch, Any]]:
        """Each batch with logits that say nothing."""
        for batch in batches:
            yield batch, np.zeros((len(batch.items), 1000), np.float32)

    def stop(self) -> None:
        """There is nothing to stop."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass


def ids_only(_: Any, batch: ImageBatch) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays([pa.array([item.id for item in batch.items])], ["id"])


def seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def write_stimuli(root: Path) -> None:
    def stimulus(image: Image.Image, rng: np.random.Generator) -> Image.Image:
        left, top = (int(rng.integers(0, 33)) for _ in range(2))
        return image.resize((256, 256)).crop((left, top, left + 224, top + 224))

    write(root / "fog" / "3", stimulus, quality=85, optimize=True)


def write_photos(root: Path) -> None:
    def photo(image: Image.Image, rng: np.random.Generator) -> Image.Image:
        sides = (500, 375) if rng.random() < 0.75 else (375, 500)
        left, top = (int(rng.integers(0, 60)) for _ in range(2))
        return image.resize((560, 560)).crop((left, top, left + sides[0], top + sides[1]))

    write(root, photo, quality=95)


def write(
    folder: Path, made: Callable[[Image.Image, np.random.Generator], Image.Image], **options: Any
) -> None:
    rng = np.random.default_rng(0)
    photos = [(p, Image.open(p.path).convert("RGB")) for p in shipped_photos()]
    for number in range(IMAGES):
        photo, image = photos[number % len(photos)]
        place = folder / wnids()[photo.label]
        place.mkdir(parents=True, exist_ok=True)
        made(image, rng).save(place / f"{number:05}.JPEG", "JPEG", **options)


def peer(folder: Path, transform: Any, batch: int) -> Callable[[], None]:
    """An epoch of ImageFolder and DataLoader, whose workers stay."""
    usual = transforms.Compose(
        [*transform, transforms.ToTensor(), transforms.Normalize(HOW.mean, HOW.std)]
    )
    loader: Any = torch.utils.data.DataLoader(
        datasets.ImageFolder(str(folder), usual),
        batch_size=batch, num_workers=CORES, persistent_workers=True,
    )  # fmt: skip

    def epoch() -> None:
        for _ in loader:
            pass

    epoch()
    return epoch


def ours(name: str, root: Path, condition: Condition) -> Callable[[], None]:
    benchmark = replace(
        find_benchmark(name), record=ids_only, schema=pa.schema([("id", pa.string())])
    )
    source = FolderSource(root, [condition])
    items = source.items(condition)
    job = ScoringJob(benchmark, NoEngine(), source, {condition: items}, HOW, BATCH)
    shards = [
        Shard(condition, i // SHARD, i, min(i + SHARD, IMAGES)) for i in range(0, IMAGES, SHARD)
    ]

    def epoch() -> None:
        with ThreadPoolExecutor(CORES) as pool:
            for table, _ in pool.map(lambda shard: score_shard(job, shard, lambda n: None), shards):
                assert table.num_rows == SHARD

    epoch()
    return epoch


def compare(title: str, target: float, mine: Callable[[], None], peers: dict[int, Any]) -> None:
    best = min(peers, key=lambda batch: seconds(peers[batch]))
    pairs = [(seconds(mine), seconds(peers[best])) for _ in range(ROUNDS)]
    for own, theirs in pairs:
        print(
            f"  ours {IMAGES / own:.0f} images/s, DataLoader {IMAGES / theirs:.0f} (batch {best})"
        )
    ratios = [theirs / own for own, theirs in pairs]
    print(
        f"{title}: {statistics.median(ratios):.2f}x (from {min(ratios):.2f} to "
        f"{max(ratios):.2f}), expected {target}x"
    )


def main() -> None:
    torch.set_num_threads(1)
    keep_freed_memory()  # both sides get it: workers are forked
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        write_stimuli(root / "c")
        mine = ours("imagenet-c", root / "c", FOG)
        peers = {batch: peer(root / "c" / "fog" / "3", [], batch) for batch in BATCHES}
        compare("stored stimuli, 224x224", 3.0, mine, peers)
        write_photos(root / "photos")
        mine = ours("imagenet", root / "photos", Condition())
        cut = [transforms.Resize(HOW.resize_px), transforms.CenterCrop(HOW.crop_px)]
        peers = {batch: peer(root / "photos", cut, batch) for batch in BATCHES}
        compare("photos, 500x375", 1.3, mine, peers)


if __name__ == "__main__":
    main()
