"""Attacks, probes, cross-checks and saved images are of the bytes of their photos."""

import shutil
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import evaluator
from evaluator.contracts import NullProgress, Run
from evaluator.errors import InputError, RunMismatchError
from evaluator.evaluate.benchmarks.imagenet import IMAGENET
from evaluator.evaluate.generate.photos import shipped_photos
from evaluator.records.fingerprints import fingerprint_path
from evaluator.records.run import open_run
from evaluator.tests.labelled_photos import tree_of
from evaluator.tests.small import one_line
from evaluator.tests.transfers import SIDE, transfer, transfer_rows
from evaluator.tests.whitebox_runs import rows
from evaluator.workflow.report.probe_records import probe_records
from evaluator.workflow.runs.scored_run import read_runs

EPSILONS = (0.004,)
OTHER = "was made from other images with the same names"


@pytest.fixture(autouse=True)
def zoo(monkeypatch: pytest.MonkeyPatch) -> None:
    transfer_rows(monkeypatch)


def turned(tree: Path, folder: Path) -> Path:
    """Other images under the names of a tree."""
    for photo in tree.glob("*/*"):
        copy = folder / photo.relative_to(tree)
        copy.parent.mkdir(parents=True, exist_ok=True)
        Image.open(photo).rotate(90).save(copy)
    return folder


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    labels = {photo.path.name: number for number, photo in enumerate(shipped_photos()[:3])}
    return tree_of(labels, tmp_path / "photos")


@pytest.fixture
def processed(photos: Path, tmp_path: Path) -> Path:
    return turned(photos, tmp_path / "processed")


def attack(tree: Path, out: Path | None, **more: Any) -> Run:
    options: dict[str, Any] = {
        "weights": "random", "crop_px": SIDE, "device": "cpu", "epsilons": EPSILONS,
        "steps": (2,), "batch_size": 2, "traced": 1,
    }  # fmt: skip
    return evaluator.attack_whitebox("small", tree, out=out, **{**options, **more})


def transferred(tree: Path, out: Path | None, **more: Any) -> Run:
    (run,) = transfer(tree, "random", out, epsilons=EPSILONS, steps=(2,), **more)  # type: ignore[arg-type]
    return run


def score(tree: Path, out: Path, benchmark: str = "imagenet", crop_px: int = SIDE) -> Run:
    return evaluator.score(
        "small", benchmark, tree, weights="random", crop_px=crop_px, engine="torch", device="cpu",
        out=out,
    )  # fmt: skip


@pytest.mark.parametrize("make", [attack, transferred])
def test_an_attack_on_other_images_has_a_run_of_its_own(
    make: Any, photos: Path, processed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    first, second = make(photos, None), make(processed, None)
    assert second.folder.name == f"{first.folder.name}-2"
    fresh = make(processed, tmp_path / "fresh")
    assert rows(second, EPSILONS[0]) == rows(fresh, EPSILONS[0])
    assert make(photos, None).folder == first.folder
    assert make(processed, None).folder == second.folder


@pytest.mark.parametrize("make", [attack, transferred])
def test_other_images_and_epsilons_never_enter_an_attack_that_was_named(
    make: Any, photos: Path, processed: Path, tmp_path: Path
) -> None:
    run = make(photos, tmp_path / "run")
    before = rows(run, EPSILONS[0])
    for more in ({}, {"verify_data": True}):
        with pytest.raises(RunMismatchError, match=rf"{OTHER} \({photos}\): .* differs"):
            make(processed, tmp_path / "run", **more)
    assert rows(run, EPSILONS[0]) == before
    told = NullProgress()
    make(photos, tmp_path / "run", verify_data=True, progress=told)
    assert any("Verified: all 3 images of" in note for note in told.notes)


def test_an_attack_does_not_stand_in_the_row_of_runs_of_other_images(
    photos: Path, processed: Path, tmp_path: Path
) -> None:
    fog, runs = tmp_path / "corrupted/fog/1/n01440764", tmp_path / "runs"
    fog.mkdir(parents=True)
    Image.new("RGB", (224, 224), "gray").save(fog / "one.png")
    score(photos, runs / "clean", crop_px=224)
    score(tmp_path / "corrupted", runs / "cells", "imagenet-c", crop_px=224)
    attack(processed, runs / "attacked", crop_px=224, limit=1)
    assert len(evaluator.report(runs).entries) == 2
    shutil.rmtree(runs / "attacked")
    attack(photos, runs / "attacked", crop_px=224, limit=1)
    assert len(evaluator.report(runs).entries) == 1


def test_a_transfer_that_was_refused_does_not_bind_its_other_runs(
    photos: Path, processed: Path, tmp_path: Path
) -> None:
    out = tmp_path / "runs"
    options: dict[str, Any] = {"epsilons": EPSILONS, "steps": (2,)}
    transfer(photos, "random", out, "second", **options)
    with pytest.raises(RunMismatchError, match=OTHER):
        transfer(processed, "random", out, ("first", "second"), **options)
    first, _ = transfer(photos, "random", out, ("first", "second"), **options)
    assert rows(first, EPSILONS[0])


def test_saved_images_are_not_continued_with_other_photos(
    photos: Path, processed: Path, tmp_path: Path
) -> None:
    transferred(photos, tmp_path / "a", keep=tmp_path / "kept")
    with pytest.raises(RunMismatchError, match=rf"kept {OTHER}.*Choose another --keep") as error:
        transferred(processed, tmp_path / "b", keep=tmp_path / "kept")
    one_line(error)


def test_a_cross_check_with_a_run_of_other_photos_is_refused(
    photos: Path, processed: Path, tmp_path: Path
) -> None:
    against = score(processed, tmp_path / "scored")
    with pytest.raises(InputError, match=rf"{OTHER}.*differs. Score the photos"):
        attack(photos, tmp_path / "run", check_against=against.folder)
    assert not (tmp_path / "run").exists()
    # The run may hold more photos than are attacked.
    attack(processed, tmp_path / "run", check_against=against.folder, limit=1)


def test_a_probe_of_other_images_is_named(photos: Path, processed: Path, tmp_path: Path) -> None:
    probing = {"probe": True, "probe_images": 2, "probe_queries": 3}
    run = attack(photos, tmp_path / "run", **probing)
    other = attack(processed, tmp_path / "other", **probing)
    probe, foreign = (open_run(each.folder / "probes/noise") for each in (run, other))
    (condition,) = IMAGENET.conditions
    fingerprint_path(foreign, condition).replace(fingerprint_path(probe, condition))
    (read,) = read_runs([run.folder])
    with pytest.raises(InputError, match=r"noise has other images than the attack"):
        probe_records(read, [])
    with pytest.raises(RunMismatchError, match=OTHER):
        attack(photos, tmp_path / "run", **probing)


def test_every_file_of_a_probe_is_compared_on_request(photos: Path, tmp_path: Path) -> None:
    probing = {"probe": True, "probe_images": 2, "probe_queries": 3}
    run = attack(photos, tmp_path / "run", **probing)
    for manifest in run.folder.glob("**/fingerprint.json"):
        manifest.unlink()
    name = sorted(path.relative_to(photos) for path in photos.glob("*/*"))[0]
    Image.open(photos / name).rotate(90).save(photos / name)
    shutil.rmtree(run.folder / "records")
    with pytest.raises(RunMismatchError, match=r"noise was made from other images .* at least one"):
        attack(photos, tmp_path / "run", verify_data=True, **probing)


def test_a_transferred_attack_on_other_photos_is_no_probe(
    photos: Path, processed: Path, tmp_path: Path
) -> None:
    run = attack(photos, tmp_path / "run")
    same = transferred(photos, tmp_path / "same", models="small")
    other = transferred(processed, tmp_path / "other", models="small")
    (read,) = read_runs([run.folder])
    assert probe_records(read, read_runs([same.folder])).transfer
    assert not probe_records(read, read_runs([other.folder])).transfer
