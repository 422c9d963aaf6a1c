"""ImageNet's validation images without class folders, and the lists that say their classes."""

import functools
import io
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io

from evaluator.contracts import NullProgress
from evaluator.errors import InputError
from evaluator.evaluate.benchmarks.imagenet import IMAGENET
from evaluator.evaluate.classes import class_index, wnids
from evaluator.evaluate.sources.labels import read_labels
from evaluator.evaluate.sources.open_source import MixedSource
from evaluator.tests.evaluate.sources.tars import CLEAN, cell, clean, opened, tar_of
from evaluator.workflow.runs.selection import select

NUMBERS = (1, 2, 293, 49_999, 50_000)
SYNSETS = "imagenet_2012_validation_synset_labels.txt"
GROUND_TRUTH = "ILSVRC2012_validation_ground_truth.txt"


def name(number: int) -> str:
    return f"ILSVRC2012_val_{number:08d}.JPEG"


def all_classes(seed: int = 0) -> list[int]:
    """The class index of each of 50,000 images: 50 a class, in no order."""
    classes = [index for index in range(1000) for _ in range(50)]
    random.Random(seed).shuffle(classes)
    return classes


CLASSES = all_classes()
WNIDS = [wnids()[index] for index in CLASSES]
IDS = sorted(f"{WNIDS[number - 1]}/{name(number)}" for number in NUMBERS)

DEVKIT_ID = dict(zip(random.Random(9).sample(range(1000), 1000), range(1, 1001), strict=True))
"""Of each class index: as in the devkit, the order is not that of the sorted WordNet ids."""


def images(folder: Path, numbers: tuple[int, ...] = NUMBERS) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for number in numbers:
        (folder / name(number)).write_bytes(b"image %d" % number)
    return folder


def write_meta(path: Path | io.BytesIO, ids: dict[int, int] = DEVKIT_ID, **changed: str) -> None:
    """As the devkit's: 1000 classes, and above them synsets that are no classes."""
    kind = [("ILSVRC2012_ID", "O"), ("WNID", "O"), ("words", "O"), ("num_children", "O")]
    rows = [(ids[i], changed.get(wnid, wnid), "words", 0) for i, wnid in enumerate(wnids())]
    rows.sort()
    rows += [(1001, "n00001740", "entity", 3), (1860, "n00001930", "physical entity", 5)]
    scipy.io.savemat(path, {"synsets": np.array(rows, kind).reshape(-1, 1)})


@functools.cache
def meta() -> bytes:
    """The devkit's ``meta.mat``."""
    file = io.BytesIO()
    write_meta(file)
    return file.getvalue()


def write_devkit(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / GROUND_TRUTH).write_text("".join(f"{DEVKIT_ID[index]}\n" for index in CLASSES))
    (folder / "meta.mat").write_bytes(meta())
    return folder / GROUND_TRUTH


def lines(*words: str) -> str:
    return "".join(f"{word}\n" for word in words)


@functools.cache
def text_of(form: str) -> str:
    """A list of all classes, in one of the forms of text."""
    pairs = list(zip((name(n) for n in range(1, 50_001)), WNIDS, CLASSES, strict=True))
    match form:
        case "wnids":
            return lines(*WNIDS)
        case "wnids of Windows":
            return "\ufeff" + lines(*WNIDS).replace("\n", "\r\n") + "\r\n\r\n"
        case "names and wnids":
            return lines(*(f"{file} {wnid}" for file, wnid, _ in pairs[::-1]))
        case "names and indices":
            return lines(*(f"{file} {index}" for file, _, index in pairs))
        case "paths and indices":
            return lines(*(f"val/{file}\t{index}" for file, _, index in pairs))
        case "stems, commas":
            return lines(*(f"{file.removesuffix('.JPEG')},{wnid}" for file, wnid, _ in pairs))
        case _:
            rows = (f"{f.removesuffix('.JPEG')},{w} 1 2 30 40 {w} 5 6 7 8 " for f, w, _ in pairs)
            return lines("ImageId,PredictionString", *rows)


FORMS = (
    *("wnids", "wnids of Windows", "names and wnids", "names and indices", "paths and indices"),
    *("stems, commas", "Kaggle"),
)


def ids_of(source: MixedSource) -> list[str]:
    return [item.id for item in source.items(CLEAN)]


def refusal(work: Callable[[], object], *named: str | Path) -> str:
    with pytest.raises(InputError) as raised:
        work()
    message = str(raised.value)
    assert message.isprintable()
    for word in named:
        assert str(word) in message
    return message


# ----------------------------------------------------------------------------- the lists


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_list_gives_the_same_ids(tmp_path: Path, form: str) -> None:
    labels = tmp_path / "list"
    labels.write_text(text_of(form), "utf-8", newline="")
    source = clean(images(tmp_path / "val"), labels=labels)
    items = source.items(CLEAN)
    assert [item.id for item in items] == IDS
    assert [item.label for item in items] == [class_index()[id.split("/")[0]] for id in IDS]
    for item in items:
        assert source.read(item) == b"image %d" % int(item.id[-13:-5])
        assert item.location == str(tmp_path / "val" / item.id.split("/")[1])


def test_the_devkits_numbers_are_read_by_its_meta(tmp_path: Path) -> None:
    labels = write_devkit(tmp_path / "devkit")
    assert ids_of(clean(images(tmp_path / "val"), labels=labels)) == IDS
    by_position = f"{wnids()[DEVKIT_ID[CLASSES[0]] - 1]}/{name(1)}"
    assert by_position not in IDS  # what a guess would have given


def test_the_devkits_numbers_without_its_meta_are_refused(tmp_path: Path) -> None:
    labels = write_devkit(tmp_path)
    (tmp_path / "meta.mat").unlink()
    message = refusal(lambda: read_labels(labels), labels)
    assert "put its meta.mat beside the list" in message


@pytest.mark.parametrize("seed", range(8))
def test_a_damaged_meta_is_named(tmp_path: Path, seed: int) -> None:
    labels, numbers = write_devkit(tmp_path), random.Random(seed)
    meta = tmp_path / "meta.mat"
    content = bytearray(meta.read_bytes())
    if seed < 4:
        del content[numbers.randrange(len(content)) :]
    else:
        content[128:] = numbers.randbytes(2000)
    meta.write_bytes(content)
    refusal(lambda: read_labels(labels), meta)


def test_a_meta_of_other_classes_is_named(tmp_path: Path) -> None:
    labels = write_devkit(tmp_path)
    write_meta(tmp_path / "meta.mat", n01440764="n01440765")
    assert "does not name ImageNet's 1000 classes" in refusal(lambda: read_labels(labels))
    scipy.io.savemat(tmp_path / "meta.mat", {"other": 1})
    refusal(lambda: read_labels(labels), "meta.mat")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "has 0 lines"),
        ("hello\n", "line 1"),
        (lines(*WNIDS[:99], "n02084071"), "line 100: .* 'n02084071'"),
        (lines(*WNIDS[:40_000]), "has 40,000 lines without names"),
        (lines(*WNIDS, WNIDS[0]), "has 50,001 lines"),
        (lines(*WNIDS[1:], WNIDS[0], ""), ""),
        (lines(*WNIDS[:-1], "n01440764 n01440764"), "line 50000"),
        (lines(f"{name(1)} 65", f"{name(2)} 1000"), "line 2: .* 1000'"),
        (lines(f"{name(1)} 65", f"{name(2)} -1"), "line 2"),
        (lines(f"{name(1)} 65", f"{name(2)}"), "line 2"),
        (lines(f"{name(1)} 65", "", f"{name(2)} x"), "line 3: .* x'"),
        (lines(f"{name(1)} 65", f"{name(1)} 66"), "line 2: .*contradicts"),
        (lines("ImageId,PredictionString", "ILSVRC2012_val_00000001,"), "line 2"),
        (lines("ImageId,PredictionString", "ILSVRC2012_val_00000001,cat 1 2 3 4"), "line 2"),
        (lines(*(f"{name(n + 1)} {n % 999}" for n in range(50_000))), "each class has 50"),
        (lines(*["n01440764"] * 50_000), "each class has 50"),
        ("\0" * 100, "line 1"),
    ],
    ids=[
        *("empty", "a word", "another class", "40,000 lines", "50,001 lines"),
        *("an empty line at the end", "two classes", "index 1000", "index -1", "no index"),
        *("after a gap", "a contradiction", "Kaggle without a class", "Kaggle with a word"),
        *("999 classes", "one class", "zeros"),
    ],
)
def test_a_bad_list_is_named_with_the_line(tmp_path: Path, text: str, message: str) -> None:
    labels = tmp_path / "list.txt"
    labels.write_text(text)
    if not message:
        assert len(read_labels(labels).by_name) == 50_000
        return
    with pytest.raises(InputError, match=message):
        read_labels(labels)
    refusal(lambda: read_labels(labels), labels)


def test_a_list_that_is_no_text_or_not_there_is_named(tmp_path: Path) -> None:
    (tmp_path / "list").write_bytes(b"\xff\xfe\x00")
    for path in (tmp_path / "list", tmp_path / "missing", tmp_path):
        assert "cannot be read as a list" in refusal(lambda path=path: read_labels(path), path)  # type: ignore[misc]


# ----------------------------------------------------------------------------- finding the list


@pytest.mark.parametrize("where", ["val", "."])
@pytest.mark.parametrize("file", [SYNSETS, "val.txt", "LOC_val_solution.csv"])
def test_a_list_under_its_usual_name_is_found(tmp_path: Path, where: str, file: str) -> None:
    forms = {SYNSETS: "wnids", "val.txt": "names and indices", "LOC_val_solution.csv": "Kaggle"}
    source = clean(images(tmp_path / "val"))
    assert "Give --labels FILE" in refusal(lambda: source.items(CLEAN), tmp_path / "val", SYNSETS)
    (tmp_path / where / file).write_text(text_of(forms[file]))
    assert ids_of(source) == IDS


@pytest.mark.parametrize("where", ["val", ".", "ILSVRC2012_devkit_t12/data"])
def test_the_devkit_is_found(tmp_path: Path, where: str) -> None:
    images(tmp_path / "val")
    write_devkit(tmp_path / where)
    assert ids_of(clean(tmp_path / "val")) == IDS


def test_a_list_is_found_beside_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / SYNSETS).write_text(lines(*WNIDS))
    monkeypatch.chdir(images(tmp_path / "val"))
    assert ids_of(clean(Path("."))) == IDS


# ----------------------------------------------------------------------------- the images


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    path = tmp_path / "lists" / SYNSETS
    path.parent.mkdir()
    path.write_text(lines(*WNIDS))
    return path


def run_of(source: MixedSource) -> str:
    return select(IMAGENET, source, {}, limit=None, progress=NullProgress()).ids_sha256


@pytest.mark.parametrize("prefix", ["", "./", "val/", "a/b/"])
def test_flat_and_in_class_folders_on_disk_and_in_tars_are_one_run(
    tmp_path: Path, labels: Path, prefix: str
) -> None:
    flat = images(tmp_path / "flat")
    folders = tmp_path / "folders"
    for id in IDS:
        (folders / id).parent.mkdir(parents=True)
        (folders / id).write_bytes((flat / id.split("/")[1]).read_bytes())
    files = {f"{prefix}{name(n)}": b"image %d" % n for n in NUMBERS}
    flat_tar = tar_of(tmp_path / "ILSVRC2012_img_val.tar", files)
    tar = tar_of(tmp_path / "x.tar", {f"{prefix}{id}": (folders / id).read_bytes() for id in IDS})
    sources = [clean(folders), clean(tar), *(clean(p, labels=labels) for p in (flat, flat_tar))]
    assert len({run_of(source) for source in sources}) == 1
    for source in sources:
        assert ids_of(source) == IDS
        contents = [source.read(item) for item in source.items(CLEAN)]
        assert contents == [(folders / id).read_bytes() for id in IDS]
    location = sources[-1].items(CLEAN)[0].location
    inside = prefix.removeprefix("./")
    assert location == f"{flat_tar}: {inside}{IDS[0].split('/')[1]}"


def test_a_flat_tar_finds_the_list_beside_it(tmp_path: Path, labels: Path) -> None:
    tar = tar_of(labels.parent / "val.tar", [name(n) for n in NUMBERS])
    assert ids_of(clean(tar)) == ids_of(clean(labels.parent)) == IDS


def test_any_names_will_do_where_the_list_has_them(tmp_path: Path) -> None:
    for file in ("cat.png", "dog.JPEG"):
        (tmp_path / file).write_bytes(b"")
    (tmp_path / "list.csv").write_text("cat,n02123045\ndog.JPEG,n02110341\n")
    tar = tar_of(tmp_path / "x.tar", ["in/cat.png", "in/dog.JPEG"])
    for data in (tar, tmp_path):
        if data == tmp_path:
            tar.unlink()
        found = ids_of(clean(data, labels=tmp_path / "list.csv"))
        assert found == ["n02110341/dog.JPEG", "n02123045/cat.png"]


@pytest.mark.parametrize("packed", [False, True])
def test_images_that_the_list_lacks_are_named(tmp_path: Path, labels: Path, packed: bool) -> None:
    data = images(tmp_path / "val", (1, 2, 50_001, 99_999_999))
    if packed:
        data = tar_of(tmp_path / "x.tar", [path.name for path in data.iterdir()])
    source = clean(data, labels=labels)
    refusal(lambda: source.items(CLEAN), labels, "2 of the 4 images", data, name(50_001))


def test_a_list_that_nothing_needs_is_refused(tmp_path: Path, labels: Path) -> None:
    (tmp_path / "tree" / WNIDS[0]).mkdir(parents=True)
    (tmp_path / "tree" / WNIDS[0] / name(1)).write_bytes(b"")
    tar = tar_of(tmp_path / "x.tar", IDS)
    for data in (tmp_path / "tree", tar):
        source = clean(data, labels=labels)
        assert "Leave it out" in refusal(lambda s=source: s.items(CLEAN), labels, data)  # type: ignore[misc]


def test_flat_images_beside_class_folders_are_refused(tmp_path: Path, labels: Path) -> None:
    images(tmp_path / "val")
    (tmp_path / "val" / WNIDS[0]).mkdir()
    refusal(lambda: clean(tmp_path / "val").items(CLEAN), "is not in a class folder")
    tar = tar_of(tmp_path / "x.tar", [*IDS, name(7)])
    refusal(lambda: clean(tar).items(CLEAN), "is not in a class folder", f"{tar}: {name(7)}")


def test_flat_images_in_two_folders_of_a_tar_are_refused(tmp_path: Path, labels: Path) -> None:
    tar = tar_of(tmp_path / "x.tar", [f"a/{name(1)}", f"b/{name(2)}"])
    refusal(lambda: clean(tar, labels=labels), f"{tar}: a", f"{tar}: b")


def test_flat_photos_without_the_archives_names_are_refused_as_ever(tmp_path: Path) -> None:
    (tmp_path / "cat.JPEG").write_bytes(b"")
    (tmp_path / SYNSETS).write_text(lines(*WNIDS))
    refusal(lambda: clean(tmp_path).items(CLEAN), "is not in a class folder")


def test_a_list_is_no_use_for_imagenet_c(tmp_path: Path, labels: Path) -> None:
    from evaluator.evaluate.sources.open_source import open_source

    def work(**more: Any) -> object:
        return open_source([tmp_path], [cell("fog", 1)], progress=NullProgress(), **more)

    assert "Leave it out" in refusal(lambda: work(labels=labels), labels)
    assert opened(tmp_path).conditions() == []


def test_the_tar_in_imagenets_folder_is_found_beside_the_training_set(tmp_path: Path) -> None:
    (tmp_path / "train" / WNIDS[0]).mkdir(parents=True)
    (tmp_path / "train" / WNIDS[0] / "x.JPEG").write_bytes(b"")
    (tmp_path / SYNSETS).write_text(lines(*WNIDS))
    tar_of(tmp_path / "ILSVRC2012_img_train.tar", [f"{wnid}.tar" for wnid in WNIDS[:9]])
    tar_of(tmp_path / "ILSVRC2012_img_val.tar", [name(n) for n in NUMBERS])
    assert ids_of(clean(tmp_path)) == IDS


def test_class_folders_and_a_tar_of_the_same_beside_them_are_refused(tmp_path: Path) -> None:
    (tmp_path / WNIDS[0]).mkdir()
    (tmp_path / WNIDS[0] / name(1)).write_bytes(b"")
    tar = tar_of(tmp_path / "val.tar", [f"val/{WNIDS[0]}/{name(1)}"])
    refusal(lambda: clean(tmp_path), f"{tmp_path} and {tar}: val", "exists twice")
    tar.rename(tmp_path / ".val.tar")  # hidden: passed over, as hidden files are
    assert ids_of(clean(tmp_path)) == [f"{WNIDS[0]}/{name(1)}"]
