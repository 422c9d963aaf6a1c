"""Files of each kind, damaged at random: whoever reads one raises nothing, or an error of one line.

The numbers are drawn from a seed, so a failure names a damage that can be made again.
"""

import io
import random
import shutil
import tarfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pyarrow as pa
import pytest
import torch

from evaluator.attacks.saved_images import SavedImages
from evaluator.contracts import Condition, Item, NullProgress, Preprocessing, Shard
from evaluator.errors import EvaluatorError
from evaluator.evaluate.classes import class_index, wnids
from evaluator.evaluate.decode import photo_pixels
from evaluator.evaluate.sources.generated_marker import read_marker
from evaluator.evaluate.sources.labels import read_labels
from evaluator.evaluate.sources.open_source import open_source
from evaluator.evaluate.video import decode_video
from evaluator.exporter.bundle import open_bundle
from evaluator.exporter.class_order import read_class_order
from evaluator.exporter.description import read_description
from evaluator.exporter.graph.deployable import preprocessing_in_graph
from evaluator.exporter.ready_bundle import write_ready_bundle
from evaluator.exporter.spec import model_spec
from evaluator.exporter.weights.checkpoints import read_checkpoint
from evaluator.records.run import open_run
from evaluator.records.shards import read_provenance, read_records, write_shard
from evaluator.tests.evaluate.videos import moving_photo, video
from evaluator.tests.ready_graphs import ReadyGraph, description
from evaluator.tests.records.sharing import FOG, provenance, rows_of, the_run
from evaluator.tests.small import small_tensors
from evaluator.tests.small_bundle import small_bundle
from evaluator.tests.tiny_tree import tiny_tree

DAMAGES = 200
"""Damaged files of each kind."""

PHOTO = Preprocessing(40, 32, "bilinear", (0.5,) * 3, (0.25,) * 3)
SHARD = Shard(FOG[0], 0, 0, 5)

Read = Callable[[], object]
Kind = Callable[[Path], tuple[Path, Read]]


def damaged(content: bytes, chance: random.Random) -> bytes:
    """Content with bytes that are flipped, lost, inserted, zeroed, repeated or no UTF-8."""
    data = bytearray(content)
    for _ in range(chance.choice((1, 1, 2, 5))):
        if not data:
            break
        # Half of the damages are in the first or the last kilobyte, where headers lie.
        ends = chance.choice((range(len(data)), range(len(data))[:1024], range(len(data))[-1024:]))
        start = chance.choice(ends)
        stop = min(len(data), start + chance.choice((1, 4, 64, 1024)))
        replacement = {
            "flip": bytes(byte ^ 1 << chance.randrange(8) for byte in data[start : start + 1]),
            "no UTF-8": b"\xe3",
            "random": chance.randbytes(stop - start),
            "zeros": bytes(stop - start),
            "repeated": bytes(data[start:stop]) * 2,
            "lost": b"",
        }
        kind = chance.choice((*replacement, "end"))
        if kind == "end":
            del data[start:]
        elif kind in ("flip", "no UTF-8"):
            data[start : start + 1] = replacement[kind]
        else:
            data[start:stop] = replacement[kind]
    return bytes(data)


# ------------------------------------------------------------------------------ kinds of files


def checkpoint(folder: Path) -> tuple[Path, Read]:
    path = folder / "w.pth"
    torch.save({"state_dict": small_tensors(), "epoch": 3}, path)
    return path, lambda: read_checkpoint(path)


def old_checkpoint(folder: Path) -> tuple[Path, Read]:
    path = folder / "w.pth"
    torch.save(small_tensors(), path, _use_new_zipfile_serialization=False)
    return path, lambda: read_checkpoint(path)


def safetensors(folder: Path) -> tuple[Path, Read]:
    from safetensors.torch import save_file

    path = folder / "w.safetensors"
    save_file(small_tensors(), path)
    return path, lambda: read_checkpoint(path)


def onnx_file(folder: Path) -> tuple[Path, Read]:
    path = ReadyGraph().write(folder / "net.onnx")
    return path, lambda: _enclosed(path)


def onnx_data(folder: Path) -> tuple[Path, Read]:
    path = folder / "net.onnx"
    onnx.save(ReadyGraph().model(), path, save_as_external_data=True, size_threshold=0)
    (data,) = (file for file in folder.iterdir() if file != path)
    return data, lambda: _enclosed(path)


def graph_with_data(folder: Path) -> tuple[Path, Read]:
    return onnx_data(folder)[0].with_name("net.onnx"), lambda: _enclosed(folder / "net.onnx")


def _enclosed(path: Path) -> None:
    described = read_description(description(path.with_suffix(".toml")))
    folder = path.parent / "bundle"
    with suppress(FileNotFoundError):
        shutil.rmtree(folder)
    write_ready_bundle(model_spec(str(path), description=described), folder)


def graph_of_a_bundle(folder: Path) -> tuple[Path, Read]:
    path = small_bundle(folder / "bundle").graph
    return path, lambda: preprocessing_in_graph(path)


def manifest_of_a_bundle(folder: Path) -> tuple[Path, Read]:
    bundle = small_bundle(folder / "bundle")
    return bundle.folder / "model.json", lambda: open_bundle(bundle.folder)


def description_of_a_model(folder: Path) -> tuple[Path, Read]:
    path = description(folder / "net.toml", 'name = "mine"\ninput = "normalized"')
    return path, lambda: read_description(path).full_preprocessing()


def class_file(folder: Path) -> tuple[Path, Read]:
    path = folder / "classes.txt"
    path.write_text("".join(f"{wnid}\tname\n" for wnid in reversed(wnids())))
    return path, lambda: read_class_order(path, class_index())


def labels(folder: Path) -> tuple[Path, Read]:
    path = folder / "labels.txt"
    names = (f"ILSVRC2012_val_{number:08d}" for number in range(1, 101))
    path.write_text("".join(f"{name}.JPEG {n}\n" for n, name in enumerate(names)))
    return path, lambda: read_labels(path)


def marker(folder: Path) -> tuple[Path, Read]:
    path = folder / "generated.json"
    path.write_text('{"command": "evaluator data corrupt", "seed": 0, "photos_sha256": "ab"}')
    return path, lambda: read_marker(path)


def photo(folder: Path) -> tuple[Path, Read]:
    path = next(tiny_tree(folder / "tree", 1).rglob("*.JPEG"))
    return path, lambda: photo_pixels(path.read_bytes(), str(path), PHOTO)


def png(folder: Path) -> tuple[Path, Read]:
    from PIL import Image

    path = folder / "photo.png"
    Image.open(next(tiny_tree(folder / "tree", 1).rglob("*.JPEG"))).save(path)
    return path, lambda: photo_pixels(path.read_bytes(), str(path), PHOTO)


def movie(folder: Path) -> tuple[Path, Read]:
    path, item = folder / "v.mp4", Item("v", 0, "v.mp4", frames=3)
    path.write_bytes(video(moving_photo(count=3, side=32)))
    frames = [np.empty((32, 32, 3), np.uint8) for _ in range(3)]
    return path, lambda: decode_video(path.read_bytes(), item, PHOTO, frames)


def tar(folder: Path) -> tuple[Path, Read]:
    path = folder / "photos.tar"
    with tarfile.open(path, "w") as archive:
        archive.add(tiny_tree(folder / "tree", 9), arcname="val")
    return path, lambda: _read_tar(path)


def tar_index(folder: Path) -> tuple[Path, Read]:
    path = tar(folder)[0]
    _read_tar(path)
    return path.with_name("photos.tar.index"), lambda: _read_tar(path)


def _read_tar(path: Path) -> None:
    source = open_source([path], (Condition(),), progress=NullProgress())
    for item in source.items(Condition()):
        source.read(item)


def records(folder: Path) -> tuple[Path, Read]:
    run = the_run(folder / "run")
    write_shard(run, SHARD, rows_of(SHARD), provenance())
    (path,) = run.folder.rglob("part-*.parquet")
    return path, lambda: (read_provenance(run, SHARD), read_records(run, SHARD))


def run_document(folder: Path) -> tuple[Path, Read]:
    run = the_run(folder / "run")
    return run.folder / "run.json", lambda: open_run(run.folder)


def saved_images(folder: Path) -> tuple[Path, Read]:
    saved = SavedImages(the_run(folder / "run"), provenance(), 4)
    with saved.begin(SHARD) as images:
        for number in range(5):
            item = Item(f"{number:03d}", 0, "")
            images.consume(item, 0, np.full((3, 4, 4), number, np.float32))
    (path,) = saved.run.folder.rglob("*.arrow")
    return path, lambda: list(saved.images(SHARD))


def maximized_part(folder: Path) -> tuple[Path, Read]:
    from evaluator.contracts import Device
    from evaluator.workflow.maximize.checkpoint import read_part, write_part
    from evaluator.workflow.maximize.results import Circumstances

    circumstances = Circumstances("h", Device("cpu", "m", "d"), {}, 2, "2026", "evaluator")
    write_part(folder, (0, 1), _maximized(), circumstances)
    (path,) = folder.glob("part-*.npz")
    return path, lambda: read_part(folder, (0, 1))


def _maximized() -> Any:
    from evaluator.attacks.maximizing.maximizing import Maximized

    image, number = np.zeros((1, 3, 4, 4), np.float32), np.zeros(1, np.int64)
    real, trace = np.zeros(1), np.zeros((1, 3), np.float32)
    return Maximized(image, image, number > 0, number, number, real, real, number, trace)


KINDS: list[Kind] = [
    checkpoint,
    old_checkpoint,
    safetensors,
    onnx_file,
    graph_with_data,
    onnx_data,
    graph_of_a_bundle,
    manifest_of_a_bundle,
    description_of_a_model,
    class_file,
    labels,
    marker,
    photo,
    png,
    movie,
    tar,
    tar_index,
    records,
    run_document,
    saved_images,
    maximized_part,
]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_a_damaged_file_is_read_or_is_one_line(kind: Kind, tmp_path: Path) -> None:
    path, read = kind(tmp_path)
    read()
    content, wrong, refused = path.read_bytes(), [], 0
    for seed in range(DAMAGES):
        path.write_bytes(damaged(content, random.Random(f"{kind.__name__} {seed}")))
        try:
            read()
        except EvaluatorError as error:
            refused += 1
            if not str(error).isprintable():
                wrong.append(f"{seed}: {error}")
        except Exception as error:
            wrong.append(f"{seed}: {type(error).__name__}: {error}")
    assert not wrong, wrong
    # Numbers may be any, and an index is built again.
    assert refused or kind in (onnx_data, tar_index)


def test_damages_differ_and_can_be_made_again() -> None:
    content = io.BytesIO()
    with pa.ipc.new_stream(content, pa.schema([("id", pa.string())])):
        pass
    damages = [damaged(content.getvalue(), random.Random(seed)) for seed in range(50)]
    assert damages == [damaged(content.getvalue(), random.Random(seed)) for seed in range(50)]
    assert len(set(damages)) > 45
