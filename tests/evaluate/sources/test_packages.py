"""Validation images as others pack them: webdataset, Parquet, numbered folders, compression."""

import gzip
import json
import random
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from evaluator.contracts import NullProgress
from evaluator.errors import ImageError, InputError
from evaluator.evaluate.benchmarks.imagenet_a import IMAGENET_A
from evaluator.evaluate.classes import class_names, wnids
from evaluator.evaluate.sources.digests import shard_digest
from evaluator.evaluate.sources.open_source import MixedSource, open_source
from evaluator.tests.evaluate.sources.tars import (
    CLEAN,
    TENCH,
    clean,
    gnu_tar,
    needs_tar,
    opened,
    outcome,
    refusal,
    tar_of,
)

CLASSES = {"000.jpg": 65, "001.jpg": 0, "002.png": 999, "a/003.jpeg": 65, "x.y.jpg": 7}
IDS = sorted(f"{wnids()[index]}/{Path(name).name}" for name, index in CLASSES.items())


def content(name: str) -> bytes:
    return random.Random(Path(name).name).randbytes(500)


def flat(classes: Mapping[str, int]) -> dict[str, int]:
    return {Path(name).name: index for name, index in classes.items()}


def shard(classes: Mapping[str, object]) -> dict[str, bytes]:
    """The files of a webdataset shard."""
    files = {}
    for name, index in flat(classes).items():  # type: ignore[arg-type]
        files[name] = content(name)
        files[f"{name.rpartition('.')[0]}.cls"] = str(index).encode()
        files[f"{name.rpartition('.')[0]}.json"] = b"{}"
    return files


def write(folder: Path, files: Mapping[str, bytes]) -> Path:
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def columns(classes: Mapping[str, int], **options: Any) -> pa.Table:
    images = [{"bytes": content(name), "path": name} for name in classes]
    return pa.table({"image": images, "label": list(classes.values())}, **options)


def parquet(path: Path, table: pa.Table, **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path, **options)
    return path


def check(source: MixedSource, expected: list[str] = IDS) -> None:
    items = source.items(CLEAN)
    assert [item.id for item in items] == expected
    for item in items:
        assert item.label == wnids().index(item.id.partition("/")[0])
        assert source.read(item) == content(item.id)


def halves() -> tuple[dict[str, int], dict[str, int]]:
    pairs = list(CLASSES.items())
    return dict(pairs[:2]), dict(pairs[2:])


@pytest.fixture
def digest(tmp_path: Path) -> str:
    """That of the same images in class folders."""
    tree = write(tmp_path / "tree", {id: content(id) for id in IDS})
    source = clean(tree)
    return shard_digest(source, source.items(CLEAN))


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


# ------------------------------------------------------------------------ Parquet


@pytest.mark.parametrize("rows", [1, 2, 100])
@pytest.mark.parametrize("given", ["file", "folder"])
def test_a_parquet_file_of_the_hub_is_read(
    tmp_path: Path, given: str, rows: int, digest: str
) -> None:
    file = parquet(
        tmp_path / "hub" / "validation-00000-of-00001.parquet",
        columns(CLASSES),
        row_group_size=rows,
    )
    source = clean(file if given == "file" else file.parent)
    check(source)
    assert shard_digest(source, source.items(CLEAN)) == digest
    assert len(source.index_places) == 1


def test_several_parquet_files_are_one_data_set(tmp_path: Path, digest: str) -> None:
    for number, half in enumerate(halves()):
        parquet(tmp_path / "hub" / f"val-{number}.parquet", columns(half))
    source = clean(tmp_path / "hub")
    check(source)
    assert shard_digest(source, source.items(CLEAN)) == digest


def test_any_thread_may_read_any_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from evaluator.evaluate.sources import parquet as module

    monkeypatch.setattr(module, "_GROUPS", module._Groups(1500))  # three images
    classes = {f"{n:03}.jpg": n for n in range(300)}
    source = clean(parquet(tmp_path / "x.parquet", columns(classes), row_group_size=7))
    items = list(source.items(CLEAN)) * 3
    random.Random(0).shuffle(items)
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(source.read, items)) == [content(item.id) for item in items]


def test_images_may_be_bare_bytes_and_then_have_the_name_of_their_row(tmp_path: Path) -> None:
    images = pa.array([b"a", b"b"], pa.binary())
    source = clean(parquet(tmp_path / "x.parquet", pa.table({"jpg": images, "cls": [1, 0]})))
    items = source.items(CLEAN)
    assert [item.id for item in items] == [f"{TENCH}/x-000001", f"{wnids()[1]}/x-000000"]
    assert [source.read(item) for item in items] == [b"b", b"a"]


def test_names_of_the_hub_say_the_class_without_labels(tmp_path: Path) -> None:
    table = columns({f"ILSVRC2012_val_00000001_{TENCH}.JPEG": 0})
    source = clean(parquet(tmp_path / "x.parquet", table.drop_columns(["label"])))
    assert [i.id for i in source.items(CLEAN)] == [f"{TENCH}/ILSVRC2012_val_00000001.JPEG"]
    table = columns({f"ILSVRC2012_val_00000001_{TENCH}.JPEG": 5})
    other = clean(parquet(tmp_path / "y.parquet", table))
    refusal(lambda: other.items(CLEAN), "contradicting", "stored with it")


def hub_schema(names: list[str]) -> dict[str, str]:
    features = {"label": {"names": names, "_type": "ClassLabel"}}
    return {"huggingface": json.dumps({"info": {"features": features}})}


def test_the_hubs_names_of_classes_decide_what_a_number_means(tmp_path: Path) -> None:
    def source_of(names: list[str]) -> MixedSource:
        table = columns(flat(CLASSES))
        table = table.replace_schema_metadata(hub_schema(names))
        return clean(parquet(tmp_path / "x.parquet", table))

    check(source_of(list(class_names())))
    check(source_of(list(wnids())))
    backwards = {name: 999 - index for name, index in flat(CLASSES).items()}
    check(
        source_of(list(wnids())[::-1]),
        sorted(f"{wnids()[index]}/{name}" for name, index in backwards.items()),
    )
    message = refusal(lambda: source_of(["cat", "dog"]).items(CLEAN), "2 classes", "x.parquet")
    assert "--labels" in message


def test_a_label_that_is_no_class_is_named(tmp_path: Path) -> None:
    source = clean(parquet(tmp_path / "test.parquet", columns({"a.jpg": -1})))
    refusal(lambda: source.items(CLEAN), "test.parquet: a.jpg", "'-1'")


def test_parquet_files_of_other_things_are_named(tmp_path: Path) -> None:
    file = parquet(tmp_path / "x.parquet", pa.table({"text": ["a"]}))
    refusal(lambda: clean(file), file, "has no column of images: it has text")
    cut = tmp_path / "cut.parquet"
    cut.write_bytes(file.read_bytes()[:-9])
    refusal(lambda: clean(cut), cut, "cannot be read")


@pytest.mark.parametrize("seed", range(20))
def test_a_damaged_parquet_file_never_gives_a_traceback(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    file = parquet(tmp_path / "x.parquet", columns(CLASSES), row_group_size=2)
    data = bytearray(file.read_bytes())
    for _ in range(1 + seed % 8):
        data[chance.randrange(4, len(data))] = chance.randrange(256)
    file.write_bytes(data)

    def read() -> list[bytes]:
        source = clean(file)
        return [source.read(item) for item in source.items(CLEAN)]

    assert outcome(read)[1].isprintable()


def test_a_parquet_file_that_changes_is_noticed(tmp_path: Path) -> None:
    file = parquet(tmp_path / "x.parquet", columns(CLASSES))
    source = clean(file)
    items = source.items(CLEAN)
    parquet(file, columns({"z.jpg": 1}))
    with pytest.raises(InputError, match=r"x\.parquet changed while it was read"):
        source.read(items[0])


def test_a_row_without_bytes_is_one_images_error(tmp_path: Path) -> None:
    images = pa.array([{"bytes": None, "path": "a.jpg"}, {"bytes": b"b", "path": "b.jpg"}])
    source = clean(parquet(tmp_path / "x.parquet", pa.table({"image": images, "label": [0, 1]})))
    first, second = source.items(CLEAN)
    with pytest.raises(ImageError, match=r"x\.parquet: a\.jpg has no bytes"):
        source.read(first)
    assert source.read(second) == b"b"


def test_large_groups_of_rows_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("evaluator.evaluate.sources.parquet.LARGE_GROUP_BYTES", 1000)
    heard = NullProgress()
    file = parquet(tmp_path / "x.parquet", columns(CLASSES))
    check(open_source([file], [CLEAN], progress=heard))
    assert "one is read for each image" in heard.notes[0]


def test_other_benchmarks_do_not_take_indices_of_a_parquet_file(tmp_path: Path) -> None:
    file = parquet(tmp_path / "x.parquet", columns(CLASSES))
    layout = IMAGENET_A.layout
    assert open_source([file], [CLEAN], progress=NullProgress(), layout=layout).conditions() == []
    assert opened(file).conditions() == []


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
