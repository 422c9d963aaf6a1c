"""Plans are found by what went into them; what is not what it was built as is built again."""

import json
import os
import subprocess
import sys
import threading
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from evaluator.contracts import Device, NullProgress, Progress
from evaluator.engine.plans.build import PlanOrder, build_plan
from evaluator.engine.plans.cache import PlanRequest, cached_plan
from evaluator.engine.plans.plan import Plan, PlanManifest, Profile, manifest_path, open_plan
from evaluator.engine.plans.tensorrt_api import find_flavour
from evaluator.engine.plans.toolchain import Toolchain
from evaluator.errors import InputError, OutputError
from evaluator.storage.documents import read_sealed, sealed, write_document
from evaluator.storage.lock import locked
from evaluator.tests.engine.plan_keys import plan_key
from evaluator.tests.small_bundle import small_bundle

trt = pytest.importorskip("tensorrt_rtx")

RTX = find_flavour("tensorrt-rtx")
GPU = Device("cuda:0", "NVIDIA L4", "driver 580.65.06, CUDA 13.0")


@dataclass
class Told:
    """Keeps the notes."""

    notes: list[str] = field(default_factory=list)

    def note(self, text: str) -> None:
        self.notes.append(text)

    def advance(self, step: str, done: int, total: int, unit: str) -> None:
        pass


@pytest.fixture
def request_(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> PlanRequest:
    """A plan of a small network, in a cache of its own."""
    monkeypatch.setenv("EVALUATOR_CACHE", str(tmp_path / "cache"))
    toolchain = Toolchain(RTX, trt, None, "", "")
    return PlanRequest(toolchain, small_bundle(tmp_path / "bundle"), Profile(4, 8))


def names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir() if p.suffix != ".lock")


def test_a_plan_is_built_once_and_then_taken_from_the_cache(request_: PlanRequest) -> None:
    told = Told()
    first, built = cached_plan(request_, told)
    assert built
    assert told.notes == [
        f"Building a TensorRT-RTX {trt.__version__} plan of small for any GPU from Ampere on, "
        "fp32, batches 1 to 8, best 4."
    ]
    again, built = cached_plan(request_, told)
    assert not built
    assert again == first
    assert len(told.notes) == 1
    assert names(first.path.parent) == [first.path.name, first.path.name + ".json"]


def test_the_manifest_says_what_the_plan_is(request_: PlanRequest) -> None:
    import hashlib

    plan, _ = cached_plan(request_, NullProgress())
    manifest = read_sealed(manifest_path(plan.path), PlanManifest)
    assert manifest == plan.manifest
    assert manifest.plan_sha256 == hashlib.sha256(plan.path.read_bytes()).hexdigest()
    assert manifest.plan_bytes == plan.path.stat().st_size
    assert manifest.layers == 25
    assert manifest.seconds > 0
    key = json.loads(manifest_path(plan.path).read_text())["key"]
    assert key["model_sha256"] == request_.bundle.model.sha256
    assert key["version"] == trt.__version__
    assert key["flags"] == ["STRONGLY_TYPED"]
    assert key["profile"] == {"smallest": 1, "best": 4, "largest": 8}


@pytest.mark.parametrize(
    "change",
    [
        {"model_sha256": "1" * 64},
        {"backend": "tensorrt"},
        {"version": "2"},
        {"precision": "fp16"},
        {"input_kind": "images"},
        {"tf32": True},
        {"profile": Profile(8, 8)},
        {"profile": Profile(4, 16)},
        {"flags": ()},
        {"target": "sm89"},
        {"device": "NVIDIA L4"},
        {"compute_capability": "sm89"},
        {"driver": "driver 580.65.06"},
        {"kernels": "EAGER"},
        {"recipe": 2},
    ],
    ids=str,
)
def test_whatever_a_plan_depends_on_changes_its_name(
    change: dict[str, Any], request_: PlanRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = plan_key()
    monkeypatch.setattr(Toolchain, "key_of", lambda *_, **__: key)
    before = request_.path
    key = replace(key, **change)
    assert request_.path != before


def test_every_field_of_the_key_has_its_case() -> None:
    from dataclasses import fields

    from evaluator.engine.plans.plan import PlanKey

    marks = test_whatever_a_plan_depends_on_changes_its_name.pytestmark
    changed = {name for case in marks[0].args[1] for name in case}
    assert {f.name for f in fields(PlanKey)} == changed


def test_another_graph_or_other_weights_are_another_plan(
    request_: PlanRequest, tmp_path: Path
) -> None:
    other = small_bundle(tmp_path / "other", seed=1)
    assert other.model.sha256 != request_.bundle.model.sha256
    assert replace(request_, bundle=other).path != request_.path


def test_the_gpu_and_its_driver_are_in_the_key(request_: PlanRequest) -> None:
    toolchain = replace(request_.toolchain, device=GPU, compute_capability="sm89")
    key = replace(request_, toolchain=toolchain).key
    assert (key.device, key.compute_capability) == ("NVIDIA L4", "sm89")
    assert key.driver == "driver 580.65.06, CUDA 13.0"


def truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def exchange(path: Path) -> None:
    path.write_bytes(b"vtrt" + os.urandom(100))


def edit_manifest(path: Path) -> None:
    text = manifest_path(path).read_text()
    manifest_path(path).write_text(text.replace('"layers": 25', '"layers": 26'))


def break_manifest(path: Path) -> None:
    truncate(manifest_path(path))


def of_another_version(path: Path) -> None:
    manifest = read_sealed(manifest_path(path), PlanManifest)
    other = replace(manifest, key=replace(manifest.key, version="1.0.0.0"))
    write_document(manifest_path(path), sealed(other))


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (truncate, "is truncated or exchanged"),
        (exchange, "is truncated or exchanged"),
        (edit_manifest, "was edited"),
        (break_manifest, "is not a valid PlanManifest"),
        (of_another_version, "has another key: version is 1.0.0.0 there, "),
    ],
)
def test_a_plan_that_is_not_what_was_built_is_built_again(
    damage: Any, told: str, request_: PlanRequest
) -> None:
    plan, _ = cached_plan(request_, NullProgress())
    damage(plan.path)
    listener = Told()
    again, built = cached_plan(request_, listener)
    assert built
    assert listener.notes[0].startswith("The plan is built again: ")
    assert told in listener.notes[0]
    assert open_plan(again.path) == again


@pytest.mark.parametrize("missing", ["plan", "manifest"])
def test_half_of_a_plan_is_none(missing: str, request_: PlanRequest) -> None:
    plan, _ = cached_plan(request_, NullProgress())
    (plan.path if missing == "plan" else manifest_path(plan.path)).unlink()
    _, built = cached_plan(request_, NullProgress())
    assert built
    assert open_plan(plan.path).key == request_.key


def test_a_plan_that_its_own_gpu_does_not_take_is_built_again(request_: PlanRequest) -> None:
    from evaluator.engine.devices import cuda_devices

    if cuda_devices():
        pytest.skip("this machine has a CUDA device, which may take the plan")
    # Without a driver TensorRT takes no plan at all: just what a machine whose GPU was said to be
    # here would meet after a change that no version tells of.
    toolchain = replace(request_.toolchain, device=GPU, compute_capability="sm89")
    here = replace(request_, toolchain=toolchain)
    cached_plan(here, NullProgress())
    told = Told()
    _, built = cached_plan(here, told)
    assert built
    assert "was built for cuda:0 (NVIDIA L4), which cannot load it any more" in told.notes[0]
    elsewhere = replace(request_, toolchain=replace(toolchain, target="sm120"))
    cached_plan(elsewhere, NullProgress())
    assert not cached_plan(elsewhere, NullProgress())[1]  # it is for another GPU: nobody can try


def test_a_plan_whose_manifest_is_missing_cannot_be_opened(request_: PlanRequest) -> None:
    plan, _ = cached_plan(request_, NullProgress())
    manifest_path(plan.path).unlink()
    with pytest.raises(InputError, match=r"\.plan\.json cannot be read"):
        open_plan(plan.path)


def test_what_a_killed_process_left_is_removed_by_the_next(request_: PlanRequest) -> None:
    path = request_.path
    path.parent.mkdir(parents=True)
    left = [path.parent / f".{name}.0123abcd.tmp" for name in (path.name, path.name + ".json")]
    other = path.parent / ".another.plan.0123abcd.tmp"
    for file in (*left, other):
        file.write_bytes(b"half")
    cached_plan(request_, NullProgress())
    assert names(path.parent) == [other.name, path.name, path.name + ".json"]


def test_who_comes_second_waits_and_takes_the_plan_of_the_first(request_: PlanRequest) -> None:
    told, waiting = Told(), threading.Event()

    class Waiting(Told):
        def note(self, text: str) -> None:
            super().note(text)
            waiting.set()

    told = Waiting()
    results: list[bool] = []
    second = threading.Thread(target=lambda: results.append(cached_plan(request_, told)[1]))
    with locked(request_.path):
        second.start()
        assert waiting.wait(60)
        assert told.notes == [f"Another process is building {request_.path.name}; waiting for it."]
        plan = build_plan(request_.order, NullProgress())
    second.join()
    assert results == [False]
    assert open_plan(request_.path) == plan


def test_a_plan_that_is_there_is_had_without_the_lock(request_: PlanRequest) -> None:
    plan, _ = cached_plan(request_, NullProgress())
    with locked(request_.path):  # threads exclude each other too: it would wait for ever
        assert cached_plan(request_, NullProgress()) == (plan, False)


BUILD = """
import sys
from pathlib import Path
from evaluator.contracts import NullProgress
from evaluator.engine.plans.plan import Profile
from evaluator.engine.plans.build import PlanOrder, build_plan
from evaluator.engine.plans.cache import PlanRequest, cached_plan
from evaluator.engine.plans.tensorrt_api import find_flavour
from evaluator.engine.plans.toolchain import find_toolchain
from evaluator.exporter.bundle import open_bundle

toolchain = find_toolchain(find_flavour("tensorrt-rtx"))
request = PlanRequest(toolchain, open_bundle(Path(sys.argv[1])), Profile(4, 8))
print("ready", flush=True)
sys.stdin.readline()
print(cached_plan(request, NullProgress())[1])
"""


SMALL_DISK = """
import resource
resource.setrlimit(resource.RLIMIT_FSIZE, (9999, 9999))
"""


def test_of_several_processes_that_want_a_plan_one_builds(request_: PlanRequest) -> None:
    command = [sys.executable, "-c", BUILD, str(request_.bundle.folder)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    processes = [subprocess.Popen(command, **pipes) for _ in range(3)]  # type: ignore[call-overload]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    answers = [process.communicate(timeout=120)[0].strip() for process in processes]
    assert sorted(answers) == ["False", "False", "True"]
    assert names(request_.path.parent) == [request_.path.name, request_.path.name + ".json"]


@pytest.mark.skipif(sys.platform == "win32", reason="needs limits of POSIX")
def test_a_full_disk_leaves_nothing_half_written(request_: PlanRequest) -> None:
    # A limit on the size of a file is to a process what a full disk is.
    done = subprocess.run(
        [sys.executable, "-c", SMALL_DISK + BUILD, str(request_.bundle.folder)],
        input="go\n",
        capture_output=True,
        text=True,
        check=False,
    )
    assert "OutputError" in done.stderr
    assert f"{request_.path} cannot be written: File too large." in done.stderr
    assert names(request_.path.parent) == []
    assert cached_plan(request_, NullProgress())[1]


def test_a_cache_that_cannot_be_written_is_named(
    request_: PlanRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("EVALUATOR_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(OutputError, match="cannot be written"):
        cached_plan(request_, NullProgress())


def test_a_build_that_is_broken_off_leaves_nothing(request_: PlanRequest) -> None:
    def broken(order: PlanOrder, progress: Progress) -> Plan:
        # What is left by a process that is killed while it writes.
        (order.path.parent / f".{order.path.name}.0123abcd.tmp").write_bytes(b"half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cached_plan(request_, NullProgress(), broken)
    assert names(request_.path.parent) == []


def test_a_build_tells_its_progress_also_while_tensorrt_says_nothing(
    request_: PlanRequest, tmp_path: Path
) -> None:
    deep = replace(request_, bundle=small_bundle(tmp_path / "deep", convolutions=150))
    told: list[int] = []

    class Listening(NullProgress):
        def advance(self, step: str, done: int, total: int, unit: str) -> None:
            assert (step, total, unit) == ("plan", 100, "%")
            told.append(done)

    build_plan(deep.order, Listening())
    assert told[0] == 0
    assert told[-1] == 100
    assert told == sorted(told)
    assert len(told) > 2


# ------------------------------------------------------------------------------------------ timings


@pytest.mark.filterwarnings("ignore:.*Timing cache operations:DeprecationWarning")
def test_measured_kernels_are_kept_for_each_version_and_device(request_: PlanRequest) -> None:
    # TensorRT-RTX has the calls and measures nothing; the test shows that they can be called.
    toolchain = replace(
        request_.toolchain,
        flavour=replace(RTX, keeps_timings=True),
        device=GPU,
        compute_capability="sm89",
    )
    here = replace(request_, toolchain=toolchain)
    timings = here.timings
    assert timings is not None
    assert timings.name.startswith(f"tensorrt-rtx-{trt.__version__}-")
    cached_plan(here, NullProgress())
    kept = timings.read_bytes()
    assert kept
    other = replace(here, profile=Profile(2, 2))
    assert other.timings == timings
    timings.write_bytes(b"damaged" * 20)
    cached_plan(other, NullProgress())
    assert timings.read_bytes() == kept
    assert names(timings.parent) == [timings.name]
    another = replace(toolchain, device=replace(GPU, model="NVIDIA A10"))
    assert replace(here, toolchain=another).timings != timings


def test_rtx_keeps_no_timings(request_: PlanRequest) -> None:
    assert request_.timings is None
    cached_plan(request_, NullProgress())
    assert not (request_.path.parent.parent / "timing").exists()
    assert find_flavour("tensorrt").keeps_timings
