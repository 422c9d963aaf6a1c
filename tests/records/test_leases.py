"""One lease: taken, renewed, lost, taken over, or beyond reading."""

import os
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

from evaluator.contracts import NullProgress, Provenance, Shard
from evaluator.records.leases import UNKNOWN, Holder, Leases, LeaseTimes, lease_path
from evaluator.records.shard_runner import Work, run_shards
from evaluator.records.shards import shard_path, shards_of
from evaluator.storage.documents import canonical_bytes, read_document
from evaluator.tests.records.sharing import (
    FOG,
    ITEMS,
    SHARD,
    SHORT,
    TIMES,
    age,
    assert_whole,
    foreign_lease,
    the_run,
    work,
)

posix = pytest.mark.skipif(os.name != "posix", reason="signals are POSIX")


def holder_of(lease: Path) -> Holder:
    return read_document(lease, Holder)


@pytest.fixture
def part(tmp_path: Path) -> Path:
    return tmp_path / "part-00012.parquet"


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
            ours.heartbeat(part)
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
        run_shards(run, shards, how, workers=1, progress=NullProgress(), times=times)

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
    run_shards(run, shards_of(FOG, ITEMS, SHARD), work, workers=2, progress=NullProgress())
    assert_whole(run)


def test_a_folder_in_a_leases_place_holds_nothing_up_for_ever(tmp_path: Path) -> None:
    run = the_run(tmp_path / "run")
    shards = shards_of(FOG, ITEMS, SHARD)
    taken = lease_path(shard_path(run, shards[1]))
    taken.mkdir(parents=True)
    age(taken, 10 * LeaseTimes().expire_s)
    run_shards(run, shards, work, workers=2, progress=NullProgress())
    assert_whole(run)
