"""Leases: real processes on one folder, that die, stand still and go on again."""

import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest

from evaluator.contracts import Provenance, Run, Shard, Silence
from evaluator.errors import InputError
from evaluator.records.leases import UNKNOWN, Holder, Leases, LeaseTimes, lease_path
from evaluator.records.reading import read_run
from evaluator.records.running import THREAD_NAME, Work, run_shards
from evaluator.records.shards import shard_path, shards_of, write_shard
from evaluator.storage.documents import canonical_bytes, read_document
from evaluator.tests.records.sharing import (
    FOG,
    ITEMS,
    SHARD,
    SHORT,
    TIMES,
    provenance,
    rows_of,
    the_run,
)

posix = pytest.mark.skipif(os.name != "posix", reason="signals are POSIX")
Process = subprocess.Popen[str]


def begin(
    folder: Path, journal: Path, seconds: float, times: LeaseTimes = TIMES, crowd: int = 1
) -> Process:
    words = [folder, journal, str(seconds), str(times.expire_s), str(crowd)]
    return subprocess.Popen(
        [sys.executable, "-m", "evaluator.tests.records.sharing", *words],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def work(shard: Shard, advance: Callable[[int], None]) -> tuple[pa.Table, Provenance]:
    advance(shard.size)
    return rows_of(shard), provenance()


def holder_of(lease: Path) -> Holder:
    return read_document(lease, Holder)


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
@pytest.mark.parametrize("seed", [0, 1])
def test_processes_that_are_killed_at_random_lose_and_double_nothing(
    tmp_path: Path, seed: int
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
        while any(process.poll() is None for process in processes) and len(sent) < 12:
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
    run_shards(run, shards_of(FOG, ITEMS, SHARD), work, workers=1, progress=Silence(), times=SHORT)
    assert foreign <= names(run)
    assert_whole(run)


@posix
def test_processes_that_are_killed_while_they_write_leave_nothing_half(tmp_path: Path) -> None:
    chance, run = random.Random(0), the_run(tmp_path / "run")
    for _ in range(3):  # they compute nothing: writing is all that takes time
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
    run_shards(run, shards_of(FOG, ITEMS, SHARD), work, workers=1, progress=Silence(), times=SHORT)
    assert_whole(run)


# ------------------------------------------------------------------------ one lease


@pytest.fixture
def part(tmp_path: Path) -> Path:
    return tmp_path / "part-00012.parquet"


def foreign_lease(part: Path, **changes: object) -> Path:
    """A lease of a process on another machine."""
    holder = Holder("node7", "node7 boot", 1, "1", "theirs", "2026-01-01T00:00:00+00:00")
    lease = lease_path(part)
    lease.write_bytes(canonical_bytes(replace(holder, **changes)))  # type: ignore[arg-type]
    return lease


def test_a_lease_is_had_by_one_at_a_time_and_given_back_at_the_end(part: Path) -> None:
    with Leases(TIMES) as ours, Leases(TIMES) as theirs:
        assert ours.claim(part) is None
        held = theirs.claim(part)
        assert held is not None
        assert (held.host, held.pid) == (socket.gethostname(), os.getpid())
        ours.release(part)
        assert theirs.claim(part) is None
    assert list(part.parent.iterdir()) == []


def test_a_lease_that_is_renewed_does_not_expire(part: Path) -> None:
    with Leases(TIMES) as ours, Leases(TIMES) as theirs:
        assert ours.claim(part) is None
        age(lease_path(part), 10 * TIMES.expire_s)
        deadline, now = time.monotonic() + 60, time.time()
        while lease_path(part).stat().st_mtime < now - TIMES.expire_s:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        assert theirs.claim(part) is not None


def test_a_lease_is_renewed_only_while_its_worker_gets_on(part: Path) -> None:
    with Leases(LeaseTimes(renew_s=0.02, stuck_s=0.1)) as ours:
        assert ours.claim(part) is None
        time.sleep(0.3)
        age(lease_path(part), 10 * LeaseTimes().expire_s)
        then = lease_path(part).stat().st_mtime
        time.sleep(0.3)
        assert lease_path(part).stat().st_mtime == then
        deadline = time.monotonic() + 60
        while lease_path(part).stat().st_mtime == then:
            ours.get_on(part)
            time.sleep(0.01)
            assert time.monotonic() < deadline


def test_a_shard_whose_worker_is_stuck_is_made_by_another_process(tmp_path: Path) -> None:
    run, freed, began = the_run(tmp_path / "run"), threading.Event(), threading.Event()
    shards = shards_of(FOG, ITEMS, SHARD)[:1]

    def stuck(shard: Shard, advance: Callable[[int], None]) -> tuple[pa.Table, Provenance]:
        began.set()
        freed.wait()
        return work(shard, advance)

    def make(how: Work, stuck_s: float) -> None:
        times = replace(SHORT, stuck_s=stuck_s)
        run_shards(run, shards, how, workers=1, progress=Silence(), times=times)

    hung = threading.Thread(target=make, args=(stuck, TIMES.renew_s))
    hung.start()
    began.wait()
    make(work, 600)  # ends, though the other one never gave its lease back
    assert shard_path(run, shards[0]).is_file()
    freed.set()
    hung.join()


def test_another_machines_lease_expires_by_the_clock_of_the_file_system(part: Path) -> None:
    lease = foreign_lease(part)
    with Leases(TIMES) as ours:
        held = ours.claim(part)
        assert held is not None
        assert held.host == "node7"
        age(lease, 10 * TIMES.expire_s)
        assert ours.claim(part) is None
        assert holder_of(lease).pid == os.getpid()


@posix
@pytest.mark.parametrize("now", [0.0, 4e9])
def test_this_machines_clock_plays_no_part(
    part: Path, now: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    lease = foreign_lease(part)
    monkeypatch.setattr(time, "time", lambda: now)
    with Leases(TIMES) as ours:
        assert ours.claim(part) is not None
        age(lease, 10 * TIMES.expire_s)
        assert ours.claim(part) is None


@posix
def test_the_lease_of_a_dead_process_of_this_machine_is_free_at_once(part: Path) -> None:
    with Leases(TIMES) as ours:
        assert ours.claim(part) is None
        me = holder_of(lease_path(part))
    dead = subprocess.Popen([sys.executable, "-c", ""])
    time.sleep(0.3)  # it ended and nobody asked: a zombie
    for changes in ({"pid": dead.pid}, {"pid": os.getpid(), "started": "1"}):  # a number used again
        dead_one = replace(me, token="other", **changes)
        lease_path(part).write_bytes(canonical_bytes(dead_one))
        half = part.with_name(f".{part.name}.0123abcd.tmp")
        half.write_bytes(b"half")
        with Leases(LeaseTimes()) as ours:
            assert ours.claim(part) is None
            assert not half.exists()
    dead.wait()


def test_what_a_live_process_writes_is_left_alone(part: Path) -> None:
    fresh = part.with_name(f".{part.name}.0123abcd.tmp")
    old = part.with_name(f".{part.name}.4567cdef.tmp")
    other = part.with_name(".part-00013.parquet.4567cdef.tmp")
    alien = part.with_name(".part-00012.parquet.of-an-editor.tmp")
    for path in (fresh, old, other, alien):
        path.write_bytes(b"half")
    for path in (old, alien):
        age(path, 10 * TIMES.expire_s)
    with Leases(TIMES) as ours:
        assert ours.claim(part) is None
        assert (fresh.exists(), old.exists(), other.exists(), alien.exists()) == (
            True, False, True, True,
        )  # fmt: skip
        age(other, 10 * TIMES.expire_s)
        ours.tidy(part.parent)
        assert not other.exists()


def test_of_many_that_take_over_an_expired_lease_one_has_it(part: Path) -> None:
    for _ in range(20):
        age(foreign_lease(part), 10 * TIMES.expire_s)
        crowd = [Leases(TIMES) for _ in range(8)]
        together = threading.Barrier(len(crowd))
        held: list[bool] = []

        def take(leases: Leases, together: threading.Barrier, held: list[bool]) -> None:
            together.wait()
            held.append(leases.claim(part) is None)

        threads = [threading.Thread(target=take, args=(one, together, held)) for one in crowd]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sum(held) == 1
        lease_path(part).unlink()


def test_one_that_lost_its_lease_leaves_the_new_ones_alone(part: Path) -> None:
    with Leases(TIMES) as ours:
        assert ours.claim(part) is None
        lease = foreign_lease(part)
        time.sleep(3 * TIMES.renew_s)
        ours.release(part)
    assert holder_of(lease).token == "theirs"


@pytest.mark.parametrize("content", [b"", b"{", b"\0" * 100])
def test_a_lease_that_says_nothing_is_believed_until_it_expires(part: Path, content: bytes) -> None:
    lease_path(part).write_bytes(content)
    with Leases(TIMES) as ours:
        assert ours.claim(part) is not None
        age(lease_path(part), 10 * TIMES.expire_s)
        assert ours.claim(part) is None


def test_a_lease_that_cannot_be_read_expires_too(part: Path) -> None:
    lease_path(part).mkdir()  # as unreadable as another user's is to one who is not root
    with Leases(TIMES) as ours:
        assert ours.claim(part) == UNKNOWN
        age(lease_path(part), 10 * TIMES.expire_s)
        assert ours.claim(part) is None
        ours.tidy(part.parent)
    assert list(part.parent.iterdir()) == [lease_path(part)]


def test_a_number_that_no_process_can_have_is_a_dead_ones(part: Path) -> None:
    with Leases(TIMES) as ours:
        assert ours.claim(part) is None
        me = holder_of(lease_path(part))
    damaged = replace(me, token="other", pid=10**20)
    lease_path(part).write_bytes(canonical_bytes(damaged))
    with Leases(TIMES) as ours:
        assert ours.claim(part) is None


def test_where_no_lease_can_be_made_there_is_work_all_the_same(
    part: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Leases(TIMES) as ours:
        assert ours.claim(part.parent / "no-such-folder" / part.name) is None
    real = os.open

    def refusing(path: object, *more: int, **options: int) -> int:
        if str(path).endswith(".lease"):
            raise PermissionError(13, "Permission denied")
        return real(path, *more, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "open", refusing)
    run = the_run(part.parent / "run")
    run_shards(run, shards_of(FOG, ITEMS, SHARD), work, workers=2, progress=Silence())
    assert_whole(run)


def test_a_folder_in_a_leases_place_holds_nothing_up_for_ever(tmp_path: Path) -> None:
    run = the_run(tmp_path / "run")
    shards = shards_of(FOG, ITEMS, SHARD)
    taken = lease_path(shard_path(run, shards[1]))
    taken.mkdir(parents=True)
    age(taken, 10 * LeaseTimes().expire_s)
    run_shards(run, shards, work, workers=2, progress=Silence())
    assert_whole(run)


# ------------------------------------------------------------------------ waiting


def test_what_others_make_is_waited_for_and_told_once(tmp_path: Path) -> None:
    run, heard = the_run(tmp_path / "run"), Silence()
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
            run, shards_of(FOG, ITEMS, SHARD), failing, workers=2, progress=Silence(), times=TIMES
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
            progress=Silence(),
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
        run_shards(run, shards_of(FOG, ITEMS, SHARD), work, workers=2, progress=Silence())
    assert names(run) == set()


def test_a_program_that_was_interrupted_ends_after_the_batches_that_are_computed(
    tmp_path: Path,
) -> None:
    program = """
import signal, sys, threading, time
from pathlib import Path
from evaluator.tests.records.sharing import *

def slow(shard, advance):
    began.set()
    time.sleep(3)
    print("computed", flush=True)
    advance(1)

began = threading.Event()
main = threading.main_thread().ident
threading.Thread(
    target=lambda: began.wait() and signal.pthread_kill(main, signal.SIGINT), daemon=True
).start()
signal.signal(signal.SIGINT, signal.default_int_handler)
run = the_run(Path(sys.argv[1]))
try:
    run_shards(run, shards_of(FOG, ITEMS, SHARD), slow, workers=1, progress=Silence())
except KeyboardInterrupt:
    print("interrupted", flush=True)
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
