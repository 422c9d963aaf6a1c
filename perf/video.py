"""Claim: decoding a video strictly is about as fast as OpenCV, which looks at nothing.

Two videos of 31 frames, coded as ImageNet-P's: one of a brightness sequence, one of noise. Ours is
``decode_video``, from bytes in memory into arrays; the peer OpenCV's ``VideoCapture``, one decoding
thread, from a file that is cached, each frame turned into RGB. Both with one and with two threads,
each thread its own videos, in turns.

Beside it, what ``data perturb`` takes for a photo in processor time: the arithmetic of the ten
sequences, and their encoding, whose settings are the published ones.
"""

import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from evaluator.contracts import Item, Preprocessing
from evaluator.evaluate.decode import Pixels
from evaluator.evaluate.generate.encoding import GRAIN, PLAIN, mp4_from_frames
from evaluator.evaluate.generate.photos import shipped_photos
from evaluator.evaluate.generate.sequences import PERTURBATIONS
from evaluator.evaluate.video import decode_video

VIDEOS, FRAMES, ROUNDS = 30, 31, 5
HOW = Preprocessing(256, 224, "bilinear", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


def frames_of(name: str, photo: int = 0) -> list[Pixels]:
    whole = Image.open(shipped_photos()[photo].path).convert("RGB").resize((256, 256))
    return list(PERTURBATIONS[name].sequence(whole, np.random.default_rng(0)))


def encoded(name: str, frames: list[Pixels]) -> bytes:
    return mp4_from_frames(frames, GRAIN if PERTURBATIONS[name].grain else PLAIN)


def cost(photo: int) -> tuple[float, float]:
    """Processor seconds of all ten sequences of a photo: to compute and to encode."""
    computing = encoding = 0.0
    for name in PERTURBATIONS:
        began = time.process_time()
        frames = frames_of(name, photo)
        computed = time.process_time()
        encoded(name, frames)
        computing += computed - began
        encoding += time.process_time() - computed
    return computing, encoding


def own(data: bytes) -> None:
    frames = np.empty((FRAMES, 224, 224, 3), np.uint8)
    decode_video(data, Item("a", None, "a video"), HOW, list(frames))


def opencv(path: Path) -> None:
    threads = [cv2.CAP_PROP_N_THREADS, 1]
    capture, count = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG, threads), 0
    while (read := capture.read())[0]:
        cv2.cvtColor(read[1], cv2.COLOR_BGR2RGB)
        count += 1
    assert count == FRAMES


def pace(work: Callable[[], None], threads: int) -> float:
    """Frames a second."""
    began = time.perf_counter()
    with ThreadPoolExecutor(threads) as pool:
        for done in [pool.submit(work) for _ in range(VIDEOS)]:
            done.result()
    return VIDEOS * FRAMES / (time.perf_counter() - began)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        for name in ("brightness", "gaussian_noise"):
            data, path = encoded(name, frames_of(name)), Path(folder) / f"{name}.mp4"
            path.write_bytes(data)
            for threads in (1, 2):
                pairs = [
                    (pace(lambda: own(data), threads), pace(lambda: opencv(path), threads))  # noqa: B023
                    for _ in range(ROUNDS)
                ]
                ours, theirs = (statistics.median(side) for side in zip(*pairs, strict=True))
                ratios = [mine / peer for mine, peer in pairs]
                print(
                    f"{name}, {threads} threads: ours {ours:.0f} frames/s, OpenCV {theirs:.0f}: "
                    f"{statistics.median(ratios):.2f}x (from {min(ratios):.2f} to "
                    f"{max(ratios):.2f})"
                )
    costs = [cost(photo) for photo in range(ROUNDS)]
    computing, encoding = (statistics.median(side) for side in zip(*costs, strict=True))
    totals = [sum(both) for both in costs]
    print(
        f"perturbing a photo: {computing:.1f} s of arithmetic, {encoding:.1f} s of encoding (of "
        f"{ROUNDS} photos, together from {min(totals):.1f} to {max(totals):.1f} s of one processor)"
    )


if __name__ == "__main__":
    main()
