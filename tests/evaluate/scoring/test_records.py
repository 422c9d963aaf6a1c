import hashlib
import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from torchvision.transforms import CenterCrop, Compose, InterpolationMode, Resize

from evaluator.contracts import Condition, InputKind, Shard
from evaluator.errors import InputError
from evaluator.evaluate.benchmarks.imagenet import IMAGENET
from evaluator.evaluate.benchmarks.imagenet_c import IMAGENET_C
from evaluator.evaluate.scoring import ScoringJob, score_shard
from evaluator.evaluate.sources.folder import FolderSource
from evaluator.tests.evaluate.scoring.bed import (
    CLASSES,
    CLEAN,
    HOW,
    WNIDS,
    CountingSource,
    FakeEngine,
    ended,
    fake_logits,
    job_of,
    scored,
    whole,
)


def plain_loop(root: Path) -> list[dict[str, Any]]:
    """One image at a time, with Pillow, torchvision and lists."""
    transform = Compose([Resize(HOW.resize_px, InterpolationMode.BICUBIC), CenterCrop(HOW.crop_px)])
    rows = []
    for file in sorted(root.rglob("*.JPEG"), key=lambda file: str(file.relative_to(root))):
        pixels = np.asarray(transform(Image.open(file).convert("RGB")))
        logits = [float(logit) for logit in fake_logits(float(pixels.mean(dtype=np.float64)))]
        ranked = sorted(range(CLASSES), key=lambda c: (-logits[c], c))[:5]
        total = math.fsum(math.exp(logit) for logit in logits)
        rows.append(
            {
                "id": f"{file.parent.name}/{file.name}",
                "label": WNIDS[file.parent.name],
                "top5": ranked,
                "probability": [math.exp(logits[c]) / total for c in ranked],
                "error": None,
            }
        )
    return rows


@pytest.mark.parametrize("input_kind", ["pixels", "images"])
@pytest.mark.parametrize("batch_size", [1, 3, 64])
@pytest.mark.parametrize("ahead", [False, True])
def test_records_are_those_of_a_plain_loop(
    photos: Path,
    decoders: ThreadPoolExecutor,
    ahead: bool,
    batch_size: int,
    input_kind: InputKind,
) -> None:
    job = job_of(photos, FakeEngine(input_kind), batch_size=batch_size)
    table, _ = scored(replace(job, decoders=decoders) if ahead else job)
    rows, expected = table.to_pylist(), plain_loop(photos)
    assert table.schema == IMAGENET.schema
    for key in ("id", "label", "top5", "error"):
        assert [row[key] for row in rows] == [row[key] for row in expected]
    np.testing.assert_allclose(
        [row["probability"] for row in rows],
        [row["probability"] for row in expected],
        rtol=0,
        atol=1e-7,
    )


def test_the_photos_of_these_tests_have_ties_and_several_first_classes(photos: Path) -> None:
    rows = plain_loop(photos)
    assert len({row["top5"][0] for row in rows}) > 2
    assert any(row["probability"][0] == row["probability"][1] for row in rows)


def test_images_are_pixels_over_255(photos: Path) -> None:
    of_pixels, of_images = FakeEngine("pixels"), FakeEngine("images")
    scored(job_of(photos, of_pixels))
    scored(job_of(photos, of_images))
    for pixels, images in zip(of_pixels.received, of_images.received, strict=True):
        assert (pixels.kind, images.kind) == ("pixels", "images")
        expected = pixels.data.transpose(0, 3, 1, 2).astype(np.float32) / np.float32(255)
        np.testing.assert_array_equal(images.data, expected)


def test_stored_stimuli_are_not_resized(tmp_path: Path) -> None:
    fog = Condition((("corruption", "fog"), ("severity", 1)))
    rng = np.random.default_rng(0)
    folder = tmp_path / "fog" / "1" / "n01440764"
    folder.mkdir(parents=True)
    pixels = rng.integers(0, 256, (32, 32, 3), np.uint8)
    Image.fromarray(pixels).save(folder / "a.png")
    source = FolderSource(tmp_path, [fog])
    benchmark = replace(IMAGENET_C, stimuli_px=32)
    engine = FakeEngine()
    job = ScoringJob(benchmark, engine, source, {fog: source.items(fog)}, HOW, batch_size=4)
    score_shard(job, whole(job, fog), lambda n: None)
    np.testing.assert_array_equal(engine.received[0].data[0], pixels)

    Image.fromarray(pixels[:30]).save(folder / "a.png")
    with pytest.raises(InputError, match=r"a\.png is 32x30, expected 32x32"):
        score_shard(job, whole(job, fog), lambda n: None)


@pytest.mark.parametrize("batch_size", [1, 3, 4, 64])
@pytest.mark.parametrize(("start", "stop"), [(0, 21), (0, 10), (10, 21), (5, 6), (7, 7)])
def test_a_batch_never_crosses_the_shards_borders(
    photos: Path, start: int, stop: int, batch_size: int
) -> None:
    engine = FakeEngine()
    job = job_of(photos, engine, batch_size=batch_size)
    table, _ = score_shard(job, Shard(CLEAN, 3, start, stop), lambda n: None)
    wanted = [item.id for item in job.items[CLEAN][start:stop]]
    assert table["id"].to_pylist() == wanted
    assert [item.id for batch in engine.received for item in batch.items] == wanted
    sizes = [len(batch.items) for batch in engine.received]
    assert sizes[:-1] == [batch_size] * (len(sizes) - 1)
    assert all(batch.data.shape == (len(batch.items), 32, 32, 3) for batch in engine.received)


def test_shards_put_together_are_the_whole(photos: Path) -> None:
    job = job_of(photos)
    parts = [
        score_shard(job, Shard(CLEAN, n, 8 * n, min(8 * n + 8, 21)), lambda n: None)[0]
        for n in range(3)
    ]
    assert pa.concat_tables(parts).to_pylist() == scored(job)[0].to_pylist()


@pytest.mark.parametrize("ahead", [False, True])
def test_advance_is_told_of_every_batch_when_it_is_done(
    photos: Path, decoders: ThreadPoolExecutor, ahead: bool
) -> None:
    job = job_of(photos, batch_size=8, decoders=decoders if ahead else None)
    told: list[int] = []
    score_shard(job, whole(job), told.append)
    assert told == [8, 8, 5]


def test_what_advance_raises_ends_the_shard(photos: Path, decoders: ThreadPoolExecutor) -> None:
    # So a run is interrupted: `run_shards` raises from there.
    def interrupted(items: int) -> None:
        raise KeyboardInterrupt

    source = CountingSource(FolderSource(photos, [CLEAN]))
    job = job_of(photos, source=source, batch_size=1, decoders=decoders, read_ahead=2)
    error = ended(lambda: score_shard(job, whole(job), interrupted))
    assert isinstance(error, KeyboardInterrupt)
    assert source.begun <= 3


def test_the_digest_is_the_same_with_and_without_decoders(
    photos: Path, decoders: ThreadPoolExecutor
) -> None:
    job = job_of(photos)
    digest = scored(job)[1]
    assert len(digest) == len(hashlib.sha256().hexdigest())
    assert {scored(job)[1], scored(replace(job, decoders=decoders))[1]} == {digest}


def test_the_digest_does_not_depend_on_the_batch_size(photos: Path) -> None:
    job = job_of(photos)
    assert len({scored(replace(job, batch_size=size))[1] for size in (1, 3, 4, 64)}) == 1


def test_the_digest_does_not_depend_on_where_the_files_are(photos: Path, own_photos: Path) -> None:
    assert scored(job_of(own_photos))[1] == scored(job_of(photos))[1]


@pytest.mark.parametrize("position", [0, 10, 20])
def test_another_byte_or_another_id_is_another_digest(own_photos: Path, position: int) -> None:
    job = job_of(own_photos)
    before = scored(job)[1]
    file = Path(job.items[CLEAN][position].location)
    data = file.read_bytes()
    file.write_bytes(data + b"\0")  # after the end of the JPEG: no pixel changes
    assert scored(job)[1] != before
    file.write_bytes(data)
    assert scored(job)[1] == before
    file.rename(file.with_name(file.name.replace("photo", "phota")))
    assert scored(job_of(own_photos))[1] != before


def test_exchanging_two_files_is_another_digest(own_photos: Path) -> None:
    job = job_of(own_photos)
    before = scored(job)[1]
    one, other = (Path(job.items[CLEAN][n].location) for n in (0, 1))
    data = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(data)
    assert scored(job)[1] != before
