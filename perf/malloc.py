"""Claim: keeping freed memory makes eager PyTorch on the CPU faster; see ``system/malloc.py``.

glibc's thresholds cannot be set back, so each side runs in processes of its own, in turns. The
network runs in a thread, as it does in the scoring loop: the main thread, whose arena is another,
says nothing of it. It is tuned after torch was imported and the network loaded, or before.

Page faults are counted as well: they are the same however busy the machine is.
"""

import statistics
import subprocess
import sys

ROUNDS = 3

MEASURE = """
import resource, sys, threading, time
from evaluator.system.malloc import keep_freed_memory
from evaluator.exporter.spec import model_spec
from evaluator.exporter.weights.weights import load_network
if sys.argv[1] == "before": keep_freed_memory()
import torch
network = load_network(model_spec("efficientnet_lite0")).network
if sys.argv[1] == "after": keep_freed_memory()
images = torch.rand(int(sys.argv[2]), 3, 224, 224)
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
def measure():
    with torch.inference_mode():
        network(images)
        network(images)
        first, began, done = faults(), time.perf_counter(), 0
        while time.perf_counter() - began < 5:
            network(images)
            done += len(images)
    print(done / (time.perf_counter() - began), (faults() - first) / done)
thread = threading.Thread(target=measure)
thread.start()
thread.join()
"""


def measured(how: str, batch: int) -> tuple[float, float]:
    """Images a second, and page faults an image."""
    words = [sys.executable, "-c", MEASURE, how, str(batch)]
    done = subprocess.run(words, check=True, capture_output=True, text=True)
    rate, faults = map(float, done.stdout.split())
    return rate, faults


def main() -> None:
    for batch in (4, 16, 64):
        turns = [
            {how: measured(how, batch) for how in ("as found", "after", "before")}
            for _ in range(ROUNDS)
        ]
        for how in ("after", "before"):
            ratios = [turn[how][0] / turn["as found"][0] for turn in turns]
            print(
                f"freed memory kept, set {how} importing torch, batch {batch}: "
                f"{statistics.median(ratios):.2f}x (from {min(ratios):.2f} to {max(ratios):.2f}), "
                f"{turns[0][how][1]:,.0f} page faults an image instead of "
                f"{turns[0]['as found'][1]:,.0f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
