"""Claim: on the CPU, callers with a session of one thread are as fast as any other way to compute.

The engine alone, without decoding: batch sizes, threads of a session, callers, options of ONNX
Runtime and processes, each against two callers of a session with one thread and batches of four,
in turns. ``docs/performance.md`` has the table.
"""

import multiprocessing
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np

import evaluator

MODEL = "efficientnet_lite0"
SECONDS = 2.0
ROUNDS = 5
CORES = os.cpu_count() or 1


@dataclass(frozen=True)
class Way:
    """A way to keep the cores at work.

    Attributes:
        batch: Images in a batch.
        callers: At once.
        threads: Of a session.
        own: Whether each caller has a session of its own.
        config: Entries of the session's configuration.
        options: Fields of its options.
    """

    batch: int = 4
    callers: int = CORES
    threads: int = 1
    own: bool = False
    config: tuple[tuple[str, str], ...] = ()
    options: tuple[tuple[str, Any], ...] = ()


WAYS = {
    "the same once more": Way(),
    **{f"batch {batch}": Way(batch) for batch in (1, 2, 8, 16)},
    "one caller of all threads, batch 4": Way(4, 1, CORES),
    "one caller of all threads, batch 16": Way(16, 1, CORES),
    "one caller of all threads, no spinning": Way(
        4, 1, CORES, config=(("session.intra_op.allow_spinning", "0"),)
    ),
    "one caller more": Way(callers=CORES + 1),
    "a session for each caller": Way(own=True),
    "arena off": Way(options=(("enable_cpu_mem_arena", False),)),
    "memory pattern off": Way(options=(("enable_mem_pattern", False),)),
    "denormals as zero": Way(config=(("session.set_denormal_as_zero", "1"),)),
    "optimisation EXTENDED": Way(options=(("graph_optimization_level", "ORT_ENABLE_EXTENDED"),)),
}


def session(graph: str, way: Way) -> Any:
    """A session of ONNX Runtime on the CPU."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = way.threads, 1
    for key, value in way.config:
        options.add_session_config_entry(key, value)
    for name, value in way.options:
        level = getattr(onnxruntime.GraphOptimizationLevel, str(value), value)
        setattr(options, name, level)
    return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])


def images_of(loaded: Any, batch: int) -> int:
    """How many images a caller gets through in the time."""
    pixels = np.random.default_rng(0).integers(0, 256, (batch, 224, 224, 3), np.uint8)
    name, images, end = loaded.get_inputs()[0].name, 0, time.perf_counter() + SECONDS
    while time.perf_counter() < end:
        loaded.run(None, {name: pixels})
        images += batch
    return images


def in_threads(graph: str, way: Way) -> Callable[[], float]:
    """What measures a way; images a second."""
    sessions = [session(graph, way) for _ in range(way.callers if way.own else 1)]

    def rate() -> float:
        began = time.perf_counter()
        with ThreadPoolExecutor(way.callers) as pool:
            turns = [sessions[caller % len(sessions)] for caller in range(way.callers)]
            images = sum(pool.map(lambda loaded: images_of(loaded, way.batch), turns))
        return images / (time.perf_counter() - began)

    return rate


def process(graph: str, orders: Any, answers: Any) -> None:
    loaded = session(graph, Way())
    while orders.get():
        answers.put(images_of(loaded, 4))


def main() -> None:
    graph = str(evaluator.export_model(MODEL).bundle.graph)
    spawn = multiprocessing.get_context("spawn")
    orders, answers = spawn.Queue(), spawn.Queue()
    workers = [spawn.Process(target=process, args=(graph, orders, answers)) for _ in range(CORES)]

    def in_processes() -> float:
        for _ in workers:
            orders.put(True)
        return float(sum(answers.get() for _ in workers)) / SECONDS

    for worker in workers:
        worker.start()
    usual = in_threads(graph, Way())
    ways = {name: in_threads(graph, way) for name, way in WAYS.items()}
    ways["a process for each caller"] = in_processes
    for rate in (usual, *ways.values()):
        rate()  # warm
    ratios: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(ROUNDS):
        against = usual()
        for name, rate in ways.items():
            ratios[name].append(rate() / against)
    for _ in workers:
        orders.put(False)
    for name, found in ratios.items():
        print(f"{name}: {median(found):.2f}x (from {min(found):.2f} to {max(found):.2f})")


if __name__ == "__main__":
    main()
