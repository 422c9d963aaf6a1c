"""Claim: scoring an ImageNet-C tree on ONNX Runtime is faster than the usual PyTorch loop.

The peer is what most people write: torchvision's ImageFolder over each cell in one ConcatDataset, a
DataLoader with as many workers as cores, eager PyTorch; the best of batches of 4, 16 and 64, with
malloc tuned as the tool tunes it for itself. Both
score the same images with the same weights; rounds are interleaved, the median ratio is reported.
What is timed is the loop: models are loaded, the engine's parity is stored, runs are new.

A second number stands beside it: what several callers of a session with one thread each reach,
against one caller of a session with all threads, without any decoding. They should be equal.
"""

import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torchvision import datasets, transforms

import evaluator
from evaluator.contracts import Condition, ImageBatch, Item
from evaluator.engine.devices import cpu
from evaluator.engine.malloc import keep_freed_memory
from evaluator.engine.onnx_engine import OnnxEngine
from evaluator.evaluate.benchmarks.imagenet_c import CONDITIONS
from evaluator.exporter.bundle import open_bundle
from evaluator.exporter.spec import model_spec
from evaluator.exporter.weights import load_network

MODEL = "efficientnet_lite0"
ROUNDS = 3
BATCHES = (4, 16, 64)
CORES = os.cpu_count() or 1


def seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def peer(data: Path, batch: int, conditions: Sequence[Condition] = CONDITIONS) -> None:
    """ImageFolder, DataLoader, eager PyTorch."""
    loaded = load_network(model_spec(MODEL))
    normalise = transforms.Normalize(loaded.spec.preprocessing.mean, loaded.spec.preprocessing.std)
    transform = transforms.Compose([transforms.ToTensor(), normalise])
    cells = [
        datasets.ImageFolder(str(data / str(c["corruption"]) / str(c["severity"])), transform)
        for c in conditions
    ]
    loader: Any = torch.utils.data.DataLoader(
        torch.utils.data.ConcatDataset(cells), batch_size=batch, num_workers=CORES
    )
    with torch.inference_mode():
        for images, _ in loader:
            loaded.network(images).topk(5)


def ours(data: Path, out: Path) -> None:
    evaluator.score(MODEL, "imagenet-c", data, engine="onnxruntime", device="cpu", out=out)


def scoring(folder: Path) -> None:
    photos, data = folder / "imagenet", folder / "imagenet-c"
    evaluator.sample_photos(photos)
    images = evaluator.corrupt_photos(photos, data)
    evaluator.export_model(MODEL)
    keep_freed_memory()  # the peer gets it too
    few = CONDITIONS[::10]
    best = min(BATCHES, key=lambda batch: seconds(lambda: peer(data, batch, few)))
    ratios = []
    for turn in range(ROUNDS):
        mine = seconds(partial(ours, data, folder / f"run{turn}"))
        theirs = seconds(lambda: peer(data, best))
        ratios.append(theirs / mine)
        print(f"  score {images / mine:.0f} images/s, peer {images / theirs:.0f} (batch {best})")
    report("evaluator score against ImageFolder + DataLoader + eager PyTorch", ratios)


def callers() -> None:
    """One image after another through a session, split among callers or among threads."""
    exported = evaluator.export_model(MODEL)
    bundle = open_bundle(exported.bundle.folder)
    item = Item("zeros", None, "")

    def batches(n: int) -> Iterator[ImageBatch]:
        for _ in range(n // 4):
            yield ImageBatch(np.zeros((4, 224, 224, 3), np.uint8), "pixels", (item,) * 4)

    def run(engine: OnnxEngine, n: int) -> int:
        return sum(1 for _ in engine.stream(batches(n)))

    def in_threads(engine: OnnxEngine) -> None:
        with ThreadPoolExecutor(CORES) as pool:
            list(pool.map(lambda _: run(engine, 200), range(CORES)))

    with OnnxEngine(bundle, cpu()) as split, OnnxEngine(bundle, cpu(), threads=CORES) as whole:
        ratios = []
        for _ in range(ROUNDS):
            many = seconds(lambda: in_threads(split))
            one = seconds(lambda: run(whole, 200 * CORES))
            ratios.append(one / many)
    report(f"{CORES} callers of one thread against one caller of {CORES} threads", ratios)


def report(claim: str, ratios: list[float]) -> None:
    middle = statistics.median(ratios)
    print(f"{claim}: {middle:.2f}x (from {min(ratios):.2f} to {max(ratios):.2f})")


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        os.environ.setdefault("EVALUATOR_CACHE", f"{folder}/cache")
        callers()
        scoring(Path(folder))


if __name__ == "__main__":
    main()
