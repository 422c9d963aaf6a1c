"""Files from the network: whole, checked, fetched once, resumed where they broke off."""

import hashlib
import json
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from evaluator.contracts import NullProgress, Progress
from evaluator.errors import EvaluatorError, InputError, OutputError, UnavailableError
from evaluator.storage import fetch as fetching
from evaluator.storage.fetch import fetch
from evaluator.tests.file_server import Fault, FileServer, file_server

CONTENT = bytes(range(256)) * 12_000  # 3,072,000 bytes
SHA256 = hashlib.sha256(CONTENT).hexdigest()
HALF = 1_500_000
INSTEAD = "Give --weights FILE."


@dataclass
class Told:
    """Progress that keeps what it hears."""

    notes: list[str] = field(default_factory=list)
    steps: list[tuple[str, int, int, str]] = field(default_factory=list)

    def note(self, text: str) -> None:
        self.notes.append(text)

    def advance(self, step: str, done: int, total: int, unit: str) -> None:
        self.steps.append((step, done, total, unit))


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(fetching, "BACKOFF_SECONDS", 0.001)


@pytest.fixture
def server() -> Iterator[FileServer]:
    with file_server() as running:
        running.files["file"] = CONTENT
        yield running


def have(
    server: FileServer, path: Path, *, sha256: str = SHA256, progress: Progress | None = None
) -> None:
    fetch(
        server.url("file"),
        path,
        sha256=sha256,
        progress=progress or NullProgress(),
        what="the file",
        instead=INSTEAD,
    )


def refusal(server: FileServer, path: Path, kind: type[EvaluatorError] = UnavailableError) -> str:
    with pytest.raises(kind) as caught:
        have(server, path)
    message = str(caught.value)
    assert message.isprintable()
    assert not path.exists()
    return message


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


# ------------------------------------------------------------------------------------ a good server


@pytest.mark.parametrize("digits", [8, 64])
def test_a_file_is_fetched_once(digits: int, server: FileServer, tmp_path: Path) -> None:
    path = tmp_path / "a" / "file"
    for _ in range(2):
        have(server, path, sha256=SHA256[:digits])
    assert path.read_bytes() == CONTENT
    assert server.asked == ["whole"]
    assert names(path.parent) == ["file", "file.lock"]


def test_a_user_sees_what_is_fetched_and_how_far_it_is(server: FileServer, tmp_path: Path) -> None:
    told = Told()
    have(server, tmp_path / "file", progress=told)
    assert told.notes == [f"Fetching the file, 4 MB: {server.url('file')}"]
    assert told.steps[0] == ("The file", 0, 4, "MB")
    assert told.steps[-1] == ("The file", 4, 4, "MB")
    assert sorted(told.steps) == told.steps


def test_a_server_that_does_not_say_how_long_a_file_is_will_do(
    server: FileServer, tmp_path: Path
) -> None:
    server.sized = False
    told = Told()
    have(server, tmp_path / "file", progress=told)
    assert (tmp_path / "file").read_bytes() == CONTENT
    assert told.steps == []


def test_a_file_that_is_there_is_checked_and_needs_no_server(tmp_path: Path) -> None:
    path, nowhere = tmp_path / "file", FileServer(port=1)
    path.write_bytes(CONTENT)
    have(nowhere, path)
    path.write_bytes(CONTENT[:-1])
    with pytest.raises(InputError, match=r"file is damaged: .* Remove it"):
        have(nowhere, path)
    assert names(tmp_path) == ["file"]


# ------------------------------------------------------------------------------------ interruptions


def test_after_a_cut_only_the_rest_is_asked_for(server: FileServer, tmp_path: Path) -> None:
    server.faults = [Fault(cut=HALF)]
    told = Told()
    have(server, tmp_path / "file", progress=told)
    assert server.asked == ["whole", f"bytes={HALF}-"]
    assert server.sent == [HALF, len(CONTENT) - HALF]
    assert (tmp_path / "file").read_bytes() == CONTENT
    assert "ended after 1,500,000 of 3,072,000 bytes. Trying again" in told.notes[1]
    assert told.notes[2].startswith("Fetching the rest of the file, 2 MB")
    assert names(tmp_path) == ["file", "file.lock"]


def test_tries_that_bring_it_further_are_not_counted(server: FileServer, tmp_path: Path) -> None:
    server.faults = [Fault(cut=100_000)] * 10
    have(server, tmp_path / "file")
    assert server.asked == ["whole", *(f"bytes={n}00000-" for n in range(1, 11))]


FETCH = """
import sys
from pathlib import Path
from evaluator.contracts import NullProgress
from evaluator.storage.fetch import fetch
url, path, sha256 = sys.argv[1:4]
fetch(url, Path(path), sha256=sha256, progress=NullProgress(), what="the file", instead="")
"""


def fetcher(server: FileServer, path: Path) -> "subprocess.Popen[str]":
    command = [sys.executable, "-c", FETCH, server.url("file"), str(path), SHA256]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)


def test_a_proxy_of_the_environment_is_used(server: FileServer, tmp_path: Path) -> None:
    path, url = tmp_path / "file", "http://nowhere.invalid/file"
    proxies = {"http_proxy": f"http://127.0.0.1:{server.port}", "no_proxy": ""}
    command = [sys.executable, "-c", FETCH, url, str(path), SHA256]
    subprocess.run(command, check=True, env={**os.environ, **proxies})
    assert path.read_bytes() == CONTENT


@pytest.mark.parametrize("stop", [signal.SIGKILL, signal.SIGINT])
def test_a_process_that_was_stopped_is_gone_on_with(
    stop: signal.Signals, server: FileServer, tmp_path: Path
) -> None:
    server.faults = [Fault(stall=HALF)]
    path = tmp_path / "file"
    with fetcher(server, path) as process:
        assert server.stalled.wait(timeout=60)
        while not (tmp_path / "file.part").is_file() or size(tmp_path) < HALF:
            assert process.poll() is None
        process.send_signal(stop)
        process.communicate()
    assert process.returncode == -stop
    assert not path.exists()
    have(server, path)
    assert server.asked == ["whole", f"bytes={HALF}-"]
    assert path.read_bytes() == CONTENT
    assert names(tmp_path) == ["file", "file.lock"]


def size(folder: Path) -> int:
    return (folder / "file.part").stat().st_size


def give_half(server: FileServer, folder: Path) -> None:
    """Break off after a half, for good."""
    server.faults = [Fault(cut=HALF), Fault(status=403)]
    assert "403" in refusal(server, folder / "file")
    assert size(folder) == HALF
    server.asked.clear()
    server.sent.clear()


def test_a_file_that_changed_between_the_tries_starts_anew(
    server: FileServer, tmp_path: Path
) -> None:
    server.files["file"] = CONTENT[::-1]
    give_half(server, tmp_path)
    server.files["file"] = CONTENT
    have(server, tmp_path / "file")
    assert server.asked == [f"bytes={HALF}-"]
    assert server.sent == [len(CONTENT)]
    assert (tmp_path / "file").read_bytes() == CONTENT


def test_a_server_without_parts_starts_anew(server: FileServer, tmp_path: Path) -> None:
    server.ranges = False
    give_half(server, tmp_path)
    have(server, tmp_path / "file")
    assert server.sent == [len(CONTENT)]
    assert (tmp_path / "file").read_bytes() == CONTENT


def test_a_server_without_parts_that_always_breaks_off_is_given_up(
    server: FileServer, tmp_path: Path
) -> None:
    server.ranges = False
    server.faults = [Fault(cut=HALF)] * 99
    assert "ended after 1,500,000 of 3,072,000 bytes" in refusal(server, tmp_path / "file")
    assert len(server.asked) == 4


def test_a_server_without_versions_is_resumed(server: FileServer, tmp_path: Path) -> None:
    server.validators = False
    give_half(server, tmp_path)
    have(server, tmp_path / "file")
    assert server.sent == [len(CONTENT) - HALF]


def test_without_versions_a_change_of_length_starts_anew(
    server: FileServer, tmp_path: Path
) -> None:
    server.validators = False
    server.files["file"] = CONTENT[1:] + b"longer"
    give_half(server, tmp_path)
    server.files["file"] = CONTENT
    have(server, tmp_path / "file")
    assert server.asked == [f"bytes={HALF}-", "whole"]
    assert (tmp_path / "file").read_bytes() == CONTENT


def test_another_part_than_was_asked_for_is_not_appended(
    server: FileServer, tmp_path: Path
) -> None:
    give_half(server, tmp_path)
    server.faults = [Fault(wrong_range=True)]
    have(server, tmp_path / "file")
    assert server.asked == [f"bytes={HALF}-", "whole"]
    assert (tmp_path / "file").read_bytes() == CONTENT


def test_a_part_that_is_longer_than_the_file_starts_anew(
    server: FileServer, tmp_path: Path
) -> None:
    give_half(server, tmp_path)
    with (tmp_path / "file.part").open("ab") as part:
        part.write(CONTENT)
    have(server, tmp_path / "file")
    assert server.asked == [f"bytes={HALF + len(CONTENT)}-", "whole"]
    assert (tmp_path / "file").read_bytes() == CONTENT


def test_a_part_that_was_whole_is_only_checked(server: FileServer, tmp_path: Path) -> None:
    give_half(server, tmp_path)
    (tmp_path / "file.part").write_bytes(CONTENT)
    have(server, tmp_path / "file")
    assert server.asked == []
    assert (tmp_path / "file").read_bytes() == CONTENT


@pytest.mark.parametrize("memory", [None, "", '{"url": "x"}'])
def test_a_part_of_which_nothing_is_known_starts_anew(
    memory: str | None, server: FileServer, tmp_path: Path
) -> None:
    give_half(server, tmp_path)
    if memory is None:
        (tmp_path / "file.part.json").unlink()
    else:
        (tmp_path / "file.part.json").write_text(memory)
    have(server, tmp_path / "file")
    assert server.asked == ["whole"]


def test_a_part_from_another_address_starts_anew(server: FileServer, tmp_path: Path) -> None:
    give_half(server, tmp_path)
    memory = tmp_path / "file.part.json"
    memory.write_text(json.dumps({**json.loads(memory.read_text()), "url": "http://elsewhere/"}))
    have(server, tmp_path / "file")
    assert server.asked == ["whole"]


# ------------------------------------------------------------------------------------ bad answers


def test_a_file_with_another_hash_is_refused_and_removed(
    server: FileServer, tmp_path: Path
) -> None:
    server.files["file"] = b"?" + CONTENT[1:]
    message = refusal(server, tmp_path / "file")
    assert message.startswith(f"The file downloaded from {server.url('file')} has the wrong SHA")
    assert hashlib.sha256(server.files["file"]).hexdigest()[:12] in message
    assert SHA256[:12] in message
    assert message.endswith(INSTEAD)
    assert server.asked == ["whole"]
    assert names(tmp_path) == ["file.lock"]


def test_a_part_that_was_damaged_is_found_out_and_removed(
    server: FileServer, tmp_path: Path
) -> None:
    give_half(server, tmp_path)
    with (tmp_path / "file.part").open("r+b") as part:
        part.write(b"damage")
    assert "has the wrong SHA-256" in refusal(server, tmp_path / "file")
    have(server, tmp_path / "file")
    assert server.asked == [f"bytes={HALF}-", "whole"]


@pytest.mark.parametrize("status", [403, 404, 410])
def test_a_refusal_is_final(status: int, server: FileServer, tmp_path: Path) -> None:
    server.faults = [Fault(status=status)] * 9
    message = refusal(server, tmp_path / "file")
    assert (
        f"The file could not be fetched from {server.url('file')}: it answers {status} " in message
    )
    assert message.endswith(INSTEAD)
    assert len(server.asked) == 1
    assert names(tmp_path) == ["file.lock"]


def test_without_other_advice_the_file_can_be_put_there_by_hand(
    server: FileServer, tmp_path: Path
) -> None:
    url, path = server.url("elsewhere"), tmp_path / "file"
    with pytest.raises(UnavailableError) as caught:
        fetch(url, path, sha256=SHA256, progress=NullProgress(), what="the file")
    assert str(caught.value).endswith(f"Download that address elsewhere and save it as {path}.")
    path.write_bytes(CONTENT)
    fetch(url, path, sha256=SHA256, progress=NullProgress(), what="the file")


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_server_in_trouble_is_asked_again(
    status: int, server: FileServer, tmp_path: Path
) -> None:
    server.faults = [Fault(status=status)] * 3
    told = Told()
    have(server, tmp_path / "file", progress=told)
    assert (tmp_path / "file").read_bytes() == CONTENT
    assert [f"it answers {status} " in note for note in told.notes] == [True] * 3 + [False]


def test_a_server_that_stays_in_trouble_is_given_up(server: FileServer, tmp_path: Path) -> None:
    server.faults = [Fault(status=503)] * 9
    assert "503" in refusal(server, tmp_path / "file")
    assert len(server.asked) == 4


def test_a_server_that_stops_sending_is_not_waited_for_without_end(
    server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetching, "TIMEOUT_SECONDS", 1.0)
    server.faults = [Fault(stall=HALF)]
    told = Told()
    have(server, tmp_path / "file", progress=told)
    assert server.asked == ["whole", f"bytes={HALF}-"]
    assert "timed out. Trying again" in told.notes[1]


def test_a_server_that_never_answers_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetching, "TIMEOUT_SECONDS", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as silent:  # connects, and says nothing
        message = refusal(FileServer(silent.getsockname()[1]), tmp_path / "file")
    assert "timed out" in message


def test_a_server_that_is_not_there_is_told(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening
        message = refusal(FileServer(taken.getsockname()[1]), tmp_path / "file")
    assert ": Connection refused. " in message
    assert message.endswith(INSTEAD)


def test_a_host_that_is_not_there_is_told(tmp_path: Path) -> None:
    told = Told()
    with pytest.raises(UnavailableError, match=r"http://nowhere\.invalid/file: .* FILE\."):
        fetch(
            "http://nowhere.invalid/file",
            tmp_path / "file",
            sha256=SHA256,
            progress=told,
            what="the file",
            instead=INSTEAD,
        )
    assert told.notes == []  # another try would not help


def test_something_that_is_no_web_server_is_told(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as strange:

        def answer() -> None:
            for _ in range(4):
                connection, _ = strange.accept()
                with connection:
                    connection.recv(4096)
                    connection.sendall(b"220 mail.example ESMTP\r\n\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        message = refusal(FileServer(strange.getsockname()[1]), tmp_path / "file")
        thread.join()
    assert "220 mail.example" in message


@pytest.mark.parametrize("url", ["file:///etc/passwd", "", "http://[x/file", "http://a b/file"])
def test_an_address_that_is_none_is_refused(url: str, tmp_path: Path) -> None:
    with pytest.raises(EvaluatorError) as caught:
        fetch(
            url, tmp_path / "x", sha256=SHA256, progress=NullProgress(), what="x", instead=INSTEAD
        )
    assert str(caught.value).isprintable()


@pytest.mark.parametrize("sha256", ["", "0123", "x" * 64, "A" * 64])
def test_nothing_is_fetched_unchecked(sha256: str, server: FileServer, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="at least 8 hexadecimal digits"):
        have(server, tmp_path / "file", sha256=sha256)
    assert server.asked == []


# ------------------------------------------------------------------------- disks, other processes


def test_a_file_that_does_not_fit_on_the_disk_is_not_begun(
    tmp_path: Path,
) -> None:
    whole = shutil.disk_usage(tmp_path).total
    with socket.create_server(("127.0.0.1", 0)) as boaster:

        def answer() -> None:
            connection, _ = boaster.accept()
            with connection:
                connection.recv(4096)
                head = f"HTTP/1.0 200 OK\r\nContent-Length: {2 * whole}\r\n\r\n"
                connection.sendall(head.encode())

        thread = threading.Thread(target=answer)
        thread.start()
        message = refusal(FileServer(boaster.getsockname()[1]), tmp_path / "file", OutputError)
        thread.join()
    assert message.startswith("Not enough disk space for the file in ")
    assert "MB are needed" in message


def test_a_disk_that_is_full_is_told_and_what_came_is_kept(
    server: FileServer, tmp_path: Path
) -> None:
    # A limit on the size of files is the full disk that a test can make.
    limit = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({HALF}, {HALF}))\n"
    code = limit + FETCH
    command = [sys.executable, "-c", code, server.url("file"), str(tmp_path / "file"), SHA256]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    last = done.stderr.strip().splitlines()[-1]
    assert "OutputError" in last
    assert "file.part cannot be written: File too large. The partial download is kept." in last
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != HALF
    have(server, tmp_path / "file")
    assert server.asked == ["whole", f"bytes={HALF}-"]
    assert (tmp_path / "file").read_bytes() == CONTENT


def test_a_folder_that_cannot_be_written_is_told(server: FileServer, tmp_path: Path) -> None:
    (tmp_path / "no folder").write_bytes(b"")
    with pytest.raises(OutputError, match="no folder cannot be written"):
        have(server, tmp_path / "no folder" / "file")
    assert server.asked == []


def test_two_processes_at_once_fetch_once(server: FileServer, tmp_path: Path) -> None:
    server.faults = [Fault(stall=HALF)]
    path, told = tmp_path / "file", Told()
    with fetcher(server, path) as first:
        assert server.stalled.wait(timeout=60)
        second = threading.Thread(target=have, args=(server, path), kwargs={"progress": told})
        second.start()
        while not told.notes:
            assert second.is_alive()
        assert told.notes == ["Another process fetches the file now."]
        server.closing.set()  # the first is cut off, and goes on
        second.join()
        first.communicate()
    assert first.returncode == 0
    assert path.read_bytes() == CONTENT
    assert server.asked == ["whole", f"bytes={HALF}-"]
    assert len(told.notes) == 1
