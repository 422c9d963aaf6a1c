"""Claim: 75 conditions need no more memory than one: items are made when they are asked for.

A tree of hard links, 75 cells of 5,000 images; ImageNet-C has ten times as many. The peer is an
object for each item, as torchvision's ImageFolder and a DataLoader's workers hold them. Each side
runs in processes of its own, in turns; memory is what it adds to a process that imported all.
"""

import itertools
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from evaluator.evaluate.benchmarks.imagenet_c import CONDITIONS
from evaluator.evaluate.classes import wnids

ROUNDS = 3
IMAGES_A_CLASS = 5
LINKS_A_FILE = 30_000  # file systems allow 65,000

MEASURE = """
import resource, sys, time
from pathlib import Path
from evaluator.contracts import NullProgress
from evaluator.evaluate.benchmarks.imagenet_c import IMAGENET_C
from evaluator.evaluate.sources.folder import FolderSource
from evaluator.workflow.runs.selection import select

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

before, began = peak(), time.perf_counter()
source = FolderSource(Path(sys.argv[2]), IMAGENET_C.conditions)
selection = select(IMAGENET_C, source, {}, limit=None, progress=NullProgress())
if sys.argv[1] == "objects":
    held = {c: list(found) for c, found in selection.items.items()}
print(peak() - before, time.perf_counter() - began)
"""


def grow(root: Path) -> None:
    """The tree."""
    seeds = root.parent
    numbers = itertools.count()
    for condition in CONDITIONS:
        for wnid in wnids():
            folder = root.joinpath(*(str(value) for _, value in condition.values), wnid)
            folder.mkdir(parents=True)
            for image in range(IMAGES_A_CLASS):
                seed = seeds / f"{next(numbers) // LINKS_A_FILE}.JPEG"
                if not seed.exists():
                    seed.write_bytes(b"\xff\xd8\xff")
                os.link(seed, folder / f"ILSVRC2012_val_{image:08d}.JPEG")


def cost(how: str, root: Path) -> tuple[float, float]:
    """MiB and seconds."""
    words = [sys.executable, "-c", MEASURE, how, str(root)]
    out = subprocess.run(words, check=True, capture_output=True, text=True).stdout.split()
    return float(out[0]), float(out[1])


def main() -> None:
    with tempfile.TemporaryDirectory() as place:
        root = Path(place) / "imagenet-c"
        grow(root)
        rounds = [(cost("lazy", root), cost("objects", root)) for _ in range(ROUNDS)]
    for position, unit in enumerate(("MiB", "s until ready")):
        lazy = [pair[0][position] for pair in rounds]
        objects = [pair[1][position] for pair in rounds]
        ratios = [a / max(b, 1e-9) for a, b in zip(objects, lazy, strict=True)]
        print(
            f"items of 75 x {1000 * IMAGES_A_CLASS:,}: {statistics.median(lazy):.1f} {unit}, "
            f"objects {statistics.median(objects):.1f}: {statistics.median(ratios):.1f}x "
            f"(from {min(ratios):.1f} to {max(ratios):.1f})"
        )


if __name__ == "__main__":
    main()
