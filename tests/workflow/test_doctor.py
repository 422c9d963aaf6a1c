"""``evaluator doctor``: what works is found by trying it."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from evaluator.contracts import Device
from evaluator.engine import trial
from evaluator.engine.devices import cpu, cuda_devices
from evaluator.engine.table import ENGINES, Placement
from evaluator.engine.trial import try_engine
from evaluator.errors import EngineError
from evaluator.tests import simulated_gpu
from evaluator.tests.command_line import run
from evaluator.workflow import doctor
from evaluator.workflow.doctor import diagnose


@pytest.fixture
def simulated(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    pytest.importorskip("tensorrt_rtx", reason="it builds the plans of the simulated GPU")
    monkeypatch.setenv("EVALUATOR_CUDA", simulated_gpu.__name__)
    cuda_devices.cache_clear()
    yield
    cuda_devices.cache_clear()


def test_engines_are_tried_on_the_processor(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "cuda_devices", lambda: ())
    faults = {e.engine: e.fault for e in diagnose().engines}
    assert faults.keys() == ENGINES.keys()
    assert faults["onnxruntime"] == faults["torch"] == ""
    assert "runs on NVIDIA GPUs only" in faults["tensorrt-rtx"]


@pytest.mark.usefixtures("simulated")
def test_engines_are_tried_on_a_gpu() -> None:
    diagnosis = diagnose()
    assert [gpu.compute_capability for gpu in diagnosis.gpus] == ["sm89"]
    faults = {(e.engine, e.device): e.fault for e in diagnosis.engines}
    gpu = "cuda:0 (simulated GPU)"
    assert faults["tensorrt-rtx", gpu] == ""
    assert ("tensorrt-rtx", str(cpu())) not in faults, "it never runs there"
    assert faults["onnxruntime", gpu] == faults["torch", gpu] == ""


@pytest.mark.usefixtures("simulated")
def test_a_gpu_that_computes_something_else_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    execute = simulated_gpu.SimulatedContext.execute_async_v3

    def shifted(self: simulated_gpu.SimulatedContext, stream_handle: int) -> bool:
        self._shape = (2, *self._shape[1:])  # the last image is not computed
        return execute(self, stream_handle)

    monkeypatch.setattr(simulated_gpu.SimulatedContext, "execute_async_v3", shifted)
    place = Placement(ENGINES["tensorrt-rtx"], cuda_devices()[0])
    with pytest.raises(EngineError, match="different logits for equal images"):
        try_engine(place)


def test_what_a_runtime_raises_is_told_in_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("no kernel image\nis available")

    monkeypatch.setattr(trial, "_network", broken)
    with pytest.raises(EngineError, match=r"^torch on cpu \(x\) does not work: no kernel image\.$"):
        try_engine(Placement(ENGINES["torch"], Device("cpu", "x", "")))


def test_the_command_prints_and_writes(tmp_path: Path) -> None:
    result = run("doctor", "--json", str(tmp_path / "doctor.json"))
    assert "onnxruntime" in result.stdout
    document = json.loads((tmp_path / "doctor.json").read_text())
    assert document["schema"] == 1
    assert document["packages"]["torch"]
