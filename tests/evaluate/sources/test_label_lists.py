"""Lists of classes as people write them: headers, quotes, separators, columns in any order."""

from collections.abc import Callable
from pathlib import Path

import pytest

from evaluator.contracts import NullProgress
from evaluator.errors import InputError
from evaluator.evaluate.classes import class_index, wnids
from evaluator.evaluate.sources.labels import Labels, read_labels
from evaluator.evaluate.sources.open_source import MixedSource, open_source
from evaluator.tests.evaluate.sources.tars import CLEAN, clean, refusal

CLASSES = {"a cat.png": 282, "dog.JPEG": 251, "fish.jpg": 0, "paper.jpg": 999, "shark.jpg": 2}
WNIDS = {name: wnids()[index] for name, index in CLASSES.items()}
ARCHIVE = {f"ILSVRC2012_val_{n:08}.JPEG": index for n, index in enumerate(CLASSES.values(), 1)}

Row = tuple[str, str, int]

TABLES: dict[str, tuple[str, Callable[[int, Row], str]]] = {
    "commas": ("", lambda n, row: f"{row[0]},{row[1]}"),
    "semicolons": ("", lambda n, row: f"{row[0]};{row[2]}"),
    "tabs": ("", lambda n, row: f"{row[0]}\t{row[2]}"),
    "bars": ("", lambda n, row: f"{row[0]} | {row[1]}"),
    "quotes": ("", lambda n, row: f'"{row[0]}","{row[1]}"'),
    "quotes and spaces": ("", lambda n, row: f'"{row[0]}" {row[1]}'),
    "single quotes": ("", lambda n, row: f"'{row[0]}' {row[2]}"),
    "header": ("ImageId,Class", lambda n, row: f"{row[0]},{row[1]}"),
    "header with digits": ("column0,column1", lambda n, row: f"{row[0]},{row[2]}"),
    "quoted header": ('"file";"label"', lambda n, row: f'"{row[0]}";"{row[2]}"'),
    "class first": ("", lambda n, row: f"{row[1]},{row[0]}"),
    "index first": ("label,image", lambda n, row: f"{row[2]},{row[0]}"),
    "paths": ("", lambda n, row: f"data/val/{row[0]},{row[1]}"),
    "paths of Windows": ("", lambda n, row: f"val\\{row[0]},{row[1]}"),
    "data frame": (",filename,label", lambda n, row: f"{n},{row[0]},{row[2]}"),
    "data frame from 1": ("n;file;wnid", lambda n, row: f"{n + 1};{row[0]};{row[1]}"),
    "index and id": ("file,index,wnid", lambda n, row: f"{row[0]},{row[2]},{row[1]}"),
    "numbers beside": ("file,width,label", lambda n, row: f"{row[0]},{500 - n},{row[2]}"),
    "words beside": ("", lambda n, row: f"{row[0]}\t{row[1]}\tsome words, and more"),
    "words in the cell": ("", lambda n, row: f"{row[0]},{row[1]} some words"),
    "empty lines": ("\n", lambda n, row: f"{row[0]},{row[1]}\n\n"),
}


def images(folder: Path, names: "list[str] | dict[str, int]") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_bytes(name.encode())
    return folder


def written(path: Path, header: str, lines: list[str], end: str = "\n") -> Path:
    path.write_text(
        "".join(line + end for line in ([header] if header else []) + lines), newline=""
    )
    return path


def ids(source: MixedSource) -> list[str]:
    return [item.id for item in source.items(CLEAN)]


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("form", TABLES)
def test_every_spelling_of_a_table_gives_the_same_ids(tmp_path: Path, form: str, end: str) -> None:
    header, line = TABLES[form]
    rows = [(name, WNIDS[name], index) for name, index in CLASSES.items()]
    labels = written(tmp_path / "list", header, [line(n, row) for n, row in enumerate(rows)], end)
    source = clean(images(tmp_path / "val", CLASSES), labels=labels)
    assert ids(source) == sorted(f"{wnid}/{name}" for name, wnid in WNIDS.items())
    assert {item.label for item in source.items(CLEAN)} == set(CLASSES.values())


def opened(folder: Path, labels: Path) -> tuple[list[str], list[str]]:
    heard = NullProgress()
    source = open_source([folder], [CLEAN], progress=heard, labels=labels)
    return ids(source), heard.notes


def test_a_header_is_told_and_no_image_is_lost(tmp_path: Path) -> None:
    labels = written(tmp_path / "list.csv", "ImageId,Class", [f"{n},{w}" for n, w in WNIDS.items()])
    found, notes = opened(images(tmp_path / "val", CLASSES), labels)
    assert len(found) == len(CLASSES)
    assert notes == [f"{labels}: 'ImageId Class' is a header."]


def test_a_first_line_of_an_unknown_class_among_others_is_no_header(tmp_path: Path) -> None:
    lines = [f"{n},{w}" for n, w in WNIDS.items()]
    with pytest.raises(InputError, match=r"line 3: no class is known for 'x.jpg n02084071'"):
        read_labels(written(tmp_path / "list", "", [*lines[:2], "x.jpg,n02084071", *lines[2:]]))
    with pytest.raises(InputError, match=r"line 1: .* '0.jpg n0'"):
        read_labels(written(tmp_path / "list", "0.jpg,n0", ["1.jpg,n1", *lines]))


def test_several_columns_of_numbers_are_not_guessed(tmp_path: Path) -> None:
    lines = [f"{name},{500 - n},{index}" for n, (name, index) in enumerate(CLASSES.items())]
    labels = written(tmp_path / "list", "", lines)
    assert "several columns of numbers" in refusal(lambda: read_labels(labels), labels)


@pytest.mark.parametrize("header", [True, False])
def test_a_column_that_counts_the_lines_may_also_be_the_class(tmp_path: Path, header: bool) -> None:
    lines = [f"{n},photo-{n}.jpg,{n}" for n in range(12)]
    labels = written(tmp_path / "list", ",file,label" if header else "", lines)
    assert read_labels(labels).by_name == {f"photo-{n}": wnids()[n] for n in range(12)}
    if not header:
        from_one = [f"{n + 1},photo-{n}.jpg,{n}" for n in range(12)]
        other = written(tmp_path / "other", "", from_one)
        refusal(lambda: read_labels(other), "several columns of numbers")


def test_an_index_of_1000_says_that_the_list_may_count_from_one(tmp_path: Path) -> None:
    labels = written(tmp_path / "list", "", [f"{n},{index + 1}" for n, index in CLASSES.items()])
    message = refusal(lambda: read_labels(labels), "line 4", "paper.jpg 1000")
    assert "does this list count from 1?" in message


def test_lists_know_whether_they_hold_indices(tmp_path: Path) -> None:
    def of(word: Callable[[str], object]) -> Labels:
        return read_labels(written(tmp_path / "list", "", [f"{n},{word(n)}" for n in CLASSES]))

    assert of(CLASSES.__getitem__).is_index
    assert not of(WNIDS.__getitem__).is_index


def test_equal_names_in_several_folders_are_told_apart_by_their_paths(tmp_path: Path) -> None:
    labels = written(tmp_path / "list", "", ["0/x.jpg 3", "1/x.jpg 1", "1/y.jpg 2"])
    for path in ("0/x.jpg", "1/x.jpg", "1/y.jpg"):
        images(tmp_path / "v2" / path[0], [path[2:]])
    found = ids(clean(tmp_path / "v2", labels=labels))
    assert found == [f"{wnids()[1]}/x.jpg", f"{wnids()[2]}/y.jpg", f"{wnids()[3]}/x.jpg"]
    flat = clean(images(tmp_path / "flat", ["x.jpg", "y.jpg"]), labels=labels)
    refusal(lambda: flat.items(CLEAN), "1 of the 2 images", "first x.jpg")


# ------------------------------------------------------------------------ classes in names

HUB = {f"ILSVRC2012_val_{n:08}_{wnids()[i]}.JPEG": i for n, i in enumerate(CLASSES.values(), 1)}
TRAINING = {
    "n01440764_18.JPEG": 0,
    "n01443537_10007_n01443537.JPEG": 1,
    "n01484850_great_white_shark.JPEG": 2,
}


def test_the_hubs_names_say_the_classes_and_pair_with_the_archive(tmp_path: Path) -> None:
    source = clean(images(tmp_path / "hf", HUB))
    expected = sorted(f"{wnids()[index]}/{name}" for name, index in ARCHIVE.items())
    assert ids(source) == expected
    for item in source.items(CLEAN):
        assert item.label == class_index()[item.id.partition("/")[0]]
        assert source.read(item).decode() in HUB
        assert Path(item.location).is_file()


def test_names_of_training_images_say_the_classes(tmp_path: Path) -> None:
    source = clean(images(tmp_path / "train", TRAINING))
    assert ids(source) == sorted(f"{wnids()[i]}/{name}" for name, i in TRAINING.items())


@pytest.mark.parametrize("names", ["with classes", "without"])
def test_a_list_may_have_the_hubs_names_or_the_archives(tmp_path: Path, names: str) -> None:
    listed = HUB if names == "with classes" else ARCHIVE
    labels = written(tmp_path / "list", "", [f"{name} {index}" for name, index in listed.items()])
    expected = ids(clean(images(tmp_path / "hf", HUB)))
    assert ids(clean(tmp_path / "hf", labels=labels)) == expected
    assert ids(clean(images(tmp_path / "val", ARCHIVE), labels=labels)) == expected


def test_a_list_that_contradicts_a_name_is_refused(tmp_path: Path) -> None:
    labels = written(tmp_path / "list", "", [f"{name} {i}" for name, i in ARCHIVE.items()][:-1])
    with labels.open("a") as file:
        file.write(f"{list(ARCHIVE)[-1]} 7\n")
    source = clean(images(tmp_path / "hf", HUB), labels=labels)
    last = list(HUB)[-1]
    message = refusal(lambda: source.items(CLEAN), tmp_path / "hf" / last, labels, wnids()[7])
    assert "contradicting classes" in message
    assert f"{wnids()[2]} by its name" in message


def test_a_folder_that_contradicts_a_name_is_refused(tmp_path: Path) -> None:
    images(tmp_path / "val" / wnids()[282], [next(iter(HUB))])
    assert ids(clean(tmp_path / "val")) == [f"{wnids()[282]}/{next(iter(HUB))}"]
    (tmp_path / "val" / wnids()[282]).rename(tmp_path / "val" / wnids()[5])
    refusal(lambda: clean(tmp_path / "val").items(CLEAN), wnids()[5], wnids()[282], "Move or")


def test_a_name_of_two_classes_says_none(tmp_path: Path) -> None:
    images(tmp_path / "x", ["n01440764_18_n01443537.JPEG"])
    refusal(lambda: clean(tmp_path / "x").items(CLEAN), "there are no class folders", "--labels")
