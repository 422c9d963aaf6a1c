"""A web server on this machine, with the faults that servers and networks have."""

import hashlib
import http.server
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Fault:
    """What happens to one answer.

    Attributes:
        status: Instead of the file.
        cut: After so many bytes the connection ends.
        stall: ... or stays open, and nothing more comes until the server is closed.
        wrong_range: The part begins a byte later than was asked for.
    """

    status: int | None = None
    cut: int | None = None
    stall: int | None = None
    wrong_range: bool = False


@dataclass
class FileServer:
    """What the server has, how it answers, and what it was asked for.

    Attributes:
        port: On 127.0.0.1.
        files: By name.
        ranges: Whether it gives parts of files.
        validators: Whether it says which version of a file it gives.
        sized: Whether it says how long a file is.
        hub: Whether it answers as Hugging Face's: it promises a hash, and redirects to a store.
        faults: Of the next answers.
        heads: The path of each question about a file.
        asked: The range of each request for a file, ``whole`` where there was none.
        sent: Bytes of each answer, of those that ended.
    """

    port: int
    files: dict[str, bytes] = field(default_factory=dict)
    ranges: bool = True
    validators: bool = True
    sized: bool = True
    hub: bool = False
    faults: list[Fault] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    heads: list[str] = field(default_factory=list)
    sent: list[int] = field(default_factory=list)
    closing: threading.Event = field(default_factory=threading.Event)
    stalled: threading.Event = field(default_factory=threading.Event)

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self.port}/models/{name}"

    def put(self, stem: str, content: bytes) -> str:
        """Publish a file under a name with the start of its hash."""
        name = f"{stem}-{hashlib.sha256(content).hexdigest()[:8]}.pth"
        self.files[name] = content
        return name


@contextmanager
def file_server() -> Iterator[FileServer]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            server.heads.append(self.path)
            content = server.files.get(self.path.rsplit("/", 1)[1])
            if content is None:
                self.send_error(404)
                return
            if server.hub:
                self._redirect(content)
                return
            self.send_response(200)
            if server.validators:
                self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
            if server.sized:
                self.send_header("Content-Length", str(len(content)))
            self.end_headers()

        def _redirect(self, content: bytes) -> None:
            self.send_response(302)
            self.send_header("Location", f"/store/{self.path.rsplit('/', 1)[1]}")
            self.send_header("X-Linked-ETag", f'"{hashlib.sha256(content).hexdigest()}"')
            self.send_header("Content-Length", "0")
            self.end_headers()

        def do_GET(self) -> None:
            if server.hub and not self.path.startswith("/store/"):
                self._redirect(server.files.get(self.path.rsplit("/", 1)[1], b""))
                return
            server.asked.append(self.headers.get("Range", "whole"))
            fault = server.faults.pop(0) if server.faults else Fault()
            content = server.files.get(self.path.rsplit("/", 1)[1])
            if content is None or fault.status is not None:
                self.send_error(fault.status or 404)
                return
            self._send(content, fault)

        def _send(self, content: bytes, fault: Fault) -> None:
            etag = f'"{hashlib.sha256(content).hexdigest()}"'
            start = self._start(etag)
            if start > len(content) or (start and start == len(content)):
                self.send_error(416)
                return
            self.send_response(206 if start else 200)
            first = start + fault.wrong_range
            if start:
                self.send_header(
                    "Content-Range", f"bytes {first}-{len(content) - 1}/{len(content)}"
                )
            body = content[first:]
            if server.sized:
                self.send_header("Content-Length", str(len(body)))
            if server.validators:
                self.send_header("ETag", etag)
            self.end_headers()
            self._send_body(body, fault)

        def _start(self, etag: str) -> int:
            asked = self.headers.get("Range")
            if asked is None or not server.ranges:
                return 0
            if self.headers.get("If-Range", etag) != etag:
                return 0
            return int(asked.removeprefix("bytes=").removesuffix("-"))

        def _send_body(self, body: bytes, fault: Fault) -> None:
            stop = fault.stall if fault.stall is not None else fault.cut
            self.wfile.write(body[:stop])
            if fault.stall is not None:
                self.wfile.flush()
                server.stalled.set()
                server.closing.wait()
            server.sent.append(len(body[:stop]))

        def log_message(self, format: str, *args: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as serving:
        server = FileServer(serving.server_address[1])
        thread = threading.Thread(target=serving.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.closing.set()
            serving.shutdown()
            thread.join()
