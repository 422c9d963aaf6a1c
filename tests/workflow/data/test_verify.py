"""Verifying data: whatever is missing, damaged or out of place is found and named."""

import hashlib
import io
import json
import os
import shutil
import tarfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

import evaluator
from evaluator.errors import InputError
from evaluator.evaluate.classes import cue_conflict_stimuli, imagenet_a_index, wnids
from evaluator.storage.digest import Checksum
from evaluator.storage.hash_pins import Pin, write_pin
from evaluator.tests.command_line import error_of, run
from evaluator.tests.evaluate.sources import packed as packed_photos
from evaluator.tests.stimuli import tar_of
from evaluator.tests.stimuli import tree as stimuli_tree
from evaluator.workflow.data import expected, inventory, table
from evaluator.workflow.data.check import ConditionCheck, DataCheck
from evaluator.workflow.data.verify import verify_data

CLASSES = wnids()[:3]
ALL = [f"{CLASSES[n // 2]}/ILSVRC2012_val_{n + 1:08}.JPEG" for n in range(6)]
"""The images of a validation set of six, two of each of three classes."""


@pytest.fixture(autouse=True)
def _small_validation_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("EVALUATOR_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(expected, "VALIDATION_IMAGES", len(ALL))
    monkeypatch.setattr(inventory, "IMAGES_A_CLASS", 2)


@pytest.fixture(scope="module")
def jpeg(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("jpeg") / "image.JPEG"
    pixels = np.random.default_rng(0).integers(0, 256, (224, 224, 3), np.uint8)
    Image.fromarray(pixels).save(path, quality=20)
    return path


def class_folders(folder: Path, jpeg: Path) -> Path:
    for name in ALL:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        os.link(jpeg, folder / name)
    return folder


@pytest.fixture
def imagenet(tmp_path: Path, jpeg: Path) -> Path:
    return class_folders(tmp_path / "val", jpeg)


@pytest.fixture
def imagenet_c(tmp_path: Path, jpeg: Path) -> Path:
    """Fog and snow at two severities; the tests expect no more."""
    for corruption in ("fog", "snow"):
        for severity in (1, 2):
            class_folders(tmp_path / "c" / "weather" / corruption / str(severity), jpeg)
    return tmp_path / "c"


def check_c(path: Path, *, decode: bool = False) -> DataCheck:
    corruptions = ["fog", "snow"]
    return verify_data(path, corruptions=corruptions, severities=[1, 2], decode=decode)


def of(check: DataCheck, corruption: str, severity: int) -> ConditionCheck:
    values = (("corruption", corruption), ("severity", severity))
    (result,) = (c for c in check.conditions if c.condition.values == values)
    return result


def rewrite(path: Path, content: bytes) -> None:
    """Replace one file of a tree, whose files are links to one."""
    path.unlink()
    path.write_bytes(content)


@pytest.fixture(params=["folder", "tar"])
def packed(request: pytest.FixtureRequest) -> bool:
    return bool(request.param == "tar")


def place(folder: Path, packed: bool) -> Path:
    return tar_of(folder) if packed else folder


# ------------------------------------------------------------------------------ complete data


def test_complete_data_are_complete(imagenet: Path, imagenet_c: Path, packed: bool) -> None:
    check = evaluator.verify_data(place(imagenet, packed))
    assert (check.is_complete, check.title) == (True, "ImageNet validation")
    assert [(c.items, c.expected) for c in check.conditions] == [(6, 6)]
    check = check_c(place(imagenet_c, packed), decode=True)
    assert (check.is_complete, check.title, check.decoded) == (True, "ImageNet-C", True)
    assert check.verdict.startswith("Complete: ImageNet-C in ")


def test_classes_of_the_benchmark_without_images_are_noted(imagenet: Path) -> None:
    assert verify_data(imagenet).notes == (
        f"997 of 1,000 class folders have no images, first {wnids()[3]}",
    )


# ------------------------------------------------------------------------------ missing


def test_missing_images_and_conditions_are_named(imagenet_c: Path, packed: bool) -> None:
    (imagenet_c / "weather/fog/1" / ALL[3]).unlink()
    shutil.rmtree(imagenet_c / "weather/snow/2")
    check = check_c(place(imagenet_c, packed))
    assert not check.is_complete
    assert (of(check, "fog", 1).items, of(check, "fog", 1).missing) == (5, (ALL[3],))
    assert of(check, "snow", 2).missing == tuple(ALL)
    assert of(check, "fog", 2).is_complete
    assert check.verdict == (
        "Not complete: 7 images are missing; 1 of 4 conditions are missing; "
        "1 of 4 conditions lack images."
    )


def test_an_image_that_no_condition_has_is_missing(imagenet: Path) -> None:
    (imagenet / ALL[0]).unlink()
    (condition,) = verify_data(imagenet).conditions
    assert condition.missing == ("ILSVRC2012_val_00000001.JPEG",)


def test_conditions_that_are_not_expected_are_not_missing(imagenet_c: Path) -> None:
    assert len(verify_data(imagenet_c).conditions) == 75
    assert not verify_data(imagenet_c).is_complete
    with pytest.raises(InputError, match=r"ImageNet-C has no corruption 'rain'\. Expected gauss"):
        verify_data(imagenet_c, corruptions=["rain"])
    with pytest.raises(InputError, match="ImageNet-C has no perturbation"):
        verify_data(imagenet_c, perturbations=["tilt"])


def test_stimuli_are_counted_without_the_leftover(tmp_path: Path, jpeg: Path) -> None:
    folder = stimuli_tree(tmp_path / "cue", cue_conflict_stimuli(), png_of(jpeg), nested=True)
    check = verify_data(folder)
    assert (check.is_complete, check.title, check.notes) == (True, "Cue conflict", ())
    assert check.conditions[0].items == 1201
    (folder / "bicycle" / "bicycle6-bicycle3.png").unlink()
    (folder / "airplane" / "airplane1-bicycle2.png").unlink()
    check = verify_data(folder)
    assert check.conditions[0].missing == ("airplane1-bicycle2.png",)
    assert check.notes == (
        "without bicycle6-bicycle3.png there are no numbers over the paper's 1201 stimuli",
    )


def png_of(jpeg: Path) -> bytes:
    path = jpeg.with_suffix(".png")
    Image.open(jpeg).resize((224, 224)).save(path)
    return path.read_bytes()


def test_imagenet_a_is_counted(tmp_path: Path, jpeg: Path) -> None:
    for number, wnid in enumerate(imagenet_a_index()):
        (tmp_path / "a" / wnid).mkdir(parents=True)
        os.link(jpeg, tmp_path / "a" / wnid / f"0.{number}_x.jpg")
    check = verify_data(tmp_path / "a")
    assert (check.title, check.is_complete) == ("ImageNet-A", False)
    assert check.conditions[0].missing_count == 7300
    assert verify_data(tmp_path / "a", benchmark="imagenet").title == "ImageNet validation"


# ------------------------------------------------------------------------------ out of place


def test_what_should_not_be_there_is_reported_all_at_once(imagenet_c: Path, packed: bool) -> None:
    weather = imagenet_c / "weather"
    (weather / "fog/1/n99999999").mkdir()
    (weather / "fog/1/n99999999/x.JPEG").write_bytes(b"x")
    (weather / "fog/2" / CLASSES[0] / "notes.txt").write_bytes(b"x")
    (weather / "snow/1/x.JPEG").write_bytes(b"x")
    check = check_c(place(imagenet_c, packed))
    for words in ("n99999999 is not a class folder", "notes.txt is not an image", "not in a class"):
        assert any(words in problem for problem in check.problems)
    assert len(check.problems) == 3
    assert all(c.is_complete for c in check.conditions)


def test_an_image_in_another_class_is_reported(imagenet_c: Path, imagenet: Path) -> None:
    weather = imagenet_c / "weather"
    name = ALL[0].partition("/")[2]
    (weather / "fog/2" / ALL[0]).rename(weather / "fog/2" / CLASSES[1] / name)
    (problem,) = check_c(imagenet_c).problems
    assert problem.startswith("1 images of corruption=fog, severity=2 are in another class folder")
    (imagenet / ALL[0]).rename(imagenet / CLASSES[1] / name)
    (problem,) = verify_data(imagenet).problems
    assert problem.startswith(f"2 class folders do not have 2 images, first {CLASSES[0]} with 1")


def test_names_of_other_images_are_reported(imagenet: Path, jpeg: Path) -> None:
    os.link(jpeg, imagenet / CLASSES[0] / "cat.JPEG")
    (problem,) = verify_data(imagenet).problems
    assert problem == (
        f"1 images have names that ImageNet validation does not have, first {CLASSES[0]}/cat.JPEG."
    )


def test_more_images_than_published_are_reported(
    tmp_path: Path, jpeg: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "imagenet-a" / next(iter(imagenet_a_index()))
    folder.mkdir(parents=True)
    for number in range(3):
        os.link(jpeg, folder / f"{number}.jpg")
    monkeypatch.setattr(inventory, "expected_count", lambda benchmark: 2)
    assert verify_data(folder.parent).problems == ("There are 3 images; ImageNet-A has 2.",)


# ------------------------------------------------------------------------------ damaged


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda data: b"", "not an image that Pillow can identify"),
        (lambda data: b"<html>404</html>", "not an image that Pillow can identify"),
        (lambda data: data[: len(data) // 2], "truncated"),
        (lambda data: bytes(len(data)), "not an image that Pillow can identify"),
        (lambda data: data[:-2000] + bytes(2000), "cannot be decoded"),
    ],
    ids=["empty", "a page", "cut", "zeros", "zeros at the end"],
)
def test_damage_is_found_by_the_ends_of_a_file(
    damage: Callable[[bytes], bytes], reason: str, imagenet_c: Path, packed: bool
) -> None:
    path = imagenet_c / "weather/snow/1" / ALL[2]
    rewrite(path, damage(path.read_bytes()))
    check = check_c(place(imagenet_c, packed))
    condition = of(check, "snow", 1)
    assert (check.is_complete, condition.damaged_count, condition.missing_count) == (False, 1, 0)
    ((item, text),) = condition.damaged
    assert (item, reason in text) == (ALL[2], True), text


def test_damage_in_the_middle_needs_decoding(tmp_path: Path, jpeg: Path) -> None:
    folder = stimuli_tree(tmp_path / "cue", ["cat1-dog2.png"], png_of(jpeg), nested=False)
    path = folder / "cat1-dog2.png"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 255
    path.write_bytes(data)
    assert verify_data(folder).conditions[0].damaged_count == 0
    assert verify_data(folder, decode=True).conditions[0].damaged_count == 1


def test_a_stimulus_of_another_size_is_found_by_decoding(imagenet_c: Path) -> None:
    path = imagenet_c / "weather/snow/1" / ALL[2]
    path.unlink()
    Image.new("RGB", (256, 256)).save(path)
    assert check_c(imagenet_c).is_complete
    assert "is 256x256" in of(check_c(imagenet_c, decode=True), "snow", 1).damaged[0][1]


def test_unusual_files_that_can_be_decoded_are_whole(imagenet: Path, jpeg: Path) -> None:
    # Some JPEG files have other bytes after their end, some images another format than their name.
    rewrite(imagenet / ALL[0], jpeg.read_bytes() + bytes(200))
    rewrite(imagenet / ALL[1], png_of(jpeg))
    assert verify_data(imagenet).is_complete


def test_a_cut_video_is_damaged(tmp_path: Path) -> None:
    folder = tmp_path / "p" / "tilt" / CLASSES[0]
    folder.mkdir(parents=True)
    content = mp4()
    (folder / "a.mp4").write_bytes(content)
    (folder / "b.mp4").write_bytes(content[:-5])
    result = verify_data(tmp_path / "p", perturbations=["tilt"])
    assert result.title == "ImageNet-P"
    assert [name for name, _ in result.conditions[0].damaged] == [f"{CLASSES[0]}/b.mp4"]


def mp4() -> bytes:
    """Boxes that are complete, which is all that the quick check looks at."""
    boxes = [(b"ftyp", 16), (b"mdat", 300), (b"moov", 100)]
    return b"".join((n + 8).to_bytes(4, "big") + kind + bytes(n) for kind, n in boxes)


# ------------------------------------------------------------------------------ archives


def published(monkeypatch: pytest.MonkeyPatch, name: str, content: bytes) -> None:
    """Give the first archive of ImageNet-C that name and the checksum of the content."""
    row = table.DATA_SETS["imagenet-c"]
    checksum = Checksum("md5", hashlib.md5(content).hexdigest())
    archive = replace(row.archives[0], name=name, size_bytes=len(content), checksum=checksum)
    monkeypatch.setitem(
        table.DATA_SETS,
        "imagenet-c",
        replace(row, archives=(archive,)),
    )


def test_archives_are_compared_with_published_checksums(
    imagenet_c: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "data").mkdir()
    tar = tar_of(imagenet_c).rename(tmp_path / "data" / "weather.tar")
    published(monkeypatch, "weather.tar", tar.read_bytes())
    check = check_c(tar.parent)
    assert [(a.verdict, a.passed) for a in check.archives] == [("MD5 as published", True)]
    assert check.is_complete
    with tar.open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"x")
    check = check_c(tar.parent)
    assert not check.is_complete
    assert "it is damaged or another file. Remove it and run `evaluator data fetch imagenet-c" in (
        check.archives[0].verdict
    )
    with tar.open("ab") as file:
        file.write(b"x")
    assert "bytes, published are" in check_c(tar).archives[0].verdict
    row = table.DATA_SETS["imagenet-c"]
    both = (*row.archives, replace(row.archives[0], name="blur.tar", url="https://example.org"))
    monkeypatch.setitem(table.DATA_SETS, "imagenet-c", replace(row, archives=both))
    assert f"blur.tar of ImageNet-C are not in {tar.parent}" in check_c(tar.parent).notes[-1]
    verified = verify_data(tar, corruptions=["fog", "snow"], severities=[1, 2], sums=False)
    assert verified.archives == ()


def test_archives_are_compared_with_pins(imagenet_c: Path, tmp_path: Path) -> None:
    tar = tar_of(imagenet_c).rename(tmp_path / "imagenet_c_bar.tar")
    check = verify_data(tar)  # of no benchmark here, so its content is not looked at
    assert (check.title, check.is_complete) == ("ImageNet-C-bar", True)
    assert check.archives[0].verdict == "no checksum is published or pinned"
    write_pin(tar, Pin(hashlib.sha256(tar.read_bytes()).hexdigest(), promised=False))
    assert verify_data(tar).archives[0].verdict == "SHA-256 as pinned"
    tar.write_bytes(tar.read_bytes()[:-1])
    assert not verify_data(tar).is_complete


def test_a_truncated_tar_is_reported_with_what_it_holds(imagenet_c: Path) -> None:
    copies = shutil.copytree(imagenet_c, imagenet_c.with_name("copies"))  # no hard links
    tar = tar_of(copies)
    with tarfile.open(tar) as opened:
        members = [member for member in opened.getmembers() if member.isfile()]
    os.truncate(tar, members[-2].offset_data + 100)
    check = check_c(tar)
    assert any("is damaged or truncated" in problem for problem in check.problems)
    assert sum(c.missing_count for c in check.conditions) == 1
    assert sum(c.damaged_count for c in check.conditions) == 1


def test_a_file_that_is_no_tar_and_a_partial_download_are_reported(imagenet_c: Path) -> None:
    (imagenet_c / "noise.tar").write_bytes(b"<html>not found</html>")
    (imagenet_c / "blur.tar.part").write_bytes(b"")
    check = check_c(imagenet_c)
    assert len([c for c in check.conditions if c.is_complete]) == 4
    first, second = check.problems
    assert "blur.tar.part is a download that is not finished" in first
    assert "noise.tar is not a tar file" in second


# ------------------------------------------------------------------------------ generated data


def test_generated_data_are_compared_among_themselves(imagenet_c: Path) -> None:
    marker = imagenet_c / "generated.json"
    marker.write_text('{"by": "evaluator data corrupt"}')
    (imagenet_c / "weather/fog/1" / ALL[3]).unlink()
    check = check_c(imagenet_c)
    assert "generated data" in check.notes[0]
    assert [c.missing for c in check.conditions if not c.is_complete] == [(ALL[3],)]
    marker.write_text("{")
    assert any(
        "generated.json cannot be read" in problem for problem in check_c(imagenet_c).problems
    )


def test_generated_items_of_few_conditions_are_named(imagenet_c: Path, jpeg: Path) -> None:
    (imagenet_c / "generated.json").write_text("{}")
    os.link(jpeg, imagenet_c / "weather/fog/1" / CLASSES[0] / "odd.JPEG")
    check = check_c(imagenet_c)
    assert check.problems == (
        f"1 images are in less than half of the conditions, first {CLASSES[0]}/odd.JPEG.",
    )
    assert all(c.is_complete for c in check.conditions)


def test_photos_of_two_classes_may_have_one_name(tmp_path: Path, jpeg: Path) -> None:
    for wnid in CLASSES:
        (tmp_path / "own" / wnid).mkdir(parents=True)
        os.link(jpeg, tmp_path / "own" / wnid / "001.jpg")
    check = verify_data(tmp_path / "own")
    assert check.problems == ()
    assert check.conditions[0].missing_count == 50_000 - len(CLASSES)


# ------------------------------------------------------------------------------ not recognised


def test_what_is_not_recognised_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is not recognised as data of a benchmark"):
        verify_data(tmp_path)
    with pytest.raises(InputError, match="does not exist"):
        verify_data(tmp_path / "nowhere")
    (tmp_path / "x.tar").write_bytes(b"x")
    with pytest.raises(InputError, match=r"x\.tar is not a tar file"):
        verify_data(tmp_path / "x.tar")


def test_flat_validation_images_need_their_list(tmp_path: Path, jpeg: Path) -> None:
    names = [name.partition("/")[2] for name in ALL]
    (tmp_path / "flat").mkdir()
    for name in names:
        os.link(jpeg, tmp_path / "flat" / name)
    check = verify_data(tmp_path / "flat", benchmark="imagenet")
    assert "--labels" in check.problems[0]
    lines = [f"{name} {id.partition('/')[0]}" for name, id in zip(names, ALL, strict=True)]
    (tmp_path / "list.txt").write_text("\n".join(lines))
    assert verify_data(tmp_path / "flat", labels=tmp_path / "list.txt").is_complete
    (tmp_path / "list.txt").rename(tmp_path / "val.txt")
    assert verify_data(tmp_path / "flat").is_complete
    assert verify_data(tar_of(tmp_path / "flat")).is_complete


# ------------------------------------------------------------------------------ the command


def test_the_command_prints_what_is_missing_and_exits_with_1(
    imagenet: Path, tmp_path: Path
) -> None:
    done = run("data", "verify", imagenet)
    assert (done.returncode, "Complete: ImageNet validation" in done.stdout) == (0, True)
    (imagenet / ALL[1]).unlink()
    rewrite(imagenet / ALL[2], b"")
    (imagenet / "x").mkdir()
    done = run("data", "verify", imagenet, "--json", tmp_path / "check.json")
    assert done.returncode == 1
    assert (
        "Not complete: 1 images are missing; damaged images: 1; other problems: 1." in done.stdout
    )
    assert "clean: 1 are missing, first ILSVRC2012_val_00000002.JPEG" in done.stdout
    document = json.loads((tmp_path / "check.json").read_text())
    assert (document["complete"], document["conditions"][0]["missing"]) == (False, 1)
    assert document["conditions"][0]["damaged_names"][0]["id"] == ALL[2]


def test_the_command_refuses_what_it_does_not_recognise(tmp_path: Path) -> None:
    assert "is not recognised" in error_of(run("data", "verify", tmp_path))


def test_parquet_files_and_webdataset_shards_are_verified(tmp_path: Path, jpeg: Path) -> None:
    good = jpeg.read_bytes()
    images = {name.partition("/")[2]: good for name in ALL}
    indices = [n // 2 for n in range(len(ALL))]
    cut = list(images)[1]
    images[cut] = good[:-900]
    rows = [{"bytes": data, "path": name} for name, data in images.items()]
    packed_photos.parquet(
        tmp_path / "hub" / "val.parquet", pa.table({"image": rows, "label": indices})
    )
    (tmp_path / "shards").mkdir()
    with tarfile.open(tmp_path / "shards" / "val.tar", "w") as tar:
        for (name, data), index in zip(images.items(), indices, strict=True):
            for member, content in ((name, data), (f"{Path(name).stem}.cls", b"%d" % index)):
                info = tarfile.TarInfo(member)
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    for folder in ("hub", "shards"):
        check = verify_data(tmp_path / folder)
        (condition,) = check.conditions
        assert (check.title, condition.missing_count) == ("ImageNet validation", 0)
        assert [id for id, _ in condition.damaged] == [f"{CLASSES[0]}/{cut}"]


def test_the_folder_that_fetch_describes_for_imagenet_is_recognised(
    tmp_path: Path, jpeg: Path
) -> None:
    names = [name.partition("/")[2] for name in ALL]
    (tmp_path / "flat").mkdir()
    for name in names:
        shutil.copy(jpeg, tmp_path / "flat" / name)
    folder = tmp_path / "imagenet"
    folder.mkdir()
    with tarfile.open(folder / "ILSVRC2012_img_val.tar", "w") as tar:
        for name in names:
            tar.add(tmp_path / "flat" / name, name)
    (folder / "ILSVRC2012_devkit_t12.tar.gz").write_bytes(b"\x1f\x8b")
    lines = [f"{name} {id.partition('/')[0]}" for name, id in zip(names, ALL, strict=True)]
    (folder / "val.txt").write_text("\n".join(lines))
    check = verify_data(folder)
    assert check.title == "ImageNet validation"
    assert check.conditions[0].is_complete
    assert [(a.path.name, a.passed) for a in check.archives] == [
        ("ILSVRC2012_devkit_t12.tar.gz", False),
        ("ILSVRC2012_img_val.tar", False),
    ]
    assert verify_data(folder, sums=False).is_complete
