"""Validation images as others pack them: webdataset, Parquet, numbered folders, compression."""

import gzip
from pathlib import Path

import numpy as np
import pytest

from evaluator.contracts import NullProgress
from evaluator.evaluate.classes import wnids
from evaluator.evaluate.sources.digests import shard_digest
from evaluator.evaluate.sources.open_source import open_source
from evaluator.tests.evaluate.sources.packed import (
    CLASSES,
    IDS,
    check,
    columns,
    content,
    digest_of_class_folders,
    flat,
    halves,
    parquet,
    shard,
    write,
)
from evaluator.tests.evaluate.sources.tars import (
    CLEAN,
    TENCH,
    clean,
    gnu_tar,
    needs_tar,
    opened,
    refusal,
    tar_of,
)


@pytest.fixture
def digest(tmp_path: Path) -> str:
    return digest_of_class_folders(tmp_path)


# ------------------------------------------------------------------------ webdataset


@pytest.mark.parametrize("prefix", ["", "./", "val/"])
def test_a_webdataset_shard_has_its_classes(tmp_path: Path, prefix: str, digest: str) -> None:
    files = {prefix + name: data for name, data in shard(CLASSES).items()}
    source = clean(tar_of(tmp_path / "shard-000.tar", files))
    check(source)
    assert shard_digest(source, source.items(CLEAN)) == digest
    assert len(source.index_places) == 1


def test_an_unpacked_shard_has_its_classes(tmp_path: Path, digest: str) -> None:
    source = clean(write(tmp_path / "unpacked", shard(CLASSES)))
    check(source)
    assert shard_digest(source, source.items(CLEAN)) == digest


@pytest.mark.parametrize("given", ["files", "folder"])
def test_several_shards_are_one_data_set(tmp_path: Path, given: str, digest: str) -> None:
    folder = tmp_path / "shards"
    folder.mkdir()
    tars = [tar_of(folder / f"val-{n}.tar", shard(half)) for n, half in enumerate(halves())]
    source = clean(*(tars if given == "files" else [folder]))
    check(source)
    items = source.items(CLEAN)
    assert shard_digest(source, items) == digest
    assert {item.location.partition(": ")[0] for item in items} == set(map(str, tars))
    assert [item.id for item in items[1:3]] == IDS[1:3]


def test_an_image_in_two_shards_is_refused(tmp_path: Path) -> None:
    tars = [tar_of(tmp_path / f"{n}.tar", shard({"000.jpg": 65})) for n in (1, 2)]
    refusal(lambda: clean(*tars).items(CLEAN), "1.tar: 000.jpg", "2.tar: 000.jpg", "exists twice")


def test_wnids_in_the_classes_files_are_no_indices(tmp_path: Path) -> None:
    files = shard({name: f" {wnids()[index]}\n" for name, index in CLASSES.items()})
    source = clean(tar_of(tmp_path / "x.tar", files))
    check(source)
    assert source.index_places == []


@pytest.mark.parametrize("word", ["1000", "-1", "", "n02084071", "tench", "6 5", "\udcff"])
def test_a_class_file_without_a_class_is_named(tmp_path: Path, word: str) -> None:
    files = {**shard(CLASSES), "001.cls": word.encode("utf-8", "surrogateescape")}
    for place in (tar_of(tmp_path / "x.tar", files), write(tmp_path / "x", files)):
        source = clean(place)
        refusal(lambda s=source: s.items(CLEAN), "001.jpg", "0 to 999")  # type: ignore[misc]


def test_a_shard_of_which_a_class_file_is_missing_is_refused(tmp_path: Path) -> None:
    files = shard(CLASSES)
    del files["001.cls"]
    source = clean(tar_of(tmp_path / "x.tar", files))
    refusal(lambda: source.items(CLEAN), "1 images without class folders", "first 001.jpg")


def test_a_list_may_say_what_the_class_files_say(tmp_path: Path) -> None:
    tar = tar_of(tmp_path / "x.tar", shard(CLASSES))
    labels = tmp_path / "list"
    labels.write_text("".join(f"{name} {index}\n" for name, index in flat(CLASSES).items()))
    check(clean(tar, labels=labels))
    labels.write_text(labels.read_text().replace("001.jpg 0", "001.jpg 1"))
    refusal(lambda: clean(tar, labels=labels).items(CLEAN), "001.jpg", "contradicting", labels)


@pytest.mark.parametrize("suffix", ["tar", "parquet"])
def test_only_the_validation_split_of_a_folder_is_read(tmp_path: Path, suffix: str) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    for name, classes in {"train-0000": {"t.jpg": 3}, "validation-00": CLASSES}.items():
        path = folder / f"imagenet1k-{name}.{suffix}"
        if suffix == "tar":
            tar_of(path, shard(classes))
        else:
            parquet(path, columns(flat(classes)))
    heard = NullProgress()
    source = open_source([folder], [CLEAN], progress=heard)
    check(source)
    (note,) = heard.notes
    assert note.startswith(f"Not read in {folder}: imagenet1k-train-0000.{suffix}, which is not")


def test_images_of_which_nothing_says_the_class_are_named_with_the_way_out(tmp_path: Path) -> None:
    files = {name: content(name) for name in flat(CLASSES)}
    tar, folder = tar_of(tmp_path / "x.tar", files), write(tmp_path / "x", files)
    refusal(lambda: clean(tar), f"{tar}: ", "Give --labels FILE", ".cls files")
    refusal(lambda: clean(folder).items(CLEAN), folder, "Give --labels FILE", ".cls files")


# ------------------------------------------------------------------------ numbered folders


def numbered(width: int = 0) -> dict[str, bytes]:
    return {f"{i:0{width}}/{name}": content(name) for name, i in flat(CLASSES).items()}


@pytest.mark.parametrize("width", [0, 4])
def test_numbered_folders_are_named_and_read_with_a_list(tmp_path: Path, width: int) -> None:
    files = numbered(width)
    folder = write(tmp_path / "v2", files)
    tar = tar_of(tmp_path / "v2.tar", {f"v2/{name}": data for name, data in files.items()})
    named = refusal(lambda: clean(folder).items(CLEAN), folder, "are numbers, as ImageNet-V2")
    assert "rename the folders" in named
    assert "--labels FILE" in named
    refusal(lambda: clean(tar), f"{tar}: v2 are numbers, as ImageNet-V2")
    labels = tmp_path / "list"
    labels.write_text("".join(f"{name} {index}\n" for name, index in flat(CLASSES).items()))
    for place in (folder, tar):
        check(clean(place, labels=labels))


def test_the_same_name_and_class_in_two_numbered_folders_is_refused(tmp_path: Path) -> None:
    folder = write(tmp_path / "v2", {"0/a.jpg": b"", "1/a.jpg": b""})
    (tmp_path / "list").write_text("a.jpg 0\n")
    source = clean(folder, labels=tmp_path / "list")
    refusal(lambda: source.items(CLEAN), "exists twice", "0/a.jpg", "1/a.jpg")


def test_severities_are_not_taken_for_numbered_classes(tmp_path: Path) -> None:
    folder = write(tmp_path / "fog", {f"{s}/{TENCH}/x.JPEG": b"" for s in "12345"})
    refusal(lambda: clean(folder).items(CLEAN), "looks like a part of ImageNet-C")


# ------------------------------------------------------------------------ compressed files


@pytest.mark.parametrize(
    ("name", "command"),
    [("val_images.tar.gz", "gunzip"), ("val.tgz", "gunzip"), ("x.tar.bz2", "bunzip2")],
)
def test_a_compressed_file_in_a_folder_is_named(tmp_path: Path, name: str, command: str) -> None:
    import bz2

    pack = bz2.compress if command == "bunzip2" else gzip.compress
    (tmp_path / name).write_bytes(pack(b"x"))
    for open_folder in (clean, opened):
        message = refusal(lambda o=open_folder: o(tmp_path), tmp_path / name)  # type: ignore[misc]
        assert "is compressed, so single images cannot be read from it" in message
        assert f"Unpack it once with `{command} {tmp_path / name}`" in message


def test_a_compressed_file_beside_images_is_no_reason_to_stop(tmp_path: Path) -> None:
    write(tmp_path, {f"{TENCH}/x.JPEG": b"", "devkit.tar.gz": gzip.compress(b"x")})
    assert [item.id for item in clean(tmp_path).items(CLEAN)] == [f"{TENCH}/x.JPEG"]


@needs_tar
def test_a_compressed_shard_beside_others_is_reported(tmp_path: Path) -> None:
    folder = write(tmp_path / "c", {f"fog/1/{TENCH}/x.JPEG": b"x"})
    gnu_tar(tmp_path / "c" / "noise.tar.gz", folder, "-z", "fog")
    heard = NullProgress()
    from evaluator.evaluate.benchmarks.imagenet_c import CONDITIONS

    open_source([folder], CONDITIONS, progress=heard)
    assert heard.notes == [f"Not read in {folder}: noise.tar.gz, which is compressed."]


def test_no_number_is_hidden_in_the_joined_rows() -> None:
    from evaluator.evaluate.sources.items import Items, Place, joined_items

    places = [
        Place(f"{n}.tar: ", {}, f"{n}.tar", np.array([n, 10 + n]), np.array([1, 2])) for n in (1, 2)
    ]
    joined = joined_items(
        [Items((f"{TENCH}/a{n}", f"{TENCH}/b{n}"), place) for n, place in enumerate(places)]
    )
    extents = [(i.id[10:], i.extent.path, i.extent.offset) for i in joined if i.extent]
    assert extents == [
        ("a0", "1.tar", 1),
        ("a1", "2.tar", 2),
        ("b0", "1.tar", 11),
        ("b1", "2.tar", 12),
    ]
    missing = joined.among((*joined.ids, f"{TENCH}/c"))[4]
    assert missing.missing
    assert missing.location == f"1.tar: {TENCH}/c"
