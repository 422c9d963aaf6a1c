"""Large files are hashed again exactly when they may have changed."""

import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from evaluator.errors import InputError
from evaluator.storage import hash_cache as stamps
from evaluator.storage.digest import file_sha256
from evaluator.storage.hash_cache import SMALL_BYTES, remembered_sha256

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such time")


class Reads:
    """Counts how often a file is really read."""

    def __init__(self, hashed: Callable[[Path], str]) -> None:
        self._hashed, self.count = hashed, 0

    def __call__(self, path: Path) -> str:
        self.count += 1
        return self._hashed(path)


@pytest.fixture
def reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Reads:
    monkeypatch.setenv("EVALUATOR_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(stamps, "RACY_SECONDS", -1.0)  # no test waits for a file to grow old
    counted = Reads(file_sha256)
    monkeypatch.setattr(stamps, "file_sha256", counted)
    return counted


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "model.onnx.data"
    path.write_bytes(b"a" * SMALL_BYTES)
    time.sleep(0.02)  # more than a tick of the file system's clock
    return path


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def kept(tmp_path: Path) -> list[Path]:
    return list((tmp_path / "cache" / "stamps").glob("*"))


def test_an_unchanged_file_is_read_once(file: Path, reads: Reads) -> None:
    assert [remembered_sha256(file) for _ in range(3)] == [sha256(file)] * 3
    assert reads.count == 1


def test_an_edit_that_keeps_size_and_time_is_noticed(file: Path, reads: Reads) -> None:
    remembered_sha256(file)
    before = file.stat()
    with file.open("r+b") as opened:
        opened.write(b"b")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    after = file.stat()
    assert (after.st_size, after.st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    assert remembered_sha256(file) == sha256(file)
    assert reads.count == 2


def test_another_file_under_the_same_name_and_time_is_noticed(file: Path, reads: Reads) -> None:
    remembered_sha256(file)
    other = file.with_name("other")
    other.write_bytes(b"c" * SMALL_BYTES)
    os.utime(other, ns=(file.stat().st_atime_ns, file.stat().st_mtime_ns))
    other.replace(file)
    assert remembered_sha256(file) == sha256(file)
    assert reads.count == 2


def test_a_copy_is_another_file(file: Path, reads: Reads) -> None:
    remembered_sha256(file)
    copy = file.with_name("copy")
    copy.write_bytes(file.read_bytes())
    assert remembered_sha256(copy) == remembered_sha256(file)
    assert reads.count == 2


def test_a_network_file_system_that_tells_an_old_state_is_not_believed(
    file: Path, reads: Reads, monkeypatch: pytest.MonkeyPatch
) -> None:
    remembered_sha256(file)
    old, real = file.stat(), Path.stat
    file.write_bytes(b"b" * SMALL_BYTES)

    def cached(path: Path, **options: bool) -> os.stat_result:
        return old if path == file else real(path, **options)

    monkeypatch.setattr(Path, "stat", cached)
    assert remembered_sha256(file) == sha256(file)
    assert reads.count == 2


def test_a_file_written_just_now_gets_no_stamp(
    file: Path, tmp_path: Path, reads: Reads, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stamps, "RACY_SECONDS", 1000.0)
    assert remembered_sha256(file) == remembered_sha256(file) == sha256(file)
    assert reads.count == 2
    assert kept(tmp_path) == []


def test_a_file_that_changes_while_it_is_hashed_gets_no_stamp(
    file: Path, tmp_path: Path, reads: Reads, monkeypatch: pytest.MonkeyPatch
) -> None:
    def hashed_while_it_grows(path: Path) -> str:
        found = sha256(path)
        with path.open("ab") as opened:
            opened.write(b"more")
        return found

    monkeypatch.setattr(stamps, "file_sha256", hashed_while_it_grows)
    remembered_sha256(file)
    assert kept(tmp_path) == []
    assert reads.count == 0


def test_a_small_file_is_simply_read(file: Path, tmp_path: Path, reads: Reads) -> None:
    file.write_bytes(b"small")
    assert remembered_sha256(file) == remembered_sha256(file) == sha256(file)
    assert reads.count == 2
    assert kept(tmp_path) == []


@pytest.mark.parametrize("damage", ["", "{}", "no JSON", "\0" * 300])
def test_a_damaged_stamp_is_no_stamp(damage: str, file: Path, tmp_path: Path, reads: Reads) -> None:
    remembered_sha256(file)
    (stamp,) = kept(tmp_path)
    stamp.write_text(damage)
    assert remembered_sha256(file) == remembered_sha256(file) == sha256(file)
    assert reads.count == 2


def test_an_edited_stamp_is_no_stamp(file: Path, tmp_path: Path, reads: Reads) -> None:
    remembered_sha256(file)
    (stamp,) = kept(tmp_path)
    stamp.write_text(json.dumps({**json.loads(stamp.read_text()), "sha256": "0" * 64}))
    assert remembered_sha256(file) == sha256(file)
    assert reads.count == 2


def test_a_cache_that_cannot_be_written_costs_time_only(
    file: Path, tmp_path: Path, reads: Reads
) -> None:
    (tmp_path / "cache").write_text("a file where the cache should be")
    assert remembered_sha256(file) == remembered_sha256(file) == sha256(file)
    assert reads.count == 2


def test_a_missing_file_is_named(tmp_path: Path, reads: Reads) -> None:
    with pytest.raises(InputError, match=r"gone\.bin cannot be read: No such file"):
        remembered_sha256(tmp_path / "gone.bin")
    assert reads.count == 0


def test_processes_that_hash_and_one_that_writes_never_believe_an_old_hash(
    file: Path, reads: Reads, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stamps, "RACY_SECONDS", 0.1)
    code = (
        "import sys, time; from pathlib import Path\n"
        "from evaluator.storage import hash_cache as stamps\n"
        "stamps.RACY_SECONDS = 0.1\n"
        "end = time.monotonic() + 1.5\n"
        "while time.monotonic() < end: stamps.remembered_sha256(Path(sys.argv[1]))\n"
    )
    others = [subprocess.Popen([sys.executable, "-c", code, str(file)]) for _ in range(2)]
    try:
        for turn in range(8):
            with file.open("r+b") as opened:
                opened.write(bytes((turn,)))
            time.sleep(0.15)
            assert remembered_sha256(file) == sha256(file)
    finally:
        assert [other.wait(30) for other in others] == [0, 0]
    remembered_sha256(file)  # no longer written just now, and nobody else's any more
    known = reads.count
    assert remembered_sha256(file) == sha256(file)
    assert reads.count == known
