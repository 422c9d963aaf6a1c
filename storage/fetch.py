"""Files from the network: fetched once, resumed where they broke off, checked before use.

What is being fetched stands in ``NAME.part``; ``NAME.part.json`` remembers which version of the
file it is the beginning of. Proxies are those of the environment (``https_proxy``).
"""

import os
import re
import shutil
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPException, HTTPResponse, IncompleteRead, InvalidURL
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from ..contracts import Progress
from ..errors import InputError, OutputError, UnavailableError, printable, reason_of
from .atomic import make_folder
from .digest import file_sha256
from .documents import read_document, write_document
from .lock import locked

TIMEOUT_SECONDS = 30.0
"""Without a byte, or without a connection."""

TRIES = 4
"""In a row that bring nothing."""

BACKOFF_SECONDS = 1.0
"""Before the second try; doubled before each further one."""

_ELSEWHERE = "Make room, or choose another folder (EVALUATOR_CACHE for the cache)."
_CHUNK_BYTES = 1 << 20
_MB = 1_000_000
_TRANSIENT_STATUS = {408, 425, 429}
# Answers that another try a second later would only repeat.
_LASTING = (socket.gaierror, ConnectionRefusedError, ssl.SSLCertVerificationError, InvalidURL)


@dataclass(frozen=True)
class _Version:
    """Which version of the file a part is the beginning of.

    Attributes:
        url: Where it comes from.
        validator: The server's strong ETag, else its Last-Modified, else nothing.
        size: Of the whole file, where the server says it.
    """

    url: str
    validator: str
    size: int | None


@dataclass(frozen=True)
class _Job:
    url: str
    path: Path
    sha256: str
    progress: Progress
    what: str
    instead: str

    @property
    def part(self) -> Path:
        return self.path.with_name(self.path.name + ".part")

    @property
    def memory(self) -> Path:
        return self.path.with_name(self.path.name + ".part.json")

    @property
    def title(self) -> str:
        return self.what[:1].upper() + self.what[1:]

    def had(self) -> int:
        """Bytes of the part."""
        return self.part.stat().st_size if self.part.is_file() else 0

    def forget(self) -> None:
        """Remove the part; the next try starts anew."""
        with _on_disk(self.part):
            self.part.unlink(missing_ok=True)
            self.memory.unlink(missing_ok=True)


def fetch(
    url: str, path: Path, *, sha256: str | None, progress: Progress, what: str, instead: str = ""
) -> None:
    """Have a file at ``path``, from the network if it is not there; checked in any case.

    It is fetched once, also by several processes that want it at the same time. After an
    interruption of any kind the same call asks for the rest only.

    Args:
        url: An http or https address.
        path: Where the file will be.
        sha256: Of its bytes, in hexadecimal: the whole or its first digits, 8 at least. None only
            for ``pins.py``, which remembers the one of what came.
        progress: Is told what is fetched, and how far it is.
        what: The thing in words, for notes and errors: ``the weights of resnet50``.
        instead: What a user can do where it cannot be had; without it, to put it there by hand.

    Raises:
        InputError: If the file is there and is not the one with that SHA-256.
        UnavailableError: If it cannot be had, or what came is something else.
        OutputError: If it cannot be written.
    """
    promised = sha256 is None or re.fullmatch("[0-9a-f]{8,64}", sha256)
    if not url.startswith(("https://", "http://")) or not promised:
        raise InputError(
            f"{printable(url)} with SHA-256 {printable(sha256 or '')!r} is nothing to fetch {what} "
            "by: expected an http or https address, and 8 hexadecimal digits at least."
        )
    by_hand = f"Download that address elsewhere and save it as {printable(path)}."
    job = _Job(url, path, sha256 or "", progress, what, instead or by_hand)
    if not path.is_file():
        with locked(path, waiting=lambda: progress.note(f"Another process fetches {what} now.")):
            if not path.is_file():
                _receive_whole(job)
                _publish(job)
                return
    if not file_sha256(path).startswith(job.sha256):
        raise InputError(
            f"{printable(path)} is damaged: its SHA-256 does not start with {job.sha256[:12]}. "
            "Remove it; it will be fetched again."
        )


def _publish(job: _Job) -> None:
    """Give the part its name, if it is what was promised."""
    found = file_sha256(job.part)
    if not found.startswith(job.sha256):
        job.forget()
        raise UnavailableError(
            f"{job.title} came from {job.url} as another file: its SHA-256 starts with "
            f"{found[:12]}, expected {job.sha256[:12]}. It was thrown away. {job.instead}"
        )
    with _on_disk(job.path):
        with job.part.open("rb+") as file:
            os.fsync(file.fileno())
        job.part.replace(job.path)
        job.memory.unlink(missing_ok=True)


def _receive_whole(job: _Job) -> None:
    """Ask until the part is whole; tries that bring it further cost nothing."""
    make_folder(job.path.parent)
    furthest, fruitless = job.had(), 0
    while True:
        try:
            _receive(job)
            return
        except (OSError, HTTPException, ValueError) as error:
            if isinstance(error, HTTPError):
                error.close()
            if job.had() > furthest:
                furthest, fruitless = job.had(), 0
            fruitless += 1
            if _is_lasting(error) or fruitless >= TRIES:
                raise UnavailableError(
                    f"{job.title} could not be had from {printable(job.url)}: {_reason(error)}. "
                    f"{job.instead}"
                ) from error
            seconds = BACKOFF_SECONDS * 2 ** (fruitless - 1)
            job.progress.note(f"{job.title}: {_reason(error)}. Trying again in {seconds:g} s.")
            time.sleep(seconds)


def _receive(job: _Job) -> None:
    """Ask once for what is missing."""
    version, offset = _begun(job)
    if version is not None and offset == version.size:
        return  # killed after the last byte
    headers = {"User-Agent": "evaluator"}
    if version is not None:
        headers["Range"] = f"bytes={offset}-"
        if version.validator:
            headers["If-Range"] = version.validator
    try:
        answer = urlopen(Request(job.url, headers=headers), timeout=TIMEOUT_SECONDS)
    except HTTPError as error:
        if error.code == 416:  # shorter than what is here: another version, or a damaged part
            job.forget()
        raise
    with answer:
        if answer.status == 206:
            _check_range(job, answer, version, offset)
        else:
            offset = 0
        length = answer.headers["Content-Length"]
        size = None if length is None else offset + int(length)
        if offset == 0:
            _begin(job, answer, size)
        _append(job, answer, offset, size)


def _begun(job: _Job) -> tuple[_Version | None, int]:
    """What the part is the beginning of, and how long it is; nothing where it is of no use."""
    offset = job.had()
    if not offset or not job.memory.is_file():
        return None, 0
    try:
        version = read_document(job.memory, _Version)
    except InputError:
        return None, 0
    return (version, offset) if version.url == job.url else (None, 0)


def _begin(job: _Job, answer: HTTPResponse, size: int | None) -> None:
    """Empty the part before its new version is remembered: never one's bytes under another."""
    with _on_disk(job.part):
        job.part.write_bytes(b"")
    etag = answer.headers["ETag"] or ""
    validator = etag if etag.startswith('"') else answer.headers["Last-Modified"] or ""
    write_document(job.memory, _Version(job.url, validator, size))


def _check_range(job: _Job, answer: HTTPResponse, version: _Version | None, offset: int) -> None:
    """Hold an answer in part against what was asked for; servers and proxies may mix that up."""
    found = re.match(r"bytes (\d+)-\d+/(\d+|\*)", answer.headers["Content-Range"] or "")
    size = version.size if version is not None else None
    if found is None or int(found[1]) != offset or (size and found[2] not in ("*", str(size))):
        job.forget()
        raise ConnectionError("the server answered with another part than it was asked for")


def _append(job: _Job, answer: HTTPResponse, offset: int, size: int | None) -> None:
    """Write what comes; each chunk is in the part at once, so that an interruption loses none."""
    _tell_beginning(job, offset, size)
    done = offset
    with _on_disk(job.part):
        file = job.part.open("ab")
    with file:
        while chunk := answer.read1(_CHUNK_BYTES):
            with _on_disk(job.part):
                file.write(chunk)
                file.flush()
            done += len(chunk)
            _tell(job, done, size)
    if size is not None and done < size:
        raise ConnectionError(f"the connection ended after {done:,} of {size:,} bytes")


def _tell_beginning(job: _Job, offset: int, size: int | None) -> None:
    free = shutil.disk_usage(job.path.parent).free
    if size is not None and 0 < free < size - offset:  # 0 where a file system does not know
        raise OutputError(
            f"There is no room for {job.what} in {printable(job.path.parent)}: "
            f"{_mb(size - offset)} are to come, {free // _MB:,} MB are free. {_ELSEWHERE}"
        )
    of = "" if size is None else f", {_mb(size - offset)}"
    job.progress.note(f"Fetching {'the rest of ' if offset else ''}{job.what}{of}: {job.url}")
    _tell(job, offset, size)


def _tell(job: _Job, done: int, size: int | None) -> None:
    if size is not None:
        total = -(-size // _MB)
        job.progress.advance(job.title, total if done == size else done // _MB, total, "MB")


def _mb(size: int) -> str:
    return f"{-(-size // _MB):,} MB"


def _is_lasting(error: Exception) -> bool:
    """Whether trying again soon is of no use."""
    if isinstance(error, HTTPError):
        return error.code < 500 and error.code not in {*_TRANSIENT_STATUS, 416}
    reason = error.reason if isinstance(error, URLError) else error
    return isinstance(reason, _LASTING) or not isinstance(reason, (OSError, HTTPException))


def _reason(error: Exception) -> str:
    if isinstance(error, HTTPError):
        return f"it answers {error.code} {error.reason}".strip()
    if isinstance(error, IncompleteRead):
        return "the connection ended early"
    if isinstance(error, URLError) and isinstance(error.reason, BaseException):
        return reason_of(error.reason)
    return reason_of(error)


@contextmanager
def _on_disk(path: Path) -> Iterator[None]:
    """Tell an error of the disk from one of the network."""
    try:
        yield
    except OSError as error:
        raise OutputError(
            f"{printable(path)} cannot be written: {reason_of(error)}. What came so far is kept. "
            f"{_ELSEWHERE}"
        ) from error
