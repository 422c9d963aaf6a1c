"""Probes beside an attack: made on its images, continued, refused, and counted in its judgement."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

import evaluator
from evaluator.contracts import NullProgress, Run
from evaluator.errors import InputError, OutputError, RunMismatchError
from evaluator.evaluate.sources.items import select_items
from evaluator.exporter.spec import model_spec
from evaluator.records.run import open_run
from evaluator.tests.interrupted import interrupted
from evaluator.tests.labelled_photos import images_of_photos, tree_of
from evaluator.tests.second_attack import Images, papers_attack
from evaluator.tests.small import one_line
from evaluator.tests.transfers import SIDE, network_of, transfer_rows
from evaluator.tests.whitebox_runs import rows
from evaluator.workflow.attack import probe_plan as probes
from evaluator.workflow.report.probe_records import probe_records
from evaluator.workflow.runs.attack_scores import epsilons_there
from evaluator.workflow.runs.scored_run import read_runs

PHOTOS, PROBED, QUERIES = 8, 5, 20
EPSILONS, STEPS = (0.001, 0.05), (2, 4)
NAMES = ("noise", "unbounded", "twice-the-steps", "gradient-free")
Rows = list[dict[str, Any]]


@pytest.fixture(autouse=True)
def zoo(monkeypatch: pytest.MonkeyPatch) -> None:
    transfer_rows(monkeypatch)
    monkeypatch.setattr(probes, "NOISE_QUERIES", 6)


@pytest.fixture
def network() -> Images:
    return network_of("random", "flat")


@pytest.fixture
def images() -> dict[str, torch.Tensor]:
    """Each photo as the network sees it, by the name of its file."""
    spec = model_spec("flat", weights="random", crop_px=SIDE)
    return images_of_photos(spec.preprocessing, PHOTOS)


@pytest.fixture
def tree(network: Images, images: dict[str, torch.Tensor], tmp_path: Path) -> Path:
    """Photos under the classes that the network takes them for."""
    labels = {name: int(network(image).argmax()) for name, image in images.items()}
    return tree_of(labels, tmp_path / "tree")


def attack(tree: Path, out: Path, **more: Any) -> Run:
    options: dict[str, Any] = {
        "weights": "random", "crop_px": SIDE, "device": "cpu", "epsilons": EPSILONS,
        "steps": STEPS, "batch_size": 2, "traced": 1,
    }  # fmt: skip
    return evaluator.attack_whitebox("flat", tree, out=out, **{**options, **more})


def probed(tree: Path, out: Path, **more: Any) -> Run:
    options = {"probe": True, "probe_images": PROBED, "probe_queries": QUERIES}
    return attack(tree, out, **{**options, **more})


def probe_rows(run: Run, name: str, epsilon: float) -> Rows:
    return rows(open_run(run.folder / "probes" / name), epsilon)


def diagnostics(
    run: Run, *more: Run, steps: int = STEPS[-1]
) -> dict[tuple[str, float | None], Any]:
    """Of the attack at this count, by name and epsilon."""
    report = evaluator.report([run.folder, *(one.folder for one in more)])
    (judged,) = [a for a in report.attacks if a.run == str(run.folder) and a.steps == steps]
    return {(d.name, d.epsilon): d for d in judged.assessment.diagnostics}


def changed(rows: Rows, steps: int = 10**9) -> set[str]:
    """The images whose label was left by then."""
    return {row["id"] for row in rows if 1 <= (row["changed_step"] or 0) <= steps}


def reached(rows: Rows, steps: int) -> set[str]:
    """The images whose target was reached by then."""
    return {row["id"] for row in rows if 1 <= (row["target_step"] or 0) <= steps}


def test_probes_are_of_an_even_sample_of_the_attacks_images(tree: Path, tmp_path: Path) -> None:
    run = probed(tree, tmp_path / "run")
    ids = [row["id"] for row in rows(run, EPSILONS[0])]
    for name in NAMES:
        epsilons = [1.0] if name == "unbounded" else list(EPSILONS)
        assert epsilons_there(open_run(run.folder / "probes" / name)) == epsilons
        for epsilon in epsilons:
            found = [row["id"] for row in probe_rows(run, name, epsilon)]
            assert found == select_items(ids, PROBED)


def test_twice_the_steps_and_no_bound_are_the_attack_itself(
    network: Images, images: dict[str, torch.Tensor], tree: Path, tmp_path: Path
) -> None:
    run = probed(tree, tmp_path / "run")
    for name, steps, epsilons in (
        ("twice-the-steps", 2 * STEPS[-1], EPSILONS),
        ("unbounded", STEPS[-1], (1.0,)),
    ):
        for epsilon in epsilons:
            for row in probe_rows(run, name, epsilon):
                image = images[row["id"].partition("/")[2]]
                expected = papers_attack(network, image, row["id"], row["label"], epsilon, steps)
                assert (row["target_step"], row["changed_step"]) == expected


def test_twice_the_steps_answers_twice_each_count_however_many_starts_there_are(
    tree: Path, tmp_path: Path
) -> None:
    # An attack that was asked for 4 and 8 steps, of the same images.
    more: dict[str, Any] = {"restarts": 3, "epsilons": EPSILONS[1:], "step_size": 0.004}
    run = probed(tree, tmp_path / "run", probe_images=PHOTOS, **more)
    longer = rows(attack(tree, tmp_path / "longer", steps=(4, 8), traced=0, **more), EPSILONS[1])
    made = probe_rows(run, "twice-the-steps", EPSILONS[1])
    names = ("id", "restart", "target_step", "changed_step", "steps")
    assert [[row[name] for name in names] for row in made] == [
        [row[name] for name in names] for row in longer
    ]
    for steps in STEPS:
        gained = reached(longer, 2 * steps) - reached(rows(run, EPSILONS[1]), steps)
        found = diagnostics(run, steps=steps)["twice_the_steps", EPSILONS[1]]
        assert (found.value, found.n) == (len(gained) / PHOTOS, PHOTOS)


def test_without_a_bound_a_relative_epsilon_is_none(tree: Path, tmp_path: Path) -> None:
    for photo in tree.rglob("*.jpg"):
        dark = Image.open(photo).point(lambda value: value // 4)
        dark.save(photo, quality=95)
    run = probed(tree, tmp_path / "run", epsilons=EPSILONS[:1], relative_epsilon=True)
    assert all(row["linf"] > 0.5 for row in probe_rows(run, "unbounded", 1.0) if row["steps"])


def test_what_the_probes_found_is_in_the_judgement(tree: Path, tmp_path: Path) -> None:
    run = probed(tree, tmp_path / "run")
    assert all(d.value is None for (name, _), d in diagnostics(
        attack(tree, tmp_path / "alone")).items() if name in ("noise_finds_more", "unbounded")
    )  # fmt: skip
    for steps in STEPS:
        found = diagnostics(run, steps=steps)
        for epsilon in EPSILONS:
            attacked = changed(rows(run, epsilon), steps)
            for name, key in (
                ("noise_finds_more", "noise"),
                ("gradient_free_finds_more", "gradient-free"),
            ):
                more = changed(probe_rows(run, key, epsilon)) - attacked
                assert found[name, epsilon].value == len(more) / PROBED
                assert found[name, epsilon].n == PROBED
    doubled = found["twice_the_steps", EPSILONS[0]]
    assert (doubled.n, doubled.needs) == (PROBED, "probe")
    assert found["unbounded", None].n == PROBED
    assert found["transfer_finds_more", None].value is None


def test_a_judgement_says_how_much_was_probed(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = attack(tree, tmp_path / "run", epsilons=EPSILONS[:1])
    (few, _) = evaluator.report(run.folder).attacks
    assert few.document()["probes"] == []
    assert not any(note.startswith("probes: ") for note in few.table().notes)
    with interrupted(monkeypatch, after=1, shard_size=PHOTOS):
        probed(tree, run.folder, epsilons=EPSILONS[:1])
    (some, _) = evaluator.report(run.folder).attacks
    assert "probes: noise, 6 draws, 5 images; epsilon 1, 5 images" in some.table().notes
    (judged, _) = evaluator.report(probed(tree, run.folder, epsilons=EPSILONS[:1]).folder).attacks
    assert (
        "probes: noise, 6 draws, 5 images; epsilon 1, 5 images; twice the steps, 5 images; "
        "Square, up to 20 queries where the attack left some, 5 images"
    ) in judged.table().notes
    assert judged.document()["probes"] == [
        {"name": name, "images": PROBED, "queries": queries}
        for name, queries in zip(NAMES, (6, None, None, QUERIES), strict=True)
    ]


def test_only_what_stands_is_searched_without_gradients(tree: Path, tmp_path: Path) -> None:
    told = NullProgress()
    run = probed(tree, tmp_path / "run", progress=told)
    asked = 0
    for epsilon in EPSILONS:
        fell = changed(rows(run, epsilon), STEPS[0])
        for row in probe_rows(run, "gradient-free", epsilon):
            assert (row["steps"] == 0) == (row["id"] in fell)
            asked += row["steps"] > 0
    assert 0 < asked < PROBED * len(EPSILONS)  # both were seen
    costs = [note.rpartition("; at most ")[2] for note in told.notes if "Probing" in note]
    assert costs == [
        f"{6 * PROBED * len(EPSILONS)} forward passes.",
        f"{STEPS[-1] * PROBED} steps.",
        f"{2 * STEPS[-1] * PROBED * len(EPSILONS)} steps.",
        f"{QUERIES * asked} forward passes.",
    ]


def test_probes_are_added_to_an_attack_that_is_there_and_made_once(
    tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = probed(tree, tmp_path / "whole")
    run = attack(tree, tmp_path / "run")
    with interrupted(monkeypatch, after=1):
        probed(tree, run.folder)
    cut = open_run(run.folder / "probes" / "unbounded")
    assert len(list(cut.folder.rglob("part-*"))) == 1
    assert diagnostics(run)["noise_finds_more", EPSILONS[0]].n == PROBED
    assert diagnostics(run)["unbounded", None].value is None
    run = probed(tree, run.folder)
    for name in NAMES:
        for epsilon in [1.0] if name == "unbounded" else EPSILONS:
            assert probe_rows(run, name, epsilon) == probe_rows(whole, name, epsilon)
    told = NullProgress()
    probed(tree, run.folder, progress=told)
    assert not any("Probing" in note for note in told.notes)


def test_a_later_epsilon_is_probed_as_well(tree: Path, tmp_path: Path) -> None:
    run = probed(tree, tmp_path / "run", epsilons=EPSILONS[:1])
    attack(tree, run.folder)
    assert diagnostics(run)["noise_finds_more", EPSILONS[1]].value is None
    probed(tree, run.folder)
    assert diagnostics(run)["noise_finds_more", EPSILONS[1]].n == PROBED


@pytest.mark.parametrize(
    ("more", "named"),
    [
        ({"probe_images": 4}, f"probe.images is {PROBED} there, 4 here"),
        ({"probe_queries": 7}, f"probe.queries is {QUERIES} there, 7 here"),
    ],
)
def test_other_choices_are_refused_before_anything_is_attacked(
    tree: Path, tmp_path: Path, more: dict[str, Any], named: str
) -> None:
    run = probed(tree, tmp_path / "run", epsilons=EPSILONS[:1])
    with pytest.raises(RunMismatchError, match=named) as raised:
        probed(tree, run.folder, **more)
    assert one_line(raised)
    assert f"remove {run.folder / 'probes'}" in str(raised.value)
    assert epsilons_there(run) == [EPSILONS[0]]


@pytest.mark.parametrize(
    ("more", "named"),
    [
        (
            {"probe_images": 0},
            "Invalid number of probe images: 0. Expected an integer of at least 1",
        ),
        (
            {"probe_queries": 0},
            "Invalid number of probe queries: 0. Expected an integer of at least 1",
        ),
        (
            {"probe_images": 2.5},
            "Invalid number of probe images: 2.5. Expected an integer of at least 1",
        ),
        (
            {"probe_queries": 2.5},
            "Invalid number of probe queries: 2.5. Expected an integer of at least 1",
        ),
        ({"probe": False}, "--probe-images requires --probe"),
        ({"probe": False, "probe_images": None}, "--probe-queries requires --probe"),
    ],
)
def test_choices_that_are_none_are_refused(
    tree: Path, tmp_path: Path, more: dict[str, Any], named: str
) -> None:
    with pytest.raises(InputError, match=named) as raised:
        probed(tree, tmp_path / "run", **more)
    assert one_line(raised)
    assert not (tmp_path / "run").exists()


def test_a_probe_by_itself_is_no_report(tree: Path, tmp_path: Path) -> None:
    run = probed(tree, tmp_path / "run", epsilons=EPSILONS[:1])
    for place in (run.folder / "probes", run.folder / "probes" / "noise"):
        with pytest.raises(InputError, match="is a probe, which cannot be reported") as raised:
            evaluator.report(place)
        assert str(run.folder) in str(raised.value)


def test_a_probe_of_another_attack_is_refused(tree: Path, tmp_path: Path) -> None:
    run = probed(tree, tmp_path / "run", epsilons=EPSILONS[:1])
    other = attack(tree, tmp_path / "other", epsilons=EPSILONS[:1], seed=1)
    shutil.copytree(run.folder / "probes", other.folder / "probes")
    with pytest.raises(
        InputError, match="is not a probe of the attack whose folder it is in"
    ) as raised:
        evaluator.report(other.folder)
    assert one_line(raised)


def test_a_probe_of_other_counts_of_steps_is_refused(tree: Path, tmp_path: Path) -> None:
    run = probed(tree, tmp_path / "run", epsilons=EPSILONS[:1])
    other = attack(tree, tmp_path / "other", epsilons=EPSILONS[:1], steps=(40,))
    shutil.copytree(run.folder / "probes", other.folder / "probes")
    with pytest.raises(InputError, match="is not a probe of the attack whose folder it is in"):
        evaluator.report(other.folder)


def test_a_probe_without_its_manifest_is_refused_before_anything_is_attacked(
    tree: Path, tmp_path: Path
) -> None:
    run = probed(tree, tmp_path / "run", epsilons=EPSILONS[:1])
    noise = run.folder / "probes" / "noise"
    (noise / "run.json").unlink()
    with pytest.raises(OutputError, match=f"{noise} exists and is not a run") as raised:
        probed(tree, run.folder)
    assert one_line(raised).endswith("Remove it, and --probe makes it again.")
    assert epsilons_there(run) == [EPSILONS[0]]


def transfer_of(source: str, tree: Path, out: Path, **more: Any) -> Run:
    """Images that were made on a network, classified by the one that is attacked here."""
    options: dict[str, Any] = {
        "source_weights": "random", "source_crop_px": SIDE, "weights": "random", "crop_px": SIDE,
        "device": "cpu", "engine": "torch", "epsilons": (EPSILONS[1], 0.5),
        "protocol": "standard", "steps": (8,), "restarts": 1, "traced": 0,
    }  # fmt: skip
    (run,) = evaluator.attack_transfer("flat", tree, out=out, source=source, **options | more)
    return run


@pytest.fixture
def transferred(tree: Path, tmp_path: Path) -> Run:
    """By which some are fooled at the larger epsilon."""
    return transfer_of("small", tree, tmp_path / "transfer")


def test_a_transferred_attack_of_the_same_report_is_a_probe(
    tree: Path, tmp_path: Path, transferred: Run
) -> None:
    run = attack(tree, tmp_path / "run")
    found = diagnostics(run, transferred)
    assert found["transfer_finds_more", EPSILONS[0]].value is None
    fooled = {
        row["id"]
        for row in rows(transferred, EPSILONS[1])
        if row["victim"] is not None and row["victim"] != row["label"]
    }
    more = fooled - changed(rows(run, EPSILONS[1]))
    assert found["transfer_finds_more", EPSILONS[1]].value == len(more) / PHOTOS
    assert fooled
    other = attack(tree, tmp_path / "relative", relative_epsilon=True)
    assert diagnostics(other, transferred)["transfer_finds_more", None].value is None


def test_what_rounding_turned_is_no_fault_of_the_attack(
    tree: Path, tmp_path: Path, transferred: Run
) -> None:
    (one,), (other,) = (
        read_runs([run.folder]) for run in (attack(tree, tmp_path / "run"), transferred)
    )
    assert list(probe_records(one, [other]).transfer) == [EPSILONS[1]]
    manifest = other.run.manifest
    rounded = replace(manifest.key, engine=replace(manifest.key.engine, precision="fp16"))
    half = replace(other, run=replace(other.run, manifest=replace(manifest, key=rounded)))
    assert not probe_records(one, [half]).transfer


def test_what_was_made_on_the_same_model_is_no_transferred_attack(
    tree: Path, tmp_path: Path
) -> None:
    run = attack(tree, tmp_path / "run")
    itself = transfer_of("flat", tree, tmp_path / "transfer")
    assert diagnostics(run, itself).get(("transfer_finds_more", EPSILONS[1])) is None


def test_the_report_names_what_was_not_probed(tree: Path, tmp_path: Path) -> None:
    def told(run: Run) -> str:
        (judged,) = evaluator.report(run.folder).attacks
        begins = "needs an extra run (attack whitebox --probe, or a transferred attack): "
        (line,) = [note for note in judged.table().notes if note.startswith(begins)]
        return line.removeprefix(begins)

    without = told(attack(tree, tmp_path / "run", steps=(4,)))
    assert "images that stand without a bound, at epsilon 1" in without
    probes_made = told(probed(tree, tmp_path / "probed", steps=(4,)))
    assert probes_made == "images that only a transferred attack fools"
