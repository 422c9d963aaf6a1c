"""From an ONNX graph to a plan: one builder for TensorRT 10, TensorRT 11 and TensorRT-RTX.

The network is strongly typed: each tensor has the type that it has in the graph, which is all that
TensorRT 11 knows. TF32 is on by default in all of them and is always set here, on or off.

``trt`` is the module, and whatever is typed ``Any`` here is one of its objects: a test follows them
through this file, and compares each attribute that is taken from them with what the three have.
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
    """What is built.

    Attributes:
        flavour: Whose module ``trt`` is.
        key: What goes into the plan.
        graph: The ONNX file; its external data lies beside it.
        model: Its name, for people.
    """

    flavour: Flavour
    key: PlanKey
    graph: Path
    model: str


@dataclass(frozen=True)
class Serialized:
    """A plan in memory.

    Attributes:
        data: Its bytes, where TensorRT holds them: it may be gigabytes.
        layers: Of the network before TensorRT fuses them.
    """

    data: memoryview
    layers: int


@contextmanager
def no_collection() -> Iterator[None]:
    """Keep Python's garbage collector from running meanwhile.

    TensorRT calls the logger while it holds a lock, and to free an earlier builder it takes the
    same one: a collection in the logger that finds such a builder would wait for ever.
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
) -> Serialized:
    """Build a plan. It takes seconds to many minutes.

    Args:
        trt: The module.
        job: What is built.
        progress: Is told of each step.
        timings: Where measured kernels are kept, where they are.

    Raises:
        EngineError: If TensorRT cannot take the graph; the node is named.
        EngineUnavailableError: If TensorRT does not start.
        InputError: If the target is none.
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
    return Serialized(memoryview(data), network.num_layers)


def _builder(trt: Any, log: Any, flavour: Flavour) -> Any:
    try:
        return trt.Builder(log)
    except TypeError as error:  # what pybind11 makes of a null pointer
        raise EngineUnavailableError(
            f"{flavour.title} does not start: {reason_of(error)}. Look whether nvidia-smi lists "
            "the GPU, and whether its driver is new enough for this version."
        ) from error


def parsed_network(trt: Any, builder: Any, log: Any, job: BuildJob) -> Any:
    """The strongly typed network of an ONNX file.

    Raises:
        EngineError: If a node cannot be taken, or the graph does not take batches of any size.
        InputError: If TensorRT cannot be told where the graph is.
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
    # From the path, not from bytes: external data is found beside it, and protobuf ends at 2 GB.
    if not parser.parse_from_file(path):
        first = parser.get_error(0) if parser.num_errors else None
        raise EngineError(
            f"{job.flavour.title} cannot take the graph of {job.model}{_node(first)}: "
            f"{_parser_reason(first)}. ONNX Runtime may: `evaluator score --engine onnxruntime`."
        )
    if network.num_inputs != 1 or network.num_outputs != 1 or network.get_input(0).shape[0] != -1:
        raise EngineError(
            f"{printable(job.graph)} is no classifier of any number of images: expected one input "
            "and one output whose first size is free. Export the model again."
        )
    return network


def configured(trt: Any, builder: Any, network: Any, job: BuildJob) -> Any:
    """The configuration: TF32, the target, the profile; everything else is as it comes.

    Raises:
        InputError: If the target is none that these plans can be built for.
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
    """Whether the GPU that is here takes a plan."""
    log = logger(trt, [])
    try:
        runtime = trt.Runtime(log)
    except TypeError:  # what pybind11 makes of a null pointer
        return False
    return runtime.deserialize_cuda_engine(data) is not None


def logger(trt: Any, errors: list[str]) -> Any:
    """Keeps what goes wrong in ``errors``; TensorRT's own logger would print it."""

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
    """Where it is; empty where no node is at fault."""
    if error is None or error.node() < 0:
        return ""
    name: str = error.node_name() or f"number {error.node()}"
    operator: str = error.node_operator()
    return f" at node {printable(name)} ({printable(operator)})"


def _parser_reason(error: Any) -> str:
    """The line that says most: the first is often no more than the node's name, or the answer."""
    if error is None:
        return "it gives no reason"
    text: str = error.desc()
    code: str = error.code().name
    told = [line for line in text.splitlines() if not line.startswith("Invalid Node")]
    return _sentence(told[0]) if told and told[0] != "false" else code


def _sentence(message: str) -> str:
    """A message of TensorRT without the places in its own source.

    Example:
        >>> _sentence("IBuilder::f: Error Code 4: API Usage Error (No input. In f at /src/a.cpp:7)")
        'No input'
        >>> _sentence("Assertion failed: x->parse(&y): Failed to parse the ONNX model.")
        'Failed to parse the ONNX model'
    """
    found = _API_ERROR.search(message) or _ASSERTION.search(message)
    return reason_of(Exception(found["text"] if found else message))
