"""OpenVINO: what it computes in is what it was asked for, or it says so; and it tells nobody."""

import importlib.util
import os
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from evaluator.contracts import Bundle, ImageBatch, InputKind, Item
from evaluator.engine.devices import cpu
from evaluator.engine.onnx_engine import OnnxEngine
from evaluator.errors import EngineError, EngineUnavailableError
from evaluator.tests.small_bundle import CROP_PX, small_bundle

# Not importorskip: importing it here would let its telemetry in.
if importlib.util.find_spec("openvino") is None:
    pytest.skip("the extra openvino is not installed", allow_module_level=True)

from evaluator.engine.openvino_engine import OpenVinoEngine, check_openvino

NO_BFLOAT16 = not {"avx512_bf16", "amx_bf16"} & set(cpu().details.split())


def batch(n: int, seed: int = 0) -> ImageBatch:
    random = np.random.default_rng(seed)
    data = random.integers(0, 256, (n, CROP_PX, CROP_PX, 3), np.uint8)
    return ImageBatch(data, "pixels", tuple(Item(str(i), None, "") for i in range(n)))


def test_logits_of_one_batch_are_not_overwritten_by_the_next(tmp_path: Path) -> None:
    with OpenVinoEngine(small_bundle(tmp_path / "bundle"), cpu()) as engine:
        (_, first), (_, second) = engine.stream([batch(3, 0), batch(3, 1)])
        (_, again) = next(iter(engine.stream([batch(3, 0)])))
    assert not np.array_equal(first, second)
    np.testing.assert_array_equal(first, again)


@pytest.mark.parametrize("kind", ["pixels", "images"])
def test_both_kinds_of_input_give_what_onnx_runtime_gives(tmp_path: Path, kind: InputKind) -> None:
    bundle = small_bundle(tmp_path / "bundle", input_kind=kind)
    taken = batch(5)
    if kind == "images":
        images = (taken.data.transpose(0, 3, 1, 2) / 255).astype(np.float32)
        taken = ImageBatch(images, kind, taken.items)
    with OnnxEngine(bundle, cpu()) as reference, OpenVinoEngine(bundle, cpu()) as engine:
        ((_, expected),) = reference.stream([taken])
        ((_, found),) = engine.stream([taken])
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.skipif(not NO_BFLOAT16, reason="this processor has bfloat16")
def test_bfloat16_is_refused_where_it_would_silently_be_float32(tmp_path: Path) -> None:
    with pytest.raises(EngineUnavailableError, match="silently compute in float32"):
        OpenVinoEngine(small_bundle(tmp_path / "bundle", "bf16"), cpu())


@pytest.mark.skipif(not NO_BFLOAT16, reason="this processor has bfloat16")
def test_what_the_compiled_model_runs_is_asked_not_believed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A processor whose capabilities promise bfloat16, and whose kernels do not keep the promise.
    monkeypatch.setattr("evaluator.engine.openvino_engine.check_openvino", lambda *_: None)
    with pytest.raises(EngineUnavailableError, match=r"asked for bf16 .* compute in f32"):
        OpenVinoEngine(small_bundle(tmp_path / "bundle", "bf16"), cpu())


def test_float16_and_gpus_are_refused() -> None:
    with pytest.raises(EngineUnavailableError, match="no fp16 on the CPU"):
        check_openvino("fp16", cpu())
    with pytest.raises(EngineUnavailableError, match="Use --device cpu"):
        check_openvino("fp32", replace(cpu(), name="cuda:0"))


def test_without_the_package_it_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib.metadata

    def missing(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr("importlib.metadata.version", missing)
    with pytest.raises(EngineUnavailableError, match=r"pip install 'evaluator\[openvino\]'"):
        check_openvino("fp32", cpu())


def test_a_graph_that_cannot_be_loaded_is_named(tmp_path: Path) -> None:
    bundle = small_bundle(tmp_path / "bundle")
    broken = Bundle(tmp_path, bundle.model)
    broken.graph.write_bytes(b"no graph")
    with pytest.raises(EngineError, match=r"cannot load .*model\.onnx"):
        OpenVinoEngine(broken, cpu())


def test_nothing_is_written_to_the_home_folder_and_no_telemetry_is_loaded(tmp_path: Path) -> None:
    # In a process of its own: here, something else may have imported OpenVINO before.
    program = (
        "import sys\n"
        "from evaluator.engine.devices import cpu\n"
        "from evaluator.engine.openvino_engine import check_openvino\n"
        "check_openvino('fp32', cpu())\n"
        "import openvino\n"
        "print([name for name in sys.modules if name.startswith('openvino_telemetry')])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "HOME": str(tmp_path), "USERPROFILE": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "[]"
    assert list(tmp_path.iterdir()) == []


def test_threads_that_need_openvino_at_once_all_have_the_whole_of_it() -> None:
    # In a process of its own: it is imported once.
    program = (
        "import threading\n"
        "from concurrent.futures import ThreadPoolExecutor\n"
        "from evaluator.engine.devices import cpu\n"
        "from evaluator.engine.openvino_engine import check_openvino\n"
        "device, ready = cpu(), threading.Barrier(4)\n"
        "def check(number):\n"
        "    ready.wait()\n"
        "    check_openvino('fp32', device)\n"
        "    return number\n"
        "print(list(ThreadPoolExecutor(4).map(check, range(4))))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.strip() == "[0, 1, 2, 3]", done.stderr


def test_an_engine_can_be_stopped_while_threads_begin_to_use_it(tmp_path: Path) -> None:
    interval = sys.getswitchinterval()
    with OpenVinoEngine(small_bundle(tmp_path / "bundle"), cpu()) as engine:
        kept = [engine.stream([]) for _ in range(200)]
        begun = threading.Event()

        def begin() -> None:
            for _ in range(2000):
                kept.append(engine.stream([]))
                begun.set()

        thread = threading.Thread(target=begin)
        sys.setswitchinterval(1e-6)
        try:
            thread.start()
            begun.wait()
            while thread.is_alive():
                engine.stop()
        finally:
            sys.setswitchinterval(interval)
            thread.join()
        assert len(kept) == 2200
        kept.clear()


def test_only_an_engine_that_is_named_is_openvino() -> None:
    from evaluator.engine.table import candidates

    assert {place.kind.backend for place in candidates(None, "cpu")} == {"onnxruntime", "torch"}
    assert [place.kind.backend for place in candidates("openvino", None)] == ["openvino"]
    assert candidates("openvino", None)[0].device == cpu()
