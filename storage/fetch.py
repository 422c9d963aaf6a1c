"""Downloads: each file is fetched once, resumed after an interruption, and checked before use.

A partial download is ``NAME.part``; ``NAME.part.json`` says which version of the file it is the
beginning of. Proxies are taken from the environment (``https_proxy``).
"""

import re
import shutil
import socket
import ssl
import time
from contextlib import suppress
from dataclasses import dataclass
from http.client import HTTPException, HTTPMessage, HTTPResponse, IncompleteRead, InvalidURL
from pathlib import Path
from typing import IO
from urllib.error import HTTPError, URLError
from urllib.request import HTTPRedirectHandler, Request, build_opener, urlopen

from ..contracts import Progress
from ..errors import InputError, OutputError, UnavailableError, printable, reason_of
from .atomic import disk_errors, flush, make_folder
from .digest import Checksum
from .documents import read_document, write_document
from .lock import locked

TIMEOUT_SECONDS = 30.0
"""Longest wait for a connection, or for the next byte."""

TRIES = 4
"""Attempts in a row that bring no new byte, before the download fails."""

BACKOFF_SECONDS = 1.0
"""Wait before the second attempt; doubled before each further one."""

_FREE_SPACE = "Free some space, or choose another folder (EVALUATOR_CACHE for the cache)."
_KEPT = f"The partial download is kept. {_FREE_SPACE}"
_CHUNK_BYTES = 1 << 20
_LARGE_BYTES = 1 << 28
"""Above this size, hashing a file takes long enough to show its progress."""
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


def fetch(
    url: str,
    path: Path,
    *,
    sha256: str | None,
    progress: Progress,
    what: str,
    instead: str = "",
    md5: str | None = None,
    size: int | None = None,
) -> None:
    """Download a file unless it exists; check its checksum in any case.

    The file is downloaded once, also if several processes need it at the same time. After an
    interruption of any kind the same call downloads only the rest.

    Args:
        url: An http or https address.
        path: Path of the file.
        sha256: SHA-256 of the file in hexadecimal, or at least its first 8 digits. ``None`` only
            with ``md5``, and for ``hash_pins.py``, which records that of what was downloaded.
        progress: Progress callback.
        what: The file in words, for notes and errors: ``the weights of resnet50``.
        instead: Advice for a failed download; if not given, to save the file by hand.
        md5: MD5 of the file, where no SHA-256 is published.
        size: Published size in bytes; a server that has another size is refused at once.

    Raises:
        InputError: If the file exists and has another checksum.
        UnavailableError: If the download fails, or the downloaded file has another checksum.
        OutputError: If the file cannot be written.
    """
    expected = Checksum("md5", md5) if sha256 is None and md5 else Checksum("sha256", sha256 or "")
    unknown = sha256 is None and md5 is None
    valid_hash = unknown or re.fullmatch("[0-9a-f]{8,64}", expected.digits)
    if not url.startswith(("https://", "http://")) or not valid_hash:
        raise InputError(
            f"Invalid source of {what}: {printable(url)} with {expected.title} "
            f"{printable(expected.digits)!r}. "
            "Expected an http or https address, and at least 8 hexadecimal digits."
        )
    instead = instead or f"Download that address elsewhere and save it as {printable(path)}."
    download = _Download(url, path, expected, progress, what, instead, size)
    if not path.is_file():
        with locked(path, waiting=lambda: progress.note(f"Another process fetches {what} now.")):
            if not path.is_file():
                download.run()
                return
    if not download.digits_of(path).startswith(expected.digits):
        raise InputError(
            f"{printable(path)} is damaged: its {expected.title} does not start with "
            f"{expected.digits[:12]}. Remove it and run the command again to download it."
        )


class KeepsMethod(HTTPRedirectHandler):
    """Follows a redirect of ``HEAD`` with ``HEAD``: urllib would request the whole file."""

    def redirect_request(
        self, req: Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> Request | None:
        """The request for the new address."""
        request = super().redirect_request(req, fp, code, msg, headers, newurl)
        if request is not None:
            request.method = req.get_method()
        return request


def remote_size(url: str) -> int | None:
    """Size of the file at an address, in bytes, without fetching it.

    ``None`` if the server does not say it, or cannot be reached: the download reports that.
    """
    request = Request(url, method="HEAD", headers={"User-Agent": "evaluator"})
    try:
        with build_opener(KeepsMethod()).open(request, timeout=TIMEOUT_SECONDS) as answer:
            return int(answer.headers["Content-Length"] or "")
    except HTTPError as error:
        error.close()
    except (OSError, HTTPException, ValueError):
        pass
    return None


def refuse_full_disk(folder: Path, needed_bytes: int, what: str) -> None:
    """Refuse what does not fit on the disk of a folder, which exists.

    Raises:
        OutputError: If less is free.
    """
    free = shutil.disk_usage(folder).free
    if 0 < free < needed_bytes:  # 0 if the file system does not know
        raise OutputError(
            f"Not enough disk space for {what} in {printable(folder)}: "
            f"{_mb(needed_bytes)} are needed, {free // _MB:,} MB are free. {_FREE_SPACE}"
        )


@dataclass(frozen=True)
class _Download:
    url: str
    path: Path
    checksum: Checksum
    progress: Progress
    what: str
    instead: str
    published_size: int | None

    @property
    def part(self) -> Path:
        return self.path.with_name(self.path.name + ".part")

    @property
    def version(self) -> Path:
        return self.path.with_name(self.path.name + ".part.json")

    @property
    def received_bytes(self) -> int:
        return self.part.stat().st_size if self.part.is_file() else 0

    @property
    def title(self) -> str:
        return self.what[:1].upper() + self.what[1:]

    def run(self) -> None:
        """Download to the part; rename it to the final name if its checksum is right."""
        self._request_until_complete()
        digits, expected = self.digits_of(self.part), self.checksum.digits
        if not digits.startswith(expected):
            self._discard()
            raise UnavailableError(
                f"The file downloaded from {self.url} has the wrong {self.checksum.title} for "
                f"{self.what}: it starts with {digits[:12]}, expected {expected[:12]}. The file "
                f"was removed. {self.instead}"
            )
        with disk_errors(self.path, _KEPT):
            flush(self.part)
            self.part.replace(self.path)
            self.version.unlink(missing_ok=True)

    def digits_of(self, path: Path) -> str:
        """The checksum of a file; that of a large one takes a while, so its progress is shown."""
        total, done = path.stat().st_size, 0

        def report(size: int) -> None:
            nonlocal done
            done += size
            if total > _LARGE_BYTES:
                self._report(done, total, f"{self.checksum.title} of {self.what}")

        return self.checksum.of(path, report)

    def _request_until_complete(self) -> None:
        """Request the rest again and again; only attempts that bring no new byte are counted."""
        make_folder(self.path.parent)
        received_before, failures = self.received_bytes, 0
        while True:
            try:
                self._request_rest()
                return
            except (OSError, HTTPException, ValueError) as error:
                if isinstance(error, HTTPError):
                    error.close()
                if self.received_bytes > received_before:
                    received_before, failures = self.received_bytes, 0
                failures += 1
                if _is_lasting(error) or failures >= TRIES:
                    raise UnavailableError(
                        f"{self.title} could not be fetched from {printable(self.url)}: "
                        f"{_reason(error)}. {self.instead}"
                    ) from error
                seconds = BACKOFF_SECONDS * 2 ** (failures - 1)
                self.progress.note(
                    f"{self.title}: {_reason(error)}. Trying again in {seconds:g} s."
                )
                time.sleep(seconds)

    def _request_rest(self) -> None:
        """Request once what is missing of the file."""
        version, offset = self._partial_download()
        if offset and offset == version.size:
            return  # the process was killed after the last byte
        headers = {"User-Agent": "evaluator"}
        if offset:
            headers["Range"] = f"bytes={offset}-"
            if version.validator:
                headers["If-Range"] = version.validator
        try:
            answer = urlopen(Request(self.url, headers=headers), timeout=TIMEOUT_SECONDS)
        except HTTPError as error:
            if error.code == 416:  # the file is shorter than the part: another version, or damage
                self._discard()
            raise
        with answer:
            if answer.status == 206:
                self._check_range(answer, offset, version.size)
            else:
                offset = 0
            length = answer.headers["Content-Length"]
            size = None if length is None else offset + int(length)
            self._refuse_other_size(size)
            if offset == 0:
                self._start_part(answer, size)
            self._append(answer, offset, size)

    def _refuse_other_size(self, size: int | None) -> None:
        """Refuse a file of another size than the published one, before it is downloaded."""
        if self.published_size is not None and size not in (None, self.published_size):
            raise UnavailableError(
                f"{printable(self.url)} has {size:,} bytes, but {self.what} has "
                f"{self.published_size:,}: it is another file. {self.instead}"
            )

    def _partial_download(self) -> tuple[_Version, int]:
        """Version and length of the partial download; the length is 0 if it cannot be resumed."""
        offset = self.received_bytes
        with suppress(InputError):
            version = read_document(self.version, _Version)
            if offset and version.url == self.url:
                return version, offset
        return _Version(self.url, "", None), 0

    def _discard(self) -> None:
        """Remove the partial download; the next attempt starts from the beginning."""
        with disk_errors(self.part, _KEPT):
            self.part.unlink(missing_ok=True)
            self.version.unlink(missing_ok=True)

    def _check_range(self, answer: HTTPResponse, offset: int, size: int | None) -> None:
        """Compare the range of an answer with the request; servers and proxies may confuse it."""
        content = re.match(r"bytes (\d+)-\d+/(\d+|\*)", answer.headers["Content-Range"] or "")
        if content and int(content[1]) == offset and (not size or content[2] in ("*", str(size))):
            return
        self._discard()
        raise ConnectionError("the server answered with another range than was requested")

    def _start_part(self, answer: HTTPResponse, size: int | None) -> None:
        """Empty the part, then record its version: bytes of one never have another's name."""
        with disk_errors(self.part, _KEPT):
            self.part.write_bytes(b"")
        etag = answer.headers["ETag"] or ""
        validator = etag if etag.startswith('"') else answer.headers["Last-Modified"] or ""
        write_document(self.version, _Version(self.url, validator, size))

    def _append(self, answer: HTTPResponse, offset: int, size: int | None) -> None:
        """Write each chunk to disk as it comes, so that an interruption loses none."""
        self._report_start(offset, size)
        received_bytes = offset
        with disk_errors(self.part, _KEPT):
            file = self.part.open("ab")
        with file:
            while chunk := answer.read1(_CHUNK_BYTES):
                with disk_errors(self.part, _KEPT):
                    file.write(chunk)
                    file.flush()
                received_bytes += len(chunk)
                self._report(received_bytes, size)
        if size is not None and received_bytes < size:
            raise ConnectionError(
                f"the connection ended after {received_bytes:,} of {size:,} bytes"
            )

    def _report_start(self, offset: int, size: int | None) -> None:
        if size is not None:
            refuse_full_disk(self.path.parent, size - offset, self.what)
        size_text = "" if size is None else f", {_mb(size - offset)}"
        rest = "the rest of " if offset else ""
        self.progress.note(f"Fetching {rest}{self.what}{size_text}: {self.url}")
        self._report(offset, size)

    def _report(self, done: int, size: int | None, title: str = "") -> None:
        if size is not None:
            total = -(-size // _MB)
            step = total if done == size else done // _MB
            self.progress.advance(title or self.title, step, total, "MB")


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
