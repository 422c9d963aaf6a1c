"""The SHA-256 of files at addresses that do not say it."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from evaluator.contracts import NullProgress
from evaluator.errors import InputError, UnavailableError
from evaluator.storage import fetch as fetching
from evaluator.storage.fetch import fetch
from evaluator.storage.hash_pins import pinned_sha256, promised_sha256
from evaluator.tests.file_server import FileServer, file_server

CONTENT = b"weights" * 1000
SHA256 = hashlib.sha256(CONTENT).hexdigest()
NAME = "model.safetensors"


@pytest.fixture(autouse=True)
def _direct(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(fetching, "BACKOFF_SECONDS", 0.001)


@pytest.fixture
def server() -> Iterator[FileServer]:
    with file_server() as running:
        running.files[NAME] = CONTENT
        yield running


def pinned(server: FileServer, path: Path) -> str:
    return pinned_sha256(
        server.url(NAME), path, progress=NullProgress(), what="the file", instead="Go without."
    )


def test_a_hubs_promise_is_taken_before_a_byte_is_fetched_and_remembered(
    server: FileServer, tmp_path: Path
) -> None:
    server.hub = True
    path = tmp_path / "weights" / NAME
    assert pinned(server, path) == SHA256
    # In the hub's own answer: the store that it redirects to is not asked.
    assert server.heads == [f"/models/{NAME}"]
    assert (server.asked, path.exists()) == ([], False)
    assert json.loads((path.parent / f"{NAME}.pin.json").read_text()) == {
        "promised": True, "sha256": SHA256
    }  # fmt: skip
    server.files[NAME] = b"another version"
    assert pinned(server, path) == SHA256
    assert len(server.heads) == 1
    with pytest.raises(UnavailableError, match=r"downloaded from .* has the wrong SHA-256"):
        fetch(
            server.url(NAME), path, sha256=SHA256, progress=NullProgress(), what="it", instead="No."
        )


def test_an_etag_that_is_a_sha256_is_a_promise_too(server: FileServer) -> None:
    assert promised_sha256(server.url(NAME)) == SHA256
    server.validators = False
    assert promised_sha256(server.url(NAME)) is None


def test_without_a_promise_the_hash_is_of_what_came_first(
    server: FileServer, tmp_path: Path
) -> None:
    server.validators = False
    path = tmp_path / NAME
    assert pinned(server, path) == SHA256
    assert path.read_bytes() == CONTENT
    path.write_bytes(b"damaged")
    assert pinned(server, path) == SHA256
    with pytest.raises(InputError, match="is damaged: its SHA-256 does not start with"):
        fetch(
            server.url(NAME), path, sha256=SHA256, progress=NullProgress(), what="it", instead="No."
        )


def test_a_server_that_cannot_be_reached_is_named_and_pins_nothing(
    server: FileServer, tmp_path: Path
) -> None:
    server.files.clear()
    with pytest.raises(UnavailableError, match=r"it answers 404 Not Found\. Go without\."):
        pinned(server, tmp_path / NAME)
    with pytest.raises(UnavailableError, match=r"Connection refused\. Go without\."):
        pinned_sha256(
            "http://127.0.0.1:9/x", tmp_path / NAME,
            progress=NullProgress(), what="the file", instead="Go without.",
        )  # fmt: skip
    assert not list(tmp_path.glob("*.pin.json"))


def test_a_pin_that_was_damaged_is_refused(server: FileServer, tmp_path: Path) -> None:
    (tmp_path / f"{NAME}.pin.json").write_text("{}")
    with pytest.raises(InputError, match=r"pin\.json is not a valid Pin"):
        pinned(server, tmp_path / NAME)
