"""Files and folders appear whole or not at all."""

import os
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from evaluator.errors import OutputError
from evaluator.storage.atomic import (
    atomic_folder,
    atomic_write,
    atomic_write_bytes,
    check_place,
    write_if_absent,
)


class StoppedError(Exception):
    pass


def write_half_a_file(path: Path) -> None:
    with atomic_write(path) as temporary:
        temporary.write_bytes(b"new, but not all of it")
        raise StoppedError


def fill_half_a_folder(path: Path) -> None:
    with atomic_folder(path) as temporary:
        (temporary / "half").write_bytes(b"x")
        raise StoppedError


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_written_with_its_parents(tmp_path: Path) -> None:
    atomic_write_bytes(tmp_path / "a" / "b" / "file", b"content")
    assert (tmp_path / "a" / "b" / "file").read_bytes() == b"content"
    assert names(tmp_path / "a" / "b") == ["file"]


def test_an_error_while_writing_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    atomic_write_bytes(path, b"old")
    with pytest.raises(StoppedError):
        write_half_a_file(path)
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["file"]


def test_an_error_while_filling_leaves_no_folder(tmp_path: Path) -> None:
    with pytest.raises(StoppedError):
        fill_half_a_folder(tmp_path / "bundle")
    assert names(tmp_path) == []


def test_a_folder_is_published_with_all_its_files(tmp_path: Path) -> None:
    with atomic_folder(tmp_path / "bundle") as temporary:
        (temporary / "one").write_bytes(b"1")
        assert not (tmp_path / "bundle").exists()
    assert names(tmp_path) == ["bundle"]
    assert (tmp_path / "bundle" / "one").read_bytes() == b"1"


def test_the_first_of_two_publishers_wins(tmp_path: Path) -> None:
    with atomic_folder(tmp_path / "bundle") as slow:
        (slow / "who").write_text("slow")
        with atomic_folder(tmp_path / "bundle") as fast:
            (fast / "who").write_text("fast")
    assert (tmp_path / "bundle" / "who").read_text() == "fast"
    assert names(tmp_path) == ["bundle"]


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(OutputError, match=r"file/below.* cannot be written: .*Choose a writable"):
        atomic_write_bytes(tmp_path / "file" / "below" / "x", b"")
    with pytest.raises(OutputError, match="cannot be written"):
        atomic_write_bytes(tmp_path, b"a folder is in the way")


@pytest.mark.parametrize("write", [atomic_write_bytes, write_if_absent])
def test_what_cannot_be_cleaned_up_does_not_hide_the_error(
    tmp_path: Path, write: Callable[[Path, bytes], None]
) -> None:
    # The temporary name is too long to be made, and too long to be removed as well.
    with pytest.raises(OutputError, match="cannot be written: File name too long"):
        write(tmp_path / ("x" * 250), b"")


def test_a_link_is_followed_and_stays(tmp_path: Path) -> None:
    (tmp_path / "far").mkdir()
    (tmp_path / "far" / "file").write_bytes(b"old")
    for name, there in (("link", "file"), ("to nothing yet", "new")):
        (tmp_path / name).symlink_to(Path("far") / there)
        atomic_write_bytes(tmp_path / name, b"new")
        assert (tmp_path / name).is_symlink()
        assert (tmp_path / "far" / there).read_bytes() == b"new"
    assert names(tmp_path) == ["far", "link", "to nothing yet"]
    assert names(tmp_path / "far") == ["file", "new"]


def test_a_link_to_itself_is_named(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(OutputError, match="loop cannot be written"):
        atomic_write_bytes(tmp_path / "loop", b"")
    assert (tmp_path / "loop").is_symlink()


@pytest.mark.skipif(sys.platform == "win32", reason="needs named pipes")
@pytest.mark.parametrize("linked", [False, True])
def test_a_pipe_is_written_plainly_and_stays(tmp_path: Path, linked: bool) -> None:
    pipe, link = tmp_path / "pipe", tmp_path / "link"
    os.mkfifo(pipe)
    link.symlink_to("pipe")
    with ThreadPoolExecutor(1) as pool:
        read = pool.submit(pipe.read_bytes)
        atomic_write_bytes(link if linked else pipe, b"content")
        assert read.result(10) == b"content"
    assert pipe.is_fifo()
    assert link.is_symlink()
    assert names(tmp_path) == ["link", "pipe"]


@pytest.mark.skipif(sys.platform == "win32", reason="needs named pipes")
def test_a_pipe_is_not_replaced_by_what_must_be_renamed(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with (
        pytest.raises(OutputError, match="is not a regular file"),
        atomic_write(tmp_path / "pipe"),
    ):
        raise AssertionError
    assert (tmp_path / "pipe").is_fifo()
    assert names(tmp_path) == ["pipe"]


def test_a_place_is_checked_without_being_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"content")
    (tmp_path / "link").symlink_to(Path("nowhere") / "yet")
    for name in ("file", "new", "a/b/new", "link"):
        check_place(tmp_path / name)
    assert names(tmp_path) == ["file", "link"]
    for name in (".", "file/below", "file/far/below"):
        with pytest.raises(OutputError, match=r"cannot be written: .* Choose a writable"):
            check_place(tmp_path / name)


def test_a_place_that_may_not_be_written_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.access", lambda *_: False)  # root may write anywhere
    with pytest.raises(OutputError, match="cannot be written: Permission denied"):
        check_place(tmp_path / "file")


def test_the_first_writer_of_a_file_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_if_absent(tmp_path / "file", b"first")
    write_if_absent(tmp_path / "file", b"second")
    assert (tmp_path / "file").read_bytes() == b"first"

    def no_links(*_: object) -> None:
        raise OSError("not on this file system")

    monkeypatch.setattr("os.link", no_links)
    write_if_absent(tmp_path / "file", b"third")
    write_if_absent(tmp_path / "other", b"other")
    assert (tmp_path / "file").read_bytes() == b"first"
    assert (tmp_path / "other").read_bytes() == b"other"
    assert names(tmp_path) == ["file", "other"]
