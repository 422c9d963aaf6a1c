"""The implementations of CUDA, as far as they can be checked without a GPU.

PyCUDA's driver is doubled with its own names and argument orders on top of the simulated GPU, and
``tests/data/pycuda_api.json`` lists the names that PyCUDA has.
"""

import ast
import inspect
import json
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

import evaluator
from evaluator.contracts import Device
from evaluator.engine import own_cuda
from evaluator.engine.cuda import with_pycuda
from evaluator.engine.cuda.open_cuda import open_cuda
from evaluator.engine.cuda.with_pycuda import PyCuda
from evaluator.engine.cuda.with_torch import TorchCuda, _as_bytes
from evaluator.engine.devices import compute_capability, cuda_devices
from evaluator.errors import EngineMemoryError, EngineUnavailableError, InputError
from evaluator.tests import simulated_gpu
from evaluator.tests.simulated_cuda import Event, Memory, SimulatedCuda, Stream
from evaluator.tests.simulated_gpu import SimulatedContext, SimulatedEngine, SimulatedRuntime

DATA = Path(evaluator.__file__).parent / "tests" / "data"
TENSORRT = json.loads((DATA / "tensorrt_api.json").read_text())["bindings"]
PYCUDA = set(json.loads((DATA / "pycuda_api.json").read_text())["names"])
GPU = Device("cuda:0", "", "")


class DoubledDriver(ModuleType):
    """``pycuda.driver`` on a simulated GPU."""

    class Error(Exception):
        """Base of PyCUDA's errors."""

    class MemoryError(Error):
        """No memory."""

    event_flags = SimpleNamespace(DISABLE_TIMING=2)

    def __init__(self) -> None:
        super().__init__("pycuda.driver")
        self.gpu, self.pushed = SimulatedCuda(), 0
        self.Context = SimpleNamespace(pop=self._pop)
        self.initialised = False

    def init(self) -> None:
        self.initialised = True

    def Device(self, index: int) -> Any:  # noqa: N802 - PyCUDA's name
        assert self.initialised
        if index:
            raise self.Error("invalid device ordinal")
        return SimpleNamespace(
            retain_primary_context=lambda: SimpleNamespace(push=self._push, detach=None)
        )

    def _push(self) -> None:
        self.gpu.depth += 1

    def _pop(self) -> None:
        self.gpu.depth -= 1

    def Stream(self) -> Any:  # noqa: N802
        stream = self.gpu.stream()
        return SimpleNamespace(
            handle=stream.handle,
            own=stream,
            wait_for_event=lambda event: stream.wait(event.own),
            synchronize=stream.synchronize,
        )

    def Event(self, flags: int) -> Any:  # noqa: N802
        event = self.gpu.event()
        return SimpleNamespace(
            own=event,
            record=lambda stream: event.record(stream.own),
            synchronize=event.synchronize,
        )

    def pagelocked_empty(self, shape: Any, dtype: Any) -> Any:
        return self.gpu.pinned(shape, dtype)

    def mem_alloc(self, size_bytes: int) -> Any:
        try:
            return DoubledAllocation(self.gpu.memory(size_bytes))
        except EngineMemoryError as error:
            raise self.MemoryError(str(error)) from error

    def memcpy_htod_async(self, dest: Any, src: Any, stream: Any) -> None:
        dest.own.copy_from(src, stream.own)

    def memcpy_dtoh_async(self, dest: Any, src: Any, stream: Any) -> None:
        src.own.copy_to(dest, stream.own)


class DoubledAllocation:
    """``DeviceAllocation``."""

    def __init__(self, own: Memory) -> None:
        self.own = own

    def __int__(self) -> int:
        return self.own.address

    def free(self) -> None:
        self.own.freed = True


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> DoubledDriver:
    driver, package = DoubledDriver(), ModuleType("pycuda")
    package.driver = driver  # type: ignore[attr-defined]
    package.__spec__ = ModuleSpec("pycuda", None)
    monkeypatch.setitem(sys.modules, "pycuda", package)
    monkeypatch.setitem(sys.modules, "pycuda.driver", driver)
    monkeypatch.delenv("EVALUATOR_CUDA", raising=False)
    return driver


def test_pycuda_copies_in_and_out_in_order(driver: DoubledDriver) -> None:
    cuda = PyCuda(0)
    with cuda.current():
        copy_in, copy_out, event = cuda.stream(), cuda.stream(), cuda.event()
        memory = cuda.memory(64)
        source, target = cuda.pinned((4, 4), np.float32), cuda.pinned((4, 4), np.float32)
        source[:] = np.arange(16).reshape(4, 4)
        memory.copy_from(source, copy_in)
        copy_in.record(event)
        copy_out.wait(event)
        memory.copy_to(target[:2], copy_out)
        copy_out.synchronize()
        event.synchronize()
        assert (target[:2] == source[:2]).all()
        assert np.isnan(target[2:]).all()
        assert memory.address == driver.gpu.memories[0].address
        assert copy_in.handle == 1
    cuda.close()
    assert driver.gpu.memories[0].freed
    assert driver.gpu.depth == 0


def test_pycuda_tells_what_is_missing(
    driver: DoubledDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(driver.gpu, "limit_bytes", 10)
    with pytest.raises(EngineMemoryError, match="64 bytes"), (cuda := PyCuda(0)).current():
        cuda.memory(64)
    with pytest.raises(EngineUnavailableError, match="cuda:1: invalid device ordinal"):
        PyCuda(1)
    monkeypatch.setitem(sys.modules, "pycuda.driver", None)
    monkeypatch.setitem(sys.modules, "pycuda", None)
    with pytest.raises(EngineUnavailableError, match="EVALUATOR_CUDA=torch"):
        PyCuda(0)


def test_the_names_taken_from_pycuda_exist() -> None:
    own = {"stream", "event", "allocation", "base", "metadata", "version", "driver", "append"}
    own |= {
        "Error",
        "MemoryError",
    }  # made by a macro of its wrapper, which the list has no names of
    own |= {"current", "DTypeLike"}
    taken = {
        node.attr
        for node in ast.walk(ast.parse(inspect.getsource(with_pycuda)))
        if isinstance(node, ast.Attribute) and not node.attr.startswith("_")
    }
    assert not taken - own - PYCUDA


@pytest.mark.parametrize("binding", TENSORRT)
@pytest.mark.parametrize(
    ("double", "name"),
    [
        (SimulatedRuntime, "Runtime"),
        (SimulatedEngine, "ICudaEngine"),
        (SimulatedContext, "IExecutionContext"),
    ],
)
def test_the_names_of_the_simulated_runtime_exist(binding: str, double: Any, name: str) -> None:
    """The runner can use nothing but what the doubles have."""
    public = {attribute for attribute in vars(double) if not attribute.startswith("_")}
    assert not public - set(TENSORRT[binding][name]["attributes"])


def test_the_names_taken_from_pytorch_exist() -> None:
    import torch

    assert {"wait_event", "synchronize", "cuda_stream"} <= set(dir(torch.cuda.Stream))
    assert {"record", "synchronize"} <= set(dir(torch.cuda.Event))
    assert "pin_memory" in (torch.empty.__doc__ or "")
    assert hasattr(torch.cuda, "stream")
    assert hasattr(torch.cuda, "device")
    assert {"stream_ptr", "device"} <= set(
        inspect.signature(torch.cuda.ExternalStream.__new__).parameters
    )


def test_pytorch_sees_an_array_as_its_bytes() -> None:
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    seen = _as_bytes(array)
    seen[:4] = 0
    assert array[0, 0] == 0
    assert seen.shape == (24,)
    assert seen.data_ptr() == array.ctypes.data


def test_pytorch_without_cuda_says_so() -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("this PyTorch has CUDA")
    with pytest.raises(EngineUnavailableError, match=r"PyTorch .* cannot use cuda:0"):
        TorchCuda(0)


def test_the_variable_chooses(monkeypatch: pytest.MonkeyPatch, driver: DoubledDriver) -> None:
    assert isinstance(open_cuda(GPU), PyCuda)
    monkeypatch.setenv("EVALUATOR_CUDA", simulated_gpu.__name__)
    assert isinstance(open_cuda(GPU), SimulatedCuda)
    monkeypatch.setenv("EVALUATOR_CUDA", "no.such.module")
    with pytest.raises(InputError, match=r"no\.such\.module cannot be imported: No module"):
        open_cuda(GPU)


def test_a_simulated_gpu_is_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVALUATOR_CUDA", simulated_gpu.__name__)
    monkeypatch.setenv("SIMULATED_GPUS", "2")
    cuda_devices.cache_clear()
    try:
        assert [str(d) for d in cuda_devices()] == [
            "cuda:0 (simulated GPU)",
            "cuda:1 (simulated GPU)",
        ]
        assert compute_capability(cuda_devices()[0]) == "sm89"
    finally:
        cuda_devices.cache_clear()
    assert own_cuda.own_cuda() is simulated_gpu


def test_the_simulated_objects_have_the_methods_of_the_protocols() -> None:
    from evaluator.engine.cuda import protocols

    for double, protocol in ((SimulatedCuda, protocols.Cuda), (Stream, protocols.Stream)):
        names = {name for name in vars(protocol) if not name.startswith("_")}
        assert names <= {*vars(double), *inspect.signature(double).parameters, "handle"}
    assert "synchronize" in vars(Event)
