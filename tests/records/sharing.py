"""Cheap rows, and a process that makes shards: ``python -m evaluator.tests.records.sharing``."""

import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pyarrow as pa

from evaluator.contracts import (
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
from evaluator.records.leases import Holder, LeaseTimes, lease_path
from evaluator.records.reading import read_run
from evaluator.records.run import create_or_open
from evaluator.records.shard_runner import run_shards
from evaluator.records.shards import shards_of
from evaluator.storage.documents import canonical_bytes

SHORT = LeaseTimes(renew_s=0.1, expire_s=0.6, look_s=0.05)
"""Where leases shall expire. On a busy machine a live one's do, too: then shards are made twice."""
TIMES = LeaseTimes(renew_s=0.1, expire_s=600.0, look_s=0.05)
"""Where only what the test does to them shall make them expire."""
FOG = tuple(Condition((("corruption", "fog"), ("severity", s))) for s in (1, 2))
ITEMS, SHARD = 90, 5
STEPS = 4


def the_run(folder: Path) -> Run:
    how = Preprocessing(256, 224, "bilinear", (0.5,) * 3, (0.5,) * 3)
    model = ModelSpec("m", "m", WeightsOrigin("random", "seed 0"), how, 224, 1000, "", "")
    key = RunKey("imagenet-c", "1", "ab", EngineSpec("torch", "cd"), how, "ef")
    return create_or_open(folder, RunManifest(key, model, ITEMS, SHARD, 2, "2026-01-01T00:00:00"))


def rows_of(shard: Shard) -> pa.Table:
    places = range(shard.start, shard.stop)
    return pa.table({"id": [f"{n:03d}" for n in places], "value": [n * n for n in places]})


def provenance() -> Provenance:
    device = Device("cpu", "m", "d")
    return Provenance("h", device, {}, None, "reference", 2, ("/data",), "", "", 0.0, "")


def work(shard: Shard, advance: Callable[[int], None]) -> tuple[pa.Table, Provenance]:
    advance(shard.size)
    return rows_of(shard), provenance()


def age(path: Path, seconds: float) -> None:
    then = path.stat().st_mtime - seconds
    os.utime(path, (then, then))


def names(run: Run) -> set[str]:
    return {path.name for path in (run.folder / "records").rglob("*") if path.is_file()}


def assert_whole(run: Run) -> None:
    """The rows are those of an undisturbed run, and nothing else of ours lies about."""
    finished = read_run(run, FOG).finished
    for condition in FOG:
        assert finished[condition].to_pylist() == rows_of(Shard(condition, 0, 0, ITEMS)).to_pylist()
    assert not [name for name in names(run) if name.startswith(".part-")]


def foreign_lease(part: Path, **changes: object) -> Path:
    """A lease of a process on another machine."""
    holder = Holder("node7", "node7 boot", 1, "1", "theirs", "2026-01-01T00:00:00+00:00")
    lease = lease_path(part)
    lease.write_bytes(canonical_bytes(replace(holder, **changes)))  # type: ignore[arg-type]
    return lease


def main(folder: Path, journal: Path, seconds: float, expire_s: float, crowd: int) -> None:
    """Make all shards, each in so many seconds; write down which ones were begun.

    None is finished before so many processes have begun one.
    """
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    heard = NullProgress()

    def slowly(shard: Shard, advance: Callable[[int], None]) -> tuple[pa.Table, Provenance]:
        with journal.open("a") as file:
            file.write(f"{os.getpid()} {shard.condition.folder} {shard.index}\n")
        while len({line.split()[0] for line in journal.read_text().splitlines()}) < crowd:
            time.sleep(0.01)
        for _ in range(STEPS):
            time.sleep(seconds / STEPS)
            advance(0)
        return rows_of(shard), provenance()

    run, times = the_run(folder), replace(SHORT, expire_s=expire_s)
    shards = shards_of(FOG, ITEMS, SHARD)
    run_shards(run, shards, slowly, workers=2, progress=heard, times=times)
    print("\n".join(heard.notes))


if __name__ == "__main__":
    places, numbers = sys.argv[1:3], sys.argv[3:]
    main(Path(places[0]), Path(places[1]), float(numbers[0]), float(numbers[1]), int(numbers[2]))
