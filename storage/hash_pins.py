"""Pinned SHA-256 of downloads whose address does not contain it.

Hugging Face's hub gives it in the header ``X-Linked-ETag`` of its answer, before a byte is
downloaded; other servers may give it as their ``ETag``. If the server does not give it, it is
computed from the first download. In both cases ``NAME.pin.json`` records it, and a file that
differs later is refused.
"""

import re
from dataclasses import dataclass
from email.message import Message
from http.client import HTTPMessage
from pathlib import Path
from typing import IO
from urllib.error import HTTPError
from urllib.request import Request, build_opener

from ..contracts import Progress
from .digest import file_sha256
from .documents import read_document, write_document
from .fetch import TIMEOUT_SECONDS, KeepsMethod, fetch

PIN_SUFFIX = ".pin.json"

_ETAG_SHA256 = re.compile('"?([0-9a-f]{64})"?')


@dataclass(frozen=True)
class Pin:
    """SHA-256 that the file at an address must have.

    Attributes:
        sha256: SHA-256 of the file.
        promised: Whether the server gave it; otherwise it is that of the first download.
    """

    sha256: str
    promised: bool


def pinned_sha256(url: str, path: Path, *, progress: Progress, what: str, instead: str) -> str:
    """The SHA-256 that the file at an address must have; requested once, then read from the pin.

    Args:
        url: An http or https address.
        path: Path of the file; the pin is next to it.
        progress: Progress callback.
        what: The file in words, for notes and errors.
        instead: Advice for a failed download.

    Raises:
        UnavailableError: If the server does not give it and the download fails.
        InputError: If the pin cannot be read.
    """
    pin = read_pin(path)
    if pin is None:
        sha256 = promised_sha256(url)
        if sha256 is None:
            fetch(url, path, sha256=None, progress=progress, what=what, instead=instead)
        pin = write_pin(path, Pin(sha256 or file_sha256(path), sha256 is not None))
    return pin.sha256


def read_pin(path: Path) -> Pin | None:
    """The pin of a file; ``None`` if there is none.

    Raises:
        InputError: If it cannot be read.
    """
    pin = path.with_name(path.name + PIN_SUFFIX)
    return read_document(pin, Pin) if pin.is_file() else None


def write_pin(path: Path, pin: Pin) -> Pin:
    """Pin the SHA-256 of a file; returns the pin of the first process that does so.

    Raises:
        OutputError: If it cannot be written.
    """
    place = path.with_name(path.name + PIN_SUFFIX)
    write_document(place, pin, first=True)
    return read_document(place, Pin)


def promised_sha256(url: str) -> str | None:
    """The SHA-256 that a server gives for a file without sending it; ``None`` if it gives none."""
    request = Request(url, method="HEAD", headers={"User-Agent": "evaluator"})
    try:
        with build_opener(_StopsAtPromise()).open(request, timeout=TIMEOUT_SECONDS) as answer:
            return _sha256(answer.headers)
    except HTTPError as error:
        with error:
            return _sha256(error.headers)
    except (OSError, ValueError):  # the download tries again and reports the error
        return None


class _StopsAtPromise(KeepsMethod):
    """Stops at the hub's own answer: it has the hash, that of the store behind it has not."""

    def redirect_request(
        self, req: Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> Request | None:
        if _sha256(headers) is not None:
            return None
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _sha256(headers: "Message[str, str]") -> str | None:
    names = ("X-Linked-ETag", "ETag")
    matches = (_ETAG_SHA256.fullmatch(headers[name] or "") for name in names)
    return next((match[1] for match in matches if match is not None), None)
