"""Attacks made on one model and classified by others: made once, counted right, continued."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import evaluator
from evaluator.attacks.pgd.attempts import AttemptResult
from evaluator.attacks.pgd.pgd import AttackJob, run_pgd
from evaluator.contracts import NullProgress
from evaluator.errors import InputError, RunMismatchError, UnavailableError
from evaluator.exporter.zoo.table import MODELS
from evaluator.tests.interrupted import interrupted
from evaluator.tests.second_attack import papers_walk
from evaluator.tests.small import one_line
from evaluator.tests.transfers import (
    EPSILONS,
    EXPORTED,
    PHOTOS,
    STEPS,
    network_of,
    transfer,
)
from evaluator.tests.whitebox_runs import rows


@pytest.mark.parametrize("engine", ["torch", pytest.param("onnxruntime", marks=pytest.mark.slow)])
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

    def counted(job: AttackJob, *given: Any) -> Iterator[AttemptResult]:
        passes.append(job.epsilon)
        return run_pgd(job, *given)

    monkeypatch.setattr("evaluator.attacks.pgd.pgd.run_pgd", counted)
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
    # The sample's attack is none where the engine is the reference.
    with interrupted(monkeypatch, after=2, shard_size=size):
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


def test_a_source_without_weights_is_told_before_anything_is_made(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_network(*_: Any, **__: Any) -> None:
        raise UnavailableError("The weights of flat could not be had.")

    monkeypatch.setattr("evaluator.workflow.attack.job.gradient_network", no_network)
    told = NullProgress()
    with pytest.raises(UnavailableError, match=r"could not be had\. \(Of the source: --source-w"):
        transfer(tree, "random", tmp_path / "a", EXPORTED, engine=None, progress=told)
    assert not any("Engine:" in note for note in told.notes)


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
        ({"steps": ()}, "No steps: expected counts of at least 1"),
        ({"restarts": 0}, "0 restarts"),
        ({"epsilons": [1.5]}, r"1.5 is outside \(0, 1\]"),
        ({"batch_size": 0}, "--batch-size 0"),
        ({"subset": "every-third"}, "Unknown subset 'every-third'"),
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
