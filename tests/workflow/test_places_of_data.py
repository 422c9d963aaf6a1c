"""The same images in folders, in tar files and in both: one run, whatever they lie in."""

import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.dataset
import pytest
from PIL import Image

import evaluator
from evaluator.contracts import NullProgress, Provenance, Run
from evaluator.errors import InputError, RunMismatchError
from evaluator.evaluate.benchmarks.imagenet import IMAGENET
from evaluator.evaluate.benchmarks.imagenet_c import IMAGENET_C
from evaluator.evaluate.sources.generated_marker import COMMENT
from evaluator.records.reading import read_run
from evaluator.records.run import key_sha256
from evaluator.tests import small_bundle as small

CELLS = ("fog/1", "fog/2", "snow/1")


@pytest.fixture(scope="module")
def tree(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Photos at 224 pixels under three conditions, each turned another way."""
    root = tmp_path_factory.mktemp("tree")
    for turns, cell in enumerate(CELLS):
        for photo in sorted(photos.rglob("*.JPEG"))[:9]:
            path = root / cell / photo.parent.name / photo.name
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.open(photo).convert("RGB").resize((224, 224)).rotate(90 * turns).save(path)
    return root


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A small network for stimuli of 224 pixels."""
    folder = tmp_path_factory.mktemp("bundle") / "small"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(small, "CROP_PX", 224)
        small.small_bundle(folder, convolutions=1)
    return str(folder)


def packed(tar: Path, root: Path, *what: str, prefix: str = "") -> Path:
    """A tar of some of a tree."""
    tar.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(tar, "w") as file:
        for name in what:
            file.add(root / name, prefix + name)
    return tar


Pack = Callable[[Path, Path], list[Path]]


def as_tars(tree: Path, place: Path) -> list[Path]:
    return [
        packed(place / "fog.tar", tree, "fog", prefix="imagenet-c/weather/"),
        packed(place / "snow.tar", tree, "snow", prefix="./"),
    ]


def as_one_tar(tree: Path, place: Path) -> list[Path]:
    return [packed(place / "all.tar", tree, *CELLS)]


def as_folder_of_tars(tree: Path, place: Path) -> list[Path]:
    as_tars(tree, place)
    return [place]


def as_folder_with_a_tar(tree: Path, place: Path) -> list[Path]:
    packed(place / "snow.tar", tree, "snow")
    shutil.copytree(tree / "fog", place / "weather" / "fog")
    return [place]


def as_tar_and_folder(tree: Path, place: Path) -> list[Path]:
    shutil.copytree(tree / "fog" / "2", place / "folder" / "fog" / "2")
    return [packed(place / "some.tar", tree, "fog/1", "snow"), place / "folder"]


def score(model: str, data: list[Path] | Path, out: Path, **more: object) -> Run:
    arguments = {"out": out, "parity": False, "engine": "onnxruntime", "batch_size": 4, **more}
    return evaluator.score(model, "imagenet-c", data, **arguments)  # type: ignore[arg-type]


def records(run: Run) -> pa.Table:
    found = pyarrow.dataset.dataset(run.folder / "records", partitioning="hive").to_table()
    return found.sort_by([(name, "ascending") for name in ("corruption", "severity", "id")])


def provenance(run: Run) -> list[Provenance]:
    return list(read_run(run, IMAGENET_C.conditions).provenance)


@pytest.fixture(scope="module")
def expected(model: str, tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return score(model, tree, tmp_path_factory.mktemp("runs") / "run")


@pytest.mark.parametrize(
    "pack", [as_tars, as_one_tar, as_folder_of_tars, as_folder_with_a_tar, as_tar_and_folder]
)
def test_folders_tars_and_mixtures_are_one_run_with_the_same_records(
    model: str, tree: Path, expected: Run, tmp_path: Path, pack: Pack
) -> None:
    data = pack(tree, tmp_path / "data")
    run = score(model, data, tmp_path / "run")
    assert key_sha256(run.key) == key_sha256(expected.key)
    assert records(run) == records(expected)
    assert records(run).num_rows == 27
    read = [{made.data_sha256 for made in provenance(each)} for each in (run, expected)]
    assert read[0] == read[1]  # the very same bytes
    assert {made.data for made in provenance(run)} == {tuple(map(str, data))}


def test_a_run_that_was_begun_on_folders_goes_on_from_tars(
    model: str, tree: Path, expected: Run, tmp_path: Path
) -> None:
    first = score(model, tree, tmp_path / "run", severities=[2])
    assert records(first).num_rows == 9
    data = as_tars(tree, tmp_path / "data")
    run = score(model, data, tmp_path / "run")
    assert records(run) == records(expected)
    assert {made.data for made in provenance(run)} == {(str(tree),), tuple(map(str, data))}


def test_the_command_that_completes_a_run_names_all_its_data(
    model: str, tree: Path, tmp_path: Path
) -> None:
    data = as_tars(tree, tmp_path / "some data")
    run = score(model, data, tmp_path / "run", severities=[1])
    reason = next(score.reason for score in evaluator.report(run.folder).scores if score.reason)
    assert f"--data '{data[0]}' --data '{data[1]}' --out" in reason


def test_a_condition_in_a_folder_and_a_tar_is_refused_with_both_places(
    model: str, tree: Path, tmp_path: Path
) -> None:
    tar = packed(tmp_path / "snow.tar", tree, "snow")
    with pytest.raises(InputError, match="snow, severity=1 exists twice") as raised:
        score(model, [tree, tar], tmp_path / "run")
    assert str(tree / "snow" / "1") in str(raised.value)
    assert f"{tar}: snow/1" in str(raised.value)
    assert not (tmp_path / "run").exists()


# ----------------------------------------------------------------------------- generated data


@pytest.fixture
def made(tree: Path, tmp_path: Path) -> Path:
    """The tree as if it had been generated."""
    root = tmp_path / "made"
    for path in tree.rglob("*.JPEG"):
        target = root / path.relative_to(tree)
        target.parent.mkdir(parents=True, exist_ok=True)
        Image.open(path).save(target, comment=COMMENT)
    (root / "generated.json").write_text('{"seed": 3}')
    return root


@pytest.mark.parametrize("prefix", ["", "deep/down/"])
def test_the_mark_of_generated_data_counts_inside_a_tar(
    model: str, made: Path, tmp_path: Path, prefix: str
) -> None:
    tar = packed(tmp_path / "x.tar", made, "generated.json", *CELLS, prefix=prefix)
    from_folder = score(model, made, tmp_path / "one")
    from_tar = score(model, tar, tmp_path / "other")
    assert from_tar.key.generated == {"seed": 3}
    assert key_sha256(from_tar.key) == key_sha256(from_folder.key)


def test_a_mark_beside_a_tar_counts_too(model: str, made: Path, tmp_path: Path) -> None:
    tar = packed(made / "x.tar", made, *CELLS)
    assert score(model, tar, tmp_path / "run").key.generated == {"seed": 3}


def test_generated_images_in_a_tar_without_their_mark_are_refused(
    model: str, made: Path, tmp_path: Path
) -> None:
    tar = packed(tmp_path / "x.tar", made, *CELLS)
    with pytest.raises(InputError, match="its tar has no generated") as raised:
        score(model, tar, tmp_path / "run")
    assert f"{tar}: snow/1/" in str(raised.value)


def test_generated_and_original_data_are_not_mixed(
    model: str, made: Path, tree: Path, tmp_path: Path
) -> None:
    tars = [
        packed(tmp_path / "a.tar", made, "generated.json", "fog"),
        packed(tmp_path / "b.tar", tree, "snow"),
    ]
    with pytest.raises(InputError, match="mixes data") as raised:
        score(model, tars, tmp_path / "run")
    assert f"{tars[0]}: generated.json" in str(raised.value)


def test_a_mark_in_a_tar_that_cannot_be_read_is_named(
    model: str, made: Path, tmp_path: Path
) -> None:
    (made / "generated.json").write_text("{")
    tar = packed(tmp_path / "x.tar", made, "generated.json", *CELLS)
    with pytest.raises(InputError, match=r"x.tar: generated.json cannot be read"):
        score(model, tar, tmp_path / "run")


# ----------------------------------------------------------------------------- flat validation set


def test_flat_validation_images_continue_a_run_on_class_folders(
    photos: Path, tmp_path: Path
) -> None:
    small.small_bundle(tmp_path / "small")
    folders, flat, rows = tmp_path / "folders", tmp_path / "flat", []
    flat.mkdir()
    for number, photo in enumerate(sorted(photos.rglob("*.JPEG"))[:6], 1):
        name = f"ILSVRC2012_val_{number:08d}.JPEG"
        (folders / photo.parent.name).mkdir(parents=True, exist_ok=True)
        shutil.copy(photo, folders / photo.parent.name / name)
        shutil.copy(photo, flat / name)
        rows.append(f"{name} {photo.parent.name}\n")
    labels = tmp_path / "list.txt"
    labels.write_text("".join(rows))

    def scored(data: Path, out: str, **more: object) -> Run:
        arguments = {"out": tmp_path / out, "parity": False, "engine": "onnxruntime", **more}
        return evaluator.score(str(tmp_path / "small"), "imagenet", data, **arguments)  # type: ignore[arg-type]

    one, other = scored(folders, "one"), scored(flat, "other", labels=labels)
    assert key_sha256(one.key) == key_sha256(other.key)
    tables = [read_run(run, IMAGENET.conditions) for run in (one, other)]
    assert tables[0].finished == tables[1].finished
    assert {made.labels for made in tables[1].provenance} == {str(labels)}
    with pytest.raises(InputError, match="Give --labels FILE"):
        scored(flat, "one")


def test_another_set_of_images_is_another_run(model: str, tree: Path, tmp_path: Path) -> None:
    run = score(model, tree, tmp_path / "run")
    other = tmp_path / "other"
    shutil.copytree(tree, other)
    for cell in CELLS:
        next((other / cell).rglob("*.JPEG")).unlink()
    with pytest.raises(RunMismatchError, match="ids_sha256"):
        score(model, packed(tmp_path / "x.tar", other, *CELLS), run.folder, progress=NullProgress())


def test_a_place_that_holds_nothing_of_what_is_scored_is_named(
    model: str, tree: Path, tmp_path: Path
) -> None:
    # `tree/fog` holds 1, 2 and no corruption: given by itself it would be refused as well.
    with pytest.raises(InputError, match=r"fog holds no data of this benchmark\. .*gaussian_noise"):
        score(model, [tree, tree / "fog"], tmp_path / "run")
    assert not (tmp_path / "run").exists()
