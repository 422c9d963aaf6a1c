"""Downloads: each file is fetched once, resumed after an interruption, and checked before use.

A partial download is ``NAME.part``; ``NAME.part.json`` says which version of the file it is the
beginning of. Proxies are taken from the environment (``https_proxy``).
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
"""Longest wait for a connection, or for the next byte."""

TRIES = 4
"""Attempts in a row that bring no new byte, before the download fails."""

BACKOFF_SECONDS = 1.0
"""Wait before the second attempt; doubled before each further one."""

_FREE_SPACE = "Free some space, or choose another folder (EVALUATOR_CACHE for the cache)."
_CHUNK_BYTES = 1 << 20
_MB = 1_000_000
_TRANSIENT_STATUS = {408, 425, 429}
# Errors that another attempt a second later would only repeat.
_LASTING = (socket.gaierror, ConnectionRefusedError, ssl.SSLCertVerificationError, InvalidURL)


@dataclass(frozen=True)
class _Version:
    """Version of a file that a partial download is the beginning of.

    Attributes:
        url: Address of the file.
        validator: The server's strong ETag, else its Last-Modified, else empty.
        size: Size of the whole file in bytes; ``None`` if the server does not say it.
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
    def version(self) -> Path:
        return self.path.with_name(self.path.name + ".part.json")

    @property
    def title(self) -> str:
        return self.what[:1].upper() + self.what[1:]

    @property
    def received_bytes(self) -> int:
        return self.part.stat().st_size if self.part.is_file() else 0

    def discard(self) -> None:
        """Remove the partial download; the next attempt starts from the beginning."""
        with _disk_errors(self.part):
            self.part.unlink(missing_ok=True)
            self.version.unlink(missing_ok=True)


def fetch(
    url: str, path: Path, *, sha256: str | None, progress: Progress, what: str, instead: str = ""
) -> None:
    """Download a file unless it exists; check its SHA-256 in any case.

    The file is downloaded once, also if several processes need it at the same time. After an
    interruption of any kind the same call downloads only the rest.

    Args:
        url: An http or https address.
        path: Path of the file.
        sha256: SHA-256 of the file in hexadecimal, or at least its first 8 digits. ``None`` only
            for ``hash_pins.py``, which records the SHA-256 of what was downloaded.
        progress: Progress callback.
        what: The file in words, for notes and errors: ``the weights of resnet50``.
        instead: Advice for a failed download; if not given, to save the file by hand.

    Raises:
        InputError: If the file exists and has another SHA-256.
        UnavailableError: If the download fails, or the downloaded file has another SHA-256.
        OutputError: If the file cannot be written.
    """
    valid_hash = sha256 is None or re.fullmatch("[0-9a-f]{8,64}", sha256)
    if not url.startswith(("https://", "http://")) or not valid_hash:
        raise InputError(
            f"Invalid source of {what}: {printable(url)} with SHA-256 {printable(sha256 or '')!r}. "
            "Expected an http or https address, and at least 8 hexadecimal digits."
        )
    by_hand = f"Download that address elsewhere and save it as {printable(path)}."
    job = _Job(url, path, sha256 or "", progress, what, instead or by_hand)
    if not path.is_file():
        with locked(path, waiting=lambda: progress.note(f"Another process fetches {what} now.")):
            if not path.is_file():
                _download(job)
                _publish(job)
                return
    if not file_sha256(path).startswith(job.sha256):
        raise InputError(
            f"{printable(path)} is damaged: its SHA-256 does not start with {job.sha256[:12]}. "
            "Remove it and run the command again to download it."
        )


def _publish(job: _Job) -> None:
    """Rename a complete download to its final name, if its SHA-256 is right."""
    sha256 = file_sha256(job.part)
    if not sha256.startswith(job.sha256):
        job.discard()
        raise UnavailableError(
            f"The file downloaded from {job.url} has the wrong SHA-256 for {job.what}: it starts "
            f"with {sha256[:12]}, expected {job.sha256[:12]}. The file was removed. {job.instead}"
        )
    with _disk_errors(job.path):
        with job.part.open("rb+") as file:
            os.fsync(file.fileno())
        job.part.replace(job.path)
        job.version.unlink(missing_ok=True)


def _download(job: _Job) -> None:
    """Request the file until it is complete; only attempts that bring no new byte are counted."""
    make_folder(job.path.parent)
    received_before, failures = job.received_bytes, 0
    while True:
        try:
            _request_rest(job)
            return
        except (OSError, HTTPException, ValueError) as error:
            if isinstance(error, HTTPError):
                error.close()
            if job.received_bytes > received_before:
                received_before, failures = job.received_bytes, 0
            failures += 1
            if _is_lasting(error) or failures >= TRIES:
                raise UnavailableError(
                    f"{job.title} could not be fetched from {printable(job.url)}: "
                    f"{_reason(error)}. {job.instead}"
                ) from error
            seconds = BACKOFF_SECONDS * 2 ** (failures - 1)
            job.progress.note(f"{job.title}: {_reason(error)}. Trying again in {seconds:g} s.")
            time.sleep(seconds)


def _request_rest(job: _Job) -> None:
    """Request once what is missing of the file."""
    version, offset = _partial_download(job)
    if version is not None and offset == version.size:
        return  # the process was killed after the last byte
    headers = {"User-Agent": "evaluator"}
    if version is not None:
        headers["Range"] = f"bytes={offset}-"
        if version.validator:
            headers["If-Range"] = version.validator
    try:
        answer = urlopen(Request(job.url, headers=headers), timeout=TIMEOUT_SECONDS)
    except HTTPError as error:
        if error.code == 416:  # the file is shorter than the part: another version, or damage
            job.discard()
        raise
    with answer:
        if answer.status == 206:
            _check_range(job, answer, version, offset)
        else:
            offset = 0
        length = answer.headers["Content-Length"]
        size = None if length is None else offset + int(length)
        if offset == 0:
            _start_part(job, answer, size)
        _append(job, answer, offset, size)


def _partial_download(job: _Job) -> tuple[_Version | None, int]:
    """Version and length of the partial download; ``None`` and 0 if it cannot be resumed."""
    offset = job.received_bytes
    if not offset or not job.version.is_file():
        return None, 0
    try:
        version = read_document(job.version, _Version)
    except InputError:
        return None, 0
    return (version, offset) if version.url == job.url else (None, 0)


def _start_part(job: _Job, answer: HTTPResponse, size: int | None) -> None:
    """Empty the part, then record its version: bytes of one version never have another's name."""
    with _disk_errors(job.part):
        job.part.write_bytes(b"")
    etag = answer.headers["ETag"] or ""
    validator = etag if etag.startswith('"') else answer.headers["Last-Modified"] or ""
    write_document(job.version, _Version(job.url, validator, size))


def _check_range(job: _Job, answer: HTTPResponse, version: _Version | None, offset: int) -> None:
    """Compare the range of an answer with the request; servers and proxies may confuse it."""
    content = re.match(r"bytes (\d+)-\d+/(\d+|\*)", answer.headers["Content-Range"] or "")
    size = version.size if version is not None else None
    if (
        content is None
        or int(content[1]) != offset
        or (size and content[2] not in ("*", str(size)))
    ):
        job.discard()
        raise ConnectionError("the server answered with another range than was requested")


def _append(job: _Job, answer: HTTPResponse, offset: int, size: int | None) -> None:
    """Write each chunk to disk as it comes, so that an interruption loses none."""
    _report_start(job, offset, size)
    received_bytes = offset
    with _disk_errors(job.part):
        file = job.part.open("ab")
    with file:
        while chunk := answer.read1(_CHUNK_BYTES):
            with _disk_errors(job.part):
                file.write(chunk)
                file.flush()
            received_bytes += len(chunk)
            _report(job, received_bytes, size)
    if size is not None and received_bytes < size:
        raise ConnectionError(f"the connection ended after {received_bytes:,} of {size:,} bytes")


def _report_start(job: _Job, offset: int, size: int | None) -> None:
    free = shutil.disk_usage(job.path.parent).free
    if size is not None and 0 < free < size - offset:  # 0 if the file system does not know
        raise OutputError(
            f"Not enough disk space for {job.what} in {printable(job.path.parent)}: "
            f"{_mb(size - offset)} are needed, {free // _MB:,} MB are free. {_FREE_SPACE}"
        )
    size_text = "" if size is None else f", {_mb(size - offset)}"
    job.progress.note(
        f"Fetching {'the rest of ' if offset else ''}{job.what}{size_text}: {job.url}"
    )
    _report(job, offset, size)


def _report(job: _Job, done: int, size: int | None) -> None:
    if size is not None:
        total = -(-size // _MB)
        job.progress.advance(job.title, total if done == size else done // _MB, total, "MB")


def _mb(size: int) -> str:
    return f"{-(-size // _MB):,} MB"


def _is_lasting(error: Exception) -> bool:
    """Whether another attempt soon would fail as well."""
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
def _disk_errors(path: Path) -> Iterator[None]:
    """Raise errors of the disk as ``OutputError``, to tell them from those of the network."""
    try:
        yield
    except OSError as error:
        raise OutputError(
            f"{printable(path)} cannot be written: {reason_of(error)}. The partial download is "
            f"kept. {_FREE_SPACE}"
        ) from error
