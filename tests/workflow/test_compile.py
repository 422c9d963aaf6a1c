"""From a model to its plan, by real builds of TensorRT-RTX without a GPU."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import evaluator
from evaluator.contracts import Bundle, InputKind, Precision
from evaluator.engine.plan import Profile, manifest_path, open_plan
from evaluator.engine.plan_builder import BuildJob, logger, parsed_network
from evaluator.engine.tensorrt_api import find_flavour
from evaluator.errors import InputError, OutputError
from evaluator.exporter.bundle import DATA, GRAPH
from evaluator.exporter.zoo import MODELS, ZooModel
from evaluator.tests.engine.plan_keys import plan_key
from evaluator.tests.small_bundle import small_bundle
from evaluator.workflow.compile import Compiled

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
# block's shortcut that changes size; 1 + 3 * (3 + 4 + 23 + 3) + 4 of a ResNet-101.
CONVOLUTIONS = {
    "resnext101_32x8d": 104,
    "resnext101_32x16d": 104,
    "resnext101_32x32d": 104,
    "resnext101_32x48d": 104,
    "resnext50_32x4d": 53,
    "alexnet": 5,
    "resnet50": 53,
    "efficientnet_lite0": 49,
}
ZOO = {model.architecture: model for model in MODELS.values()}
QUICK_GMAC = 5.0
EXPORT = """
import sys
from evaluator.contracts import Silence
from evaluator.workflow.subject import ModelChoice, bundle_of, find_subject
print(bundle_of(find_subject(ModelChoice(sys.argv[1], "random")), Silence())[0].folder)
"""


def available_bytes() -> int:
    lines = Path("/proc/meminfo").read_text().splitlines()
    (available,) = (line for line in lines if line.startswith("MemAvailable:"))
    return 1024 * int(available.split()[1])


def test_every_architecture_of_the_zoo_has_its_case() -> None:
    assert set(CONVOLUTIONS) == set(ZOO)


@pytest.mark.parametrize("name", [m.name for m in ZOO.values() if m.gmac <= QUICK_GMAC])
def test_a_network_of_the_zoo_has_its_plan(name: str) -> None:
    found = evaluator.compile_model(name, "tensorrt-rtx", weights="random")
    model, plan = MODELS[name], found.plan
    check_plan(model, plan.manifest.plan_bytes, plan.manifest.layers)
    check_network(found.bundle.folder, model)
    assert open_plan(plan.path) == plan


@pytest.mark.slow
@pytest.mark.parametrize("name", [m.name for m in ZOO.values() if m.gmac > QUICK_GMAC])
def test_a_large_network_of_the_zoo_has_its_plan(name: str, tmp_path: Path) -> None:
    model = MODELS[name]
    # 12 bytes a parameter: measured with resnext101_32x48d, whose 828M take 9.9 GB.
    needed = 12 * model.parameters + 10**9
    if sys.platform == "linux" and available_bytes() < needed:
        pytest.skip(f"{name} takes {needed / 1e9:.0f} GB of memory, and less is free")
    # A process of its own: torch keeps gigabytes after an export, whatever is deleted.
    folder = output_of("-c", EXPORT, name).strip()
    words = ("compile", folder, "--engine", "tensorrt-rtx", "--json", "-")
    plan = json.loads(output_of("-m", "evaluator", *words))
    assert plan["model"] == name
    assert plan["plan_bytes"] == Path(plan["plan"]).stat().st_size
    check_plan(model, plan["plan_bytes"], plan["layers"])
    shutil.rmtree(tmp_path / "cache")  # gigabytes


def output_of(*words: str) -> str:
    done = subprocess.run([sys.executable, *words], capture_output=True, text=True, check=True)
    return done.stdout


def check_plan(model: ZooModel, plan_bytes: int, layers: int) -> None:
    # Almost all of it are the weights, less what batch normalisation had.
    assert 0.95 < plan_bytes / (4 * model.parameters) < 1.5
    assert layers > CONVOLUTIONS[model.architecture]


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


# ------------------------------------------------------------------------------------------ options


def test_the_options_stand_in_the_plan(small: Bundle) -> None:
    plan = compiled(small.folder, max_batch=32, opt_batch=16, tf32=True, target="sm89").plan
    assert plan.key.profile == Profile(best=16, largest=32)
    assert (plan.key.tf32, plan.key.target) == (True, "sm89")
    plain = compiled(small.folder).plan
    assert plain.key.profile == Profile(best=64, largest=64)
    assert (plain.key.tf32, plain.key.target) == (False, "")


def test_the_largest_batch_is_what_engines_score_with() -> None:
    from evaluator.workflow.compile import MAX_BATCH
    from evaluator.workflow.engines import ENGINES

    assert {kind.cuda_batch for kind in ENGINES.values()} == {MAX_BATCH}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_batch": 8, "opt_batch": 9}, "--opt-batch 9 .* --max-batch 8; expected 1 to 8"),
        ({"max_batch": 8, "opt_batch": 0}, "--opt-batch 0 is not possible"),
        ({"max_batch": 0}, "--max-batch 0 is not possible; expected 1 to 1024"),
        ({"max_batch": 4096}, "--max-batch 4096 is not possible; expected 1 to 1024"),
        ({"target": "sm100"}, "does not build for 'sm100'. Expected sm75, sm80"),
        ({"precision": "fp16"}, "computes in fp32, .* got --precision fp16. Give a bundle in fp16"),
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
        with pytest.raises(OutputError, match=f"{name} is there and belongs to no plan"):
            compiled(small.folder, out=out)
        assert (tmp_path / name).read_text() == "years of work"
    assert not (tmp_path / "cache").exists()


def test_a_place_that_cannot_be_written_is_told_before_the_build(
    small: Bundle, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    for out in (tmp_path, tmp_path / "file" / "x.plan", Path("/proc/no/x.plan")):
        with pytest.raises(OutputError, match="cannot be written"):
            compiled(small.folder, out=out)
    assert not (tmp_path / "cache").exists()
    assert not (tmp_path / "x.plan").exists()


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
