"""The same photos in every layout that is taken are one run, with the same records."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import evaluator
from evaluator.contracts import Condition, Run
from evaluator.evaluate.classes import class_index
from evaluator.records.reading import read_run
from evaluator.tests.evaluate.sources.tars import tar_of
from evaluator.tests.small_bundle import small_bundle
from evaluator.tests.tiny_tree import tiny_tree

COUNT = 6


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Class folders, whose files are named as in the validation archive."""
    tree = tiny_tree(tmp_path_factory.mktemp("data") / "tree", COUNT)
    for number, path in enumerate(sorted(tree.rglob("*.JPEG")), 1):
        path.rename(path.with_name(f"ILSVRC2012_val_{number:08}.JPEG"))
    return tree


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(small_bundle(tmp_path_factory.mktemp("bundle") / "bundle").folder)


def score(bundle: str, data: Path | list[Path], out: Path, **options: Any) -> Run:
    fixed: dict[str, Any] = {"engine": "onnxruntime", "device": "cpu", "parity": False}
    return evaluator.score(bundle, "imagenet", data, out=out, **fixed, **options)


def rows(run: Run) -> list[Any]:
    found: list[Any] = read_run(run, (Condition(),)).finished[Condition()].to_pylist()
    return found


@pytest.fixture(scope="module")
def expected(bundle: str, tree: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return score(bundle, tree, tmp_path_factory.mktemp("run") / "run")


Photos = list[tuple[str, str, bytes]]
"""The name, the class and the bytes of each photo."""


def hub_names(photos: Photos, folder: Path) -> dict[str, Any]:
    for name, wnid, data in photos:
        (folder / f"{name.removesuffix('.JPEG')}_{wnid}.JPEG").write_bytes(data)
    return {"data": folder}


def tar_of_hub_names(photos: Photos, folder: Path) -> dict[str, Any]:
    files = {f"val/{n.removesuffix('.JPEG')}_{wnid}.JPEG": data for n, wnid, data in photos}
    return {"data": tar_of(folder / "hf.tar", files)}


def flat_with_a_list(photos: Photos, folder: Path) -> dict[str, Any]:
    for name, _, data in photos:
        (folder / name).write_bytes(data)
    lines = [f'"{class_index()[wnid]}";"{name}"\n' for name, wnid, _ in photos]
    labels = folder.parent / "list.csv"
    labels.write_text("label;file\n\n" + "".join(lines))
    return {"data": folder, "labels": labels}


def numbered_folders(photos: Photos, folder: Path) -> dict[str, Any]:
    options = flat_with_a_list(photos, folder)
    for name, wnid, _ in photos:
        (folder / str(class_index()[wnid])).mkdir(exist_ok=True)
        shutil.move(folder / name, folder / str(class_index()[wnid]))
    return options


def shard(photos: Photos, path: Path) -> Path:
    files = {}
    for name, wnid, data in photos:
        files[name] = data
        files[name.replace(".JPEG", ".cls")] = str(class_index()[wnid]).encode()
    return tar_of(path, files)


def webdataset(photos: Photos, folder: Path) -> dict[str, Any]:
    shard(photos[:2], folder / "val-000.tar")
    shard(photos[2:], folder / "val-001.tar")
    return {"data": folder}


def parquet_files(photos: Photos, folder: Path) -> dict[str, Any]:
    for number, part in enumerate((photos[:2], photos[2:])):
        images = [{"bytes": data, "path": name} for name, _, data in part]
        table = pa.table({"image": images, "label": [class_index()[w] for _, w, _ in part]})
        pq.write_table(table, folder / f"validation-{number:05}-of-00002.parquet")
    return {"data": folder}


def a_shard_and_a_parquet_file(photos: Photos, folder: Path) -> dict[str, Any]:
    shard(photos[:3], folder / "x.tar")
    parquet_files(photos[3:], folder)
    return {"data": sorted(folder.iterdir())}


@pytest.mark.parametrize(
    "pack",
    [
        hub_names,
        tar_of_hub_names,
        flat_with_a_list,
        numbered_folders,
        webdataset,
        parquet_files,
        a_shard_and_a_parquet_file,
    ],
)
def test_every_layout_is_the_run_of_the_class_folders(
    bundle: str, tree: Path, expected: Run, tmp_path: Path, pack: Callable[..., dict[str, Any]]
) -> None:
    photos = [(p.name, p.parent.name, p.read_bytes()) for p in sorted(tree.rglob("*.JPEG"))]
    (tmp_path / "data").mkdir()
    options = pack(photos, tmp_path / "data")
    run = score(bundle, out=tmp_path / "run", **options)
    assert run.key == expected.key
    assert rows(run) == rows(expected)
    # The images are also compared with those of an existing run: they are the same bytes.
    copy = Path(shutil.copytree(expected.folder, tmp_path / "copy"))
    assert score(bundle, out=copy, verify_data=True, **options).key == expected.key
