"""Runs: what they are bound to, how they continue, and what is refused."""

import json
import shutil
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

import evaluator
from evaluator.contracts import Bundle, NullProgress, Run
from evaluator.errors import InputError, ParityError, RunMismatchError, UnavailableError
from evaluator.tests.toy import TOY

CELLS: dict[str, list[Any]] = {"corruptions": ["fog", "contrast"], "severities": [1, 5]}


@pytest.fixture
def photos(three_photos: Path) -> Path:
    """Three are as good as twenty here."""
    return three_photos


@pytest.fixture
def corrupted(three_corrupted: Path) -> Path:
    return three_corrupted


def rows(run: Run) -> dict[str, list[dict[str, object]]]:
    """The rows of each condition, whatever files they lie in."""
    found: dict[str, list[dict[str, object]]] = {}
    for path in sorted(run.folder.rglob("*.parquet")):
        table = pq.read_table(path, partitioning=None)
        found.setdefault(str(path.parent.relative_to(run.folder)), []).extend(table.to_pylist())
    return found


def score(data: Path, out: Path, **more: object) -> Run:
    arguments = {"engine": "onnxruntime", "out": out, **more}
    return evaluator.score("efficientnet_lite0", "imagenet-c", data, **arguments)  # type: ignore[arg-type]


def test_a_killed_run_ends_with_the_rows_of_an_undisturbed_one(
    bundle: Bundle, corrupted: Path, tmp_path: Path
) -> None:
    whole = score(corrupted, tmp_path / "whole", **CELLS)
    begun = score(corrupted, tmp_path / "begun", corruptions=["fog"], severities=[1])
    assert len(rows(begun)) < len(rows(whole))
    # What a kill leaves: a shard that is missing, and a file that was never renamed.
    first = next(begun.folder.rglob("*.parquet"))
    (first.parent / f".{first.name}.12345678.tmp").write_bytes(b"half")
    first.unlink()
    ended = score(corrupted, tmp_path / "begun", **CELLS)
    assert rows(ended) == rows(whole)


def test_what_is_scored_is_not_scored_again(
    bundle: Bundle, corrupted: Path, tmp_path: Path
) -> None:
    run = score(corrupted, tmp_path / "run", **CELLS)
    times = {path: path.stat().st_mtime_ns for path in run.folder.rglob("*.parquet")}
    manifest = (run.folder / "run.json").read_bytes()
    score(corrupted, tmp_path / "run", **CELLS)
    assert {p: p.stat().st_mtime_ns for p in run.folder.rglob("*.parquet")} == times
    assert (run.folder / "run.json").read_bytes() == manifest


def test_work_of_another_identity_is_refused_and_named(
    bundle: Bundle, corrupted: Path, tmp_path: Path
) -> None:
    one = {"corruptions": ["fog"], "severities": [1]}
    score(corrupted, tmp_path / "run", limit=2, **one)
    with pytest.raises(RunMismatchError, match=r"limit is 2 there, none here"):
        score(corrupted, tmp_path / "run", **one)
    with pytest.raises(RunMismatchError, match=r"engine\.backend is onnxruntime there, torch here"):
        score(corrupted, tmp_path / "run", limit=2, engine="torch", **one)
    with pytest.raises(InputError, match=r"was started with --batch-size 4.*got 2"):
        score(corrupted, tmp_path / "run", limit=2, batch_size=2, **one)


def test_data_with_other_ids_or_another_making_is_another_run(
    bundle: Bundle, corrupted: Path, tmp_path: Path
) -> None:
    one = {"corruptions": ["fog"], "severities": [1]}
    score(corrupted, tmp_path / "run", **one)
    tree = tmp_path / "tree"
    shutil.copytree(corrupted / "fog", tree / "fog")
    shutil.copy(corrupted / "generated.json", tree)
    # The same ids and the same making from another folder: the same run.
    score(tree, tmp_path / "run", **one)
    content = json.loads((tree / "generated.json").read_text())
    (tree / "generated.json").write_text(json.dumps({**content, "seed": 1}))
    with pytest.raises(RunMismatchError, match=r"generated\.seed is 0 there, 1 here"):
        score(tree, tmp_path / "run", **one)
    (tree / "generated.json").write_text(json.dumps(content))
    for severity in range(1, 6):
        sorted((tree / "fog" / str(severity)).rglob("*.JPEG"))[0].unlink()
    with pytest.raises(RunMismatchError, match=r"ids_sha256 is"):
        score(tree, tmp_path / "run", **one)


def test_generated_data_that_lost_their_mark_are_refused(corrupted: Path, tmp_path: Path) -> None:
    shutil.copytree(corrupted / "fog", tmp_path / "tree" / "fog")
    with pytest.raises(InputError, match=r"made by `evaluator data corrupt`.* no generated\.json"):
        score(tmp_path / "tree", tmp_path / "run")
    clean = (tmp_path / "tree" / "fog" / "3").rename(tmp_path / "val")
    with pytest.raises(InputError, match=r"val/n\d+/.* no generated\.json"):
        evaluator.score("efficientnet_lite0", "imagenet", clean)
    assert not (tmp_path / "run").exists()


def test_a_limit_takes_the_same_evenly_spaced_images_in_every_condition(
    bundle: Bundle, corrupted: Path, tmp_path: Path
) -> None:
    tree = tmp_path / "tree"
    for name in CELLS["corruptions"]:
        shutil.copytree(corrupted / name, tree / name)
    shutil.copy(corrupted / "generated.json", tree)
    for photo in sorted(tree.rglob("*.JPEG")):
        for number in range(3):
            shutil.copy(photo, photo.with_stem(f"{photo.stem}-{number}"))
    run = score(tree, tmp_path / "run", limit=4, **CELLS)
    taken = {name: [row["id"] for row in found] for name, found in rows(run).items()}
    assert len(taken) == 4
    everything = sorted(
        f"{path.parent.name}/{path.name}" for path in (tree / "fog" / "1").rglob("*.JPEG")
    )
    assert len(everything) == 12
    assert all(ids == everything[::3] for ids in taken.values())


def test_paths_may_be_words(bundle: Bundle, photos: Path, tmp_path: Path) -> None:
    run = evaluator.score(
        "efficientnet_lite0", "imagenet", str(photos), engine="onnxruntime", out=str(tmp_path / "r")
    )
    assert run.folder == tmp_path / "r"
    assert evaluator.sample_photos(str(tmp_path / "photos")) == 20
    made = evaluator.corrupt_photos(
        str(photos), str(tmp_path / "c"), corruptions=["contrast"], severities=[1]
    )
    assert made == 3


def test_the_default_folder_is_named_after_the_key(
    bundle: Bundle, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run = evaluator.score("efficientnet_lite0", "imagenet", photos, engine="onnxruntime")
    assert run.folder.parent == Path("runs/efficientnet_lite0")
    assert run.folder.name.startswith("imagenet-")
    assert len(run.folder.name) == len("imagenet-") + 8
    again = evaluator.score("efficientnet_lite0", "imagenet", photos, engine="onnxruntime", limit=2)
    assert again.folder != run.folder


def test_without_a_word_the_engine_is_the_existing_runs(
    bundle: Bundle, photos: Path, tmp_path: Path
) -> None:
    run = evaluator.score("efficientnet_lite0", "imagenet", photos, engine="torch", out=tmp_path)
    next(run.folder.rglob("*.parquet")).unlink()
    heard = NullProgress()
    evaluator.score("efficientnet_lite0", "imagenet", photos, out=tmp_path, progress=heard)
    assert any("Engine: torch on cpu" in note for note in heard.notes)


def test_without_a_word_the_best_engine_is_taken_and_told(
    bundle: Bundle, photos: Path, tmp_path: Path
) -> None:
    heard = NullProgress()
    run = evaluator.score(str(bundle.folder), "imagenet", photos, out=tmp_path, progress=heard)
    assert run.key.engine.backend == "onnxruntime"
    assert any("Engine: onnxruntime on" in n and "parity passed" in n for n in heard.notes)


def test_a_missing_condition_that_is_asked_for_is_named(
    bundle: Bundle, corrupted: Path, tmp_path: Path
) -> None:
    tree = tmp_path / "tree"
    shutil.copytree(corrupted / "fog" / "1", tree / "fog" / "1")
    shutil.copy(corrupted / "generated.json", tree)
    with pytest.raises(InputError, match=r"no folder for corruption snow"):
        score(tree, tmp_path / "run", corruptions=["fog", "snow"])
    with pytest.raises(InputError, match=r"no folder for corruption=snow, severity=1"):
        score(tree, tmp_path / "run", corruptions=["snow"])
    with pytest.raises(InputError, match=r"no folder for severity 2"):
        score(tree, tmp_path / "run", severities=[1, 2])
    with pytest.raises(InputError, match=r"no corruption 'mist'. Expected gaussian_noise"):
        score(tree, tmp_path / "run", corruptions=["mist"])
    with pytest.raises(InputError, match=r"no severity 6"):
        score(tree, tmp_path / "run", severities=[6])
    with pytest.raises(InputError, match=r"Expected <corruption>/<severity>/n01440764/ILSVRC"):
        score(corrupted / "fog", tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "wanted", [{"severities": []}, {"corruptions": ()}, {"corruptions": "fog"}]
)
def test_a_list_that_names_no_condition_is_refused(
    corrupted: Path, tmp_path: Path, wanted: dict[str, object]
) -> None:
    with pytest.raises(InputError, match=r"Expected a list of .* values, got"):
        score(corrupted, tmp_path / "run", **wanted)
    assert not (tmp_path / "run").exists()


def test_a_partial_tree_is_scored_and_its_mean_refused_with_the_command(
    bundle: Bundle, corrupted: Path, tmp_path: Path
) -> None:
    tree = tmp_path / "tree"
    for name in ("fog", "snow"):
        shutil.copytree(corrupted / name, tree / name)
    shutil.copy(corrupted / "generated.json", tree)
    shutil.rmtree(tree / "snow" / "2")
    heard = NullProgress()
    run = score(tree, tmp_path / "run", progress=heard)
    assert any("66 of 75 conditions are not in the data" in note for note in heard.notes)
    assert any("3 images of ImageNet-C in 9 conditions, into" in note for note in heard.notes)
    report = evaluator.report([run.folder])
    by_metric = {s.metric: s for s in report.scores if s.corruption is None}
    assert by_metric["mce"].value is None
    reason = str(by_metric["mce"].reason)
    assert reason.startswith("66 of 75 cells are missing: gaussian_noise, ")
    assert "snow at severity 2" in reason
    assert (
        f"evaluator score efficientnet_lite0 imagenet-c --data {tree} --out {run.folder}" in reason
    )
    assert "mean error, mCE, relative mCE refused: 66 of 75 cells" in report.markdown()
    ce = {s.corruption: s.value for s in report.scores if s.metric == "ce"}
    assert ce["fog"] is not None
    assert ce["snow"] is None


def test_a_condition_that_lacks_images_is_named(
    bundle: Bundle, corrupted: Path, tmp_path: Path
) -> None:
    tree = tmp_path / "tree"
    shutil.copytree(corrupted / "fog", tree / "fog")
    shutil.copy(corrupted / "generated.json", tree)
    (photo := sorted((tree / "fog" / "3").rglob("*.JPEG"))[1]).unlink()
    name = photo.relative_to(tree / "fog" / "3")
    with pytest.raises(InputError, match=rf"severity=3 lacks 1 of 3 images, first {name}"):
        score(tree, tmp_path / "run")
    score(tree, tmp_path / "run", severities=[1])


def test_a_model_of_another_crop_is_told_how_to_take_stored_stimuli(
    corrupted: Path, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=r"takes 299 px.*stored at 224 px.*--crop-px 224"):
        evaluator.score(
            "torchvision:inception_v3", "imagenet-c", corrupted, weights="random", out=tmp_path
        )


def test_a_changed_crop_marks_the_bundle_and_every_number(photos: Path, tmp_path: Path) -> None:
    exported = evaluator.export_model(
        TOY, weights="random", crop_px=64, out=tmp_path / "bundle", data=photos
    )
    assert exported.bundle.model.spec.preprocessing.crop_px == 64
    assert exported.bundle.model.spec.preprocessing.resize_px == 73
    assert exported.bundle.model.spec.trained_crop_px == 224
    run = evaluator.score(
        str(tmp_path / "bundle"), "imagenet", photos, engine="onnxruntime", out=tmp_path / "run"
    )
    report = evaluator.report([run.folder])
    assert all(score.crop_px == 64 for score in report.scores)
    assert "another crop than the model was trained with" in report.markdown()


def test_cuda_without_a_gpu_is_an_error(bundle: Bundle, photos: Path, tmp_path: Path) -> None:
    for engine in ("onnxruntime", "torch", None):
        with pytest.raises(UnavailableError, match=r"cuda:63 was asked for"):
            evaluator.score(
                "efficientnet_lite0",
                "imagenet",
                photos,
                engine=engine,
                device="cuda:63",
                out=tmp_path / "run",
            )
    assert not (tmp_path / "run").exists()


def test_an_image_that_breaks_ends_the_run_with_its_name_and_keeps_the_rest(
    bundle: Bundle, corrupted: Path, tmp_path: Path
) -> None:
    tree = tmp_path / "tree"
    shutil.copytree(corrupted / "fog", tree / "fog")
    shutil.copy(corrupted / "generated.json", tree)
    victim = sorted((tree / "fog" / "4").rglob("*.JPEG"))[1]
    data = victim.read_bytes()
    victim.write_bytes(data[: len(data) // 2])
    for engine in ("onnxruntime", "torch"):
        with pytest.raises(InputError, match=rf"{victim.name} cannot be decoded: .*truncated"):
            score(tree, tmp_path / engine, engine=engine)
        assert any((tmp_path / engine).rglob("*.parquet"))


def test_scoring_on_an_engine_that_does_not_agree_is_refused_or_marked(
    faulty: Path, photos: Path, tmp_path: Path
) -> None:
    with pytest.raises(ParityError, match=r"does not agree with PyTorch.*--no-parity"):
        evaluator.score(str(faulty), "imagenet", photos, engine="onnxruntime", out=tmp_path / "run")
    assert not (tmp_path / "run").exists()
    run = evaluator.score(
        str(faulty), "imagenet", photos, engine="onnxruntime", out=tmp_path / "run", parity=False
    )
    report = evaluator.report([run.folder])
    assert {score.parity for score in report.scores} == {"failed"}
    assert "parity is not proved" in report.markdown()


def test_an_engine_that_nobody_named_is_passed_over_aloud(
    faulty: Path, photos: Path, tmp_path: Path
) -> None:
    heard = NullProgress()
    run = evaluator.score(
        str(faulty), "imagenet", photos, device="cpu", out=tmp_path / "run", progress=heard
    )
    assert run.key.engine.backend == "torch"
    assert any("onnxruntime on cpu" in n and "is not used" in n for n in heard.notes)


def test_waived_parity_that_was_never_measured_is_marked(
    bundle: Bundle, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EVALUATOR_CACHE", str(tmp_path / "empty"))
    run = evaluator.score(
        str(bundle.folder),
        "imagenet",
        photos,
        engine="onnxruntime",
        out=tmp_path / "r",
        parity=False,
    )
    assert {s.parity for s in evaluator.report([run.folder]).scores} == {"not checked"}
