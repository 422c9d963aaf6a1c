"""From an ONNX graph to a plan: one builder for TensorRT 10, TensorRT 11 and TensorRT-RTX.

The network is strongly typed: each tensor has the type that it has in the graph, the only mode of
TensorRT 11. TF32 is on by default in all of them and is always set here, on or off.

``trt`` is the module, and each value typed ``Any`` here is one of its objects: a test follows them
through this file, and checks that all three packages have the attributes that are used.
"""

import gc
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...errors import EngineError, EngineUnavailableError, InputError, printable, reason_of
from .build_progress import BuildProgress
from .plan import PlanKey, Profile
from .tensorrt_api import Flavour
from .timing_cache import keep_timings, use_timings

NETWORK_FLAGS = ("STRONGLY_TYPED",)

_API_ERROR = re.compile(r"Error Code \d+: [^(]*\((?P<text>.*?)(?: In \S+ at \S+)?\)\s*$")
_ASSERTION = re.compile(r"Assertion failed: .+?: (?P<text>.+)$")


@dataclass(frozen=True)
class BuildJob:
    """A plan to build.

    Attributes:
        flavour: TensorRT or TensorRT-RTX.
        key: Key of the plan.
        graph: ONNX file, with its external data next to it.
        model: Name of the model, for messages.
    """

    flavour: Flavour
    key: PlanKey
    graph: Path
    model: str


@contextmanager
def no_collection() -> Iterator[None]:
    """Disable Python's garbage collector in the block.

    TensorRT holds a lock while it calls the logger, and takes the same lock to free a builder: a
    collection in the logger that frees an earlier builder would deadlock.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


@no_collection()
def plan_from_onnx(
    trt: Any, job: BuildJob, progress: BuildProgress, timings: Path | None = None
) -> tuple[memoryview, int]:
    """Build a plan, which takes seconds to many minutes.

    Args:
        trt: Module of TensorRT.
        job: Plan to build.
        progress: Progress of the build, updated at each step.
        timings: File of measured kernels; ``None`` if they are not stored.

    Returns:
        The bytes of the plan in TensorRT's memory, up to gigabytes, and the number of layers before
        TensorRT fuses them.

    Raises:
        EngineError: If TensorRT does not support the graph; the message names the node.
        EngineUnavailableError: If TensorRT does not start.
        InputError: If the target is not valid.
    """
    errors: list[str] = []
    log = logger(trt, errors)
    builder = _builder(trt, log, job.flavour)
    network = parsed_network(trt, builder, log, job)
    config = configured(trt, builder, network, job)
    config.progress_monitor = _monitor(trt, progress)
    if timings is not None:
        use_timings(config, timings)
    data = builder.build_serialized_network(network, config)
    if data is None:
        raise EngineError(
            f"{job.flavour.title} cannot build a plan of {job.model}: "
            f"{_sentence(errors[0]) if errors else 'it gives no reason'}. "
            "ONNX Runtime may: `evaluator score --engine onnxruntime`."
        )
    if timings is not None:
        keep_timings(config, timings)
    return memoryview(data), network.num_layers


def _builder(trt: Any, log: Any, flavour: Flavour) -> Any:
    try:
        return trt.Builder(log)
    except TypeError as error:  # pybind11 raises it for a null pointer
        raise EngineUnavailableError(
            f"{flavour.title} does not start: {reason_of(error)}. Check that nvidia-smi lists the "
            "GPU, and that its driver is new enough for this version."
        ) from error


def parsed_network(trt: Any, builder: Any, log: Any, job: BuildJob) -> Any:
    """The strongly typed network of an ONNX file.

    Raises:
        EngineError: If a node is not supported, or the graph does not take batches of any size.
        InputError: If the path of the graph is not UTF-8.
    """
    path = str(job.graph)
    if path != path.encode("utf-8", "replace").decode():
        raise InputError(
            f"{printable(path)} has a name that is not UTF-8, which {job.flavour.title} cannot "
            "open. Rename the folder."
        )
    flags = 0
    for name in NETWORK_FLAGS:
        flags |= 1 << int(getattr(trt.NetworkDefinitionCreationFlag, name))
    network = builder.create_network(flags)
    parser = trt.OnnxParser(network, log)
    # From the path, not from bytes: external data lies next to it, and protobuf is limited to 2 GB.
    if not parser.parse_from_file(path):
        first = parser.get_error(0) if parser.num_errors else None
        raise EngineError(
            f"{job.flavour.title} does not support the graph of {job.model}{_node(first)}: "
            f"{_parser_reason(first)}. ONNX Runtime may: `evaluator score --engine onnxruntime`."
        )
    if network.num_inputs != 1 or network.num_outputs != 1 or network.get_input(0).shape[0] != -1:
        raise EngineError(
            f"{printable(job.graph)} does not classify batches of any size: expected one input and "
            "one output whose first dimension is free. Export the model again."
        )
    return network


def configured(trt: Any, builder: Any, network: Any, job: BuildJob) -> Any:
    """The configuration: TF32, target and profile; all other settings are defaults.

    Raises:
        InputError: If TensorRT does not build for the target.
    """
    config = builder.create_builder_config()
    if job.key.tf32:
        config.set_flag(trt.BuilderFlag.TF32)
    else:
        config.clear_flag(trt.BuilderFlag.TF32)
    if job.key.target:
        config.num_compute_capabilities = 1
        capability = getattr(trt.ComputeCapability, job.key.target.upper())
        if not config.set_compute_capability(capability, 0):
            raise InputError(f"{job.flavour.title} does not build for {job.key.target}.")
    _add_profile(builder, network, config, job.key.profile)
    return config


def _add_profile(builder: Any, network: Any, config: Any, batches: Profile) -> None:
    entry = network.get_input(0)
    image = tuple(entry.shape)[1:]
    profile = builder.create_optimization_profile()
    profile.set_shape(
        entry.name,
        (batches.smallest, *image),
        (batches.best, *image),
        (batches.largest, *image),
    )
    config.add_optimization_profile(profile)


@no_collection()
def deserialises(trt: Any, data: memoryview) -> bool:
    """Whether the GPU of this machine can load a plan."""
    log = logger(trt, [])
    try:
        runtime = trt.Runtime(log)
    except TypeError:  # pybind11 raises it for a null pointer
        return False
    return runtime.deserialize_cuda_engine(data) is not None


def logger(trt: Any, errors: list[str]) -> Any:
    """A logger that appends errors to ``errors``; TensorRT's own logger would print them."""

    class Logger(trt.ILogger):  # type: ignore[misc]
        def log(self, severity: Any, message: str) -> None:
            if severity == trt.ILogger.ERROR:
                errors.append(message)

    return Logger()


def _monitor(trt: Any, progress: BuildProgress) -> Any:
    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]
        def phase_start(self, phase: str, parent: str | None, steps: int) -> None:
            progress.begin(phase, parent, steps)

        def step_complete(self, phase: str, step: int) -> bool:
            progress.step(phase, step)
            return True

        def phase_finish(self, phase: str) -> None:
            progress.end(phase)

    return Monitor()


def _node(error: Any) -> str:
    """The node of a parser error; empty if it has none."""
    if error is None or error.node() < 0:
        return ""
    name: str = error.node_name() or f"number {error.node()}"
    operator: str = error.node_operator()
    return f" at node {printable(name)} ({printable(operator)})"


def _parser_reason(error: Any) -> str:
    """The most useful line: the first is often only the name of the node, or the result."""
    if error is None:
        return "it gives no reason"
    text: str = error.desc()
    code: str = error.code().name
    lines = [line for line in text.splitlines() if not line.startswith("Invalid Node")]
    return _sentence(lines[0]) if lines and lines[0] != "false" else code


def _sentence(message: str) -> str:
    """A message of TensorRT without positions in its own source code.

    Example:
        >>> _sentence("IBuilder::f: Error Code 4: API Usage Error (No input. In f at /src/a.cpp:7)")
        'No input'
        >>> _sentence("Assertion failed: x->parse(&y): Failed to parse the ONNX model.")
        'Failed to parse the ONNX model'
    """
    match = _API_ERROR.search(message) or _ASSERTION.search(message)
    return reason_of(Exception(match["text"] if match else message))
