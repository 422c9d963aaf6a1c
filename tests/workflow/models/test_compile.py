"""From a model to its plan, by real builds of TensorRT-RTX without a GPU."""

import os
import shutil
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

import evaluator
from evaluator.contracts import Bundle, InputKind, NullProgress, Precision
from evaluator.engine.plans.builder import BuildJob, logger, parsed_network
from evaluator.engine.plans.plan import Profile, manifest_path, open_plan
from evaluator.engine.plans.tensorrt_api import find_flavour
from evaluator.errors import InputError, OutputError
from evaluator.exporter.bundle import DATA, GRAPH
from evaluator.exporter.zoo.rows import ZooModel
from evaluator.exporter.zoo.table import MODELS
from evaluator.tests.engine.plan_keys import plan_key
from evaluator.tests.small_bundle import small_bundle
from evaluator.workflow.models.compile import Compiled

trt = pytest.importorskip("tensorrt_rtx")


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVALUATOR_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def small(tmp_path: Path) -> Bundle:
    return small_bundle(tmp_path / "bundle")


def compiled(folder: Path, **options: Any) -> Compiled:
    return evaluator.compile_model(str(folder), "tensorrt-rtx", **options)


def plans(tmp_path: Path) -> list[str]:
    return sorted(path.name for path in tmp_path.rglob("*.plan*") if path.suffix != ".lock")


# ----------------------------------------------------------------------------------------- networks


@pytest.mark.parametrize("input_kind", ["pixels", "images"])
@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16"])
def test_a_bundle_of_every_precision_and_input_has_its_plan(
    precision: Precision, input_kind: InputKind, tmp_path: Path
) -> None:
    bundle = small_bundle(tmp_path / "bundle", precision, input_kind)
    found = compiled(bundle.folder, precision=precision)
    assert (found.built, found.bundle) == (True, bundle)
    assert found.plan.key.precision == precision
    assert found.plan.key.input_kind == input_kind
    assert open_plan(found.plan.path) == found.plan


# Convolutions as the papers count them: 1 + 3 * (3 + 4 + 6 + 3) + 4 of a ResNet-50, one for each
# block's shortcut that changes size; 1 + 3 * (3 + 4 + 23 + 3) + 4 of a ResNet-101. Of the
# EfficientNet-Lites: stem and head, 2 of the first block, 3 of each other: 16 blocks, and 21 where
# depth is 1.1 or 1.2.
CONVOLUTIONS = {
    "resnext101_32x8d": 104,
    "resnext101_32x16d": 104,
    "resnext101_32x32d": 104,
    "resnext101_32x48d": 104,
    "resnext50_32x4d": 53,
    "alexnet": 5,
    "resnet50": 53,
    "efficientnet_lite0": 49,
    "efficientnet_lite1": 64,
    "efficientnet_lite2": 64,
}
ZOO = {model.architecture: model for model in MODELS.values()}
QUICK_GMAC = 5.0


def available_bytes() -> int:
    lines = Path("/proc/meminfo").read_text().splitlines()
    (available,) = (line for line in lines if line.startswith("MemAvailable:"))
    return 1024 * int(available.split()[1])


def test_every_architecture_of_the_zoo_has_its_case() -> None:
    assert set(CONVOLUTIONS) == set(ZOO)


FAST = "efficientnet_lite0"
"""Of the others ``make test`` builds no plan: each takes an export and ten seconds."""


def marked(model: ZooModel) -> Any:
    slow = [pytest.mark.slow] if model.name != FAST else []
    return pytest.param(model.name, id=model.architecture, marks=slow)


@pytest.mark.parametrize("name", [marked(model) for model in ZOO.values()])
def test_a_network_of_the_zoo_has_its_plan(name: str, tmp_path: Path) -> None:
    model = MODELS[name]
    # 12 bytes a parameter: measured with resnext101_32x48d, whose 828M take 9.9 GB.
    needed = 12 * model.parameters + 10**9
    if sys.platform == "linux" and available_bytes() < needed:
        pytest.skip(f"{name} takes {needed / 1e9:.1f} GB of memory, and less is free")
    weights = "default" if name == FAST else "random"  # those of other tests are exported already
    found = evaluator.compile_model(name, "tensorrt-rtx", weights=weights)
    manifest = found.plan.manifest
    assert found.built
    assert manifest.model == name
    # Almost all of it are the weights, less what batch normalisation had.
    assert 0.95 < manifest.plan_bytes / (4 * model.parameters) < 1.5
    assert manifest.layers > CONVOLUTIONS[model.architecture]
    assert open_plan(found.plan.path) == found.plan
    if model.gmac <= QUICK_GMAC:  # in this process: the largest would take too much memory
        check_network(found.bundle.folder, model)
    shutil.rmtree(tmp_path / "cache")  # gigabytes


def check_network(folder: Path, model: ZooModel) -> None:
    rtx, log = find_flavour("tensorrt-rtx"), logger(trt, [])
    builder = trt.Builder(log)
    job = BuildJob(rtx, plan_key(), folder / GRAPH, model.name)
    network = parsed_network(trt, builder, log, job)
    crop_px = model.preprocessing.crop_px
    entry, logits = network.get_input(0), network.get_output(0)
    assert (tuple(entry.shape), entry.dtype) == ((-1, crop_px, crop_px, 3), trt.DataType.UINT8)
    assert (tuple(logits.shape), logits.dtype) == ((-1, 1000), trt.DataType.FLOAT)
    layers = [network.get_layer(index) for index in range(network.num_layers)]
    convolutions = [layer for layer in layers if layer.type == trt.LayerType.CONVOLUTION]
    assert len(convolutions) == CONVOLUTIONS[model.architecture]


@pytest.mark.slow
def test_a_name_of_the_zoo_has_a_plan_in_half_precision_that_takes_images() -> None:
    found = evaluator.compile_model(
        "torchvision:squeezenet1_1",
        "tensorrt-rtx",
        weights="random",
        precision="bf16",
        input_kind="images",
    )
    assert (found.plan.key.precision, found.plan.key.input_kind) == ("bf16", "images")
    # 1,235,496 parameters of two bytes, and what else a plan has.
    assert 0.95 < found.plan.manifest.plan_bytes / (2 * 1_235_496) < 1.5


# ------------------------------------------------------------------------------------------ options


def test_the_options_stand_in_the_plan(small: Bundle) -> None:
    plan = compiled(small.folder, max_batch=32, opt_batch=16, tf32=True, target="sm89").plan
    assert plan.key.profile == Profile(best=16, largest=32)
    assert (plan.key.tf32, plan.key.target) == (True, "sm89")
    plain = compiled(small.folder).plan
    assert plain.key.profile == Profile(best=64, largest=64)
    assert (plain.key.tf32, plain.key.target) == (False, "")


def test_the_largest_batch_is_what_engines_score_with() -> None:
    from evaluator.engine.table import ENGINES
    from evaluator.workflow.models.options import MAX_BATCH

    assert {kind.cuda_batch for kind in ENGINES.values()} == {MAX_BATCH, None}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_batch": 8, "opt_batch": 9}, "--opt-batch 9 .* --max-batch 8; expected 1 to 8"),
        ({"max_batch": 8, "opt_batch": 0}, "--opt-batch 0 is not possible"),
        ({"max_batch": 0}, "--max-batch 0 is not possible; expected 1 to 1024"),
        ({"max_batch": 4096}, "--max-batch 4096 is not possible; expected 1 to 1024"),
        ({"target": "sm100"}, "does not build for 'sm100'. Expected sm75, sm80"),
        ({"precision": "fp16"}, "is a bundle in fp32, taking pixels, got the options fp16"),
        ({"precision": "fp8"}, "no precision 'fp8'"),
        ({"weights": "random"}, "is a bundle, whose weights and crop are fixed"),
    ],
)
def test_an_option_that_does_not_serve_is_named(
    options: dict[str, Any], message: str, small: Bundle, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=message):
        compiled(small.folder, **options)
    assert not (tmp_path / "cache").exists()


# ---------------------------------------------------------------------------------------------- out


def test_a_copy_of_the_plan_has_its_manifest_beside_it(small: Bundle, tmp_path: Path) -> None:
    out = tmp_path / "a" / "b" / "small.plan"
    found = compiled(small.folder, out=out)
    assert found.plan.path == out
    assert open_plan(out) == found.plan
    kept = compiled(small.folder).plan
    assert kept.path.read_bytes() == out.read_bytes()
    assert sorted(path.name for path in out.parent.iterdir()) == [
        "small.plan", "small.plan.json"
    ]  # fmt: skip
    other = compiled(small.folder, out=out, tf32=True)  # a plan of ours may be replaced
    assert open_plan(out) == other.plan
    assert other.plan.key.tf32


def test_a_copy_onto_the_plan_itself_leaves_it(small: Bundle) -> None:
    plan = compiled(small.folder).plan
    assert compiled(small.folder, out=plan.path).plan == plan


def test_what_is_no_plan_is_not_overwritten(small: Bundle, tmp_path: Path) -> None:
    for name in ("thesis.txt", "notes.plan.json"):
        (tmp_path / name).write_text("years of work")
        out = tmp_path / name.removesuffix(".json")
        with pytest.raises(OutputError, match=f"{name} exists and is not a plan"):
            compiled(small.folder, out=out)
        assert (tmp_path / name).read_text() == "years of work"
    assert not (tmp_path / "cache").exists()


def test_a_place_that_cannot_be_written_is_told_before_the_build(
    small: Bundle, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    for out in (tmp_path, tmp_path / "file" / "x.plan"):
        with pytest.raises(OutputError, match="cannot be written"):
            compiled(small.folder, out=out)
    assert not (tmp_path / "cache").exists()
    assert not (tmp_path / "x.plan").exists()


# ------------------------------------------------------------------------------ the build's process


def children() -> list[int]:
    """The processes that this one started and that are still there."""
    found = []
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            text = status.read_text()
        except OSError:
            continue
        if f"\nPPid:\t{os.getpid()}\n" in text and "\nState:\tZ" not in text:
            found.append(int(status.parent.name))
    return found


@pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")
def test_an_interrupt_ends_the_build_and_leaves_nothing(tmp_path: Path) -> None:
    deep = small_bundle(tmp_path / "deep", convolutions=300)
    before = children()

    class Interrupting(NullProgress):
        def advance(self, step: str, done: int, total: int, unit: str) -> None:
            if done > 0:
                assert len(children()) == len(before) + 1
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        compiled(deep.folder, progress=Interrupting())
    assert children() == before
    assert plans(tmp_path) == []


@pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")
def test_a_build_that_the_system_ends_is_one_line(tmp_path: Path) -> None:
    deep = small_bundle(tmp_path / "deep", convolutions=300)
    before = children()

    class Killing(NullProgress):
        def advance(self, step: str, done: int, total: int, unit: str) -> None:
            for process in set(children()) - set(before):
                os.kill(process, signal.SIGKILL)

    with pytest.raises(OutputError, match=r"ended by signal 9.*lack of memory"):
        compiled(deep.folder, progress=Killing())
    assert plans(tmp_path) == []
    assert compiled(deep.folder).built


# ---------------------------------------------------------------------------------- broken bundles


def test_a_graph_edited_by_hand_is_refused(small: Bundle, tmp_path: Path) -> None:
    data = bytearray(small.graph.read_bytes())
    data[-10] ^= 1
    small.graph.write_bytes(data)
    with pytest.raises(InputError, match="was changed after it was exported"):
        compiled(small.folder)
    assert plans(tmp_path) == []


def test_data_of_another_export_or_none_are_refused(small: Bundle, tmp_path: Path) -> None:
    other = small_bundle(tmp_path / "other", seed=1)
    shutil.copy(other.folder / DATA, small.folder / DATA)
    with pytest.raises(InputError, match="was changed after it was exported"):
        compiled(small.folder)
    (small.folder / DATA).unlink()
    with pytest.raises(InputError, match="was changed after it was exported"):
        compiled(small.folder)
    assert plans(tmp_path) == []


def test_a_plan_of_an_edited_bundle_is_not_mistaken_for_that_of_the_original(
    small: Bundle, tmp_path: Path
) -> None:
    first = compiled(small.folder).plan
    other = compiled(small_bundle(tmp_path / "other", seed=1).folder).plan
    assert first.path != other.path
    os.replace(other.path, first.path)
    again = compiled(small.folder)
    assert again.built
    assert open_plan(first.path) == again.plan
    assert manifest_path(first.path).is_file()
