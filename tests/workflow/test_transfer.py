"""Attacks made on one model and classified by others: made once, counted right, continued."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from pyarrow import feather
from torch import nn

import evaluator
from evaluator.attacks.attempts import Attempt
from evaluator.attacks.pgd import AttackJob, attacked
from evaluator.contracts import Condition, Run, Silence
from evaluator.errors import InputError, ParityError, RunMismatchError, UnavailableError
from evaluator.evaluate.classes import wnids
from evaluator.evaluate.decode import photo_pixels
from evaluator.evaluate.generate.photos import sample_photos
from evaluator.exporter.spec import model_spec
from evaluator.exporter.weights import load_network
from evaluator.exporter.zoo import MODELS
from evaluator.records.reading import read_run
from evaluator.records.run import open_run
from evaluator.tests.second_attack import Images, papers_walk
from evaluator.tests.small import checkpoint, one_line, small_row, small_tensors
from evaluator.workflow.attack_scores import benchmark_of

SIDE, PHOTOS = 32, 6
EPSILONS, STEPS = (0.004, 0.3), (3, 12)
EXPORTED = "torchvision:shufflenet_v2_x0_5"  # which the process that exports knows as well


class Flat(nn.Module):
    """Looks at each pixel by itself, so that any target is soon reached."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(3 * SIDE * SIDE, 1000)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.head(images.flatten(1))
        return logits


@pytest.fixture(autouse=True)
def rows_of_the_zoo(monkeypatch: pytest.MonkeyPatch) -> None:
    """A source, and two victims that are alike."""
    small_row(monkeypatch)
    for name in ("first", "second"):
        monkeypatch.setitem(MODELS, name, replace(MODELS["small"], name=name))
    flat = replace(MODELS["small"], name="flat", architecture="flat", build=lambda _: Flat())
    monkeypatch.setitem(MODELS, "flat", flat)


@pytest.fixture
def weights(tmp_path: Path) -> str:
    return checkpoint(tmp_path / "victim.pt", small_tensors())


def network_of(weights: str, name: str = "") -> Images:
    name = name or ("flat" if weights == "random" else "small")
    spec = model_spec(name, weights=weights, crop_px=SIDE)
    return Images(load_network(spec).network, spec.preprocessing)


@pytest.fixture
def images() -> dict[str, torch.Tensor]:
    spec = model_spec("small", weights="random", crop_px=SIDE)
    found = {}
    for photo in sample_photos()[:PHOTOS]:
        pixels = photo_pixels(photo.path.read_bytes(), str(photo.path), spec.preprocessing)
        found[photo.path.name] = torch.from_numpy(pixels.transpose(2, 0, 1).copy())[None] / 255
    return found


@pytest.fixture
def tree(images: dict[str, torch.Tensor], weights: str, tmp_path: Path) -> Path:
    """Photos under the classes that the victim takes them for, the last under the source's."""
    victim, source = network_of(weights), network_of("random")
    for position, photo in enumerate(sample_photos()[:PHOTOS]):
        names = source if position == PHOTOS - 1 else victim
        label = int(names(images[photo.path.name]).argmax())
        place = tmp_path / "tree" / wnids()[label] / photo.path.name
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(photo.path, place)
    return tmp_path / "tree"


def transfer(
    tree: Path, weights: str, out: Path, models: Any = "first", **more: Any
) -> tuple[Run, ...]:
    options: dict[str, Any] = {
        "source": "flat", "source_weights": "random", "source_crop_px": SIDE, "weights": weights,
        "crop_px": SIDE, "device": "cpu", "engine": "torch", "epsilons": EPSILONS, "steps": STEPS,
        "batch_size": 1, "traced": 1,
    }  # fmt: skip
    return evaluator.attack_transfer(models, tree, out=out, **{**options, **more})


def rows(run: Run, epsilon: float) -> list[dict[str, Any]]:
    condition = Condition((("epsilon", epsilon),))
    found: list[dict[str, Any]] = read_run(run, (condition,)).finished[condition].to_pylist()
    return found


@pytest.mark.parametrize("engine", ["torch", "onnxruntime"])
def test_every_class_is_that_of_a_plain_loop_over_two_networks(
    images: dict[str, torch.Tensor], tree: Path, tmp_path: Path, engine: str
) -> None:
    (run,) = transfer(tree, "random", tmp_path / "runs", EXPORTED, engine=engine, traced=0)
    source, victim = network_of("random"), network_of("random", EXPORTED)
    handed, changed = 0, 0
    for epsilon in EPSILONS:
        made = rows(run, epsilon)
        assert len(made) == PHOTOS
        for row in made:
            image = images[row["id"].partition("/")[2]]
            clean = int(victim(image).argmax())
            assert (row["clean"], row["victim_clean"]) == (int(source(image).argmax()), clean)
            step, _, adversarial = papers_walk(
                source, image, row["id"], row["label"], epsilon, STEPS[-1]
            )
            assert row["target_step"] == step
            expected = None if step is None else int(victim(adversarial).argmax())
            assert row["victim"] == expected
            handed += step is not None
            changed += expected not in (None, clean)
    assert 0 < handed < 2 * PHOTOS  # both ways were walked
    assert changed


def test_the_reports_numbers_are_those_of_the_records(
    tree: Path, weights: str, tmp_path: Path
) -> None:
    (run,) = transfer(tree, weights, tmp_path / "runs")
    document = evaluator.report(run.folder).document()
    assert json.loads(json.dumps(document, allow_nan=False)) == document
    found = {(s["metric"], s["epsilon"], s["steps"]): s for s in document["scores"]}
    assert len(found) == len(document["scores"]) == 2 + 3 * len(EPSILONS) * len(STEPS)
    assert {s["source_model"] for s in document["scores"]} == {"flat"}
    assert {s["model"] for s in document["scores"]} == {"first"}
    of_clean = [row["victim_clean"] == row["label"] for row in rows(run, EPSILONS[0])]
    assert found["clean_accuracy", None, None]["value"] == sum(of_clean) / PHOTOS
    for epsilon in EPSILONS:
        for steps in STEPS:
            right = both = source = 0
            for row in rows(run, epsilon):
                hit = row["target_step"] is not None and 1 <= row["target_step"] <= steps
                seen = row["victim"] if hit else row["victim_clean"]
                right += seen == row["label"]
                both += seen == row["label"] == row["victim_clean"]
                reached = (steps + 1 if (s := row["target_step"]) is None else s) <= steps
                source += row["clean"] == row["label"] and not reached
            score = found["accuracy_under_attack", epsilon, steps]
            assert score["value"] == right / PHOTOS
            assert found["label_unchanged", epsilon, steps]["value"] == both / PHOTOS
            assert found["source_accuracy", epsilon, steps]["value"] == source / PHOTOS
            assert (score["n"], score["protocol"]) == (PHOTOS, "transfer-1-paper")
    assert len(document["attacks"]) == len(STEPS)
    assert document["attacks"][0]["model"] == "flat, attacked for transfer, 3 steps"


def test_several_models_see_the_same_images_in_one_pass(
    tree: Path, weights: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = transfer(tree, weights, tmp_path / "alone")
    passes = []

    def counted(job: AttackJob, *given: Any) -> Iterator[Attempt]:
        passes.append(job.epsilon)
        return attacked(job, *given)

    monkeypatch.setattr("evaluator.attacks.pgd.attacked", counted)
    both = transfer(tree, weights, tmp_path / "both", models=["second", "first"])
    assert [run.manifest.model.name for run in both] == ["second", "first"]
    size = both[0].manifest.shard_size
    assert len(passes) == len(EPSILONS) * -(-PHOTOS // size)
    for epsilon in EPSILONS:
        assert rows(both[0], epsilon) == rows(both[1], epsilon) == rows(alone[0], epsilon)
    report = evaluator.report(tmp_path / "both")
    assert {entry.model for entry in report.entries} == {"first", "second"}
    assert len(report.attacks) == len(STEPS)  # one attack, however many saw its images


def test_a_model_that_comes_later_takes_the_cut_of_those_that_are_there(
    tree: Path, weights: str, tmp_path: Path
) -> None:
    transfer(tree, weights, tmp_path / "runs", batch_size=4)
    both = transfer(tree, weights, tmp_path / "runs", ["first", "second"], batch_size=None)
    cuts = {(run.manifest.shard_size, run.manifest.batch_size) for run in both}
    assert len(cuts) == 1
    for epsilon in EPSILONS:
        assert rows(both[0], epsilon) == rows(both[1], epsilon)


def test_an_attack_that_was_interrupted_is_continued(
    tree: Path, weights: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = transfer(tree, weights, tmp_path / "whole", models=["first", "second"])
    size = whole[0].manifest.shard_size
    assert size < PHOTOS
    calls = iter(range(99))

    def impatient(job: AttackJob, *given: Any) -> Iterator[Attempt]:
        if next(calls) > 1:  # the sample's is none where the engine is the reference
            raise KeyboardInterrupt
        return attacked(job, *given)

    with monkeypatch.context() as patched:
        patched.setattr("evaluator.attacks.pgd.attacked", impatient)
        patched.setattr("evaluator.workflow.beginning.shard_size", lambda *_: size)
        with pytest.raises(KeyboardInterrupt):
            transfer(tree, weights, tmp_path / "cut", models=["first", "second"])
    lost = next((tmp_path / "cut/second/records").glob("**/part-*.parquet"))
    lost.unlink()  # as if it was killed between the two
    cut = transfer(tree, weights, tmp_path / "cut", models=["first", "second"])
    for epsilon in EPSILONS:
        for one, other in zip(cut, whole, strict=True):
            assert rows(one, epsilon) == rows(other, epsilon)


def test_last_iterates_are_handed_on_whatever_was_hit_before(
    images: dict[str, torch.Tensor], tree: Path, weights: str, tmp_path: Path
) -> None:
    (run,) = transfer(
        tree, weights, tmp_path / "runs", protocol="standard", steps=(4,), restarts=1,
        epsilons=[0.05],
    )  # fmt: skip
    made = rows(run, 0.05)
    assert {row["steps"] for row in made} == {4}
    assert all(row["victim"] is not None for row in made)
    assert any(row["changed_step"] == 0 for row in made)  # wrong at the source, and attacked
    report = evaluator.report(run.folder)
    assert {score.protocol for score in report.scores} == {"transfer-1-standard"}


def test_another_image_than_the_protocols_own_is_another_protocol(
    tree: Path, weights: str, tmp_path: Path
) -> None:
    some: dict[str, Any] = {"limit": 2, "epsilons": [0.06], "steps": (10,), "image": "last"}
    (run,) = transfer(tree, weights, tmp_path / "runs", **some)
    report = evaluator.report(run.folder)
    assert {score.protocol for score in report.scores} == {"transfer-1-last-paper"}
    text = report.markdown()
    assert "the last iterate of every attempt is classified" in text
    assert "the clean image is classified" not in text


def test_the_source_is_marked_by_its_own_crop_as_far_as_its_training_is_known(
    tree: Path, weights: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (run,) = transfer(tree, weights, tmp_path / "runs", limit=2, epsilons=[0.06], steps=(3,))

    def marks() -> tuple[str, str]:
        (entry,) = evaluator.report(run.folder).entries
        return entry.marks, entry.source_marks

    assert run.key.transfer is not None
    assert marks() == ("^", "^")
    trained = replace(MODELS["flat"], preprocessing=run.key.transfer.preprocessing)
    monkeypatch.setitem(MODELS, "flat", trained)
    assert marks() == ("^", "")
    monkeypatch.delitem(MODELS, "flat")
    assert marks() == ("^", "")


def test_a_model_attacked_with_its_own_images_falls_as_the_source_does(
    tree: Path, tmp_path: Path
) -> None:
    (run,) = transfer(tree, "random", tmp_path / "runs", models="flat", traced=0)
    for row in rows(run, EPSILONS[1]):
        assert row["victim_clean"] == row["clean"]
        if row["target_step"]:
            assert row["victim"] == row["target"] == row["last"]


def test_parity_on_adversarial_images_is_measured_kept_and_recorded(
    tree: Path, tmp_path: Path
) -> None:
    told = Silence()
    (run,) = transfer(
        tree,
        "random",
        tmp_path / "runs",
        EXPORTED,
        engine="onnxruntime",
        progress=told,
        limit=2,
        epsilons=[0.1, 0.21],
    )
    assert any("the same attacked on flat at epsilon 0.21" in note for note in told.notes)
    for made in read_run(run, benchmark_of(run).conditions).provenance:
        assert made.parity is not None
        assert made.adversarial_parity is not None
        assert made.adversarial_parity.passed
        assert made.adversarial_parity.n == 2 * len(sample_photos())
        assert made.adversarial_parity.candidate == run.key.engine
        assert made.adversarial_parity.images_sha256 != made.parity.images_sha256
    (ran,) = (t for t in evaluator.report(run.folder).tables() if t.title == "What ran")
    assert "parity passed, on adversarial images passed, " in ran.rows[0][1]
    again = Silence()
    transfer(
        tree, "random", tmp_path / "runs", EXPORTED, engine="onnxruntime", progress=again, limit=2,
        epsilons=[0.05, 0.21],
    )  # fmt: skip
    assert not any("the same attacked" in note for note in again.notes)


def test_an_engine_that_disagrees_on_adversarial_images_alone_is_refused(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from evaluator.engine import onnx_engine

    given = onnx_engine.OnnxEngine._logits

    def rounding(self: Any, batch: Any) -> Any:
        """Sees whole pixels only, which photos are and adversarial images are not."""
        return given(self, replace(batch, data=np.round(batch.data * 255) / np.float32(255)))

    monkeypatch.setattr(onnx_engine.OnnxEngine, "_logits", rounding)
    with pytest.raises(ParityError, match=r"^On adversarial images: onnxruntime on cpu") as error:
        transfer(
            tree,
            "random",
            tmp_path / "runs",
            EXPORTED,
            engine="onnxruntime",
            limit=2,
            epsilons=[0.22],
        )
    assert "does not agree with PyTorch" in one_line(error)
    assert not (tmp_path / "runs").exists()


def test_a_source_without_weights_is_told_before_anything_is_made(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_network(*_: Any, **__: Any) -> None:
        raise UnavailableError("The weights of flat could not be had.")

    monkeypatch.setattr("evaluator.workflow.transfer.gradient_network", no_network)
    told = Silence()
    with pytest.raises(UnavailableError, match=r"could not be had\. \(Of the source: --source-w"):
        transfer(tree, "random", tmp_path / "a", EXPORTED, engine=None, progress=told)
    assert not any("Engine:" in note for note in told.notes)


def test_images_that_are_kept_are_classified_by_models_that_come_later(
    tree: Path, weights: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = Silence()
    transfer(tree, weights, tmp_path / "a", keep=tmp_path / "kept", progress=told)
    size = PHOTOS * len(EPSILONS) * 3 * SIDE**2 * 4
    assert any(
        f"Keeping {PHOTOS * len(EPSILONS)} images at most, {size / 1e9:.3g} GB" in note
        for note in told.notes
    )
    (expected,) = transfer(tree, weights, tmp_path / "b", models="second")

    def never(*_: Any) -> Iterator[Attempt]:
        raise AssertionError("attacked again")

    monkeypatch.setattr("evaluator.attacks.pgd.attacked", never)
    (later,) = transfer(tree, weights, tmp_path / "a", models="second", keep=tmp_path / "kept")
    for epsilon in EPSILONS:
        assert rows(later, epsilon) == rows(expected, epsilon)


def test_what_is_kept_is_a_run_of_its_source_and_its_images_are_exact(
    images: dict[str, torch.Tensor], tree: Path, weights: str, tmp_path: Path
) -> None:
    transfer(tree, weights, tmp_path / "a", keep=tmp_path / "kept", traced=0)
    report = evaluator.report(tmp_path / "kept")
    assert {score.benchmark for score in report.scores} == {"whitebox"}
    assert {score.model for score in report.scores} == {"flat"}
    source, kept = network_of("random"), 0
    label_of = {row["id"]: row["label"] for row in rows(open_run(tmp_path / "kept"), EPSILONS[0])}
    for epsilon in EPSILONS:
        parts = sorted((tmp_path / f"kept/images/epsilon={epsilon}").glob("part-*.arrow"))
        for row in (row for part in parts for row in feather.read_table(part).to_pylist()):
            image = images[row["id"].partition("/")[2]]
            step, _, adversarial = papers_walk(
                source, image, row["id"], label_of[row["id"]], epsilon, STEPS[-1]
            )
            assert step
            assert np.array_equal(np.float32(row["image"]), adversarial.detach().numpy().ravel())
            kept += 1
    assert kept


def test_images_may_be_kept_of_runs_that_are_there_already(
    tree: Path, weights: str, tmp_path: Path
) -> None:
    transfer(tree, weights, tmp_path / "a")
    transfer(tree, weights, tmp_path / "a", keep=tmp_path / "kept")
    for epsilon in EPSILONS:
        assert rows(open_run(tmp_path / "kept"), epsilon)


def test_kept_images_that_do_not_serve_are_named(
    tree: Path, weights: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    some: dict[str, Any] = {"keep": tmp_path / "kept", "epsilons": EPSILONS[1:]}
    transfer(tree, weights, tmp_path / "a", **some)
    with pytest.raises(RunMismatchError, match="another identity"):
        transfer(tree, weights, tmp_path / "b", **some, seed=3)
    transfer(tree, weights, tmp_path / "c", epsilons=EPSILONS[1:], batch_size=4)
    with pytest.raises(InputError, match="choose another --out, or another --keep"):
        transfer(tree, weights, tmp_path / "c", **some, batch_size=None)
    image = next((tmp_path / "kept/images").glob("**/part-*.arrow"))
    whole = image.read_bytes()
    image.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=r"arrow is damaged: .* Remove it and") as error:
        transfer(tree, weights, tmp_path / "d", **some)
    one_line(error)
    image.write_bytes(whole)
    photo = min(tree.glob("*/*"))
    Image.open(photo).rotate(90).save(photo)
    with pytest.raises(InputError, match="not those that were attacked: the data changed") as error:
        transfer(tree, weights, tmp_path / "e", **some)
    one_line(error)


def test_images_that_do_not_fit_are_not_kept(
    tree: Path, weights: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=1000))
    with pytest.raises(InputError, match=r"1e-06 GB free\. Attack fewer") as error:
        transfer(tree, weights, tmp_path / "a", keep=tmp_path / "kept")
    one_line(error)
    assert not (tmp_path / "a").exists()


def test_other_sources_and_other_images_are_other_runs(
    tree: Path, weights: str, tmp_path: Path
) -> None:
    some: dict[str, Any] = {"limit": 2, "epsilons": [0.05], "steps": (3,)}
    transfer(tree, weights, tmp_path / "runs", **some)
    for other in ({"source": "small"}, {"image": "last"}, {"seed": 1}):
        with pytest.raises(RunMismatchError, match="another identity"):
            transfer(tree, weights, tmp_path / "runs", **some, **other)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"source_crop_px": 48}, r"flat is attacked on 48 px, first takes 32 px"),
        ({"models": ["first", "first"]}, "first is named more than once"),
        ({"models": []}, "no model to classify"),
        ({"image": "last"}, "3, 12 steps are different images"),
        ({"image": "worst"}, "Unknown image 'worst'"),
        ({"steps": (0,)}, "0 steps: expected counts of at least 1"),
        ({"restarts": 0}, "0 restarts"),
        ({"epsilons": [1.5]}, r"1.5 is outside \(0, 1\]"),
        ({"batch_size": 0}, "--batch-size 0"),
        ({"subset": "every-third"}, "no subset 'every-third'"),
        ({"source": "resnet"}, "resnet"),
    ],
)
def test_bad_input_is_one_line(
    tree: Path, weights: str, tmp_path: Path, more: dict[str, Any], words: str
) -> None:
    with pytest.raises(InputError, match=words) as error:
        transfer(tree, weights, tmp_path / "runs", **more)
    one_line(error)
    assert not (tmp_path / "runs").exists()
