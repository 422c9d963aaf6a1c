"""What a report makes of white-box attacks: numbers, judgements, which attack it was."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

import evaluator
from evaluator.errors import InputError
from evaluator.tests.small import small_row
from evaluator.tests.whitebox_runs import (
    EPSILONS,
    PHOTOS,
    SIDE,
    STEPS,
    WRONG,
    attack,
    images_seen,
    labelled_tree,
    network_of,
    rows,
)
from evaluator.workflow.attack import job
from evaluator.workflow.runs.attack_scores import benchmark_of


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> str:
    return small_row(monkeypatch)


@pytest.fixture
def tree(small: str, tmp_path: Path) -> Path:
    return labelled_tree(network_of(small), images_seen(), tmp_path / "tree")


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


def test_between_the_smallest_and_the_largest_count_a_line_says_what_is_wrong(
    tree: Path, tmp_path: Path
) -> None:
    run = attack(tree, tmp_path / "run", steps=(2, 3, 4, 6), epsilons=[0.02], limit=2)
    report = evaluator.report(run.folder)
    judged = [t for t in report.tables() if t.title.endswith("is the attack reliable?")]
    assert [table.title.split(": ")[0][-7:] for table in judged] == ["2 steps", "6 steps"]
    assert [n[:10] for n in judged[0].notes if n.startswith("at ")] == ["at 3 steps", "at 4 steps"]
    assert [one["steps"] for one in report.document()["attacks"]] == [2, 3, 4, 6]


def test_the_terminal_has_one_sentence_an_attack_and_every_note_once(
    tree: Path, tmp_path: Path
) -> None:
    report = evaluator.report(attack(tree, tmp_path / "run").folder)
    tables = report.terminal_tables()
    (summary,) = (table for table in tables if table.title == "Is the attack reliable?")
    few, many = report.attacks
    assert summary.rows == ((few.name, few.answer()), (many.name, many.answer()))
    # Two steps of 2/255 cannot cross a ball of 0.02.
    (travel,) = (d.title for d in few.assessment.failed if d.n == 0)
    assert few.answer().startswith("No: ")
    assert travel in few.answer()
    assert not any(table.notes for table in tables[:-1])
    notes = [note.strip() for note in tables[-1].notes]
    assert len(notes) == len(set(notes))
    full = report.tables()
    left_out = {note for attack in report.attacks for note in attack.table().notes}
    assert {note for table in full for note in table.notes} - left_out <= set(notes)
    verbose = report.terminal_tables(verbose=True)
    assert [(table.title, table.rows) for table in verbose] == [(t.title, t.rows) for t in full]
    assert left_out <= {note.strip() for note in verbose[-1].notes}


def test_an_unknown_protocol_is_named_instead_of_a_missing_table(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job, "protocol_name", lambda *names: "whitebox-1-anything")
    report = evaluator.report(attack(tree, tmp_path / "run", limit=1, steps=(2,)).folder)
    assert not any(table.title.startswith("White-box") for table in report.tables())
    (name,) = (results.name for results in report.entries)
    note = (
        f"{name}: the attack's protocol, whitebox-1-anything, is unknown to this version, and so "
        "is what its numbers count; no table shows them"
    )
    assert report.document()["notes"] == [note]
    assert note in report.tables()[-1].notes


def test_an_accuracy_under_attack_never_stands_without_the_judgement(
    tree: Path, tmp_path: Path
) -> None:
    report = evaluator.report(attack(tree, tmp_path / "run").folder)
    titles = [table.title for table in report.tables()]
    assert titles[:2] == [
        "White-box attack over epsilon: still right, %",
        "White-box attack over steps: still right, %",
    ]
    judged = [title for title in titles if title.endswith("is the attack reliable?")]
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
    assert [(row[2], row[-1]) for row in rows] == [("0.02", "failed")]


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
