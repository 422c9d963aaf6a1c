import hashlib
import itertools
import math
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torchvision.transforms import CenterCrop, Compose, InterpolationMode, Resize

from evaluator.contracts import (
    Condition,
    Device,
    Engine,
    EngineSpec,
    ImageBatch,
    InputKind,
    Item,
    Preprocessing,
    Shard,
    Source,
)
from evaluator.errors import EngineError, EvaluatorError, ImageError, InputError
from evaluator.evaluate.benchmarks.imagenet import IMAGENET
from evaluator.evaluate.benchmarks.imagenet_c import IMAGENET_C
from evaluator.evaluate.decode import decode_photo
from evaluator.evaluate.scoring import ScoringJob, score_shard, select_items
from evaluator.evaluate.sources.folder import FolderSource

CLEAN = Condition()
CLASSES = 12
HOW = Preprocessing(36, 32, "bicubic", (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
WNIDS = {"n01440764": 0, "n02110341": 251, "n15075141": 999}
PHOTOS_EACH = 7
Logits = npt.NDArray[np.float32]


def fake_logits(mean: float) -> Logits:
    """Coarse waves over the classes: quarters, so that many classes tie."""
    waves = [round(4 * math.sin(mean * (c % 5 + 1))) / 4 for c in range(CLASSES)]
    return np.array(waves, np.float32)


@dataclass
class FakeEngine:
    """Logits from the mean of each image's pixels; keeps what it was given."""

    input_kind: InputKind = "pixels"
    spoiled: Mapping[str, float] = field(default_factory=dict)
    received: list[ImageBatch] = field(default_factory=list)
    on_batch: Callable[[], None] = lambda: None
    max_batch: int = 64
    callers: int = 1

    @property
    def spec(self) -> EngineSpec:
        return EngineSpec("torch", "0" * 64, input_kind=self.input_kind)

    @property
    def device(self) -> Device:
        return Device("cpu", "a fake", "")

    @property
    def versions(self) -> Mapping[str, str]:
        return {}

    def allocate(self, n: int) -> npt.NDArray[Any]:
        if self.input_kind == "pixels":
            return np.full((n, HOW.crop_px, HOW.crop_px, 3), 77, np.uint8)
        return np.full((n, 3, HOW.crop_px, HOW.crop_px), 77, np.float32)

    def stream(self, batches: Iterable[ImageBatch]) -> Iterator[tuple[ImageBatch, Logits]]:
        for batch in batches:
            self.received.append(batch)
            self.on_batch()
            levels = batch.data if batch.kind == "pixels" else np.rint(batch.data * 255)
            means = levels.reshape(len(batch.data), -1).mean(axis=1, dtype=np.float64)
            logits = np.stack([fake_logits(float(mean)) for mean in means])
            for row, item in enumerate(batch.items):
                if item.id in self.spoiled:
                    logits[row, 5] = self.spoiled[item.id]
            yield batch, logits

    def stop(self) -> None: ...

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None: ...


@dataclass
class CountingSource:
    """A source that counts the reads that were begun."""

    source: Source
    begun: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def conditions(self) -> list[Condition]:
        return list(self.source.conditions())

    def items(self, condition: Condition) -> list[Item]:
        return list(self.source.items(condition))

    def read(self, item: Item) -> bytes:
        with self.lock:
            self.begun += 1
        return self.source.read(item)

    @property
    def generated(self) -> None:
        return None


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty-one JPEGs of many sizes in three class folders. Copy it before you change it."""
    root = tmp_path_factory.mktemp("photos")
    rng = np.random.default_rng(0)
    for number, (n, wnid) in enumerate(itertools.product(range(PHOTOS_EACH), WNIDS)):
        folder = root / wnid
        folder.mkdir(exist_ok=True)
        low, side = int(rng.integers(0, 200)), int(rng.integers(20, 60))
        noise = rng.integers(low, low + 56, (side, 50, 3), np.uint8)
        Image.fromarray(noise).save(folder / f"photo {n}.JPEG", quality=50 + number)
    return root


@pytest.fixture
def own_photos(photos: Path, tmp_path: Path) -> Path:
    """A copy to change."""
    for file in photos.rglob("*.JPEG"):
        copy = tmp_path / file.relative_to(photos)
        copy.parent.mkdir(exist_ok=True)
        copy.write_bytes(file.read_bytes())
    return tmp_path


@pytest.fixture
def decoders() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as pool:
        yield pool


def job_of(root: Path, engine: Engine | None = None, **changes: Any) -> ScoringJob:
    source = FolderSource(root, [CLEAN])
    items = {CLEAN: source.items(CLEAN)}
    job = ScoringJob(IMAGENET, engine or FakeEngine(), source, items, HOW, batch_size=4)
    return replace(job, **changes)


def whole(job: ScoringJob, condition: Condition = CLEAN) -> Shard:
    return Shard(condition, 0, 0, len(job.items[condition]))


def scored(job: ScoringJob) -> tuple[pa.Table, str]:
    return score_shard(job, whole(job), lambda n: None)


def ended(work: Callable[[], object], seconds: float = 20) -> BaseException | None:
    """What this work raised, if anything; a failure if it does not end in time."""
    raised: list[BaseException] = []

    def run() -> None:
        try:
            work()
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    assert not thread.is_alive(), "it hangs"
    return raised[0] if raised else None


# ------------------------------------------------------------------------------ records


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


# ------------------------------------------------------------------------------ the digest


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


# ------------------------------------------------------------------------------ failures


@pytest.mark.parametrize("damage", [b"", b"\xff\xd8 no JPEG", None])
@pytest.mark.parametrize("ahead", [False, True])
def test_an_image_that_cannot_be_had_is_named_and_nothing_hangs(
    own_photos: Path, damage: bytes | None, ahead: bool
) -> None:
    engine = FakeEngine()
    job = job_of(own_photos, engine, batch_size=2)
    file = Path(job.items[CLEAN][10].location)
    if damage is None:
        file.unlink()
    else:
        file.write_bytes(damage)
    told: list[int] = []

    def work() -> None:
        with ThreadPoolExecutor(4) as pool:
            score_shard(replace(job, decoders=pool if ahead else None), whole(job), told.append)

    before = threading.active_count()
    error = ended(work)
    assert isinstance(error, InputError)
    assert str(file) in str(error)
    assert str(error).isprintable()
    assert told == [2] * 5
    assert threading.active_count() == before


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("ahead", [False, True])
def test_logits_that_are_not_finite_name_the_image(
    photos: Path, decoders: ThreadPoolExecutor, value: float, ahead: bool
) -> None:
    job = job_of(photos, batch_size=4, decoders=decoders if ahead else None)
    first, second = job.items[CLEAN][9], job.items[CLEAN][10]
    job = replace(job, engine=FakeEngine(spoiled={first.id: value, second.id: math.nan}))
    told: list[int] = []
    error = ended(lambda: score_shard(job, whole(job), told.append))
    assert isinstance(error, EngineError)
    assert first.location in str(error)
    assert "not finite" in str(error)
    assert str(error).isprintable()
    assert told == [4, 4]


@pytest.mark.parametrize("failure", ["decoding", "logits"])
def test_after_a_failure_what_waits_to_be_decoded_is_dropped(
    own_photos: Path, failure: str
) -> None:
    @dataclass
    class Slow(CountingSource):
        def read(self, item: Item) -> bytes:
            time.sleep(0.01)
            return super().read(item)

    source = Slow(FolderSource(own_photos, [CLEAN]))
    job = job_of(own_photos, source=source, batch_size=1, read_ahead=20)
    bad = job.items[CLEAN][0]
    if failure == "decoding":
        Path(bad.location).write_bytes(b"")
    else:
        job = replace(job, engine=FakeEngine(spoiled={bad.id: math.nan}))
    # Twenty batches are submitted before the first is asked for, to a single thread.
    with ThreadPoolExecutor(1) as pool, pytest.raises(EvaluatorError) as kept:
        scored(replace(job, decoders=pool))
    assert source.begun <= 5
    assert bad.location in str(
        kept.value
    )  # an error that is kept, as by a future, keeps its frames


def test_a_name_with_a_newline_stays_on_one_line(own_photos: Path) -> None:
    odd = own_photos / "n01440764" / "a\nb.JPEG"
    (own_photos / "n01440764" / "photo 0.JPEG").rename(odd)
    spoiled = {"n01440764/a\nb.JPEG": math.nan}
    with pytest.raises(EngineError, match=r"a\\nb\.JPEG"):
        scored(job_of(own_photos, FakeEngine(spoiled=spoiled)))
    odd.write_bytes(b"")
    with pytest.raises(InputError, match=r"a\\nb\.JPEG"):
        scored(job_of(own_photos))


@pytest.mark.parametrize("ahead", [False, True])
def test_a_bug_in_decoding_names_the_image(
    photos: Path, decoders: ThreadPoolExecutor, ahead: bool
) -> None:
    job = job_of(photos, decoders=decoders if ahead else None)
    victim = job.items[CLEAN][10]

    def broken(data: bytes, item: Item, *more: Any) -> None:
        if item == victim:
            raise ZeroDivisionError
        decode_photo(data, item, *more)

    error = ended(lambda: scored(replace(job, benchmark=replace(IMAGENET, decode=broken))))
    assert isinstance(error, ZeroDivisionError)
    assert f"It was at {victim.location}." in error.__notes__


# ------------------------------------------------------------------------------ skipping


@pytest.mark.parametrize("batch_size", [1, 4, 64])
@pytest.mark.parametrize("ahead", [False, True])
@pytest.mark.parametrize("bad", [(0,), (10,), (20,), (3, 4, 5, 6, 7, 8, 9), tuple(range(21))])
def test_a_skipped_image_is_a_row_that_says_why_and_changes_no_other(
    own_photos: Path,
    decoders: ThreadPoolExecutor,
    bad: tuple[int, ...],
    ahead: bool,
    batch_size: int,
) -> None:
    job = job_of(own_photos, batch_size=batch_size, decoders=decoders if ahead else None)
    expected = scored(job)[0].to_pylist()
    for number, position in enumerate(bad):
        file = Path(job.items[CLEAN][position].location)
        file.unlink() if number % 2 else file.write_bytes(b"\xff\xd8 no JPEG")
    engine, told = FakeEngine(), list[int]()
    skipping = replace(job, engine=engine, skip_bad_images=True)
    table, digest = score_shard(skipping, whole(skipping), told.append)
    assert table.schema == IMAGENET.schema
    for position, (row, before) in enumerate(zip(table.to_pylist(), expected, strict=True)):
        if position not in bad:
            assert row == before
            continue
        assert (row["id"], row["label"]) == (before["id"], before["label"])
        assert row["top5"] is row["probability"] is None
        assert job.items[CLEAN][position].location in row["error"]
        assert row["error"].isprintable()
    # No row of a batch is given to what is not there; batches keep their borders.
    items = job.items[CLEAN]
    kept = [
        [item.id for n, item in enumerate(items) if n // batch_size == batch and n not in bad]
        for batch in range(-(-len(items) // batch_size))
    ]
    given = [[item.id for item in batch.items] for batch in engine.received]
    assert given == [batch for batch in kept if batch]
    assert sum(told) == 21
    with pytest.raises(InputError):
        scored(job)
    again = replace(job, decoders=None, skip_bad_images=True)
    assert scored(again) == (table, digest)


def test_a_shard_of_which_nothing_can_be_read_is_no_shard_of_skipped_images(
    own_photos: Path,
) -> None:
    job = job_of(own_photos, skip_bad_images=True)
    files = [Path(item.location) for item in job.items[CLEAN]]
    for file in files[1:]:
        file.unlink()
    table, _ = scored(job)
    assert table["error"].null_count == 1
    files[0].unlink()  # the class folders are still there
    with pytest.raises(InputError, match="None of 21 images can be read") as raised:
        scored(job)
    assert not isinstance(raised.value, ImageError)
    assert str(files[0]) in str(raised.value)


@pytest.mark.parametrize("lost", ["folder", "content"])
def test_data_that_are_gone_end_the_work_though_bad_images_are_skipped(
    own_photos: Path, lost: str
) -> None:
    root = own_photos / "mounted"
    root.mkdir()
    for wnid in WNIDS:
        (own_photos / wnid).rename(root / wnid)
    job = job_of(root, skip_bad_images=True)
    root.rename(own_photos / "elsewhere")
    if lost == "content":
        root.mkdir()  # as a mount point is when nothing is mounted
    with pytest.raises(InputError, match=f"The data are gone: {root} ") as raised:
        scored(job)
    assert not isinstance(raised.value, ImageError)


# ------------------------------------------------------------------------------ reading ahead


@pytest.mark.parametrize("read_ahead", [1, 2, 4, 100])
def test_no_more_than_read_ahead_batches_are_decoded_ahead(photos: Path, read_ahead: int) -> None:
    source = CountingSource(FolderSource(photos, [CLEAN]))
    ahead: list[int] = []
    engine = FakeEngine()

    def look() -> None:
        time.sleep(0.02)  # let the decoders run as far as they may
        ahead.append(-(-source.begun // 2) - len(engine.received))

    engine.on_batch = look
    with ThreadPoolExecutor(8) as pool:
        scored(
            job_of(
                photos, engine, source=source, batch_size=2, decoders=pool, read_ahead=read_ahead
            )
        )
    assert len(ahead) == 11
    assert max(ahead) <= read_ahead
    assert max(ahead) >= min(read_ahead - 1, 10)


def test_without_decoders_a_batch_is_decoded_when_it_is_asked_for(photos: Path) -> None:
    source = CountingSource(FolderSource(photos, [CLEAN]))
    engine = FakeEngine()
    begun: list[int] = []
    engine.on_batch = lambda: begun.append(source.begun)
    scored(job_of(photos, engine, source=source, batch_size=7))
    assert begun == [7, 14, 21]


def test_several_callers_score_several_shards_at_once(photos: Path) -> None:
    job = job_of(photos, batch_size=2)
    shards = [Shard(CLEAN, n, 7 * n, 7 * n + 7) for n in range(3)] * 4
    with ThreadPoolExecutor(6) as pool:
        results = list(pool.map(lambda shard: score_shard(job, shard, lambda n: None), shards))
    expected = scored(job)[0].to_pylist()
    for shard, (table, _) in zip(shards, results, strict=True):
        assert table.to_pylist() == expected[shard.start : shard.stop]


def test_batches_come_in_order_when_the_first_takes_longest(
    photos: Path, decoders: ThreadPoolExecutor
) -> None:
    @dataclass
    class Slow(CountingSource):
        def read(self, item: Item) -> bytes:
            data = super().read(item)
            time.sleep(0.1 if item == first else 0)
            return data

    job = job_of(photos, batch_size=2, decoders=decoders)
    first = job.items[CLEAN][0]
    slow, plain = replace(job, source=Slow(job.source)), replace(job, decoders=None)
    assert scored(slow)[0].to_pylist() == scored(plain)[0].to_pylist()
    assert scored(slow)[1] == scored(plain)[1]


# ------------------------------------------------------------------------------ select_items


def items_of(n: int, place: str = "") -> list[Item]:
    return [Item(f"{position:05d}", None, f"{place}{position}") for position in range(n)]


@given(n=st.integers(1, 500), limit=st.integers(1, 600))
def test_selected_items_are_evenly_spaced_and_in_order(n: int, limit: int) -> None:
    positions = [int(item.id) for item in select_items(items_of(n), limit)]
    assert len(positions) == min(n, limit)
    assert positions[0] == 0
    gaps = np.diff([*positions, n])
    assert gaps.min() >= 1
    assert gaps.max() - gaps.min() <= 1


def test_a_limit_of_one_per_class_takes_one_of_each_class() -> None:
    # 50,000 sorted photos, 50 a class: every 50th.
    positions = [int(item.id) for item in select_items(items_of(50_000), 1000)]
    assert positions == list(range(0, 50_000, 50))


def test_the_same_images_are_selected_in_every_condition() -> None:
    fog, snow = select_items(items_of(77, "fog"), 10), select_items(items_of(77, "snow"), 10)
    assert [item.id for item in fog] == [item.id for item in snow]
    assert [item.location for item in fog] != [item.location for item in snow]


@pytest.mark.parametrize("limit", [None, 7, 8, 10**9])
def test_a_limit_that_is_no_limit_gives_everything(limit: int | None) -> None:
    assert select_items(items_of(7), limit) == items_of(7)


@pytest.mark.parametrize("limit", [0, -1])
def test_a_limit_below_one_is_refused(limit: int) -> None:
    with pytest.raises(InputError, match=rf"--limit {limit} .* at least 1") as raised:
        select_items(items_of(7), limit)
    assert str(raised.value).isprintable()
