"""Shards that several processes make, which die, stand still and go on again."""

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from evaluator.contracts import NullProgress, Provenance, Shard
from evaluator.errors import InputError
from evaluator.records.leases import LeaseTimes, lease_path
from evaluator.records.shard_runner import THREAD_NAME, run_shards
from evaluator.records.shards import shard_path, shards_of, write_shard
from evaluator.tests.records.sharing import (
    FOG,
    ITEMS,
    SHARD,
    SHORT,
    TIMES,
    age,
    assert_whole,
    foreign_lease,
    names,
    provenance,
    rows_of,
    the_run,
    work,
)

posix = pytest.mark.skipif(os.name != "posix", reason="signals are POSIX")
Process = subprocess.Popen[str]


def begin(
    folder: Path, journal: Path, seconds: float, times: LeaseTimes = TIMES, crowd: int = 1
) -> Process:
    words: list[str | Path] = [folder, journal, str(seconds), str(times.expire_s), str(crowd)]
    return subprocess.Popen(
        [sys.executable, "-m", "evaluator.tests.records.sharing", *words],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


# ------------------------------------------------------------------------ many processes


@posix
def test_three_processes_make_every_shard_exactly_once(tmp_path: Path) -> None:
    journal = tmp_path / "journal"
    processes = [begin(tmp_path / "run", journal, 0.05, crowd=3) for _ in range(3)]
    try:
        for process in processes:
            _, stderr = process.communicate(timeout=60)
            assert process.returncode == 0, stderr
    finally:
        for process in processes:
            process.kill()
            process.communicate()
    made = [line.split(" ", 1) for line in journal.read_text().splitlines()]
    shards = [shard for _, shard in made]
    assert len(shards) == len(set(shards)) == len(FOG) * ITEMS // SHARD
    assert len({pid for pid, _ in made}) == 3
    assert_whole(the_run(tmp_path / "run"))


@posix
@pytest.mark.parametrize(
    ("seed", "signals"),
    [
        (0, 4),
        pytest.param(0, 12, marks=pytest.mark.slow),
        pytest.param(1, 12, marks=pytest.mark.slow),
    ],
)
def test_processes_that_are_killed_at_random_lose_and_double_nothing(
    tmp_path: Path, seed: int, signals: int
) -> None:
    chance = random.Random(seed)
    run, journal = the_run(tmp_path / "run"), tmp_path / "journal"
    foreign = {".nfs000", ".DS_Store", "part-00003.parquet.swp", ".x.tmp", ".~lock.part-00001#"}
    ended = threading.Event()

    def disturb() -> None:  # others write to the folder, too
        while not ended.wait(0.02):
            for name in foreign:
                (run.folder / "records" / FOG[0].folder).mkdir(parents=True, exist_ok=True)
                (run.folder / "records" / FOG[0].folder / name).write_text("not ours")

    disturber = threading.Thread(target=disturb)
    disturber.start()
    processes = [begin(run.folder, journal, 0.2, SHORT) for _ in range(3)]
    kinds = [signal.SIGKILL, signal.SIGTERM, signal.SIGSTOP]
    chance.shuffle(kinds)
    sent: list[signal.Signals] = []
    try:
        while any(process.poll() is None for process in processes) and len(sent) < signals:
            time.sleep(chance.uniform(0.05, 0.5))
            place = chance.randrange(3)
            kind = kinds[len(sent) % 3]
            processes[place].send_signal(kind)
            sent.append(kind)
            if kind == signal.SIGSTOP:  # longer than its leases live
                time.sleep(SHORT.expire_s * 1.5)
                processes[place].send_signal(signal.SIGCONT)
            else:
                processes[place].communicate(timeout=20)
                processes[place] = begin(run.folder, journal, 0.2, SHORT)
        for process in processes:
            _, stderr = process.communicate(timeout=60)
            assert process.returncode == 0, stderr
    finally:
        ended.set()
        disturber.join()
        for process in processes:
            process.kill()
            process.communicate()
    assert len(set(sent)) == 3
    # The next command, as a user would give it: there is nothing to make, but leftovers to remove,
    # also of one that was killed after another had taken over its shard, once they are old.
    time.sleep(2 * SHORT.expire_s)
    run_shards(
        run, shards_of(FOG, ITEMS, SHARD), work, workers=1, progress=NullProgress(), times=SHORT
    )
    assert foreign <= names(run)
    assert_whole(run)


@posix
@pytest.mark.parametrize("times", [1, pytest.param(6, marks=pytest.mark.slow)])
def test_processes_that_are_killed_while_they_write_leave_nothing_half(
    tmp_path: Path, times: int
) -> None:
    chance, run = random.Random(0), the_run(tmp_path / "run")
    for _ in range(times):  # they compute nothing: writing is all that takes time
        processes = [begin(run.folder, tmp_path / "journal", 0, SHORT) for _ in range(2)]
        before = len(names(run))
        while len(names(run)) <= before and any(p.poll() is None for p in processes):
            time.sleep(0.001)
        time.sleep(chance.uniform(0, 0.03))
        for process in processes:
            process.kill()
            process.communicate()
        for path in (run.folder / "records").rglob("part-*.parquet"):
            assert path.stat().st_size > 0
    time.sleep(2 * SHORT.expire_s)  # also a lease that says nothing yet may be left
    run_shards(
        run, shards_of(FOG, ITEMS, SHARD), work, workers=1, progress=NullProgress(), times=SHORT
    )
    assert_whole(run)


# ------------------------------------------------------------------------ waiting


def test_what_others_make_is_waited_for_and_told_once(tmp_path: Path) -> None:
    run, heard = the_run(tmp_path / "run"), NullProgress()
    shards = shards_of(FOG, ITEMS, SHARD)
    theirs = shards[3:5]
    for shard in theirs:
        shard_path(run, shard).parent.mkdir(parents=True, exist_ok=True)
        foreign_lease(shard_path(run, shard))

    def finish_one() -> None:
        while "waiting" not in "".join(heard.notes):
            time.sleep(0.01)
        write_shard(run, theirs[0], rows_of(theirs[0]), provenance())
        lease_path(shard_path(run, theirs[0])).unlink()
        age(lease_path(shard_path(run, theirs[1])), 10 * TIMES.expire_s)

    other = threading.Thread(target=finish_one)
    other.start()
    run_shards(run, shards, work, workers=2, progress=heard, times=TIMES)
    other.join()
    assert heard.notes == [
        "The last 2 shards are being made by other processes, on node7: waiting."
    ]
    assert_whole(run)  # the other one expired, and was taken over


def test_leases_are_given_back_on_errors(tmp_path: Path) -> None:
    run = the_run(tmp_path / "run")

    def failing(shard: Shard, advance: Callable[[int], None]) -> tuple[pa.Table, Provenance]:
        if shard.index == 7:
            raise InputError("bad.JPEG")
        return work(shard, advance)

    with pytest.raises(InputError, match=r"bad\.JPEG"):
        run_shards(
            run,
            shards_of(FOG, ITEMS, SHARD),
            failing,
            workers=2,
            progress=NullProgress(),
            times=TIMES,
        )
    assert not [name for name in names(run) if name.startswith(".")]


def test_an_error_surfaces_at_once_also_beside_work_that_cannot_be_stopped(tmp_path: Path) -> None:
    run, freed, began = the_run(tmp_path / "run"), threading.Event(), threading.Event()
    stopped: list[bool] = []

    def stuck(shard: Shard, advance: Callable[[int], None]) -> tuple[pa.Table, Provenance]:
        if shard.index == 0:
            began.set()
            freed.wait()  # as in a library that answers nobody
        began.wait()
        raise InputError("bad.JPEG")

    with pytest.raises(InputError, match=r"bad\.JPEG"):
        run_shards(
            run,
            shards_of(FOG[:1], ITEMS, SHARD),
            stuck,
            workers=2,
            progress=NullProgress(),
            stop=lambda: stopped.append(True),
        )
    assert not freed.is_set()
    assert stopped == [True]
    freed.set()
    assert names(run) == set()


def test_a_thread_that_cannot_be_started_is_the_error_that_surfaces(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, real = the_run(tmp_path / "run"), threading.Thread.start

    def refusing(thread: threading.Thread) -> None:
        if thread.name == THREAD_NAME:
            raise RuntimeError("can't start new thread")
        real(thread)

    monkeypatch.setattr(threading.Thread, "start", refusing)
    with pytest.raises(RuntimeError, match="can't start new thread"):
        run_shards(run, shards_of(FOG, ITEMS, SHARD), work, workers=2, progress=NullProgress())
    assert names(run) == set()


def test_a_program_that_was_interrupted_ends_after_the_batches_that_are_computed(
    tmp_path: Path,
) -> None:
    program = """
import signal, sys, threading
from pathlib import Path
from evaluator.tests.records.sharing import *

def slow(shard, advance):
    began.set()
    told.wait(60)
    print("computed", flush=True)
    advance(1)

began, told = threading.Event(), threading.Event()
main = threading.main_thread().ident
threading.Thread(
    target=lambda: began.wait() and signal.pthread_kill(main, signal.SIGINT), daemon=True
).start()
signal.signal(signal.SIGINT, signal.default_int_handler)
run = the_run(Path(sys.argv[1]))
try:
    run_shards(run, shards_of(FOG, ITEMS, SHARD), slow, workers=1, progress=NullProgress())
except KeyboardInterrupt:
    print("interrupted", flush=True)
    told.set()
"""
    done = subprocess.run(
        [sys.executable, "-c", program, tmp_path / "run"],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.split() == ["interrupted", "computed"]


def test_a_shard_whose_half_written_file_was_taken_away_is_written_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import pyarrow.parquet as pq

    run = the_run(tmp_path / "run")
    shard = shards_of(FOG, ITEMS, SHARD)[0]
    real, taken = pq.write_table, list[str]()

    def taken_away(table: pa.Table, path: str, **options: object) -> None:
        real(table, path, **options)
        if not taken:
            taken.append(path)
            Path(path).unlink()

    monkeypatch.setattr(pq, "write_table", taken_away)
    write_shard(run, shard, rows_of(shard), provenance())
    assert taken
    assert names(run) == {"part-00000.parquet"}


def test_an_interrupt_while_a_thread_starts_waits_for_what_it_computes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    began, computed = threading.Event(), []

    class Interrupted(threading.Thread):
        def start(self) -> None:
            super().start()
            if self.name == THREAD_NAME:  # the leases have a thread as well
                began.wait(9)
                raise KeyboardInterrupt

    def slow(shard: Shard, advance: Callable[[int], None]) -> tuple[pa.Table, Provenance]:
        began.set()
        time.sleep(0.3)
        computed.append(shard)
        return work(shard, advance)

    monkeypatch.setattr("evaluator.records.shard_runner.threading.Thread", Interrupted)
    run = the_run(tmp_path / "run")
    with pytest.raises(KeyboardInterrupt):
        run_shards(run, shards_of(FOG, ITEMS, SHARD), slow, workers=1, progress=NullProgress())
    assert len(computed) == 1
