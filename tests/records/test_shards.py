"""Shards: how a run is cut, resumed, and stopped."""

import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import dataset

from evaluator.contracts import (
    RUN_FORMAT,
    Condition,
    Device,
    EngineSpec,
    ModelSpec,
    NullProgress,
    Preprocessing,
    Provenance,
    Run,
    RunKey,
    RunManifest,
    Shard,
    WeightsOrigin,
)
from evaluator.errors import InputError, RunMismatchError
from evaluator.records.reading import read_run
from evaluator.records.run import create_or_open, find_runs, open_run
from evaluator.records.shard_runner import run_shards
from evaluator.records.shards import Pace, shard_path, shard_size, shards_of

PREPROCESSING = Preprocessing(256, 224, "bilinear", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
MODEL = ModelSpec(
    "m", "m", WeightsOrigin("random", "seed 0"), PREPROCESSING, 224, 1000, "source", "licence"
)
FOG = tuple(Condition((("corruption", "fog"), ("severity", s))) for s in (1, 2))


def key(limit: int | None = None, generated: Mapping[str, int] | None = None) -> RunKey:
    return RunKey(
        "imagenet-c",
        "1",
        "ab",
        EngineSpec("torch", "cd"),
        PREPROCESSING,
        "ef",
        generated=generated,
        limit=limit,
    )


def manifest(the_key: RunKey | None = None, items: int = 10, size: int = 4) -> RunManifest:
    return RunManifest(the_key or key(), MODEL, items, size, 2, "2026-01-01T00:00:00+00:00")


def provenance() -> Provenance:
    return Provenance(
        host="h",
        device=Device("cpu", "m", "d"),
        versions={},
        parity=None,
        parity_status="reference",
        batch_size=2,
        data=("/data",),
        data_sha256="",
        started="",
        seconds=0.0,
        command="",
    )


def ids_of(shard: Shard) -> pa.Table:
    return pa.table({"id": [f"photo {i}" for i in range(shard.start, shard.stop)]})


def work(shard: Shard, advance: Callable[[int], None]) -> tuple[pa.Table, Provenance]:
    advance(shard.size)
    return ids_of(shard), provenance()


def read_all(run: Run) -> None:
    for condition in (finished := read_run(run, FOG).finished):
        finished[condition]


def files(run: Run) -> dict[str, int]:
    return {
        str(path.relative_to(run.folder)): path.stat().st_mtime_ns
        for path in run.folder.rglob("*.parquet")
    }


@given(
    items=st.integers(1, 60_000),
    conditions=st.integers(1, 75),
    batch=st.integers(1, 128),
    rate=st.floats(0.01, 10_000),
    workers=st.integers(1, 16),
)
def test_shards_cover_every_item_once_in_whole_batches(
    items: int, conditions: int, batch: int, rate: float, workers: int
) -> None:
    size = shard_size(items, conditions, batch, Pace(rate, workers))
    minute = max(1, int(60 * rate))
    assert size % batch == 0 if minute >= batch else size == minute
    shards = shards_of([Condition()], items, size)
    covered = [i for shard in shards for i in (shard.start, shard.stop)]
    assert covered[0] == 0
    assert covered[-1] == items
    assert covered[1:-1:2] == covered[2::2]
    assert all(shard.size > 0 for shard in shards)
    # A minute of one worker, or a single image where even that takes longer.
    assert size <= max(1, 60 * rate)


def test_every_shard_is_one_file_in_its_hive_partition(tmp_path: Path) -> None:
    run = create_or_open(tmp_path / "run", manifest())
    run_shards(run, shards_of(FOG, 10, 4), work, workers=2, progress=NullProgress())
    assert sorted(files(run)) == [
        f"records/corruption=fog/severity={s}/part-{i:05d}.parquet"
        for s in (1, 2)
        for i in range(3)
    ]
    table = dataset.dataset(run.folder / "records", partitioning="hive").to_table()
    assert table.num_rows == 20
    assert set(table.column_names) == {"id", "corruption", "severity"}


def test_what_is_finished_is_not_made_again(tmp_path: Path) -> None:
    run = create_or_open(tmp_path / "run", manifest())
    run_shards(run, shards_of(FOG, 10, 4), work, workers=1, progress=NullProgress())
    before = files(run)
    gone = shard_path(run, shards_of(FOG, 10, 4)[4])
    gone.unlink()
    made: list[Shard] = []

    def counting(shard: Shard, advance: Callable[[int], None]) -> tuple[pa.Table, Provenance]:
        made.append(shard)
        return work(shard, advance)

    run_shards(run, shards_of(FOG, 10, 4), counting, workers=2, progress=NullProgress())
    assert [(shard.condition, shard.start) for shard in made] == [(FOG[1], 4)]
    after = files(run)
    assert after.keys() == before.keys()
    assert {n for n in after if after[n] != before[n]} == {str(gone.relative_to(run.folder))}


def test_the_first_error_ends_the_run_and_keeps_what_is_finished(tmp_path: Path) -> None:
    run = create_or_open(tmp_path / "run", manifest())
    shards = shards_of(FOG, 10, 4)

    def failing(shard: Shard, advance: Callable[[int], None]) -> tuple[pa.Table, Provenance]:
        if shard == shards[2]:
            raise InputError("bad.JPEG")
        return work(shard, advance)

    with pytest.raises(InputError, match=r"bad\.JPEG"):
        run_shards(run, shards, failing, workers=1, progress=NullProgress())
    assert len(files(run)) == 2
    run_shards(run, shards, work, workers=1, progress=NullProgress())
    assert len(files(run)) == 6


def test_an_error_stops_the_other_workers_in_the_middle_of_their_shard(tmp_path: Path) -> None:
    run = create_or_open(tmp_path / "run", manifest())
    failed = threading.Event()
    steps = 0

    def endless(shard: Shard, advance: Callable[[int], None]) -> tuple[pa.Table, Provenance]:
        nonlocal steps
        if shard.index == 0 and shard.condition == FOG[0]:
            failed.set()
            raise InputError("the first one")
        assert failed.wait(10)
        while True:
            steps += 1
            advance(0)

    with pytest.raises(InputError, match="the first one"):
        run_shards(run, shards_of(FOG, 10, 4), endless, workers=2, progress=NullProgress())
    assert files(run) == {}


def test_progress_counts_over_the_whole_job_and_begins_at_what_is_there(tmp_path: Path) -> None:
    run = create_or_open(tmp_path / "run", manifest())
    run_shards(run, shards_of(FOG[:1], 10, 4), work, workers=1, progress=NullProgress())
    told: list[tuple[int, int]] = []

    class Heard(NullProgress):
        def advance(self, step: str, done: int, total: int, unit: str) -> None:
            told.append((done, total))

    run_shards(run, shards_of(FOG, 10, 4), work, workers=1, progress=Heard())
    assert told[0] == (10, 20)
    assert told[-1] == (20, 20)


def test_a_run_reads_back_in_order_with_its_provenance(tmp_path: Path) -> None:
    run = create_or_open(tmp_path / "run", manifest())
    run_shards(run, shards_of(FOG, 10, 4), work, workers=2, progress=NullProgress())
    shard_path(run, shards_of(FOG[1:], 10, 4)[1]).unlink()
    records = read_run(run, FOG)
    assert list(records.finished) == [FOG[0]]
    assert records.finished[FOG[0]]["id"].to_pylist() == [f"photo {i}" for i in range(10)]
    assert records.begun == {FOG[1]: 6}
    assert records.provenance == (provenance(),) * 5


@pytest.mark.parametrize("damage", ["cut", "empty", "foreign", "short"])
def test_a_damaged_shard_is_named(tmp_path: Path, damage: str) -> None:
    import pyarrow.parquet as pq

    run = create_or_open(tmp_path / "run", manifest())
    run_shards(run, shards_of(FOG, 10, 4), work, workers=1, progress=NullProgress())
    path = shard_path(run, shards_of(FOG, 10, 4)[0])
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:-20])
    elif damage == "empty":
        path.write_bytes(b"")
    elif damage == "foreign":
        pq.write_table(ids_of(Shard(FOG[0], 0, 0, 4)), path)
    else:
        pq.write_table(pq.read_table(path).slice(1), path)
    with pytest.raises(InputError, match=rf"{path.name} is damaged: .*Remove it"):
        read_all(run)


@pytest.mark.parametrize(
    ("victim", "donor", "words"),
    [
        (3, 0, "records 0 to 4 (part 0) of corruption=fog/severity=1"),
        (1, 0, "records 0 to 4 (part 0) of corruption=fog/severity=1"),
    ],
)
def test_a_shard_that_was_copied_over_another_is_named(
    tmp_path: Path, victim: int, donor: int, words: str
) -> None:
    run = create_or_open(tmp_path / "run", manifest())
    shards = shards_of(FOG, 10, 4)
    run_shards(run, shards, work, workers=1, progress=NullProgress())
    path = shard_path(run, shards[victim])
    path.write_bytes(shard_path(run, shards[donor]).read_bytes())
    with pytest.raises(InputError) as caught:
        read_all(run)
    assert str(caught.value).startswith(f"{path} is damaged: it contains {words}")
    path.unlink()
    run_shards(run, shards, work, workers=1, progress=NullProgress())
    assert len(list(read_run(run, FOG).finished.values())) == 2


def test_a_shard_of_another_run_is_named(tmp_path: Path) -> None:
    runs = [
        create_or_open(tmp_path / name, manifest(key(limit)))
        for name, limit in (("a", None), ("b", 10))
    ]
    shards = shards_of(FOG[:1], 10, 4)
    for run in runs:
        run_shards(run, shards, work, workers=1, progress=NullProgress())
    theirs, ours = (shard_path(run, shards[0]) for run in runs)
    ours.write_bytes(theirs.read_bytes())
    with pytest.raises(InputError, match="it belongs to another run"):
        read_run(runs[1], FOG)


def test_a_shard_whose_records_or_provenance_were_edited_is_named(tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    run = create_or_open(tmp_path / "run", manifest())
    run_shards(run, shards_of(FOG, 10, 4), work, workers=1, progress=NullProgress())
    path = shard_path(run, shards_of(FOG, 10, 4)[0])
    table = pq.read_table(path, partitioning=None)
    edited = pa.table({"id": ["fog/0", "1", "2", "3"]}).replace_schema_metadata(
        table.schema.metadata
    )
    pq.write_table(edited, path)
    with pytest.raises(InputError, match=rf"{path.name} is damaged: its records changed"):
        read_all(run)
    made = table.schema.metadata[b"evaluator.provenance"]
    metadata = {**table.schema.metadata, b"evaluator.provenance": made.replace(b"/data", b"/d")}
    pq.write_table(table.replace_schema_metadata(metadata), path)
    with pytest.raises(InputError, match="its provenance changed"):
        read_all(run)
    # Another file with the same content is the same shard.
    pq.write_table(table, path, compression="gzip", row_group_size=1)
    assert len(list(read_run(run, FOG).finished.values())) == 2


def test_an_id_that_stands_twice_in_a_condition_is_named(tmp_path: Path) -> None:
    run = create_or_open(tmp_path / "run", manifest())

    def repeating(shard: Shard, advance: Callable[[int], None]) -> tuple[pa.Table, Provenance]:
        return pa.table({"id": [f"photo {i}" for i in range(shard.size)]}), provenance()

    run_shards(run, shards_of(FOG[:1], 10, 4), repeating, workers=1, progress=NullProgress())
    with pytest.raises(InputError, match=r"severity=1 is damaged: it contains photo 0 twice"):
        read_all(run)


def test_a_run_of_the_older_format_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        InputError,
        match=rf"another version .*format 1, this one reads {RUN_FORMAT}\).*"
        r"repeat the run in another --out\.",
    ):
        create_or_open(tmp_path / "run", replace(manifest(), schema=1))


def test_another_key_is_refused_and_every_difference_named(tmp_path: Path) -> None:
    create_or_open(tmp_path / "run", manifest(key()))
    with pytest.raises(RunMismatchError) as caught:
        create_or_open(tmp_path / "run", manifest(key(limit=5, generated={"seed": 1})))
    assert "limit is none there, 5 here" in str(caught.value)
    assert "generated is none there" in str(caught.value)
    assert "weights" not in str(caught.value)


def test_a_run_that_is_there_keeps_its_own_shard_size(tmp_path: Path) -> None:
    create_or_open(tmp_path / "run", manifest(size=4))
    assert create_or_open(tmp_path / "run", manifest(size=8)).manifest.shard_size == 4


def test_a_folder_with_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(Exception, match="exists and is not a run"):
        create_or_open(tmp_path, manifest())
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_what_systems_leave_in_a_folder_is_nothing_in_the_way(tmp_path: Path) -> None:
    for name in (".DS_Store", ".nfs0001", ".run.json.0123abcd.tmp"):
        (tmp_path / name).write_text("")
    create_or_open(tmp_path, manifest())
    assert find_runs([tmp_path])


def test_of_several_processes_that_begin_a_run_the_first_ones_size_holds(tmp_path: Path) -> None:
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(8) as pool:
        runs = list(
            pool.map(
                lambda size: create_or_open(tmp_path / "run", manifest(size=size)), range(1, 33)
            )
        )
    assert len({run.manifest.shard_size for run in runs}) == 1
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["run.json"]


def test_a_manifest_that_was_edited_by_hand_is_refused(tmp_path: Path) -> None:
    create_or_open(tmp_path, manifest())
    path = tmp_path / "run.json"
    path.write_text(path.read_text().replace('"limit": null', '"limit": 5'))
    advice = r".*restore it, or repeat the run in another --out\."
    with pytest.raises(InputError, match=r"run\.json was edited" + advice):
        open_run(tmp_path)
    path.write_text("{")
    with pytest.raises(InputError, match=r"run\.json is not a valid RunManifest" + advice):
        open_run(tmp_path)


def test_runs_are_found_at_any_depth_each_once(tmp_path: Path) -> None:
    for name in ("b/one", "a/two"):
        create_or_open(tmp_path / name, manifest())
    (tmp_path / "note.txt").write_text("")
    found = find_runs([tmp_path, tmp_path / "a", tmp_path / "a" / "two"])
    assert [run.folder.name for run in found] == ["two", "one"]


def test_a_folder_without_a_run_is_named(tmp_path: Path) -> None:
    commands = "evaluator score MODEL .* or `evaluator attack whitebox MODEL"
    with pytest.raises(InputError, match=f"contains no run: .*{commands}"):
        find_runs([tmp_path])
    with pytest.raises(InputError, match="is not a folder"):
        find_runs([tmp_path / "missing"])
    with pytest.raises(
        InputError, match=r"is not a run: .* `evaluator score` or `evaluator attack`"
    ):
        open_run(tmp_path)
