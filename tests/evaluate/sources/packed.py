"""Photos that tests pack as others do: their classes and bytes, shards and Parquet files."""

import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from evaluator.evaluate.classes import wnids
from evaluator.evaluate.sources.digests import shard_digest
from evaluator.evaluate.sources.open_source import MixedSource
from evaluator.tests.evaluate.sources.tars import CLEAN, clean

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


def digest_of_class_folders(folder: Path) -> str:
    """The digest of the same images in class folders."""
    source = clean(write(folder / "tree", {id: content(id) for id in IDS}))
    return shard_digest(source, source.items(CLEAN))
