"""Claim: keeping freed memory makes eager PyTorch on the CPU faster; see ``engine/malloc.py``.

glibc's thresholds cannot be set back, so each side runs in processes of its own, in turns.
"""

import statistics
import subprocess
import sys

ROUNDS = 3

MEASURE = """
import sys, time, torch
from evaluator.engine.malloc import keep_freed_memory
from evaluator.exporter.spec import model_spec
from evaluator.exporter.weights import load_network
if sys.argv[1] == "kept": keep_freed_memory()
network = load_network(model_spec("efficientnet_lite0")).network
images = torch.rand(int(sys.argv[2]), 3, 224, 224)
with torch.inference_mode():
    network(images)
    began, done = time.perf_counter(), 0
    while time.perf_counter() - began < 5:
        network(images)
        done += len(images)
print(done / (time.perf_counter() - began))
"""


def images_per_second(how: str, batch: int) -> float:
    words = [sys.executable, "-c", MEASURE, how, str(batch)]
    return float(subprocess.run(words, check=True, capture_output=True, text=True).stdout)


def main() -> None:
    for batch in (4, 16, 64):
        pairs = [
            (images_per_second("kept", batch), images_per_second("as found", batch))
            for _ in range(ROUNDS)
        ]
        ratios = [kept / found for kept, found in pairs]
        print(
            f"freed memory kept, batch {batch}: {statistics.median(ratios):.2f}x "
            f"(from {min(ratios):.2f} to {max(ratios):.2f})"
        )


if __name__ == "__main__":
    main()
