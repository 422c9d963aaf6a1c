import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from evaluator.contracts import Condition
from evaluator.errors import OutputError, UnavailableError
from evaluator.evaluate.classes import class_index
from evaluator.evaluate.generate.photos import sample_photos, shipped_photos
from evaluator.evaluate.sources.folder import FolderSource

# The last number in the name of each of foolbox's files, in the order of their first.
LABELS = (
    *(243, 559, 438, 990, 949, 853, 609, 609, 915, 455),
    *(541, 630, 741, 471, 129, 99, 251, 22, 317, 305),
)


def files_below(folder: Path) -> dict[str, bytes]:
    return {
        str(file.relative_to(folder)): file.read_bytes()
        for file in folder.rglob("*")
        if file.is_file()
    }


def test_there_are_twenty_photos_labelled_as_their_files_say() -> None:
    photos = shipped_photos()
    named = sorted((photo.path.name, photo.label) for photo in photos)
    assert named == [(f"imagenet_{n:02d}_{label}.jpg", label) for n, label in enumerate(LABELS)]
    assert [photo.id for photo in photos] == sorted({photo.id for photo in photos})


def test_a_photo_lies_in_the_folder_of_its_label() -> None:
    for photo in shipped_photos():
        assert class_index()[photo.id.split("/")[0]] == photo.label
    known = {22: "n01614925", 99: "n01855672", 129: "n02006656", 251: "n02110341"}
    found = {photo.label: photo.id.split("/")[0] for photo in shipped_photos()}
    assert found.items() >= known.items()


def test_every_photo_is_a_whole_jpeg_of_a_photos_size() -> None:
    for photo in shipped_photos():
        with Image.open(photo.path) as image:
            assert image.format == "JPEG"
            assert min(image.convert("RGB").size) >= 224


def test_the_photos_are_found_without_importing_foolbox_or_a_framework() -> None:
    code = (
        "import sys; from evaluator.evaluate.generate.photos import shipped_photos\n"
        "assert len(shipped_photos()) == 20\n"
        "print(sorted({'foolbox', 'torch', 'eagerpy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("[]\n", "")


def test_without_foolbox_the_error_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UnavailableError, match=r"pip install .*foolbox.*--data") as raised:
        shipped_photos()
    assert str(raised.value).isprintable()


def test_the_written_sample_has_the_same_bytes_and_writing_again_changes_nothing(
    tmp_path: Path,
) -> None:
    expected = {photo.id: photo.path.read_bytes() for photo in shipped_photos()}
    for _ in range(2):
        assert sample_photos(tmp_path / "a" / "sample") == 20
        assert files_below(tmp_path) == {f"a/sample/{id_}": d for id_, d in expected.items()}


def test_the_written_sample_is_a_tree_that_a_source_reads(tmp_path: Path) -> None:
    sample_photos(tmp_path)
    items = FolderSource(tmp_path, [Condition()]).items(Condition())
    assert [(i.id, i.label) for i in items] == [(p.id, p.label) for p in shipped_photos()]


@pytest.mark.parametrize("in_the_way", ["sample", "sample/n02110341"])
def test_a_file_in_the_way_is_an_output_error_that_names_the_place(
    tmp_path: Path, in_the_way: str
) -> None:
    obstacle = tmp_path / in_the_way
    obstacle.parent.mkdir(exist_ok=True)
    obstacle.write_bytes(b"mine")
    with pytest.raises(OutputError) as raised:
        sample_photos(tmp_path / "sample")
    assert str(obstacle) in str(raised.value)
    assert str(raised.value).isprintable()
    assert obstacle.read_bytes() == b"mine"


@pytest.mark.parametrize("theirs", ["notes.txt", "n02110341/mine.JPEG", "n01440764/a.JPEG"])
def test_photos_are_not_mixed_with_the_files_of_others(tmp_path: Path, theirs: str) -> None:
    sample_photos(tmp_path / "whole")
    file = tmp_path / "data" / theirs
    file.parent.mkdir(parents=True)
    file.write_bytes(b"mine")
    with pytest.raises(OutputError, match=f"data/{theirs} is not a sample photo"):
        sample_photos(tmp_path / "data")
    assert files_below(tmp_path / "data") == {theirs: b"mine"}


def test_a_call_that_was_killed_is_repeated(tmp_path: Path) -> None:
    sample_photos(tmp_path)
    photo = sorted(tmp_path.rglob("*.JPEG"))[3]
    photo.rename(photo.with_name(f".{photo.name}.01234567.tmp"))
    assert sample_photos(tmp_path) == 20
    assert photo.is_file()
