"""White-box attacks from a model's name to a report: recorded, continued, extended, refused."""

import hashlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

import evaluator
from evaluator.attacks.attempts import Attempt
from evaluator.attacks.pgd import AttackJob, attacked
from evaluator.attacks.randomness import traced_sample
from evaluator.contracts import Condition, Run, Silence
from evaluator.errors import EngineError, ImageError, InputError, RunMismatchError
from evaluator.evaluate.classes import wnids
from evaluator.evaluate.decode import photo_pixels
from evaluator.evaluate.generate.photos import sample_photos
from evaluator.exporter.spec import model_spec
from evaluator.exporter.weights import load_network
from evaluator.records.reading import read_run
from evaluator.tests.ready_graphs import ReadyGraph, description
from evaluator.tests.second_attack import Images, papers_attack
from evaluator.tests.small import one_line, small_row
from evaluator.workflow.attack_scores import benchmark_of

SIDE, PHOTOS, WRONG = 32, 7, 2
EPSILONS, STEPS = (0.004, 0.02), (2, 5)


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> str:
    return small_row(monkeypatch)


@pytest.fixture
def network(small: str) -> Images:
    spec = model_spec(small, weights="random", crop_px=SIDE)
    return Images(load_network(spec).network, spec.preprocessing)


@pytest.fixture
def images(network: Images) -> dict[str, torch.Tensor]:
    """Each photo as the network sees it, by the name of its file."""
    spec = model_spec("small", weights="random", crop_px=SIDE)
    found = {}
    for photo in sample_photos()[:PHOTOS]:
        data = photo.path.read_bytes()
        pixels = photo_pixels(data, str(photo.path), spec.preprocessing)
        found[photo.path.name] = torch.from_numpy(pixels.transpose(2, 0, 1).copy())[None] / 255
    return found


@pytest.fixture
def tree(network: Images, images: dict[str, torch.Tensor], tmp_path: Path) -> Path:
    """Photos under the classes that the network takes them for, the first two under the next."""
    for position, photo in enumerate(sample_photos()[:PHOTOS]):
        label = int(network(images[photo.path.name]).argmax()) + (position < WRONG)
        place = tmp_path / "tree" / wnids()[label % 1000] / photo.path.name
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(photo.path, place)
    return tmp_path / "tree"


def attack(tree: Path, out: Path, **more: Any) -> Run:
    options: dict[str, Any] = {
        "weights": "random", "crop_px": SIDE, "device": "cpu", "epsilons": EPSILONS,
        "steps": STEPS, "batch_size": 1, "traced": 1,
    }  # fmt: skip
    return evaluator.attack_whitebox("small", tree, out=out, **{**options, **more})


def rows(run: Run, epsilon: float) -> list[dict[str, Any]]:
    condition = Condition((("epsilon", epsilon),))
    found: list[dict[str, Any]] = read_run(run, (condition,)).finished[condition].to_pylist()
    return found


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


def test_the_reports_numbers_are_those_of_the_records(tree: Path, tmp_path: Path) -> None:
    run = attack(tree, tmp_path / "run")
    document = evaluator.report(run.folder).document()
    assert json.loads(json.dumps(document, allow_nan=False)) == document
    found = {(s["metric"], s["epsilon"], s["steps"]): s for s in document["scores"]}
    assert len(found) == len(document["scores"]) == 1 + 3 * len(EPSILONS) * len(STEPS)
    clean = found["clean_accuracy", None, None]
    assert (clean["value"], clean["n"]) == ((PHOTOS - WRONG) / PHOTOS, PHOTOS)
    for epsilon in EPSILONS:
        right = [row for row in rows(run, epsilon) if row["clean"] == row["label"]]
        for steps in STEPS:
            missed = sum((row["target_step"] or 99) > steps for row in right)
            stayed = sum((row["changed_step"] or 99) > steps for row in right)
            score = found["accuracy_under_attack", epsilon, steps]
            assert score["value"] == missed / PHOTOS
            of_right = found["target_reached", epsilon, steps]
            assert of_right["value"] == (len(right) - missed) / len(right)
            assert of_right["n"] == len(right)
            assert score["low"] < score["value"] + 1e-9 < score["high"]
            assert found["label_unchanged", epsilon, steps]["value"] == stayed / PHOTOS
            assert (score["protocol"], score["restarts"]) == ("whitebox-1-paper", 1)
            assert not score["complete"]


def test_an_attack_that_was_interrupted_is_continued_and_can_be_extended(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = attack(tree, tmp_path / "whole")
    size = whole.manifest.shard_size
    assert size < PHOTOS
    calls = iter(range(99))

    def impatient(job: AttackJob, *given: Any) -> Iterator[Attempt]:
        if next(calls):  # the second shard
            raise KeyboardInterrupt
        return attacked(job, *given)

    with monkeypatch.context() as patched:
        patched.setattr("evaluator.attacks.pgd.attacked", impatient)
        patched.setattr("evaluator.workflow.beginning.shard_size", lambda *_: size)
        with pytest.raises(KeyboardInterrupt):
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
    told = Silence()
    run = attack(tree, tmp_path / "run", batch_size=7, progress=told)
    assert any("There is no memory to attack" in note for note in told.notes)
    made = read_run(run, benchmark_of(run).conditions).provenance
    assert {one.batch_size for one in made} == {2}
    for epsilon in EPSILONS:
        assert outcomes(run, epsilon) == outcomes(whole, epsilon)


def test_a_copy_of_an_epsilons_folder_is_no_epsilon(tree: Path, tmp_path: Path) -> None:
    run = attack(tree, tmp_path / "run", epsilons=[1e-5, 8 / 255])
    records = run.folder / "records"
    for name in ("epsilon=1e-05 (copy)", "epsilon=0.00001", "epsilon=nan", "epsilon=-0.5"):
        shutil.copytree(records / "epsilon=1e-05", records / name)
    assert [c["epsilon"] for c in benchmark_of(run).conditions] == [1e-5, 8 / 255]
    assert {score.epsilon for score in evaluator.report(run.folder).scores} == {
        None,
        1e-5,
        8 / 255,
    }


def test_attacks_by_one_protocol_are_told_apart(tree: Path, tmp_path: Path) -> None:
    some: dict[str, Any] = {"limit": 2, "epsilons": [0.01]}
    attack(tree, tmp_path / "runs/a", **some)
    attack(
        tree, tmp_path / "runs/b", restarts=2, step_size=2 / 225, relative_epsilon=True, seed=3,
        subset="every-second", **some,
    )  # fmt: skip
    attack(tree, tmp_path / "runs/c", protocol="standard", **{**some, "steps": (5,)})
    report = evaluator.report(tmp_path / "runs")
    told = {attack.run[-1]: attack.table().notes[1] for attack in report.attacks}
    assert told == {
        "a": "the attack: paper, towards a drawn class by cross-entropy, step 2/255, 1 start, "
        "absolute epsilon, seed 0; images: all, limit 2",
        "b": "the attack: paper, towards a drawn class by cross-entropy, step 2/225, 2 starts, "
        "epsilon times the largest value, seed 3; images: every-second, limit 2",
        "c": "the attack: standard, away from the label by cross-entropy and dlr, step 2.5 epsilon "
        "/ steps, 5 starts, absolute epsilon, seed 0; images: all, limit 2",
    }
    document = json.loads(json.dumps(report.document(), allow_nan=False))
    steps = {(s["run"][-1], s["step_size"], s["relative_epsilon"]) for s in document["scores"]}
    assert steps == {
        *(("a", None, None), ("a", 2 / 255, False), ("b", None, None), ("b", 2 / 225, True)),
        *(("c", None, None), ("c", 2.5 * 0.01 / 5, False)),
    }
    of = {one["run"][-1]: one for one in document["attacks"]}
    assert of["b"]["settings"]["relative_epsilon"] is True
    assert (of["b"]["subset"], of["b"]["limit"]) == ("every-second", 2)


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
    told = Silence()
    run = attack(tree, tmp_path / "run", on_error="skip", progress=told)
    assert any(note.startswith("2 images were skipped, and every number") for note in told.notes)
    made = rows(run, EPSILONS[1])
    assert [bool(row["error"]) for row in made] == [n == 3 for n in range(PHOTOS)]
    assert [row for row in made if not row["error"]] == [
        r for r in whole if r["id"] != made[3]["id"]
    ]
    for score in evaluator.report(run.folder).scores:
        assert score.skipped == 1
        assert score.metric == "target_reached" or score.n == PHOTOS - 1


def test_between_the_smallest_and_the_largest_count_a_line_says_what_is_wrong(
    tree: Path, tmp_path: Path
) -> None:
    run = attack(tree, tmp_path / "run", steps=(2, 3, 4, 6), epsilons=[0.02], limit=2)
    report = evaluator.report(run.folder)
    judged = [t for t in report.tables() if t.title.endswith("can the attack be believed?")]
    assert [table.title.split(": ")[0][-7:] for table in judged] == ["2 steps", "6 steps"]
    assert [n[:10] for n in judged[0].notes if n.startswith("at ")] == ["at 3 steps", "at 4 steps"]
    assert [one["steps"] for one in report.document()["attacks"]] == [2, 3, 4, 6]


def test_every_second_image_is_that_of_the_sorted_ids(tree: Path, tmp_path: Path) -> None:
    run = attack(tree, tmp_path / "run", subset="every-second", epsilons=[0.01])
    ids = sorted(path.relative_to(tree).as_posix() for path in tree.rglob("*.jpg"))
    assert [row["id"] for row in rows(run, 0.01)] == ids[::2]


def test_an_accuracy_under_attack_never_stands_without_the_judgement(
    tree: Path, tmp_path: Path
) -> None:
    report = evaluator.report(attack(tree, tmp_path / "run").folder)
    titles = [table.title for table in report.tables()]
    assert titles[:2] == [
        "White-box attack over epsilon: still right, %",
        "White-box attack over steps: still right, %",
    ]
    judged = [title for title in titles if title.endswith("can the attack be believed?")]
    assert len(judged) == len(STEPS)
    (over, *_) = report.tables()
    assert {row[1] for row in over.rows} == {
        "target not reached",
        "label never left",
        "target reached, of those right",
    }
    few, many = report.document()["attacks"]
    assert (few["steps"], many["steps"]) == STEPS
    for one in (few, many):
        assert {d["steps"] for d in one["diagnostics"]} == {one["steps"]}
    # Two steps of 2/255 cannot cross a ball of 0.02.
    (travel,) = (d for d in few["diagnostics"] if d["verdict"] == "failed" and d["n"] == 0)
    assert travel["epsilon"] == 0.02
    # Of several epsilons the table has the worst.
    rows = [row for row in report.attacks[0].table().rows if row[0] == travel["title"]]
    assert [(row[1], row[-1]) for row in rows] == [("0.02", "failed")]


def test_a_seeded_sample_makes_all_steps_and_every_byte_is_accounted_for(
    network: Images, tree: Path, tmp_path: Path
) -> None:
    torch.save(network.network.state_dict(), tmp_path / "net.pth")  # a seed makes random weights
    some: dict[str, Any] = {"traced": 4, "seed": 3, "batch_size": 7, "epsilons": EPSILONS[1:]}
    told = Silence()
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
    told = Silence()
    attack(photos, tmp_path / "run", limit=2, epsilons=[0.01], progress=told)
    assert any(n.startswith("warning: 0 of 2 images are right without") for n in told.notes)


def test_an_attack_stands_in_the_row_of_its_model_and_makes_none_among_the_benchmarks(
    tree: Path, tmp_path: Path
) -> None:
    some: dict[str, Any] = {"limit": 2, "epsilons": [0.01]}
    attack(tree, tmp_path / "runs" / "attack", **some)
    attack(tree, tmp_path / "runs" / "other", protocol="standard", **{**some, "steps": (2,)})
    attack_only = evaluator.report(tmp_path / "runs").tables()[0]
    assert attack_only.title.startswith("White-box attack")
    evaluator.score(
        "small", "imagenet", tree, weights="random", crop_px=SIDE, engine="torch", device="cpu",
        out=tmp_path / "runs" / "score",
    )  # fmt: skip
    report = evaluator.report(tmp_path / "runs")
    first, second = report.entries
    assert second.name == f"{first.name}, standard"
    assert {score.benchmark for score in first.scores} == {"imagenet", "whitebox"}
    summary = report.tables()[0]
    assert [row[0] for row in summary.rows] == [first.name]


def test_attacks_are_not_compared(tree: Path, tmp_path: Path) -> None:
    runs = [attack(tree, tmp_path / name, limit=1, epsilons=[0.01]).folder for name in "ab"]
    with pytest.raises(InputError, match="attacks are not compared here: `evaluator report`"):
        evaluator.compare(*runs)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"epsilons": [0.0]}, r"An epsilon of 0 is outside \(0, 1\]"),
        ({"epsilons": [0.01, 1.5]}, r"An epsilon of 1\.5 is outside"),
        ({"epsilons": [float("nan")]}, r"An epsilon of nan is outside"),
        ({"epsilons": 0.01}, r"epsilons=0\.01 is no list: expected one, such as \[0\.01\]"),
        ({"epsilons": "8/255"}, r"epsilons='8/255' is no list"),
        ({"steps": 10}, r"steps=10 is no list: expected one, such as \[10\]"),
        ({"steps": (0,)}, "0 steps: expected counts of at least 1"),
        ({"steps": (5, 2)}, "ascending"),
        ({"restarts": 0}, "0 restarts: expected at least 1"),
        ({"protocol": "papers"}, "Did you mean paper"),
        ({"subset": "every-third"}, "There is no subset 'every-third'. Expected every-second"),
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
        attack(tree, tmp_path / "run", weights=str(tmp_path / "nan.pth"))
