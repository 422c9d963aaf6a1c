"""The SHA-256 of files at addresses that do not say it, remembered beside the file.

Hugging Face's hub promises it in the header ``X-Linked-ETag`` of its answer, before a byte is
fetched; other servers may have it as their ``ETag``. Where nobody promises it, it is taken of what
came first. Either way ``NAME.pin.json`` keeps it, and a file that is another later is refused.
"""

import re
from dataclasses import dataclass
from email.message import Message
from http.client import HTTPMessage
from pathlib import Path
from typing import IO
from urllib.error import HTTPError
from urllib.request import HTTPRedirectHandler, Request, build_opener

from ..contracts import Progress
from .digest import file_sha256
from .documents import read_document, write_document
from .fetch import TIMEOUT_SECONDS, fetch

_SHA256 = re.compile('"?([0-9a-f]{64})"?')


@dataclass(frozen=True)
class Pin:
    """Which file an address gives.

    Attributes:
        sha256: Of its bytes.
        promised: Whether the server said so; otherwise it is of what came first.
    """

    sha256: str
    promised: bool


def pinned_sha256(url: str, path: Path, *, progress: Progress, what: str, instead: str) -> str:
    """The SHA-256 that the file at an address must have; asked for once, then remembered.

    Args:
        url: An http or https address.
        path: Where the file will be; the pin is beside it.
        progress: Is told what is fetched.
        what: The thing in words.
        instead: What a user can do where it cannot be had.

    Raises:
        UnavailableError: If nobody promises it and the file cannot be had.
        InputError: If the pin cannot be read.
    """
    kept = path.with_name(path.name + ".pin.json")
    if not kept.is_file():
        sha256 = promised_sha256(url)
        if sha256 is None:
            fetch(url, path, sha256=None, progress=progress, what=what, instead=instead)
        write_document(kept, Pin(sha256 or file_sha256(path), sha256 is not None), first=True)
    return read_document(kept, Pin).sha256


def promised_sha256(url: str) -> str | None:
    """What a server says of a file without sending it, if it says its SHA-256."""
    request = Request(url, method="HEAD", headers={"User-Agent": "evaluator"})
    try:
        with build_opener(_StopsAtPromise()).open(request, timeout=TIMEOUT_SECONDS) as answer:
            return _in(answer.headers)
    except HTTPError as error:
        with error:
            return _in(error.headers)
    except (OSError, ValueError):  # fetching the file will say what is wrong, and try again
        return None


class _StopsAtPromise(HTTPRedirectHandler):
    """The hub says the hash in its own answer, not in that of the store it redirects to."""

    def redirect_request(
        self, req: Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> Request | None:
        if _in(headers) is not None:
            return None
        found = super().redirect_request(req, fp, code, msg, headers, newurl)
        if found is not None:
            found.method = req.get_method()  # urllib would ask the other address for all of it
        return found


def _in(headers: "Message[str, str]") -> str | None:
    """The SHA-256 that an answer's headers promise."""
    for name in ("X-Linked-ETag", "ETag"):
        found = _SHA256.fullmatch(headers[name] or "")
        if found is not None:
            return found[1]
    return None
