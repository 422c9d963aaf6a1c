"""Reading a run: condition by condition, nothing accepted that was changed, bounded memory."""

import random
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from evaluator.contracts import NullProgress, Provenance, Run, Shard
from evaluator.errors import InputError
from evaluator.evaluate.benchmarks.imagenet_c import CONDITIONS
from evaluator.records.reading import read_run
from evaluator.records.run import create_or_open, open_run
from evaluator.records.shard_runner import run_shards
from evaluator.records.shards import check_finished, shard_path, shards_of
from evaluator.tests.records.test_shards import FOG, manifest, provenance, work
from evaluator.tests.written_runs import write_run

SHARDS = shards_of(FOG, 10, 4)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    run = create_or_open(tmp_path / "run", manifest())
    run_shards(run, SHARDS, work, workers=1, progress=NullProgress())
    return run


def test_records_are_read_when_their_condition_is_asked_for(run: Run) -> None:
    finished = read_run(run, FOG).finished
    shard_path(run, SHARDS[4]).write_bytes(b"")
    assert finished[FOG[0]].num_rows == 10
    with pytest.raises(InputError, match=r"severity=2/part-00001\.parquet is damaged"):
        finished[FOG[1]]


def test_conditions_hold_the_same_ids(tmp_path: Path) -> None:
    run = create_or_open(tmp_path / "run", manifest())

    def changing(shard: Shard, advance: Callable[[int], None]) -> tuple[pa.Table, Provenance]:
        table, made = work(shard, advance)
        if shard == SHARDS[4]:
            table = pa.table({"id": ["photo 4", "new", "photo 6", "photo 7"]})
        return table, made

    run_shards(run, SHARDS, changing, workers=1, progress=NullProgress())
    finished = read_run(run, FOG).finished
    finished[FOG[0]]
    with pytest.raises(
        InputError, match=r"severity=2 contains other .*1 of 10 differ, first new\."
    ):
        finished[FOG[1]]


def test_ids_in_another_order_cannot_be_paired(tmp_path: Path) -> None:
    run = create_or_open(tmp_path / "run", manifest())

    def turning(shard: Shard, advance: Callable[[int], None]) -> tuple[pa.Table, Provenance]:
        table, made = work(shard, advance)
        return (table if shard.condition == FOG[0] else table[::-1]), made

    run_shards(run, SHARDS, turning, workers=1, progress=NullProgress())
    with pytest.raises(InputError, match="differ in their order"):
        list(read_run(run, FOG).finished.values())


@pytest.mark.parametrize("damage", ["cut", "empty", "foreign", "moved", "short"])
def test_a_damaged_shard_is_found_before_others_are_made(run: Run, damage: str) -> None:
    check_finished(run, SHARDS)
    path = shard_path(run, SHARDS[1])
    table = pq.read_table(path, partitioning=None)
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:-20])
    elif damage == "empty":
        path.write_bytes(b"")
    elif damage == "foreign":
        pq.write_table(table.replace_schema_metadata(None), path)
    elif damage == "moved":
        path.write_bytes(shard_path(run, SHARDS[0]).read_bytes())
    else:
        pq.write_table(table.slice(1), path)
    with pytest.raises(InputError, match=rf"{path.name} is damaged: .*Remove it"):
        check_finished(run, SHARDS)
    path.unlink()
    check_finished(run, SHARDS)


def test_whatever_byte_of_a_shard_is_changed_its_records_are_never_others(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", conditions=CONDITIONS[:1])
    run = open_run(folder)
    path = shard_path(run, shards_of(CONDITIONS[:1], 10, 10)[0])
    sound, expected = path.read_bytes(), read_run(run, CONDITIONS).finished[CONDITIONS[0]]
    chance = random.Random(0)
    named: list[str] = []
    for _ in range(300):
        damaged = bytearray(sound)
        for _ in range(chance.choice((1, 1, 8))):
            damaged[chance.randrange(len(damaged))] = chance.randrange(256)
        path.write_bytes(damaged[: chance.choice((len(sound), chance.randrange(len(sound))))])
        try:
            records = read_run(run, CONDITIONS)
            assert records.finished[CONDITIONS[0]] == expected
        except InputError as error:
            named.append(str(error))
    assert len(named) > 200
    assert all(path.name in message for message in named)


def test_provenance_is_of_every_shard_that_is_there(run: Run) -> None:
    shard_path(run, SHARDS[5]).unlink()
    records = read_run(run, FOG)
    assert records.provenance == (provenance(),) * 5
    assert records.begun == {FOG[1]: 8}
    assert FOG[1] not in records.finished


# ------------------------------------------------------------------------- several rows an item


def frames_of(ids: list[str], frames: int, skipped: str = "") -> pa.Table:
    """A row for each frame, of the skipped item one."""
    rows = [
        (id, None) if id == skipped and frame == 0 else (id, frame)
        for id in ids
        for frame in range(1 if id == skipped else frames)
    ]
    return pa.table(
        {
            "id": [id for id, _ in rows],
            "frame": pa.array([frame for _, frame in rows], pa.int32()),
        }
    )


def run_of_frames(
    folder: Path, table_of: Callable[[Shard, list[str]], pa.Table] | None = None
) -> Run:
    run = create_or_open(folder, manifest())

    def filming(shard: Shard, advance: Callable[[int], None]) -> tuple[pa.Table, Provenance]:
        ids = [f"video {i}" for i in range(shard.start, shard.stop)]
        frames = 3 if shard.condition == FOG[0] else 4
        table = frames_of(ids, frames) if table_of is None else table_of(shard, ids)
        advance(shard.size)
        return table, provenance()

    run_shards(run, SHARDS, filming, workers=1, progress=NullProgress())
    return run


def test_conditions_may_have_other_numbers_of_frames_of_the_same_items(tmp_path: Path) -> None:
    finished = read_run(run_of_frames(tmp_path / "run"), FOG).finished
    assert [finished[condition].num_rows for condition in FOG[:2]] == [30, 40]


def test_a_skipped_item_is_one_row_among_frames(tmp_path: Path) -> None:
    run = run_of_frames(tmp_path / "run", lambda _, ids: frames_of(ids, 3, skipped="video 5"))
    assert read_run(run, FOG).finished[FOG[0]].num_rows == 9 * 3 + 1


def test_a_shard_that_lacks_an_item_is_damaged_though_it_has_rows_enough(tmp_path: Path) -> None:
    def lacking(shard: Shard, ids: list[str]) -> pa.Table:
        return frames_of(ids[1:], 3)

    run = run_of_frames(tmp_path / "run", lacking)
    with pytest.raises(InputError, match=r"is damaged: it has 3 items, expected 4\. Remove it"):
        read_run(run, FOG).finished[FOG[0]]


def test_other_items_are_told_from_other_frames(tmp_path: Path) -> None:
    def changing(shard: Shard, ids: list[str]) -> pa.Table:
        if shard == SHARDS[4]:
            ids = [ids[0], "new", *ids[2:]]
        return frames_of(ids, 3)

    finished = read_run(run_of_frames(tmp_path / "run", changing), FOG).finished
    finished[FOG[0]]
    with pytest.raises(
        InputError, match=r"severity=2 contains other .*1 of 10 differ, first new\."
    ):
        finished[FOG[1]]
