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
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

TIMEOUT_SECONDS = 900
SMALL, LARGE = "efficientnet_lite0", "resnext101_32x8d"
PRECISIONS: dict[str, dict[str, Any]] = {
    "fp32": {},
    "tf32": {"tf32": True},
    "fp16": {"precision": "fp16"},
    "bf16": {"precision": "bf16"},
}


class Skipped(Exception):  # noqa: N818 - it is no error
    """A step cannot run on this machine."""


def gpu() -> Any:
    """The first GPU; a step without one is skipped."""
    from evaluator.engine.devices import cuda_devices

    if not cuda_devices():
        raise Skipped("this machine has no NVIDIA GPU, or no driver for one")
    return cuda_devices()[0]


def real_gpu() -> Any:
    """The same, but not a simulated one."""
    if gpu().is_simulated:
        raise Skipped("it needs a real GPU")
    return gpu()


def plan_engine() -> str:
    """The TensorRT that builds plans for the GPU."""
    from evaluator.engine.plans.tensorrt_api import FLAVOURS
    from evaluator.engine.plans.toolchain import find_toolchain
    from evaluator.errors import UnavailableError

    reasons = []
    for flavour in FLAVOURS.values():
        try:
            find_toolchain(flavour, device=gpu())
        except UnavailableError as error:
            reasons.append(str(error))
        else:
            return flavour.backend
    raise Skipped(" ".join(reasons))


def weights_of(model: str) -> dict[str, Any]:
    """The real weights where a package has them, else random ones."""
    return {} if model == SMALL else {"weights": "random"}


def parity(model: str, engine: str, **options: Any) -> dict[str, Any]:
    """Parity on the GPU: the value and bound of each gate."""
    import evaluator

    result = evaluator.check_parity(
        model, engine=engine, device=gpu().name, **weights_of(model), **options
    )
    gates = {gate.name: [gate.value, gate.bound] for gate in result.gates}
    if not result.passed:
        raise AssertionError(f"parity failed: {gates}")
    return {"gates": gates, "agreement": result.agreement, "versions": dict(result.versions)}


def install() -> dict[str, Any]:
    """Packages, GPUs and engines."""
    from evaluator.storage.documents import plain
    from evaluator.workflow.doctor import diagnose

    diagnosis: dict[str, Any] = plain(diagnose())
    return diagnosis


def pytorch() -> dict[str, Any]:
    """PyTorch on CUDA: parity without TF32, the error with it, and memory."""
    import torch

    from evaluator.exporter.spec import model_spec
    from evaluator.exporter.weights.weights import load_network

    device = real_gpu().name
    result = parity(SMALL, "torch")
    network = load_network(model_spec(SMALL)).network
    images = torch.rand(64, 3, 224, 224)
    with torch.inference_mode():
        expected = network(images)
        network, moved = network.to(device), images.to(device)
        errors = {}
        for allowed in (False, True):
            torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = allowed
            error = network(moved).cpu() - expected
            errors[f"tf32 {allowed}"] = float(error.norm() / (expected - expected.mean(0)).norm())
    return {**result, "errors": errors, "peak_bytes": torch.cuda.max_memory_allocated()}


def own_tests() -> dict[str, Any]:
    """The tests marked gpu: attacks on CUDA against the CPU in float64, engines, parity in CI."""
    real_gpu()
    words = ["-m", "pytest", "-q", "-m", "gpu", "-p", "no:cacheprovider"]
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True, check=False)
    tail = done.stdout.splitlines()[-15:]
    if done.returncode:
        raise AssertionError("\n".join(tail))
    return {"pytest": tail[-1]}


def runner() -> dict[str, Any]:
    """The runner of plans, its streams, events and pinned memory, on the trial graph."""
    from evaluator.engine.table import ENGINES, Placement
    from evaluator.engine.trial import try_engine

    backend = plan_engine()
    results = {}
    chosen = os.environ.get("EVALUATOR_CUDA")
    for package in (chosen,) if gpu().is_simulated else ("pycuda", "torch"):
        os.environ["EVALUATOR_CUDA"] = package or ""
        try:
            try_engine(Placement(ENGINES[backend], gpu()))
            results[str(package)] = "works"
        except Exception as error:  # one of the two may be missing
            results[str(package)] = str(error)
    if "works" not in results.values():
        raise AssertionError(json.dumps(results))
    return results


def stand_in() -> dict[str, Any]:
    """The pipeline with a small network of PyTorch in place of a plan, by each package for CUDA.

    It proves streams, events, pinned memory and reuse of memory where TensorRT is not installed.
    """
    device, results = gpu(), {}
    chosen = os.environ.get("EVALUATOR_CUDA")
    for package in (chosen,) if device.is_simulated else ("pycuda", "torch"):
        os.environ["EVALUATOR_CUDA"] = package or ""
        try:
            results[str(package)] = f"largest error {largest_error(device):.2e}"
        except Exception as error:  # one of the two may be missing
            results[str(package)] = f"{type(error).__name__}: {error}"
    if not any(result.startswith("largest error") for result in results.values()):
        raise AssertionError(json.dumps(results))
    return results


def largest_error(device: Any) -> float:
    """Largest error of logits over batches of many sizes, relative to the largest logit."""
    import numpy as np
    import torch

    from evaluator.contracts import EngineSpec, ImageBatch, Item
    from evaluator.engine.cuda.open_cuda import as_work_of, open_cuda
    from evaluator.engine.cuda.pipeline import PipelinedEngine
    from evaluator.engine.cuda.torch_program import TorchProgram

    side_px, draw, cuda = 64, np.random.default_rng(0), open_cuda(device)
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Conv2d(3, 32, 7, 4), torch.nn.ReLU())
    network.extend([torch.nn.Flatten(), torch.nn.Linear(32 * 15 * 15, 1000)])

    def logits_of(pixels: Any) -> Any:
        return network(pixels.permute(0, 3, 1, 2).float() / 255)

    batches = [
        draw.integers(0, 256, (int(n), side_px, side_px, 3), np.uint8)
        for n in draw.integers(1, 300, 60)
    ]
    with torch.inference_mode():
        expected = [logits_of(torch.from_numpy(batch)).numpy() for batch in batches]
    network.to(device.torch_name)

    def load(stream: Any) -> Any:
        shape = (side_px, side_px, 3)
        return as_work_of(cuda, TorchProgram(logits_of, device.torch_name, shape, np.uint8))

    def given(engine: Any) -> Any:
        for index, pixels in enumerate(batches):
            data = engine.allocate(len(pixels)) if index % 2 else np.empty_like(pixels)
            data[:] = pixels
            items = tuple(Item(str(row), None, "") for row in range(len(pixels)))
            yield ImageBatch(data, "pixels", items)

    spec = EngineSpec("stand-in", "")
    with PipelinedEngine(cuda, load, spec, device, versions={}, crop_px=side_px) as engine:
        found = [logits for _, logits in engine.stream(given(engine))]
    errors = [np.abs(a - b).max() / np.abs(b).max() for a, b in zip(found, expected, strict=True)]
    if len(found) != len(batches) or not max(errors) < 1e-4:
        raise AssertionError(f"the logits are wrong: {max(errors)}")
    return float(max(errors))


def onnxruntime() -> dict[str, Any]:
    """ONNX Runtime on CUDA."""
    return {precision: parity(SMALL, "onnxruntime", precision=precision) for precision in ("fp32",)}


def plans(model: str, kind: str) -> Callable[[], dict[str, Any]]:
    """A step: compile a plan, and its parity."""

    def step() -> dict[str, Any]:
        began = time.monotonic()
        result = parity(model, plan_engine(), **PRECISIONS[kind])
        return {"seconds": round(time.monotonic() - began, 1), **result}

    return step


def throughput() -> dict[str, Any]:
    """Images a second of each engine alone and end to end, and of ``torch.compile``."""
    import torch

    import evaluator
    from evaluator.exporter.spec import model_spec
    from evaluator.exporter.weights.weights import load_network

    device, found = real_gpu().name, {}
    for engine in (plan_engine(), "onnxruntime", "torch"):
        for model in (SMALL, LARGE):
            precision: dict[str, Any] = {} if engine == "torch" else {"precision": "fp16"}
            result = evaluator.bench(
                model, engine=engine, device=device, batch_size=64, **precision, **weights_of(model)
            )
            alone, whole = result.engine_only, result.end_to_end
            found[f"{engine} {model}"] = {
                "engine alone": alone.images_per_second,
                "end to end": whole.images_per_second,
                "share": whole.images_per_second / alone.images_per_second,
                "bottleneck": result.bottleneck.sentence,
            }
    network = load_network(model_spec(LARGE, weights="random")).network.to(device).half()
    compiled = torch.compile(network)
    images = torch.rand(64, 3, 224, 224, device=device).half()
    with torch.inference_mode():
        for _ in range(5):
            compiled(images)
        torch.cuda.synchronize()
        began = time.monotonic()
        for _ in range(50):
            compiled(images)
        torch.cuda.synchronize()
    found[f"torch.compile {LARGE}"] = {"engine alone": 3200 / (time.monotonic() - began)}
    return found


def out_of_memory() -> dict[str, Any]:
    """Memory that suffices only for half a plan: a smaller one is built, and told."""
    import evaluator
    from evaluator.contracts import NullProgress

    device, progress = gpu(), NullProgress()
    held: Any = None
    if device.is_simulated:
        from evaluator.tests.simulated_cuda import SimulatedCuda

        SimulatedCuda.limit_bytes = 2 * 40 * (224 * 224 * 3 + 4000)
    else:
        import torch

        free, _ = torch.cuda.mem_get_info()
        held = torch.empty(free - 2**28, dtype=torch.uint8, device=device.name)
    with tempfile.TemporaryDirectory() as folder:
        photos = Path(folder, "photos")
        evaluator.sample_photos(photos)
        evaluator.score(
            SMALL,
            "imagenet",
            photos,
            engine=plan_engine(),
            device=device.name,
            out=Path(folder, "run"),
            parity=False,
            progress=progress,
        )
    del held
    told = [note for note in progress.notes if "is used instead" in note]
    if not told and device.is_simulated:
        raise AssertionError("the plan was not halved")
    return {"told": told or "there was memory enough"}


def killed() -> dict[str, Any]:
    """A run that is killed, and ends with the records of an undisturbed one."""
    from evaluator.tests.tiny_tree import tiny_tree

    engine, device = plan_engine(), gpu().name
    with tempfile.TemporaryDirectory() as folder:
        photos = tiny_tree(Path(folder, "photos"), 1000)
        words = ["-m", "evaluator", "score", SMALL, "imagenet", "--data", str(photos)]
        words += ["--engine", engine, "--device", device, "--batch-size", "16", "--no-parity"]
        out = Path(folder, "killed")
        quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        child = subprocess.Popen([sys.executable, *words, "--out", str(out)], **quiet)
        while child.poll() is None and not list(out.rglob("part-*.parquet")):
            time.sleep(0.1)
        child.send_signal(signal.SIGKILL)
        child.wait()
        before = len(list(out.rglob("part-*.parquet")))
        whole = Path(folder, "whole")
        for run in (out, whole):
            subprocess.run([sys.executable, *words, "--out", str(run)], check=True, **quiet)
        different = records(out) != records(whole)
    if different:
        raise AssertionError("the records differ")
    return {"shards before the kill": before}


def records(run: Path) -> list[Any]:
    """Ids and classes of a run's records."""
    import pyarrow.parquet as pq

    tables = [pq.read_table(path, partitioning=None) for path in sorted(run.rglob("*.parquet"))]
    return [row for table in tables for row in table.select(["id", "top5"]).to_pylist()]


STEPS: dict[str, Callable[[], dict[str, Any]]] = {
    "install": install,
    "pytorch": pytorch,
    "tests": own_tests,
    "stand-in": stand_in,
    "runner": runner,
    "onnxruntime": onnxruntime,
    **{f"plan {m} {kind}": plans(m, kind) for m in (SMALL, LARGE) for kind in PRECISIONS},
    "out of memory": out_of_memory,
    "killed": killed,
    "throughput": throughput,
}


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
