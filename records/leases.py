"""Leases: how processes that share a run's folder split its shards without talking.

    RUN/records/corruption=fog/severity=3/.part-00012.lease        somebody makes part-00012 now

A lease only saves work, it never decides what is right: two processes that make the same shard
make the same rows, and each renames its file into place whole. So a lease that cannot be had, was
lost or was taken by mistake costs time and nothing else, and nothing here raises for want of one.

A process renews the time of its leases while their workers get on. One that was not renewed for
long has expired, by the clock of the file system, which is the same for all who share it; one whose
process is known to be dead has expired at once.
"""

import hashlib
import os
import socket
import threading
import time
import uuid
from contextlib import suppress
from dataclasses import dataclass
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
    """How leases live, in seconds.

    A client of a network file system may see an old time for a minute, so less than two is too
    little for ``expire_s`` there.

    Attributes:
        renew_s: Between two renewals.
        expire_s: After which one that was not renewed is nobody's.
        look_s: Between two looks of a process that waits for others.
        stuck_s: Without progress, after which one is not renewed: its worker may hang for ever, in
            a driver say, while the process lives.
    """

    renew_s: float = 15.0
    expire_s: float = 120.0
    look_s: float = 1.0
    stuck_s: float = 600.0


LEASE_TIMES = LeaseTimes()


@dataclass(frozen=True)
class Holder:
    """Who holds a lease: what its file says.

    Attributes:
        host: The machine's name, for people.
        machine: What tells one set of process numbers from another.
        pid: The process.
        started: When that process began, as the system says it: numbers are used again.
        token: Random, of one set of leases.
        time: When the lease was taken, by the holder's clock; UTC, ISO 8601.
    """

    host: str
    machine: str
    pid: int
    started: str
    token: str
    time: str


UNKNOWN = Holder("another machine", "", 0, "", "", "")
"""Of a lease whose file says nothing, as when it is just being written."""


@dataclass(frozen=True)
class _Found:
    holder: Holder
    identity: tuple[int, int]
    """Inode and time: a lease that was renewed meanwhile is another one."""

    @property
    def renewed(self) -> float:
        return self.identity[1] / 1e9

    @property
    def mark(self) -> str:
        """Eight digits that no other lease has."""
        return hashlib.sha256(repr(self.identity).encode()).hexdigest()[:8]


class Leases:
    """The leases of one process; a context manager, at whose end they are all given back."""

    def __init__(self, times: LeaseTimes) -> None:
        self._times = times
        self._me = _myself()
        self._held: dict[Path, float] = {}  # and when its worker last got on
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._clock = _SharedClock(times.renew_s)

    def claim(self, made: Path) -> Holder | None:
        """Take the lease of a file that will be made, in a folder that is there.

        Returns:
            Who holds it; none if it is ours now, or if no lease can be had here.
        """
        lease = lease_path(made)
        with suppress(OSError):  # a lease only saves work
            try:
                self._create(lease)
            except FileExistsError:
                return self._claim_expired(lease)
            self._remove_leftovers(made.parent, made.name)
        return None

    def heartbeat(self, made: Path) -> None:
        """Note that whoever makes this file makes progress."""
        with self._lock:
            if (lease := lease_path(made)) in self._held:
                self._held[lease] = time.monotonic()

    def release(self, made: Path) -> None:
        """Give a lease back."""
        lease = lease_path(made)
        with self._lock, suppress(OSError):
            self._held.pop(lease, None)
            if (found := _found(lease)) is not None and found.holder.token == self._me.token:
                lease.unlink()

    def tidy(self, folder: Path) -> None:
        """Remove from a folder what killed processes left in it, and nothing else."""
        for lease in folder.glob(".part-*.lease"):
            with suppress(OSError):
                found = _found(lease)
                if found is None or not self._has_expired(found, folder):
                    continue
                if self._take_over(lease, found):
                    self.release(_made_by(lease))
        self._remove_leftovers(folder, "part-")

    def __enter__(self) -> Self:
        threading.Thread(target=self._keep, name="leases", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._ended.set()
        for lease in list(self._held):
            self.release(_made_by(lease))

    def _claim_expired(self, lease: Path) -> Holder | None:
        if (found := _found(lease)) is None:
            return UNKNOWN  # it was given back this moment: at the next look
        expired = self._has_expired(found, lease.parent)
        return None if expired and self._take_over(lease, found) else found.holder

    def _create(self, lease: Path) -> None:
        with self._lock:
            if not self._ended.is_set():
                self._write(lease)
                self._held[lease] = time.monotonic()

    def _write(self, lease: Path) -> None:
        now = datetime.now(UTC).isoformat("T", "seconds")
        holder = Holder(**{**vars(self._me), "time": now})
        descriptor = os.open(lease, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
        try:
            os.write(descriptor, canonical_bytes(holder))
        except OSError:
            with suppress(OSError):
                lease.unlink()
            raise
        finally:
            os.close(descriptor)

    def _keep(self) -> None:
        while not self._ended.wait(self._times.renew_s):
            for lease in list(self._held):
                self._renew(lease)

    def _renew(self, lease: Path) -> None:
        with self._lock, suppress(OSError):
            since = self._held.get(lease)
            if since is None or time.monotonic() - since > self._times.stuck_s:
                return
            found = _found(lease)
            if found is None:
                self._write(lease)
            elif found.holder.token == self._me.token:
                os.utime(lease)  # without a time: that of the file system
            elif found.holder != UNKNOWN:
                del self._held[lease]  # it was taken over while this process stood still

    def _has_expired(self, found: _Found, folder: Path) -> bool:
        if _is_dead(found.holder):
            return True
        now = self._clock.now(folder)
        return now is not None and now - found.renewed > self._times.expire_s

    def _take_over(self, lease: Path, found: _Found) -> bool:
        """Put our lease in the place of one that expired; of several that try, one does.

        Whoever creates the file that is named after the old lease may rename it onto the old one:
        there is no moment without a lease. A latecomer sees that it is not the old one any more.
        """
        ours = lease.with_name(f"{lease.name}.{found.mark}.tmp")
        try:
            self._write(ours)
            now = _found(lease)
            if now is None or now.identity != found.identity:
                ours.unlink()
                return False
            with self._lock:
                ours.replace(lease)
                self._held[lease] = time.monotonic()
        except FileExistsError:
            other = _found(ours)
            if other is not None and self._has_expired(other, lease.parent):
                with suppress(OSError):  # it died on the way; at the next look
                    ours.unlink()
            return False
        except FileNotFoundError:
            return False
        except OSError:
            with suppress(OSError):
                ours.unlink()
            return True  # a lease only saves work
        if _is_dead(found.holder):
            self._remove_leftovers(lease.parent, _made_by(lease).name, of_the_dead=True)
        return True

    def _remove_leftovers(self, folder: Path, part: str, *, of_the_dead: bool = False) -> None:
        """Remove files half written long ago; of a process that is dead, also fresh ones."""
        for path in folder.glob(".part-*.tmp"):
            target = target_of_temporary(path.name)
            if target is None or not target.startswith(part):
                continue
            with suppress(OSError):
                written, now = path.stat().st_mtime, self._clock.now(folder)
                old = now is not None and now - written > self._times.expire_s
                if old or of_the_dead:
                    path.unlink()


def lease_path(made: Path) -> Path:
    """Where the lease of a file lies that will be made.

    Example:
        >>> lease_path(Path("severity=3/part-00012.parquet")).as_posix()
        'severity=3/.part-00012.lease'
    """
    return made.with_name(f".{made.name.partition('.')[0]}.lease")


def _made_by(lease: Path) -> Path:
    """What the holder of a lease makes, but for the end of its name."""
    return lease.with_name(lease.name.removeprefix(".").removesuffix(".lease"))


class _SharedClock:
    """The clock of a file system, which on a shared folder is not this machine's."""

    def __init__(self, good_s: float) -> None:
        self._good_s = good_s
        self._read: tuple[float, float] | None = None

    def now(self, folder: Path) -> float | None:
        """Seconds, as the times of files are; none if nothing can be written here."""
        here = time.monotonic()
        if self._read is None or here - self._read[1] > self._good_s:
            written = _time_of_new_file(folder)
            if written is None:
                return None
            self._read = written, here
        there, then = self._read
        return there + here - then


def _time_of_new_file(folder: Path) -> float | None:
    path = folder / f".part-clock.{uuid.uuid4().hex[:8]}.tmp"
    try:
        with path.open("xb"):
            pass
        os.utime(path)
        return path.stat().st_mtime
    except OSError:
        return None
    finally:
        with suppress(OSError):
            path.unlink()


def _found(lease: Path) -> _Found | None:
    """A lease as it is now; none if it is gone."""
    try:
        status, data = _read(lease)
    except FileNotFoundError:
        return None
    try:
        holder = document_from_bytes(data, Holder, lease.name)
    except InputError:
        holder = UNKNOWN
    return _Found(holder, (status.st_ino, status.st_mtime_ns))


def _read(lease: Path) -> tuple[os.stat_result, bytes]:
    try:
        with lease.open("rb") as file:  # opening it asks a network file system for its time
            return os.fstat(file.fileno()), file.read(10_000)
    except FileNotFoundError:
        raise
    except OSError:  # another user's, or a folder: it expires all the same
        return lease.stat(), b""


def _myself() -> Holder:
    pid = os.getpid()
    _, started = _status_of(pid) or ("", "")
    return Holder(socket.gethostname(), _machine(), pid, started, uuid.uuid4().hex, "")


@cache
def _machine() -> str:
    """What tells one set of process numbers from another: host, boot and container."""
    parts = [socket.gethostname()]
    with suppress(OSError):
        parts.append((_PROCESSES / "sys/kernel/random/boot_id").read_text().strip())
        parts.append(os.readlink(_PROCESSES / "self/ns/pid"))
    return " ".join(parts)


def _is_dead(holder: Holder) -> bool:
    """Whether the holder is known not to run any more."""
    if holder.machine != _machine() or os.name != "posix":
        return False
    try:
        os.kill(holder.pid, 0)  # asks and sends nothing
    except (ProcessLookupError, OverflowError):  # or no process can have that number
        return True
    except OSError:
        pass  # it is another user's
    if (status := _status_of(holder.pid)) is None:
        return False
    state, started = status
    return state in "ZX" or started != holder.started


def _status_of(pid: int) -> tuple[str, str] | None:
    """A process's state and when it began, in the system's ticks; none if that cannot be had."""
    try:
        fields = (_PROCESSES / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return fields[0], fields[19]
