"""Claim: ``evaluator score`` has its first batch before PyTorch alone has been imported.

The bundle of EfficientNet-Lite0 is there, and so is its parity; the run is new each time, so that
the engine's speed is measured first. The clock starts before the process and stops when the first
batch has been recorded. The peer is ``import torch, torchvision``, with which every script of the
usual kind begins. Both are processes, in turns.

A second claim: to record the content of the images, for which all twenty photos are read once
more, takes less than a tenth of that time. The peer is the same command without it.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from unittest.mock import patch

import evaluator

ROUNDS = 5
EXPECTED_SECONDS = 2.0
EXPECTED_SLOWDOWN = 1.1

UNTIL_FIRST_BATCH = """
import os, sys
from evaluator.cli import app, console

class UntilFirstBatch(console.PlainProgress):
    def advance(self, step, done, total, unit):
        if step == "score" and done:
            os._exit(0)

console.progress = UntilFirstBatch
app(sys.argv[1:])
"""

WITHOUT_FINGERPRINTS = f"""
from evaluator.workflow.runs import run_data

run_data.RunData.check = run_data.RunData._record = lambda *_, **__: None
run_data.RunData._refuse_difference = lambda *_: None
{UNTIL_FIRST_BATCH}
"""


def seconds(*words: str) -> float:
    began = time.perf_counter()
    subprocess.run([sys.executable, *words], check=True, capture_output=True)
    return time.perf_counter() - began


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, patch.dict(os.environ):  # put back for others
        os.environ.setdefault("EVALUATOR_CACHE", f"{folder}/cache")
        photos = Path(folder, "photos")
        evaluator.sample_photos(photos)
        evaluator.export_model("efficientnet_lite0")
        score = ("score", "efficientnet_lite0", "imagenet", "--data", str(photos))
        where = ("--engine", "onnxruntime", "--device", "cpu", "--out")
        rounds = []
        for turn in range(-1, ROUNDS):  # the first one brings the files into memory
            out = str(Path(folder, f"run{turn}"))
            both = [(UNTIL_FIRST_BATCH, out), (WITHOUT_FINGERPRINTS, f"{out}-bare")]
            order = both if turn % 2 else both[::-1]  # the first one of a round is slower
            took = {code: seconds("-c", code, *score, *where, place) for code, place in order}
            other = seconds("-c", "import torch, torchvision")
            rounds.append((took[UNTIL_FIRST_BATCH], took[WITHOUT_FINGERPRINTS], other))
    ratios = [theirs / mine for mine, _, theirs in rounds[1:]]
    slowdowns = [mine / bare for mine, bare, _ in rounds[1:]]
    first = [mine for mine, *_ in rounds[1:]]
    print(
        f"first batch after {statistics.median(first):.2f} s (from {min(first):.2f} to "
        f"{max(first):.2f}), expected {EXPECTED_SECONDS} s; importing torch and torchvision takes "
        f"{statistics.median(ratios):.2f}x as long (from {min(ratios):.2f} to {max(ratios):.2f})"
    )
    print(
        f"with the content of the images recorded it takes {statistics.median(slowdowns):.2f}x as "
        f"long as without (from {min(slowdowns):.2f} to {max(slowdowns):.2f}), expected below "
        f"{EXPECTED_SLOWDOWN}x"
    )


if __name__ == "__main__":
    main()
