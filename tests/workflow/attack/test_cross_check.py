"""PyTorch's clean predictions against an engine's run of the same photos: told, listed, stopped."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import evaluator
from evaluator.cli import app
from evaluator.contracts import Bundle, Condition, EngineSpec, NullProgress, Run
from evaluator.errors import InputError, ParityError
from evaluator.exporter.spec import model_spec
from evaluator.exporter.weights.weights import load_network
from evaluator.records.reading import read_run
from evaluator.records.run import open_run
from evaluator.records.shards import shards_of
from evaluator.tests.interrupted import interrupted
from evaluator.tests.labelled_photos import tree_of
from evaluator.tests.planted_runs import (
    FP16,
    FP32,
    Logits,
    Rows,
    as_it_is,
    compared,
    logits_of_photos,
    prefer,
    rewritten,
    room_of,
)
from evaluator.tests.second_attack import Images
from evaluator.tests.small import one_line, small_row
from evaluator.workflow.attack.cross_check import CrossCheck, run_to_check_against
from evaluator.workflow.attack.shards import comparing
from evaluator.workflow.models.gradient_model import GradientNetwork, gradient_network
from evaluator.workflow.models.options import ModelOptions
from evaluator.workflow.models.resolve import resolve_model
from evaluator.workflow.models.verified_engine import VerifiedEngine
from evaluator.workflow.runs.attack_scores import benchmark_of

SIDE, PHOTOS = 32, 7
EPSILONS = (0.004, 0.02)


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> str:
    return small_row(monkeypatch)


@pytest.fixture
def logits(small: str) -> Logits:
    spec = model_spec(small, weights="random", crop_px=SIDE)
    network = Images(load_network(spec).network, spec.preprocessing)
    return logits_of_photos(network, spec.preprocessing)


@pytest.fixture
def room(logits: Logits) -> float:
    return room_of(logits)


@pytest.fixture
def tree(logits: Logits, tmp_path: Path) -> Path:
    """Photos under the classes that the network takes them for."""
    labels = {name: int(row.argmax()) for name, row in list(logits.items())[:PHOTOS]}
    return tree_of(labels, tmp_path / "tree")


def score(tree: Path, out: Path, **more: Any) -> Run:
    options: dict[str, Any] = {
        "weights": "random", "crop_px": SIDE, "engine": "torch", "device": "cpu",
    }  # fmt: skip
    return evaluator.score("small", "imagenet", tree, out=out, **{**options, **more})


def attack(tree: Path, out: Path, against: Path, **more: Any) -> tuple[Run, list[str]]:
    """The run, and what was told of the comparison."""
    told = NullProgress()
    options: dict[str, Any] = {
        "weights": "random", "crop_px": SIDE, "device": "cpu", "epsilons": EPSILONS,
        "steps": (2,), "batch_size": 1, "traced": 0, "check_against": against, "progress": told,
    }  # fmt: skip
    run = evaluator.attack_whitebox("small", tree, out=out, **{**options, **more})
    return run, compared(told)


def test_an_honest_run_differs_nowhere(tree: Path, tmp_path: Path) -> None:
    run = score(tree, tmp_path / "engine")
    _, told = attack(tree, tmp_path / "attack", run.folder)
    assert told == [f"7 clean predictions compared with {run.folder}: 0 differ."]


@pytest.mark.parametrize("count", [3, pytest.param(20, marks=pytest.mark.slow)])
def test_onnx_runtime_differs_nowhere_on_real_weights(
    bundle: Bundle, count: int, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    photos = request.getfixturevalue("three_photos" if count == 3 else "photos")
    run = evaluator.score(
        "efficientnet_lite0", "imagenet", photos, engine="onnxruntime", device="cpu",
        out=tmp_path / "engine",
    )  # fmt: skip
    assert run.key.engine.backend == "onnxruntime"
    assert run.manifest.model == bundle.model.spec
    told = NullProgress()
    evaluator.attack_whitebox(
        "efficientnet_lite0", photos, out=tmp_path / "attack", epsilons=[0.01], steps=[1],
        traced=0, device="cpu", check_against=run.folder, progress=told,
    )  # fmt: skip
    assert compared(told) == [f"{count} clean predictions compared with {run.folder}: 0 differ."]


def test_a_comparison_is_no_part_of_the_attacks_identity(tree: Path, tmp_path: Path) -> None:
    run = score(tree, tmp_path / "engine")
    checked, _ = attack(tree, tmp_path / "attack", run.folder)
    plain, told = attack(tree, tmp_path / "plain", None)  # type: ignore[arg-type]
    assert (checked.key, told) == (plain.key, [])


def test_differences_within_the_bounds_are_listed_with_their_margins(
    tree: Path, tmp_path: Path, room: float
) -> None:
    run = score(tree, tmp_path / "engine")
    small, large = 0.25 * room, 0.9 * room
    planted = rewritten(run, tmp_path / "planted", prefer({1: small, 4: large}))
    before = read_run(run, (Condition(),)).finished[Condition()].to_pylist()
    made, told = attack(tree, tmp_path / "attack", planted, batch_size=9)
    lines = [
        f"{before[row]['id']}: PyTorch predicts class {before[row]['top5'][0]}, torch class "
        f"{before[row]['top5'][1]}, margin {margin:.2g} (label class {before[row]['label']})"
        for row, margin in ((4, large), (1, small))
    ]
    assert told == [
        *lines,
        f"7 clean predictions compared with {planted}: 2 differ, the largest margin {large:.2g}, "
        f"where parity's bounds allow {room:.2g}.",
    ]
    assert [c["epsilon"] for c in benchmark_of(made).conditions] == list(EPSILONS)


def test_ten_differences_are_listed_and_the_others_counted(
    photos: Path, tmp_path: Path, room: float
) -> None:
    run = score(photos, tmp_path / "engine")
    margins = {row: 0.01 * row * room for row in range(12)}
    planted = rewritten(run, tmp_path / "planted", prefer(margins))
    for name, size in (("one", 20), ("several", 4)):  # images in a batch, and so in a shard
        _, told = attack(photos, tmp_path / name, planted, batch_size=size)
        assert sum("PyTorch predicts" in line for line in told) == 10
        assert told[10] == "and 2 more"
        assert told[11].startswith(f"20 clean predictions compared with {planted}: 12 differ, ")
        assert len(told) == 12


def test_a_margin_beyond_the_bounds_stops_the_attack_before_anything_is_written(
    tree: Path, tmp_path: Path, room: float
) -> None:
    run = score(tree, tmp_path / "engine")
    planted = rewritten(run, tmp_path / "planted", prefer({0: 1.1 * room}))
    with pytest.raises(ParityError, match=r"contradict each other: n\d+/\S+ is class \d+ in") as e:
        attack(tree, tmp_path / "attack", planted)
    assert f"by {1.1 * room:.2g} logits, where parity's bounds allow {room:.2g}" in (one_line(e))
    assert "nothing of these images was written" in str(e.value)
    assert not list((tmp_path / "attack").rglob("*.parquet"))


def test_it_stops_within_the_shard_and_keeps_those_before(
    tree: Path, tmp_path: Path, room: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("evaluator.workflow.runs.start.shard_size", lambda *_: 2)
    run = score(tree, tmp_path / "engine")
    planted = rewritten(run, tmp_path / "planted", prefer({4: 1.1 * room}))
    with pytest.raises(ParityError):
        attack(tree, tmp_path / "attack", planted)
    assert len(list((tmp_path / "attack").rglob("*.parquet"))) == 2


def test_the_command_line_ends_with_the_exit_code_of_parity(
    tree: Path, tmp_path: Path, room: float, capsys: pytest.CaptureFixture[str]
) -> None:
    run = score(tree, tmp_path / "engine")
    planted = rewritten(run, tmp_path / "planted", prefer({0: 1.1 * room}))
    words = [
        "attack",
        "whitebox",
        "small",
        "--data",
        tree,
        "--weights",
        "random",
        "--crop-px",
        SIDE,
    ]
    words += ["--device", "cpu", "--steps", "2", "--epsilon", "0.01", "--out", tmp_path / "attack"]
    with pytest.raises(SystemExit) as ended:
        app([*map(str, words), "--check-against", str(planted)])
    assert ended.value.code == 3
    errors = [x for x in capsys.readouterr().err.splitlines() if x.startswith("error: ")]
    assert len(errors) == 1
    assert f"PyTorch and {planted} contradict each other" in errors[0]


def test_weights_under_a_forged_key_are_found_out(tree: Path, tmp_path: Path) -> None:
    here, other = score(tree, tmp_path / "a"), score(tree, tmp_path / "b", seed=1)
    forged = rewritten(other, tmp_path / "forged", as_it_is, weights_sha256=here.key.weights_sha256)
    with pytest.raises(ParityError, match="contradict each other"):
        attack(tree, tmp_path / "attack", forged)


def test_a_class_that_is_not_among_the_five_has_a_larger_margin_than_the_fifth(
    tree: Path, tmp_path: Path
) -> None:
    def permute(rows: Rows) -> None:
        rows[2]["top5"] = [(c + 500) % 1000 for c in rows[2]["top5"]]
        rows[2]["probability"] = [0.5, 0.2, 0.1, 0.05, 0.05]

    run = score(tree, tmp_path / "engine")
    planted = rewritten(run, tmp_path / "planted", permute)
    with pytest.raises(ParityError, match=r"in the run by more than 2\.3 logits"):  # log 10
        attack(tree, tmp_path / "attack", planted)


def test_more_differences_than_paritys_agreement_allows_stop_it_however_small(
    tree: Path, tmp_path: Path
) -> None:
    run = score(tree, tmp_path / "engine")

    def planted(name: str, *rows: int, agreements: Sequence[float]) -> Path:
        margins = dict.fromkeys(rows, 1e-7)
        return rewritten(run, tmp_path / name, prefer(margins), shard=4, agreements=agreements)

    # Of 7 photos 3 or more differ with a probability of .0016 if each does with .037, 4 of .00006.
    # Both epsilons have the same photos: 6 of 14 would be too many.
    low = (0.99, 0.963)
    three = planted("three", 0, 2, 5, agreements=low)
    _, told = attack(tree, tmp_path / "fine", three, batch_size=9)
    assert f"7 clean predictions compared with {three}: 3 differ" in told[-1]
    four = planted("four", 0, 2, 5, 6, agreements=low)
    with pytest.raises(ParityError, match=r"4 of 7 photos .* agreement of at least 96\.3%") as e:
        attack(tree, tmp_path / "attack", four, batch_size=9)
    one_line(e)
    assert not list((tmp_path / "attack").rglob("*.parquet"))
    unmeasured = planted("unmeasured", *range(7), agreements=())
    _, told = attack(tree, tmp_path / "told", unmeasured)
    assert "7 differ" in told[-1]


def network_of(small: str) -> GradientNetwork:
    choice = ModelOptions(small, "random", 0, SIDE, None, None, None, None)
    return gradient_network(
        resolve_model(choice, NullProgress()), "cpu", parity=True, progress=NullProgress()
    )


@pytest.mark.parametrize(
    ("precision", "status", "allowed"),
    [("fp32", "reference", FP32), ("fp32", "passed", 2 * FP32), ("fp16", "reference", FP16)],
)
def test_the_room_is_that_of_both_precisions(
    tree: Path, tmp_path: Path, small: str, room: float, monkeypatch: pytest.MonkeyPatch, *,
    precision: Any, status: str, allowed: float,
) -> None:  # fmt: skip
    run = score(tree, tmp_path / "engine")
    rows = read_run(run, (Condition(),)).finished[Condition()].to_pylist()
    predictions = pa.table(
        {
            "id": [row["id"] for row in rows],
            "label": [row["label"] for row in rows],
            "clean": pa.array([row["top5"][0] for row in rows], pa.int32()),
            "error": pa.nulls(len(rows), pa.string()),
        }
    )
    network = network_of(small)
    monkeypatch.setattr(VerifiedEngine, "status", status)
    kind = EngineSpec("onnxruntime", "0" * 64, precision)
    for factor in (0.95, 1.05):
        margin = factor * room * allowed / FP32
        planted = rewritten(run, tmp_path / f"{factor}", prefer({3: margin}), engine=kind)
        spec, told = run.manifest.model, NullProgress()
        check = CrossCheck(run_to_check_against(planted, spec), network, spec, told)
        if factor < 1:
            check.compare(predictions)
        else:
            with pytest.raises(ParityError):
                check.compare(predictions)
        name = "onnxruntime" if precision == "fp32" else f"onnxruntime {precision}"
        assert f", {name} class {rows[3]['top5'][1]}, margin {margin:.2g} (" in told.notes[0]


def test_what_an_attack_has_already_is_compared_when_it_goes_on(
    tree: Path, tmp_path: Path, room: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("evaluator.workflow.runs.start.shard_size", lambda *_: 3)
    honest = score(tree, tmp_path / "engine")
    planted = rewritten(honest, tmp_path / "planted", prefer({1: 1.1 * room}))
    out = tmp_path / "attack"
    with interrupted(monkeypatch, after=1):
        attack(tree, out, None)  # type: ignore[arg-type]
    assert len(list(out.rglob("*.parquet"))) == 1
    with pytest.raises(ParityError, match=rf"the records in {out} are not conf") as e:
        attack(tree, out, planted, epsilons=EPSILONS[:1])
    one_line(e)
    assert len(list(out.rglob("*.parquet"))) == 1
    for _ in range(2):  # the second time there is nothing left to attack
        _, told = attack(tree, out, honest.folder)
        assert told == [f"7 clean predictions compared with {honest.folder}: 0 differ."]


def test_what_other_processes_made_is_compared_in_the_end(
    tree: Path, tmp_path: Path, small: str, room: float
) -> None:
    run = score(tree, tmp_path / "engine")
    made, _ = attack(tree, tmp_path / "attack", run.folder)
    spec, told = run.manifest.model, NullProgress()
    shards = shards_of(benchmark_of(made).conditions, PHOTOS, made.manifest.shard_size)
    planted = rewritten(run, tmp_path / "planted", prefer({6: 1.1 * room}))
    for against, differ in ((run.folder, False), (planted, True)):
        check = CrossCheck(run_to_check_against(against, spec), network_of(small), spec, told)
        records, aside = made.folder / "records", tmp_path / "aside"
        records.rename(aside)
        context = comparing(check, [(made, shards)])
        context.__enter__()
        aside.rename(records)
        if differ:
            with pytest.raises(ParityError):
                context.__exit__(None, None, None)
        else:
            context.__exit__(None, None, None)
            assert told.notes == [f"7 clean predictions compared with {against}: 0 differ."]


def test_skipped_images_are_left_out_on_either_side(tree: Path, tmp_path: Path) -> None:
    whole = score(tree, tmp_path / "whole")
    bad = sorted(tree.rglob("*.jpg"))[3]
    bytes_before = bad.read_bytes()
    bad.write_bytes(bytes_before[:999])
    partly = score(tree, tmp_path / "partly", on_error="skip")
    _, told = attack(tree, tmp_path / "attack", whole.folder, on_error="skip")
    assert told[-1] == f"6 clean predictions compared with {whole.folder}: 0 differ."
    bad.write_bytes(bytes_before)
    _, told = attack(tree, tmp_path / "other", partly.folder)
    assert told[-1] == (
        f"6 clean predictions compared with {partly.folder}: 0 differ; "
        "1 more was skipped in that run."
    )


def test_a_run_that_cannot_be_compared_with_is_one_line(tree: Path, tmp_path: Path) -> None:
    run = score(tree, tmp_path / "engine")
    cut = open_run(rewritten(run, tmp_path / "cut", as_it_is, shard=3))
    last = sorted(cut.folder.rglob("*.parquet"))[-1]
    some = score(tree, tmp_path / "some", limit=3)
    there = read_run(some, (Condition(),)).finished[Condition()]["id"].to_pylist()
    every = sorted(p.relative_to(tree).as_posix() for p in tree.rglob("*.jpg"))
    lacks = next(id for id in every if id not in there)
    attacked_run, _ = attack(tree, tmp_path / "attacked", run.folder)
    generated = rewritten(run, tmp_path / "generated", as_it_is, generated={"seed": 1})
    last.unlink()
    nothing = open_run(rewritten(run, tmp_path / "nothing", as_it_is))
    shutil.rmtree(nothing.folder / "records")
    other = score(tree, tmp_path / "other", seed=1)
    wide = score(tree, tmp_path / "wide", crop_px=48)
    for against, message in (
        (tmp_path / "no", "is not a run: it has no run.json"),
        (attacked_run.folder, "is one of whitebox, but a run of imagenet is needed"),
        (cut.folder, "is not finished: 6 of 7 images. Complete it with: evaluator score small im"),
        (nothing.folder, "is not finished: 0 of 7 images. The command that began it continues it"),
        (other.folder, f"has other weights: {other.key.weights_sha256[:12]}..., not"),
        (wide.folder, "has other preprocessing: crop_px is 48 there, 32 here; resize_px"),
        (some.folder, f"lacks 4 of the 7 images that are attacked, first {lacks}. Score all"),
        (generated, "has other photos under the same names: their generated.json files differ"),
    ):
        with pytest.raises(InputError) as error:
            attack(tree, tmp_path / "attack", against)
        assert message in one_line(error)
        assert not (tmp_path / "attack").exists()


def test_the_run_may_hold_more_photos_than_are_attacked(tree: Path, tmp_path: Path) -> None:
    run = score(tree, tmp_path / "engine")
    _, told = attack(tree, tmp_path / "attack", run.folder, limit=2)
    assert told == [f"2 clean predictions compared with {run.folder}: 0 differ."]
    _, told = attack(tree, tmp_path / "half", run.folder, subset="every-second")
    assert told == [f"4 clean predictions compared with {run.folder}: 0 differ."]
