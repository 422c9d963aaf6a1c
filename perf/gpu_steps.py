"""The steps of ``gpu_acceptance.py``: each returns what it found, or raises."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

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


def by_each_package(work: Callable[[], str]) -> dict[str, str]:
    """What the work gives by each package for CUDA; one of the two may be missing."""
    results, chosen = {}, os.environ.get("EVALUATOR_CUDA", "")
    for package in (chosen,) if gpu().is_simulated else ("pycuda", "torch"):
        os.environ["EVALUATOR_CUDA"] = package
        try:
            results[package] = work()
        except Exception as error:
            results[package] = f"failed: {type(error).__name__}: {error}"
    if all(result.startswith("failed") for result in results.values()):
        raise AssertionError(json.dumps(results))
    return results


def runner() -> dict[str, Any]:
    """The runner of plans, its streams, events and pinned memory, on the trial graph."""
    from evaluator.engine.table import ENGINES, Placement
    from evaluator.engine.trial import try_engine

    backend = plan_engine()

    def work() -> str:
        try_engine(Placement(ENGINES[backend], gpu()))
        return "works"

    return by_each_package(work)


def stand_in() -> dict[str, Any]:
    """The pipeline with a small network of PyTorch in place of a plan.

    It proves streams, events, pinned memory and reuse of memory where TensorRT is not installed.
    """
    return by_each_package(lambda: f"largest error {largest_error(gpu()):.2e}")


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
        if kind == "bf16" and gpu().is_simulated:
            raise Skipped("the simulated GPU computes on the CPU, which has no bfloat16 here")
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
