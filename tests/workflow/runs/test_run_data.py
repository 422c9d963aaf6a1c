"""A run is of the bytes of its images, not only of their names."""

import hashlib
import json
import shutil
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.dataset
import pytest
from PIL import Image

import evaluator
from evaluator.contracts import Condition, NullProgress, Run, RunManifest
from evaluator.errors import ImageError, InputError, RunMismatchError
from evaluator.records.fingerprints import begin_fingerprint, fingerprint_path, read_fingerprint
from evaluator.records.run import MANIFEST, open_run
from evaluator.records.shard_runner import run_shards
from evaluator.storage.documents import read_document, sealed, write_document
from evaluator.tests import small_bundle as small
from evaluator.tests.small import one_line

COUNT = 40  # more than are sampled
CLEAN = Condition()
FOG, SNOW = (Condition((("corruption", c), ("severity", 1))) for c in ("fog", "snow"))


def write_images(folder: Path, seed: int, count: int = COUNT, side_px: int = 36) -> Path:
    """Random images under the same names whatever the seed."""
    rng = np.random.default_rng(seed)
    for number in range(count):
        path = folder / ("n01440764", "n02110341")[number % 2] / f"{number:03d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (side_px, side_px, 3), np.uint8)).save(path)
    return folder


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(small.small_bundle(tmp_path_factory.mktemp("small") / "bundle").folder)


@pytest.fixture(scope="module")
def large_model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """For images of 224 pixels, as ImageNet-C has them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(small, "CROP_PX", 224)
        bundle = small.small_bundle(tmp_path_factory.mktemp("large") / "bundle", convolutions=1)
    return str(bundle.folder)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_images(tmp_path_factory.mktemp("data") / "photos", 0)


@pytest.fixture(scope="module")
def processed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Other images under the names of the photos."""
    return write_images(tmp_path_factory.mktemp("data") / "processed", 1)


@pytest.fixture(scope="module")
def corrupted(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two trees of two conditions, of the same names."""
    root = tmp_path_factory.mktemp("corrupted")
    for seed, name in enumerate(("first", "second")):
        for position, cell in enumerate(("fog/1", "snow/1")):
            write_images(root / name / cell, 10 * seed + position, count=3, side_px=224)
    return {name: root / name for name in ("first", "second")}


def score(model: str, data: Any, out: Path | None, **more: Any) -> Run:
    options = {"engine": "onnxruntime", "device": "cpu", "parity": False, "out": out, **more}
    return evaluator.score(model, options.pop("benchmark", "imagenet"), data, **options)


def records(run: Run) -> list[dict[str, Any]]:
    table = pyarrow.dataset.dataset(run.folder / "records").to_table()
    rows: list[dict[str, Any]] = table.sort_by("id").to_pylist()
    return rows


def change(tree: Path, name: str) -> None:
    path = next(tree.rglob(name))
    Image.open(path).rotate(90).save(path)


def half_done(model: str, data: Path, out: Path) -> Run:
    """A run that lacks every second shard."""
    run = score(model, data, out, batch_size=4)
    parts = sorted(run.folder.glob("records/**/part-*.parquet"))
    assert len(parts) > 2
    for part in parts[::2]:
        part.unlink()
    return run


def age(run: Run) -> None:
    """Make a run what a version without fingerprints would have written."""
    manifest = read_document(run.folder / MANIFEST, RunManifest)
    (run.folder / MANIFEST).unlink()
    aged = RunManifest(**{**vars(manifest), "schema": 6, "seal": ""})
    write_document(run.folder / MANIFEST, sealed(aged))
    shutil.rmtree(run.folder / "fingerprints")


def test_other_images_under_the_same_names_get_a_run_of_their_own(
    model: str, photos: Path, processed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    first, told = score(model, photos, None), NullProgress()
    before = records(first)
    second = score(model, processed, None, progress=told)
    assert second.folder.name == f"{first.folder.name}-2"
    assert records(second) == records(score(model, processed, tmp_path / "fresh"))
    assert records(second) != before == records(first)
    assert any(
        f"{first.folder} was made from other images with the same names ({photos}): "
        "n01440764/000.png differs; that run is left unchanged." == note
        for note in told.notes
    )
    # Each is found again, whichever comes first.
    assert score(model, photos, None).folder == first.folder
    assert score(model, processed, None).folder == second.folder


def test_other_images_are_refused_in_a_folder_that_was_named(
    model: str, photos: Path, processed: Path, tmp_path: Path
) -> None:
    run = score(model, photos, tmp_path / "run")
    before = records(run)
    with pytest.raises(RunMismatchError) as error:
        score(model, processed, run.folder)
    assert one_line(error) == (
        f"{run.folder} was made from other images with the same names ({photos}): "
        "n01440764/000.png differs. Choose another --out, or give the images of that run."
    )
    assert records(run) == before


def test_a_half_finished_run_does_not_continue_with_other_images(
    model: str, photos: Path, processed: Path, tmp_path: Path
) -> None:
    run = half_done(model, photos, tmp_path / "run")
    with pytest.raises(RunMismatchError, match=r"000\.png differs"):
        score(model, processed, run.folder)
    undisturbed = score(model, photos, tmp_path / "undisturbed", batch_size=4)
    assert records(score(model, photos, run.folder)) == records(undisturbed)


def test_a_fingerprint_is_of_an_even_sample_of_the_files(
    model: str, photos: Path, tmp_path: Path
) -> None:
    run = score(model, photos, tmp_path / "run")
    names = sorted(str(path.relative_to(photos)) for path in photos.rglob("*.png"))
    sample = [names[position * COUNT // 32] for position in range(32)]
    assert read_fingerprint(run, CLEAN).files == {
        name: hashlib.sha256((photos / name).read_bytes()).hexdigest() for name in sample
    }
    few = score(model, photos, tmp_path / "few", limit=5)
    assert len(read_fingerprint(few, CLEAN).files) == 5


def test_folders_and_tars_have_the_same_fingerprint(
    model: str, photos: Path, processed: Path, tmp_path: Path
) -> None:
    tars = []
    for tree in (photos, processed):
        tars.append(tmp_path / f"{tree.name}.tar")
        with tarfile.open(tars[-1], "w") as tar:
            tar.add(tree, "val")
    run = score(model, photos, tmp_path / "run", limit=3)
    assert score(model, tars[0], run.folder, limit=3).folder == run.folder
    fresh = score(model, tars[0], tmp_path / "fresh", limit=3)
    assert read_fingerprint(fresh, CLEAN).files == read_fingerprint(run, CLEAN).files
    with pytest.raises(RunMismatchError, match=r"000\.png differs"):
        score(model, tars[1], run.folder, limit=3)


def test_conditions_that_are_added_or_left_out_are_the_same_run(
    large_model: str, corrupted: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    data, options = corrupted["first"], {"benchmark": "imagenet-c"}
    fog = score(large_model, data, None, corruptions=["fog"], **options)
    assert not fingerprint_path(fog, SNOW).exists()
    for more in ({"corruptions": ["snow"]}, {}, {"corruptions": ["fog"]}):
        assert score(large_model, data, None, **options, **more).folder == fog.folder
    assert fingerprint_path(fog, SNOW).exists()


def test_a_new_condition_of_other_data_does_not_enter_a_run(
    large_model: str, corrupted: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    options = {"benchmark": "imagenet-c"}
    first = score(large_model, corrupted["first"], None, corruptions=["fog"], **options)
    other = score(large_model, corrupted["second"], None, corruptions=["snow"], **options)
    assert other.folder.name == f"{first.folder.name}-2"
    with pytest.raises(RunMismatchError, match=r"000\.png \(corruption=fog, severity=1\) differs"):
        score(large_model, corrupted["second"], first.folder, corruptions=["snow"], **options)


def test_conditions_of_separate_trees_are_one_run_with_a_note(
    large_model: str, corrupted: dict[str, Path], tmp_path: Path
) -> None:
    # As of noise.tar and then blur.tar: nothing can be compared.
    for cell in ("fog", "snow"):
        shutil.copytree(corrupted["first"] / cell, tmp_path / cell / cell)
    options: dict[str, Any] = {"benchmark": "imagenet-c", "out": tmp_path / "run"}
    told = NullProgress()
    score(large_model, tmp_path / "fog", **options)
    score(large_model, tmp_path / "snow", progress=told, **options)
    assert any(
        f"has other conditions, of images in {tmp_path}/fog: none of them can be compared" in note
        for note in told.notes
    )


def test_every_file_is_compared_on_request(model: str, photos: Path, tmp_path: Path) -> None:
    tree = Path(shutil.copytree(photos, tmp_path / "tree"))
    run, told = score(model, tree, tmp_path / "run", batch_size=8), NullProgress()
    score(model, tree, run.folder, verify_data=True, progress=told)
    assert any(f"Verified: all {COUNT} images of " in note for note in told.notes)
    names = sorted(str(path.relative_to(tree)) for path in tree.rglob("*.png"))
    unsampled = next(n for n in names if n not in read_fingerprint(run, CLEAN).files)
    change(tree, Path(unsampled).name)
    score(model, tree, run.folder)  # the sample is unchanged
    with pytest.raises(RunMismatchError, match=r"at least one differs\. Choose another") as error:
        score(model, tree, run.folder, verify_data=True)
    first, _, last = one_line(error).partition("of n")[2].partition(",")[0].partition(" to ")
    assert f"n{first}" <= unsampled <= last


def test_a_run_of_the_format_before_is_continued_with_a_note(
    model: str, photos: Path, processed: Path, tmp_path: Path
) -> None:
    out = half_done(model, photos, tmp_path / "run").folder
    age(open_run(out))
    key, told = open_run(out).key, NullProgress()
    run = score(model, photos, out, progress=told)
    assert run.key == key
    assert run.manifest.schema == 6
    assert any("was started by an older version, which did not record" in n for n in told.notes)
    assert not fingerprint_path(run, CLEAN).exists()
    with pytest.raises(RunMismatchError, match="at least one differs"):
        score(model, processed, out, verify_data=True)
    (note,) = (
        n for n in evaluator.compare(out, score(model, photos, tmp_path / "new").folder).notes
    )
    assert "whether A and B read the same files of ImageNet validation is not known" in note
    # What was compared whole is known from then on.
    score(model, photos, out, verify_data=True)
    with pytest.raises(RunMismatchError, match=r"000\.png differs"):
        score(model, processed, out)


def test_a_new_condition_of_an_old_run_has_the_note_too(
    large_model: str, corrupted: dict[str, Path], tmp_path: Path
) -> None:
    options: dict[str, Any] = {"benchmark": "imagenet-c", "out": tmp_path / "run"}
    age(score(large_model, corrupted["first"], corruptions=["fog"], **options))
    told = NullProgress()
    score(large_model, corrupted["first"], corruptions=["snow"], progress=told, **options)
    assert any("was started by an older version, which did not record" in n for n in told.notes)


def test_a_fingerprint_that_is_missing_or_edited_is_named(
    model: str, photos: Path, tmp_path: Path
) -> None:
    run = score(model, photos, tmp_path / "run", limit=2)
    path = fingerprint_path(run, CLEAN)
    document = json.loads(path.read_text())
    path.unlink()
    with pytest.raises(InputError, match=r"fingerprint\.json is missing\. It describes") as error:
        score(model, photos, run.folder, limit=2)
    assert "repeat the command with --verify-data" in one_line(error)
    score(model, photos, run.folder, limit=2, verify_data=True)
    assert json.loads(path.read_text()) == document
    document["files"] = dict.fromkeys(document["files"], "0" * 64)
    path.write_text(json.dumps(document))
    with pytest.raises(InputError, match=r"fingerprint\.json was edited"):
        score(model, photos, run.folder, limit=2)


def test_a_file_that_could_not_be_read_is_not_compared(
    large_model: str, corrupted: dict[str, Path], tmp_path: Path
) -> None:
    tree = Path(shutil.copytree(corrupted["first"], tmp_path / "tree"))
    lost, name = tree / "fog/1/n01440764/000.png", "n01440764/000.png"
    lost.unlink()
    options = {"benchmark": "imagenet-c", "on_error": "skip", "corruptions": ["fog"]}
    run = score(large_model, tree, tmp_path / "run", **options)
    sample = read_fingerprint(run, FOG).files
    assert sample[name] is None
    assert [digest is None for digest in sample.values()].count(True) == 1
    shutil.copy(corrupted["second"] / "fog/1" / name, lost)
    assert score(large_model, tree, run.folder, **options).folder == run.folder


@pytest.mark.parametrize("on_error", ["fail", "skip"])
def test_a_damaged_file_may_be_repaired(
    model: str, photos: Path, tmp_path: Path, on_error: str
) -> None:
    tree = Path(shutil.copytree(photos, tmp_path / "tree"))
    damaged = tree / "n01440764/000.png"
    whole = damaged.read_bytes()
    damaged.write_bytes(whole[:99])
    run, options = tmp_path / "run", {"on_error": on_error, "batch_size": 4}
    if on_error == "fail":
        with pytest.raises(ImageError, match=r"000\.png"):
            score(model, tree, run, **options)
    else:
        score(model, tree, run, **options)
        damaged.write_bytes(whole)
        skipped = run / "records/part-00000.parquet"
        with pytest.raises(
            RunMismatchError, match=rf"if they have been repaired, remove {skipped}"
        ):
            score(model, tree, run, verify_data=True, **options)
        skipped.unlink()  # as the note about skipped images says as well
    assert read_fingerprint(open_run(run), CLEAN).files["n01440764/000.png"] is None
    damaged.write_bytes(whole)
    repaired = score(model, tree, run, **options)
    assert records(repaired) == records(score(model, photos, tmp_path / "whole", batch_size=4))


def test_a_file_that_is_damaged_later_is_no_other_image(
    model: str, photos: Path, tmp_path: Path
) -> None:
    tree = Path(shutil.copytree(photos, tmp_path / "tree"))
    run = half_done(model, tree, tmp_path / "run")
    damaged = tree / "n01440764/000.png"
    damaged.write_bytes(damaged.read_bytes()[:99])
    score(model, tree, run.folder, on_error="skip")
    assert records(run)[0]["error"]


def test_what_another_process_made_of_other_images_is_refused_at_the_end(
    model: str, photos: Path, processed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "run"

    def after_another_process(*given: Any, **more: Any) -> None:
        monkeypatch.undo()
        score(model, photos, out)  # every shard, while this process waits
        run_shards(*given, **more)

    monkeypatch.setattr("evaluator.workflow.runs.complete.run_shards", after_another_process)
    with pytest.raises(RunMismatchError, match=r"000\.png differs"):
        score(model, processed, out)
    assert records(open_run(out)) == records(score(model, photos, tmp_path / "undisturbed"))


def test_of_processes_that_begin_a_condition_at_once_the_first_decides(
    model: str, photos: Path, processed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = score(model, photos, tmp_path / "run")
    recorded = read_fingerprint(run, CLEAN)
    shutil.rmtree(run.folder)

    def after_another_process(there: Run, condition: Condition, mine: Any) -> None:
        begin_fingerprint(there, condition, recorded)
        begin_fingerprint(there, condition, mine)

    monkeypatch.setattr("evaluator.workflow.runs.run_data.begin_fingerprint", after_another_process)
    with pytest.raises(RunMismatchError, match=r"000\.png differs"):
        score(model, processed, run.folder)
    assert not list(run.folder.glob("records/**/*.parquet"))


def test_what_a_killed_process_had_half_written_is_removed(
    model: str, photos: Path, tmp_path: Path
) -> None:
    run = half_done(model, photos, tmp_path / "run")
    leftover = run.folder / "fingerprints/.fingerprint.json.0123abcd.tmp"
    leftover.write_text("{")
    score(model, photos, run.folder)
    assert not leftover.exists()


def test_images_of_which_nothing_was_made_do_not_bind_a_run(
    model: str, photos: Path, processed: Path, tmp_path: Path
) -> None:
    run = score(model, photos, tmp_path / "run")
    shutil.rmtree(run.folder / "records")  # as if it had been interrupted at once
    again = score(model, processed, run.folder)
    assert records(again) == records(score(model, processed, tmp_path / "fresh"))


def test_a_run_is_found_again_although_the_one_before_it_was_removed(
    model: str, photos: Path, processed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    first, second = score(model, photos, None), score(model, processed, None)
    shutil.rmtree(first.folder)
    assert score(model, processed, None).folder == second.folder
    assert score(model, photos, None).folder == first.folder


def test_a_tree_of_damaged_files_is_not_that_of_a_run(
    model: str, photos: Path, tmp_path: Path
) -> None:
    run = score(model, photos, tmp_path / "run")
    pointers = Path(shutil.copytree(photos, tmp_path / "pointers"))
    for path in pointers.rglob("*.png"):
        path.write_text("version https://git-lfs.github.com/spec/v1")
    with pytest.raises(RunMismatchError, match=r"000\.png differs"):
        score(model, pointers, run.folder)


def test_a_report_says_which_of_several_clean_runs_it_took(
    large_model: str, photos: Path, processed: Path, corrupted: dict[str, Path], tmp_path: Path
) -> None:
    for tree in (photos, processed):
        score(large_model, tree, tmp_path / f"runs/{tree.name}", limit=2)
    cells = score(
        large_model, corrupted["first"], tmp_path / "runs/cells", benchmark="imagenet-c"
    ).folder
    (note,) = evaluator.report(tmp_path / "runs").notes
    assert note.startswith(
        f"the clean errors that {cells} is compared with are those of {tmp_path}/runs/photos; of "
        f"other images are {tmp_path}/runs/processed."
    )
    shutil.rmtree(tmp_path / "runs/processed")
    assert not evaluator.report(tmp_path / "runs").notes


def test_a_comparison_says_that_the_images_differ(
    model: str, photos: Path, processed: Path, tmp_path: Path
) -> None:
    other = small.small_bundle(tmp_path / "other", seed=1)
    a = score(model, photos, tmp_path / "a", batch_size=4)
    b = score(str(other.folder), processed, tmp_path / "b", batch_size=8)  # other shards
    (note,) = (
        n for n in evaluator.compare(a.folder, b.folder).notes if "read different files" in n
    )
    assert "under the same names, first n01440764/000.png" in note
