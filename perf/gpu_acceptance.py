"""Everything that has to be seen on a GPU, in one command; ``make gpu-acceptance`` runs it.

    python -m perf.gpu_acceptance [--out DIR] [--site DIR] [--only STEP,STEP]

Each step is a process of its own and leaves a JSON file in DIR. A step that passed is not repeated,
so the command can be interrupted and repeated. A step whose package or GPU is missing is skipped,
with the reason. ``--site`` adds a folder of packages that were brought along, for machines without
a network. The last lines say where ``acceptance.md`` and ``acceptance.json`` are.

On a machine without a GPU it can be rehearsed on the simulated one
(``EVALUATOR_CUDA=evaluator.tests.simulated_gpu``), which skips what needs a real one.
"""

import argparse
import json
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from .gpu_steps import STEPS, Skipped

TIMEOUT_SECONDS = 900


def run_step(name: str) -> dict[str, Any]:
    """The result of a step as JSON."""
    began = time.monotonic()
    try:
        outcome, detail = "passed", STEPS[name]()
    except Skipped as reason:
        outcome, detail = "skipped", {"reason": str(reason)}
    except Exception as error:
        outcome, detail = "failed", {"reason": f"{type(error).__name__}: {error}"}
    seconds = round(time.monotonic() - began, 1)
    return {"step": name, "outcome": outcome, "seconds": seconds, **detail}


def markdown(results: list[dict[str, Any]]) -> str:
    """The results as a table, with their details below."""
    lines = ["# Acceptance on a GPU", "", "| step | outcome | seconds |", "|---|---|---|"]
    lines += [f"| {r['step']} | {r['outcome']} | {r['seconds']} |" for r in results]
    for result in results:
        lines += ["", f"## {result['step']}", "", "```json", json.dumps(result, indent=1), "```"]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Run the steps that have not passed yet."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("gpu-acceptance"))
    parser.add_argument("--site", type=Path)
    parser.add_argument("--only", default=",".join(STEPS))
    parser.add_argument("--step", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.site is not None:
        import site

        site.addsitedir(str(options.site.absolute()))
    if options.step is not None:
        print(json.dumps(run_step(options.step)), file=sys.stderr)
        return
    options.out.mkdir(parents=True, exist_ok=True)
    for name in options.only.split(","):
        file = options.out / f"{name.replace(' ', '-')}.json"
        if file.exists() and json.loads(file.read_text())["outcome"] == "passed":
            continue
        print(f"{name} ...", flush=True)
        file.write_text(json.dumps(in_process(name, options), indent=1) + "\n")
        result = json.loads(file.read_text())
        print(f"  {result['outcome']}: {result.get('reason', '')}"[:200], flush=True)
    results = [json.loads(path.read_text()) for path in sorted(options.out.glob("*.json"))]
    results = [result for result in results if isinstance(result, dict) and "step" in result]
    results.sort(key=lambda result: list(STEPS).index(result["step"]))
    shutil.rmtree(options.out / "report", ignore_errors=True)
    (options.out / "report").mkdir()
    (options.out / "report" / "acceptance.json").write_text(json.dumps(results, indent=1) + "\n")
    (options.out / "report" / "acceptance.md").write_text(markdown(results))
    print(f"The results are in {options.out}/report/acceptance.md and acceptance.json.")
    if any(result["outcome"] == "failed" for result in results):
        sys.exit(1)


def in_process(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """A step in a process of its own, whose last line of standard error is its result."""
    words = [sys.executable, "-m", "perf.gpu_acceptance", "--step", name]
    if options.site is not None:
        words += ["--site", str(options.site)]
    try:
        done = subprocess.run(
            words, stderr=subprocess.PIPE, text=True, timeout=TIMEOUT_SECONDS, check=False
        )
        result: dict[str, Any] = json.loads(done.stderr.splitlines()[-1])
    except subprocess.TimeoutExpired:
        return {"step": name, "outcome": "failed", "seconds": TIMEOUT_SECONDS, "reason": "timeout"}
    except (ValueError, IndexError):
        reason = f"ended with exit code {done.returncode}: {done.stderr[-2000:]}"
        return {"step": name, "outcome": "failed", "seconds": 0, "reason": reason}
    return result


if __name__ == "__main__":
    main()
