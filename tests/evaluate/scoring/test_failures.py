import math
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from evaluator.contracts import Item
from evaluator.errors import EngineError, EvaluatorError, ImageError, InputError
from evaluator.evaluate.benchmarks.imagenet import IMAGENET
from evaluator.evaluate.decode import decode_photo
from evaluator.evaluate.scoring import score_shard
from evaluator.evaluate.sources.folder import FolderSource
from evaluator.tests.evaluate.scoring.bed import (
    CLEAN,
    WNIDS,
    CountingSource,
    FakeEngine,
    ended,
    job_of,
    scored,
    whole,
)


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
    assert f"While reading {victim.location}." in error.__notes__


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
