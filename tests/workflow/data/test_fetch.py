"""Fetching a data set from a server on this machine, with the faults that servers have."""

import gzip
import hashlib
import io
import shutil
import tarfile
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import evaluator
from evaluator.contracts import NullProgress
from evaluator.errors import EvaluatorError, InputError, OutputError, UnavailableError
from evaluator.storage import fetch as fetching
from evaluator.storage.digest import Checksum
from evaluator.tests.command_line import error_of, run
from evaluator.tests.file_server import Fault, FileServer, file_server
from evaluator.workflow.data import table
from evaluator.workflow.data.fetch import FetchedData, fetch_data
from evaluator.workflow.data.table import Archive, DataSet

NOISE, BLUR = b"noise" * 5_000, b"blur" * 5_000
HALF = 9_000


def tar_with(content: bytes) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as tar:
        member = tarfile.TarInfo("cue-conflict/bird/bird1-cat1.png")
        member.size = len(content)
        tar.addfile(member, io.BytesIO(content))
    return stream.getvalue()


TAR = tar_with(b"png" * 30_000)


@pytest.fixture(autouse=True)
def _direct(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(fetching, "BACKOFF_SECONDS", 0.001)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    """A server with three data sets of the table, in small: published, pinned, compressed."""
    with file_server() as running:
        running.files.update(
            {"noise.tar": NOISE, "blur.tar": BLUR, "cue.tar.gz": gzip.compress(TAR)}
        )
        running.files["a.tar"] = TAR

        def data_set(name: str, *archives: tuple[str, Checksum | None], **more: Any) -> None:
            files = tuple(Archive(running.url(n), n, None, checksum) for n, checksum in archives)
            row = DataSet(name, name, "tests", "CC BY 4.0", "https://example.org", files, **more)
            monkeypatch.setitem(table.DATA_SETS, name, row)

        md5 = [Checksum("md5", hashlib.md5(content).hexdigest()) for content in (NOISE, BLUR)]
        data_set("small-c", ("noise.tar", md5[0]), ("blur.tar", md5[1]), benchmark="imagenet-c")
        data_set("small-a", ("a.tar", None), benchmark="imagenet-a")
        data_set("small-cue", ("cue.tar.gz", None), benchmark="cue-conflict")
        yield running


def names(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir() if not p.name.endswith(".lock"))


def refusal(kind: type[EvaluatorError], name: str, out: Path) -> str:
    with pytest.raises(kind) as caught:
        fetch_data(name, out)
    assert str(caught.value).isprintable()
    return str(caught.value)


def with_size(name: str, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    row = table.DATA_SETS[name]
    files = tuple(replace(archive, size_bytes=size) for archive in row.archives)
    monkeypatch.setitem(table.DATA_SETS, name, replace(row, archives=files))


# ------------------------------------------------------------------------------ a good server


def test_several_files_are_fetched_one_after_another_and_checked_later(
    server: FileServer, tmp_path: Path
) -> None:
    out = tmp_path / "c"
    fetched = evaluator.fetch_data("small-c", out)
    assert names(out) == ["blur.tar", "noise.tar"]
    assert [(f.path.name, f.checksum.kind, f.origin) for f in fetched.files] == [
        ("noise.tar", "md5", "published"),
        ("blur.tar", "md5", "published"),
    ]
    assert fetched.next_step.endswith(f"evaluator score MODEL imagenet-c --data {out}")
    assert len(server.asked) == 2
    fetch_data("small-c", out)
    assert len(server.asked) == 2
    (out / "blur.tar").write_bytes(BLUR[:-1])
    message = refusal(InputError, "small-c", out)
    assert "blur.tar is damaged: its MD5 does not start with" in message


def test_the_hash_of_a_first_download_is_pinned(server: FileServer, tmp_path: Path) -> None:
    server.validators = False
    fetched = fetch_data("small-a", tmp_path)
    (file,) = fetched.files
    assert (file.origin, file.checksum.digits) == (
        "of the first download", hashlib.sha256(TAR).hexdigest()
    )  # fmt: skip
    assert names(tmp_path) == ["a.tar", "a.tar.pin.json"]
    (tmp_path / "a.tar").unlink()
    server.files["a.tar"] = NOISE
    message = refusal(UnavailableError, "small-a", tmp_path)
    assert "has the wrong SHA-256" in message
    assert names(tmp_path) == ["a.tar.pin.json"]


def test_a_hash_that_the_server_gives_is_pinned(server: FileServer, tmp_path: Path) -> None:
    server.hub = True
    (file,) = fetch_data("small-a", tmp_path).files
    assert file.origin == "given by the server"


def test_a_compressed_tar_becomes_a_tar(server: FileServer, tmp_path: Path) -> None:
    server.validators = False
    (file,) = fetch_data("small-cue", tmp_path).files
    assert file.path == tmp_path / "cue.tar"
    assert file.path.read_bytes() == TAR
    digits = hashlib.sha256(server.files["cue.tar.gz"]).hexdigest()
    assert file.unpacked_from == f"cue.tar.gz with SHA-256 {digits}, of the first download"
    expected = ["cue.tar", "cue.tar.gz.pin.json", "cue.tar.pin.json"]
    assert names(tmp_path) == expected
    again = fetch_data("small-cue", tmp_path)
    assert again.files == (file,)
    assert len(server.asked) == 1
    file.path.write_bytes(TAR[:-512])
    assert "cue.tar is damaged or another file" in refusal(InputError, "small-cue", tmp_path)
    file.path.unlink()
    assert fetch_data("small-cue", tmp_path).files == (file,)


def test_a_plain_tar_under_the_name_of_a_compressed_one_is_renamed(
    server: FileServer, tmp_path: Path
) -> None:
    server.files["cue.tar.gz"] = TAR  # as the files of ImageNet-V2 are
    (file,) = fetch_data("small-cue", tmp_path).files
    assert file.path.read_bytes() == TAR
    assert names(tmp_path) == ["cue.tar", "cue.tar.gz.pin.json", "cue.tar.pin.json"]


def test_a_damaged_compressed_tar_gets_no_final_name(server: FileServer, tmp_path: Path) -> None:
    server.files["cue.tar.gz"] = gzip.compress(TAR)[:-20]
    message = refusal(UnavailableError, "small-cue", tmp_path)
    assert "cue.tar.gz cannot be decompressed" in message
    assert not (tmp_path / "cue.tar").exists()
    assert names(tmp_path) == ["cue.tar.gz", "cue.tar.gz.pin.json"]


def test_a_mirror_is_asked_instead_and_held_to_the_checksum(
    server: FileServer, tmp_path: Path
) -> None:
    mirror = server.url("").rstrip("/")
    files = fetch_data("small-c", tmp_path / "1", mirror=mirror).files
    assert len(files) == 2
    server.files["blur.tar"] = NOISE
    with pytest.raises(UnavailableError, match=r"mirrored/small-c/blur.tar has the wrong MD5"):
        fetch_data("small-c", tmp_path / "2", mirror=f"{mirror}/mirrored/")
    assert names(tmp_path / "2") == ["noise.tar"]


# ------------------------------------------------------------------------------ faults


def test_the_same_call_goes_on_after_a_failure(server: FileServer, tmp_path: Path) -> None:
    server.faults = [Fault(), Fault(cut=HALF), *[Fault(status=403)]]
    message = refusal(UnavailableError, "small-c", tmp_path)
    assert "The file blur.tar of small-c (2 of 2) could not be fetched from" in message
    assert "it answers 403 Forbidden. Download it elsewhere (see https://example.org)" in message
    assert names(tmp_path) == ["blur.tar.part", "blur.tar.part.json", "noise.tar"]
    fetch_data("small-c", tmp_path)
    assert names(tmp_path) == ["blur.tar", "noise.tar"]
    assert server.asked[-1] == f"bytes={HALF}-"


def test_a_file_that_is_not_there_is_named(server: FileServer, tmp_path: Path) -> None:
    del server.files["a.tar"]
    assert "it answers 404 Not Found" in refusal(UnavailableError, "small-a", tmp_path)
    assert names(tmp_path) == []


def test_a_wrong_checksum_leaves_no_file(server: FileServer, tmp_path: Path) -> None:
    server.files["noise.tar"] = BLUR
    message = refusal(UnavailableError, "small-c", tmp_path)
    assert "has the wrong MD5 for the file noise.tar of small-c" in message
    assert names(tmp_path) == []


def test_another_size_than_the_published_one_is_refused_before_the_download(
    server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_size("small-c", 123, monkeypatch)
    message = refusal(UnavailableError, "small-c", tmp_path)
    assert (
        "noise.tar has 25,000 bytes, but the file noise.tar of small-c (1 of 2) has 123" in message
    )
    assert names(tmp_path) == []


def test_a_small_disk_is_refused_at_once(
    server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_size("small-c", 10**17, monkeypatch)
    message = refusal(OutputError, "small-c", tmp_path)
    assert message.startswith(
        f"Not enough disk space for small-c in {tmp_path}: 200,000,000,000 MB"
    )
    assert server.asked == []


def test_the_size_for_the_disk_is_asked_of_the_server(
    server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: _Usage(40_000))
    assert "for small-c in" in refusal(OutputError, "small-c", tmp_path)
    assert (len(server.heads), server.asked) == (2, [])


class _Usage:
    def __init__(self, free: int) -> None:
        self.free = free


def test_two_at_once_fetch_once(server: FileServer, tmp_path: Path) -> None:
    server.faults = [Fault(stall=HALF)]
    results: list[FetchedData] = []
    notes = NullProgress()

    def work(progress: NullProgress | None) -> None:
        results.append(fetch_data("small-cue", tmp_path, progress=progress))

    threads = [threading.Thread(target=work, args=(progress,)) for progress in (None, notes)]
    server.validators = False
    server.files["cue.tar.gz"] = gzip.compress(TAR, 0)
    threads[0].start()
    assert server.stalled.wait(timeout=60)
    threads[1].start()
    while not notes.notes:
        assert threads[1].is_alive()
    server.closing.set()
    for thread in threads:
        thread.join()
    assert "Another process fetches the file cue.tar.gz" in notes.notes[0]
    assert results[0].files == results[1].files
    assert server.asked == ["whole", f"bytes={HALF}-"]


# ------------------------------------------------------------------------------ the command


def test_the_command_prints_files_checksums_licence_and_the_next_step(
    server: FileServer, tmp_path: Path
) -> None:
    done = run("data", "fetch", "small-c", "--out", tmp_path / "c", "--json", "-")
    assert done.returncode == 0, done.stderr
    assert '"origin": "published"' in done.stdout
    done = run("data", "fetch", "small-c", cwd=tmp_path)
    assert hashlib.md5(NOISE).hexdigest() in done.stdout
    assert "Licence: CC BY 4.0" in done.stdout
    assert "evaluator score MODEL imagenet-c --data small-c" in done.stdout
    assert names(tmp_path / "small-c") == ["blur.tar", "noise.tar"]


def test_without_a_name_the_data_sets_are_listed() -> None:
    done = run("data", "fetch")
    assert done.returncode == 0
    for name in ("imagenet-c ", "imagenet-p ", "imagenet-a ", "cue-conflict ", "imagenet-r "):
        assert name in done.stdout
    assert "50.2 GB" in done.stdout
    assert "CC BY 4.0" in done.stdout


def test_imagenet_is_explained_and_not_fetched() -> None:
    done = run("data", "fetch", "imagenet")
    assert done.returncode == 1
    for words in ("https://image-net.org", "ILSVRC2012_img_val.tar", "--data /data/imagenet"):
        assert words in done.stdout
    with pytest.raises(UnavailableError, match="ImageNet is not fetched") as caught:
        fetch_data("imagenet")
    assert str(caught.value).isprintable()


def test_an_unknown_name_is_refused() -> None:
    assert "Did you mean imagenet-c" in error_of(run("data", "fetch", "imagenet_c"))


def test_what_a_killed_process_left_is_removed(server: FileServer, tmp_path: Path) -> None:
    (tmp_path / ".cue.tar.0123abcd.tmp").write_bytes(b"half")
    fetch_data("small-cue", tmp_path)
    assert not list(tmp_path.glob("*.tmp")) + list(tmp_path.glob(".*.tmp"))


def test_a_folder_that_cannot_be_written_is_named(server: FileServer, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    assert "file cannot be written" in refusal(OutputError, "small-c", tmp_path / "file")
    assert server.asked == []


def test_a_server_that_falls_silent_is_asked_for_the_rest(
    server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetching, "TIMEOUT_SECONDS", 0.2)
    server.faults = [Fault(stall=HALF)]
    notes = NullProgress()
    fetch_data("small-c", tmp_path, progress=notes)
    assert names(tmp_path) == ["blur.tar", "noise.tar"]
    assert server.asked == ["whole", f"bytes={HALF}-", "whole"]
    assert any("timed out. Trying again" in note for note in notes.notes)


def test_a_redirect_is_followed_to_the_file_and_its_size(
    server: FileServer, tmp_path: Path
) -> None:
    server.hub = True
    server.faults = [Fault(cut=HALF)]
    fetch_data("small-c", tmp_path)
    assert (tmp_path / "noise.tar").read_bytes() == NOISE
    assert server.asked == ["whole", f"bytes={HALF}-", "whole"]
