"""White-box attacks from a model's name to a report: recorded, continued, extended, refused."""

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

import evaluator
from evaluator.attacks.randomness import traced_sample
from evaluator.contracts import NullProgress, Run
from evaluator.errors import EngineError, ImageError, InputError, RunMismatchError
from evaluator.records.reading import read_run
from evaluator.tests.interrupted import interrupted
from evaluator.tests.ready_graphs import ReadyGraph, description
from evaluator.tests.second_attack import Images, papers_attack
from evaluator.tests.small import one_line, small_row
from evaluator.tests.whitebox_runs import (
    EPSILONS,
    PHOTOS,
    STEPS,
    WRONG,
    attack,
    images_seen,
    labelled_tree,
    network_of,
    rows,
)
from evaluator.workflow.runs.attack_scores import benchmark_of


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> str:
    return small_row(monkeypatch)


@pytest.fixture
def network(small: str) -> Images:
    return network_of(small)


@pytest.fixture
def images(network: Images) -> dict[str, torch.Tensor]:
    return images_seen()


@pytest.fixture
def tree(network: Images, images: dict[str, torch.Tensor], tmp_path: Path) -> Path:
    return labelled_tree(network, images, tmp_path / "tree")


def outcomes(run: Run, epsilon: float) -> list[tuple[Any, ...]]:
    names = ("id", "clean", "target", "target_step", "changed_step", "steps")
    return [tuple(row[name] for name in names) for row in rows(run, epsilon)]


@pytest.mark.parametrize("epsilon", EPSILONS)
def test_every_outcome_equals_a_plain_loop(
    network: Images, images: dict[str, torch.Tensor], tree: Path, tmp_path: Path, epsilon: float
) -> None:
    made = rows(attack(tree, tmp_path / "run", traced=0), epsilon)
    assert len(made) == PHOTOS
    hits = 0
    for row in made:
        name, label = row["id"].partition("/")[2], row["label"]
        clean = int(network(images[name]).argmax())
        assert row["clean"] == clean
        if clean != label:
            assert (row["steps"], row["changed_step"]) == (0, 0)
            continue
        expected = papers_attack(network, images[name], row["id"], label, epsilon, STEPS[-1])
        assert (row["target_step"], row["changed_step"]) == expected
        hits += expected[1] is not None
    assert sum(row["clean"] != row["label"] for row in made) == WRONG
    assert epsilon != EPSILONS[-1] or hits > 0  # else nothing would have been compared


def test_records_are_one_table_with_epsilon_as_a_number(tree: Path, tmp_path: Path) -> None:
    run = attack(tree, tmp_path / "run")
    table = evaluator.open_run(run.folder).table()
    assert table.num_rows == len(EPSILONS) * PHOTOS
    assert set(table["epsilon"].to_pylist()) == set(EPSILONS)


def test_an_attack_that_was_interrupted_is_continued_and_can_be_extended(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = attack(tree, tmp_path / "whole")
    size = whole.manifest.shard_size
    assert size < PHOTOS
    with interrupted(monkeypatch, after=1, shard_size=size):
        attack(tree, tmp_path / "cut")
    (note,) = evaluator.report(tmp_path / "cut").notes
    assert note == (
        f"left out of {tmp_path / 'cut'}, since it is not finished: epsilon={EPSILONS[0]} "
        f"({size} of {PHOTOS} images)"
    )
    cut = attack(tree, tmp_path / "cut", epsilons=EPSILONS[:1])
    assert [c["epsilon"] for c in benchmark_of(cut).conditions] == [EPSILONS[0]]
    cut = attack(tree, tmp_path / "cut", epsilons=EPSILONS[1:])
    assert [c["epsilon"] for c in benchmark_of(cut).conditions] == list(EPSILONS)
    for epsilon in EPSILONS:
        assert rows(cut, epsilon) == rows(whole, epsilon)


def test_a_run_keeps_the_batch_size_that_it_was_begun_with(tree: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    attack(tree, out, batch_size=9, epsilons=EPSILONS[:1])
    run = attack(tree, out, batch_size=None, epsilons=EPSILONS[1:])  # the CPU's own would be 8
    made = read_run(run, benchmark_of(run).conditions).provenance
    assert len(made) >= len(EPSILONS)
    assert {one.batch_size for one in made} == {9}


def test_a_batch_that_does_not_fit_is_halved_from_the_beginning(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = attack(tree, tmp_path / "whole", batch_size=2)
    convolve = functional.conv2d

    def narrow(images: torch.Tensor, *given: Any, **more: Any) -> torch.Tensor:
        if len(images) > 2:
            raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return convolve(images, *given, **more)

    monkeypatch.setattr(functional, "conv2d", narrow)
    told = NullProgress()
    run = attack(tree, tmp_path / "run", batch_size=7, progress=told)
    assert any("Out of memory with" in note for note in told.notes)
    made = read_run(run, benchmark_of(run).conditions).provenance
    assert {one.batch_size for one in made} == {2}
    for epsilon in EPSILONS:
        assert outcomes(run, epsilon) == outcomes(whole, epsilon)


@pytest.mark.parametrize(
    ("more", "named"),
    [
        ({"seed": 1}, "attack.seed is 0 there, 1 here"),
        ({"steps": (2, 6)}, r"attack.steps is \[2, 5\] there"),
        ({"subset": "every-second"}, "subset is none there, every-second here"),
        ({"protocol": "standard", "steps": (5,)}, "attack.protocol is paper there"),
    ],
)
def test_another_attack_does_not_enter_the_run(
    tree: Path, tmp_path: Path, more: dict[str, Any], named: str
) -> None:
    out = tmp_path / "run"
    attack(tree, out, limit=2, epsilons=[0.01])
    with pytest.raises(RunMismatchError, match=named):
        attack(tree, out, **{"limit": 2, "epsilons": [0.01], **more})


def test_the_standard_protocol_gives_the_worst_case_of_all_attempts(
    tree: Path, tmp_path: Path
) -> None:
    run = attack(tree, tmp_path / "run", protocol="standard", steps=(6,), restarts=2)
    for epsilon in EPSILONS:
        of_image: dict[str, list[dict[str, Any]]] = {}
        for row in rows(run, epsilon):
            of_image.setdefault(row["id"], []).append(row)
        assert len(of_image) == PHOTOS
        standing = 0
        for attempts in of_image.values():
            assert [a["attempt"] for a in attempts] == list(range(len(attempts)))
            fell = [a["changed_step"] is not None for a in attempts]
            assert not any(fell[:-1])  # attacked further only while it stands
            standing += not fell[-1]
            assert fell[-1] or len(attempts) == 4
        (score,) = (
            s
            for s in evaluator.report(run.folder).scores
            if (s.metric, s.epsilon) == ("accuracy_under_attack", epsilon)
        )
        assert score.value == standing / PHOTOS


def test_an_image_that_cannot_be_decoded_may_be_skipped_and_is_counted(
    tree: Path, tmp_path: Path
) -> None:
    whole = rows(attack(tree, tmp_path / "whole"), EPSILONS[1])
    bad = sorted(tree.rglob("*.jpg"))[3]
    bad.write_bytes(bad.read_bytes()[:999])
    with pytest.raises(ImageError, match=rf"{bad.name} .*To go on without such images, add --on"):
        attack(tree, tmp_path / "run")
    told = NullProgress()
    run = attack(tree, tmp_path / "run", on_error="skip", progress=told)
    assert any(note.startswith("2 images were skipped; every number") for note in told.notes)
    made = rows(run, EPSILONS[1])
    assert [bool(row["error"]) for row in made] == [n == 3 for n in range(PHOTOS)]
    assert [row for row in made if not row["error"]] == [
        r for r in whole if r["id"] != made[3]["id"]
    ]
    for score in evaluator.report(run.folder).scores:
        assert score.skipped == 1
        assert score.metric == "target_reached" or score.n == PHOTOS - 1


def test_every_second_image_is_that_of_the_sorted_ids(tree: Path, tmp_path: Path) -> None:
    run = attack(tree, tmp_path / "run", subset="every-second", epsilons=[0.01])
    ids = sorted(path.relative_to(tree).as_posix() for path in tree.rglob("*.jpg"))
    assert [row["id"] for row in rows(run, 0.01)] == ids[::2]


def test_a_seeded_sample_makes_all_steps_and_every_byte_is_accounted_for(
    network: Images, tree: Path, tmp_path: Path
) -> None:
    torch.save(network.network.state_dict(), tmp_path / "net.pth")  # a seed makes random weights
    some: dict[str, Any] = {"traced": 4, "seed": 3, "batch_size": 7, "epsilons": EPSILONS[1:]}
    told = NullProgress()
    run = attack(tree, tmp_path / "run", weights=str(tmp_path / "net.pth"), progress=told, **some)
    made = rows(run, EPSILONS[1])
    sample = traced_sample([row["id"] for row in made], 4, seed=3)
    assert sample != traced_sample([row["id"] for row in made], 4, seed=0)
    right = {row["id"] for row in made if row["clean"] == row["label"]}
    assert {row["id"] for row in made if row["traced"]} == sample & right
    assert {row["steps"] for row in made if row["traced"]} == {STEPS[-1]}
    assert not any(note.startswith("warning") for note in told.notes)
    read = hashlib.sha256()
    for row in made:
        data = (tree / row["id"]).read_bytes()
        read.update(row["id"].encode() + b"\0" + hashlib.sha256(data).digest())
    (shard,) = read_run(run, benchmark_of(run).conditions).provenance
    assert shard.data_sha256 == read.hexdigest()


def test_a_model_that_gets_nothing_right_is_warned_of_before_hours_are_spent(
    tmp_path: Path, photos: Path
) -> None:
    told = NullProgress()
    attack(photos, tmp_path / "run", limit=2, epsilons=[0.01], progress=told)
    assert any(n.startswith("warning: 0 of 2 images are right without") for n in told.notes)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"epsilons": [0.0]}, r"An epsilon of 0 is outside \(0, 1\]"),
        ({"epsilons": [0.01, 1.5]}, r"An epsilon of 1\.5 is outside"),
        ({"epsilons": [float("nan")]}, r"An epsilon of nan is outside"),
        ({"epsilons": 0.01}, r"epsilons=0\.01 is not a list: expected one, such as \[0\.01\]"),
        ({"epsilons": "8/255"}, r"epsilons='8/255' is not a list"),
        ({"epsilons": []}, "The list of epsilons is empty"),
        ({"steps": 10}, r"steps=10 is not a list: expected one, such as \[10\]"),
        ({"steps": (0,)}, "0 steps: expected counts of at least 1"),
        ({"steps": (5, 2)}, "ascending"),
        ({"restarts": 0}, "0 restarts: expected at least 1"),
        ({"protocol": "papers"}, "Did you mean paper"),
        ({"subset": "every-third"}, "Unknown subset 'every-third'. Expected every-second"),
        ({"step_size": 0.0}, "A step of 0: expected a positive number"),
        ({"batch_size": 0}, "--batch-size 0 is not possible"),
        ({"seed": -1}, "--seed -1 is not possible; expected 0"),
        ({"traced": -1}, "-1 traced images: expected 0 or more"),
    ],
)
def test_a_choice_that_is_none_is_one_line(
    tree: Path, tmp_path: Path, more: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message) as error:
        attack(tree, tmp_path / "run", **more)
    assert one_line(error)
    assert not (tmp_path / "run").exists()


def test_a_model_that_is_only_onnx_has_no_gradients(tmp_path: Path, photos: Path) -> None:
    path = ReadyGraph().write(tmp_path / "net.onnx")
    description(tmp_path / "net.toml", 'input = "normalized"')
    with pytest.raises(InputError, match=r"exists only as ONNX, and gradients need PyTorch\. Give"):
        evaluator.attack_whitebox(str(path), photos, out=tmp_path / "run")


def test_a_network_whose_loss_is_not_a_number_ends_the_run_with_the_image(
    tree: Path, tmp_path: Path, network: Images
) -> None:
    state: dict[str, torch.Tensor] = network.network.state_dict()
    name = next(name for name, tensor in state.items() if tensor.dtype == torch.float32)
    torch.save({**state, name: torch.full_like(state[name], np.nan)}, tmp_path / "nan.pth")
    with pytest.raises(EngineError, match=r"n\d{8}/\S+\.jpg at step 0"):
        attack(tree, tmp_path / "run", weights=str(tmp_path / "nan.pth"), self_check=False)
