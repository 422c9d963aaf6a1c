"""Leases, by which processes that share the folder of a run divide its shards.

    RUN/records/corruption=fog/severity=3/.part-00012.lease        a process is making part-00012

A lease only saves work, it is not needed for correctness: two processes that make the same shard
make the same rows, and each writes its file atomically. So a lease that cannot be created, was lost
or was taken by mistake costs only time, and nothing here raises because of one.

A process renews the times of its leases while their workers make progress. A lease that was not
renewed for long has expired, by the clock of the file system, which is the same for all who share
it. A lease whose process is known to be dead has expired at once.
"""

import hashlib
import math
import os
import socket
import threading
import time
import uuid
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Self

from ..errors import InputError
from ..storage.atomic import target_of_temporary
from ..storage.documents import canonical_bytes, document_from_bytes

_PROCESSES = Path("/proc")


@dataclass(frozen=True)
class LeaseTimes:
    """Times of leases, in seconds.

    A client of a network file system may see a time that is a minute old, so ``expire_s`` should be
    two minutes or more there.

    Attributes:
        renew_s: Time between two renewals.
        expire_s: Time without a renewal after which a lease has expired.
        look_s: Time between two checks by a process that waits for others.
        stuck_s: Time without a heartbeat after which a lease is no longer renewed: its worker may
            hang for ever, in a driver for instance, while the process lives.
    """

    renew_s: float = 15.0
    expire_s: float = 120.0
    look_s: float = 1.0
    stuck_s: float = 600.0


LEASE_TIMES = LeaseTimes()


@dataclass(frozen=True)
class Holder:
    """Holder of a lease: the content of its file.

    Attributes:
        host: Name of the machine, for people.
        machine: Identifier of the host, boot and container in which ``pid`` is unique.
        pid: Process id.
        started: Start time of that process, as the system gives it, since ids are used again.
        token: Random token of one ``Leases`` object.
        time: Time at which the lease was taken, by the holder's clock; UTC, ISO 8601.
    """

    host: str
    machine: str
    pid: int
    started: str
    token: str
    time: str


UNKNOWN = Holder("another machine", "", 0, "", "", "")
"""Holder of a lease whose file cannot be read, for instance while it is being written."""


@dataclass(frozen=True)
class _LeaseState:
    """Content and identity of a lease at one moment."""

    holder: Holder
    identity: tuple[int, int]
    """Inode and time in nanoseconds; a lease that was renewed has another identity."""


class Leases:
    """The leases of one process; a context manager that releases them all at its end."""

    def __init__(self, times: LeaseTimes) -> None:
        self._times = times
        pid = os.getpid()
        _, started = _status_of(pid) or ("", "")
        self._me = Holder(socket.gethostname(), _machine(), pid, started, uuid.uuid4().hex, "")
        self._held: dict[Path, float] = {}  # with the time of the last heartbeat
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._clock = _SharedClock(times)

    def claim(self, file: Path) -> Holder | None:
        """Take the lease of a file that will be made in an existing folder.

        Returns:
            The holder of the lease; ``None`` if it is ours now, or if no lease can be created here.
        """
        lease = lease_path(file)
        with suppress(OSError):  # a lease only saves work
            try:
                self._create(lease)
            except FileExistsError:
                if (state := _state(lease)) is None:
                    return UNKNOWN  # it has just been released and can be claimed at the next check
                return None if self._take_over_expired(lease, state) else state.holder
            self._remove_leftovers(file.parent, file.name)
        return None

    def heartbeat(self, file: Path) -> None:
        """Record that the worker that makes this file makes progress."""
        with self._lock:
            if (lease := lease_path(file)) in self._held:
                self._held[lease] = time.monotonic()

    def release(self, file: Path) -> None:
        """Give up a lease."""
        lease = lease_path(file)
        with self._lock, suppress(OSError):
            self._held.pop(lease, None)
            state = _state(lease)
            if state is not None and state.holder.token == self._me.token:
                lease.unlink()

    def tidy(self, folder: Path) -> None:
        """Remove from a folder the leftovers of killed processes, and nothing else."""
        for lease in folder.glob(".part-*.lease"):
            with suppress(OSError):
                state = _state(lease)
                if state is not None and self._take_over_expired(lease, state):
                    self.release(_file_of(lease))
        self._remove_leftovers(folder, "part-")

    def __enter__(self) -> Self:
        threading.Thread(target=self._renew_all, name="leases", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._ended.set()
        for lease in list(self._held):
            self.release(_file_of(lease))

    def _create(self, lease: Path) -> None:
        with self._lock:
            if not self._ended.is_set():
                self._write(lease)
                self._held[lease] = time.monotonic()

    def _write(self, lease: Path) -> None:
        holder = replace(self._me, time=datetime.now(UTC).isoformat("T", "seconds"))
        descriptor = os.open(lease, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
        with open(descriptor, "wb", buffering=0) as file:
            try:
                file.write(canonical_bytes(holder))
            except OSError:
                with suppress(OSError):
                    lease.unlink()
                raise

    def _renew_all(self) -> None:
        while not self._ended.wait(self._times.renew_s):
            for lease in list(self._held):
                self._renew(lease)

    def _renew(self, lease: Path) -> None:
        with self._lock, suppress(OSError):
            heartbeat = self._held.get(lease)
            if heartbeat is None or time.monotonic() - heartbeat > self._times.stuck_s:
                return
            state = _state(lease)
            if state is None:
                self._write(lease)
            elif state.holder.token == self._me.token:
                os.utime(lease)  # sets the time of the file system's clock
            elif state.holder != UNKNOWN:
                del self._held[lease]  # it was taken over while this process was stopped

    def _has_expired(self, lease: Path, state: _LeaseState) -> bool:
        renewed = state.identity[1] / 1e9
        return _is_dead(state.holder) or self._clock.has_expired(lease.parent, renewed)

    def _take_over_expired(self, lease: Path, state: _LeaseState) -> bool:
        """Replace a lease by ours if it has expired; if several processes try, one succeeds.

        Only one process can create the file that is named after the expired lease, and it renames
        that file onto the lease, so there is no moment without a lease. A process that comes later
        sees that the lease has changed.
        """
        if not self._has_expired(lease, state):
            return False
        mark = hashlib.sha256(repr(state.identity).encode()).hexdigest()[:8]
        temporary = lease.with_name(f"{lease.name}.{mark}.tmp")
        try:
            self._write(temporary)
            current = _state(lease)
            if current is None or current.identity != state.identity:
                temporary.unlink()
                return False
            with self._lock:
                temporary.replace(lease)
                self._held[lease] = time.monotonic()
        except FileExistsError:
            competitor = _state(temporary)
            if competitor is not None and self._has_expired(temporary, competitor):
                with suppress(OSError):  # its process died while taking over; try at the next check
                    temporary.unlink()
            return False
        except FileNotFoundError:
            return False
        except OSError:
            with suppress(OSError):
                temporary.unlink()
            return True  # a lease only saves work
        if _is_dead(state.holder):
            self._remove_leftovers(lease.parent, _file_of(lease).name, of_dead_process=True)
        return True

    def _remove_leftovers(self, folder: Path, part: str, *, of_dead_process: bool = False) -> None:
        """Remove old leftovers of writes; those of a dead process also if they are new."""
        for path in folder.glob(".part-*.tmp"):
            if (target_of_temporary(path.name) or "").startswith(part):
                with suppress(OSError):
                    if of_dead_process or self._clock.has_expired(folder, path.stat().st_mtime):
                        path.unlink()


def lease_path(file: Path) -> Path:
    """The path of the lease of a file that will be made.

    Example:
        >>> lease_path(Path("severity=3/part-00012.parquet")).as_posix()
        'severity=3/.part-00012.lease'
    """
    return file.with_name(f".{file.name.partition('.')[0]}.lease")


def _file_of(lease: Path) -> Path:
    """The file that the holder of a lease makes, without its suffix."""
    return lease.with_name(lease.name.removeprefix(".").removesuffix(".lease"))


class _SharedClock:
    """The clock of a file system, which for a shared folder is not the clock of this machine."""

    def __init__(self, times: LeaseTimes) -> None:
        self._times = times
        self._offset, self._read_at = 0.0, -math.inf

    def has_expired(self, folder: Path, renewed: float) -> bool:
        """Whether a file in a folder was not renewed for long; false if the time is unknown."""
        local_time = time.monotonic()
        if local_time - self._read_at > self._times.renew_s:
            try:
                self._offset = _time_of_new_file(folder) - local_time
            except OSError:  # the folder is not writable
                return False
            self._read_at = local_time
        return local_time + self._offset - renewed > self._times.expire_s


def _time_of_new_file(folder: Path) -> float:
    path = folder / f".part-clock.{uuid.uuid4().hex[:8]}.tmp"
    try:
        path.touch(exist_ok=False)
        os.utime(path)
        return path.stat().st_mtime
    finally:
        with suppress(OSError):
            path.unlink()


def _state(lease: Path) -> _LeaseState | None:
    """The current state of a lease; ``None`` if it does not exist."""
    try:
        try:
            with lease.open("rb") as file:  # opening it makes a network file system update its time
                status, data = os.fstat(file.fileno()), file.read(10_000)
        except OSError:  # of another user, or a folder: it expires as well
            status, data = lease.stat(), b""
    except FileNotFoundError:
        return None
    try:
        holder = document_from_bytes(data, Holder, lease.name)
    except InputError:
        holder = UNKNOWN
    return _LeaseState(holder, (status.st_ino, status.st_mtime_ns))


@cache
def _machine() -> str:
    """Identifier of the host, boot and container in which a process id is unique."""
    parts = [socket.gethostname()]
    with suppress(OSError):
        parts.append((_PROCESSES / "sys/kernel/random/boot_id").read_text().strip())
        parts.append(os.readlink(_PROCESSES / "self/ns/pid"))
    return " ".join(parts)


def _is_dead(holder: Holder) -> bool:
    """Whether the process of a holder is known to have ended."""
    if holder.machine != _machine() or os.name != "posix":
        return False
    try:
        os.kill(holder.pid, 0)  # checks that the process exists, and sends nothing
    except (ProcessLookupError, OverflowError):  # or no process can have that number
        return True
    except OSError:
        pass  # a process of another user
    if (status := _status_of(holder.pid)) is None:
        return False
    state, started = status
    return state in "ZX" or started != holder.started


def _status_of(pid: int) -> tuple[str, str] | None:
    """State and start time of a process, in ticks; ``None`` if they are unknown."""
    try:
        fields = (_PROCESSES / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return fields[0], fields[19]
