"""Claim: a whole export, closing parity included, needs at most twice the weights and 0.8 GB.

The memory is that of all processes of the command, summed while they run. Its peer is the weights
themselves: a network that is held once, and once more while it is written, cannot need less than
two of them by much. ``python -m perf.export_memory [MODEL]``; Linux, and some minutes.
"""

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from evaluator.exporter.zoo.table import find_model

MODEL = "resnext101_32x48d_wsl"
FIXED_GB = 0.8
SECONDS_BETWEEN = 0.02


def main() -> None:
    name = sys.argv[1] if sys.argv[1:] else MODEL
    weights_gb = 4 * find_model(name).parameters / 1e9
    with tempfile.TemporaryDirectory() as cache:
        words = [sys.executable, "-m", "evaluator", "export", name, "--weights", "random"]
        environment = {**os.environ, "EVALUATOR_CACHE": cache}
        began = time.monotonic()
        export = subprocess.Popen(words, env=environment, stdout=subprocess.DEVNULL)
        peak_gb = 0.0
        while export.poll() is None:
            peak_gb = max(peak_gb, _tree_gb(export.pid))
            time.sleep(SECONDS_BETWEEN)
    bound_gb = FIXED_GB + 2 * weights_gb
    verdict = "holds" if export.returncode == 0 and peak_gb <= bound_gb else "DOES NOT HOLD"
    print(
        f"memory of `export {name} --weights random`: peak {peak_gb:.2f} GB, weights "
        f"{weights_gb:.2f} GB, {peak_gb / weights_gb:.2f}x; at most {bound_gb:.2f} GB: {verdict} "
        f"(exit code {export.returncode}, {time.monotonic() - began:.0f} s)"
    )


def _tree_gb(pid: int) -> float:
    """Resident memory of a process and all below it."""
    total, waiting = 0.0, [pid]
    while waiting:
        process = Path(f"/proc/{waiting.pop()}")
        try:
            total += _resident_gb(process)
            for task in (process / "task").iterdir():
                waiting += [int(child) for child in (task / "children").read_text().split()]
        except OSError:
            continue  # it ended meanwhile
    return total


def _resident_gb(process: Path) -> float:
    for line in (process / "status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024 / 1e9
    return 0.0


if __name__ == "__main__":
    main()
