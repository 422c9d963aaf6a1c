"""Validation images in Parquet files, as the hub of Hugging Face has them."""

import json
import random
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pytest

from evaluator.contracts import NullProgress
from evaluator.errors import ImageError, InputError
from evaluator.evaluate.benchmarks.imagenet_a import IMAGENET_A
from evaluator.evaluate.classes import class_names, wnids
from evaluator.evaluate.sources.digests import shard_digest
from evaluator.evaluate.sources.open_source import MixedSource, open_source
from evaluator.tests.evaluate.sources.packed import (
    CLASSES,
    check,
    columns,
    content,
    digest_of_class_folders,
    flat,
    halves,
    parquet,
)
from evaluator.tests.evaluate.sources.tars import (
    CLEAN,
    TENCH,
    clean,
    opened,
    outcome,
    refusal,
)


@pytest.fixture
def digest(tmp_path: Path) -> str:
    return digest_of_class_folders(tmp_path)


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
