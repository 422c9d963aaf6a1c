import errno
import io
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from evaluator.contracts import NullProgress
from evaluator.errors import ImageError, InputError
from evaluator.evaluate.sources import tar_index
from evaluator.evaluate.sources.tar_headers import OpenTar
from evaluator.evaluate.sources.tar_index import index_of
from evaluator.tests.evaluate.sources.tars import (
    FOG,
    TENCH,
    member,
    opened,
    read_all,
    refusal,
    tar_of,
    tree,
)


def index_at(path: Path) -> Path:
    return path.with_name(f"{path.name}.index")


def columns(path: Path) -> list[object]:
    index = index_of(OpenTar(path), NullProgress())
    lists = (index.folder, index.name, index.offset, index.size, index.kind)
    return [index.folders, index.names, *(column.tolist() for column in lists), index.fault]


def never(*_: object) -> str:
    raise AssertionError("the headers were read again")


def test_the_index_is_made_once_and_reads_back_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    odd = [member("a\udcff/b"), member("x", type=tarfile.SYMTYPE), member("🐟/a/b/c")]
    path = tar_of(tmp_path / "x.tar", tree(), others=odd, format=tarfile.GNU_FORMAT)
    made = columns(path)
    assert index_at(path).is_file()
    monkeypatch.setattr(tar_index, "walk", never)
    assert columns(path) == made
    assert sorted(read_all(path)) == tree()


def test_the_index_of_a_truncated_tar_keeps_saying_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tar_of(tmp_path / "x.tar", tree())
    path.write_bytes(path.read_bytes()[:1024])
    first = refusal(lambda: opened(path), path)
    monkeypatch.setattr(tar_index, "walk", never)
    assert refusal(lambda: opened(path), path) == first


@pytest.mark.parametrize("harm", ["bytes", "cut", "empty", "foreign", "time", "format", "folder"])
def test_an_index_that_is_not_of_this_tar_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, harm: str
) -> None:
    path = tar_of(tmp_path / "x.tar", tree())
    expected, index = columns(path), index_at(path)
    data = bytearray(index.read_bytes())
    if harm == "bytes":
        data[len(data) // 2] ^= 1
    elif harm == "cut":
        del data[-1:]
    elif harm == "empty":
        data.clear()
    elif harm == "foreign":
        other = tar_of(tmp_path / "other.tar", [name.replace("a.", "z.") for name in tree()])
        columns(other)
        data = bytearray(index_at(other).read_bytes())
    elif harm == "time":
        os.utime(path, ns=(0, 5_000_000_000))
    elif harm == "format":
        monkeypatch.setattr(tar_index, "FORMAT", tar_index.FORMAT + 1)
    index.write_bytes(data)
    if harm == "folder":
        index.unlink()
        index.mkdir()
    progress = NullProgress()
    found = index_of(OpenTar(path), progress)
    assert [found.folders, found.names] == expected[:2]
    assert columns(path) == expected
    assert any("built again" in note for note in progress.notes) == (harm != "folder")


@pytest.mark.parametrize("count", [2, 100])
def test_another_tar_of_the_same_size_and_time_is_not_read_by_the_old_index(
    tmp_path: Path, count: int
) -> None:
    names = [f"fog/1/{TENCH}/{n:03}.JPEG" for n in range(count)]
    path = tar_of(tmp_path / "x.tar", {names[0]: b"A" * 600, **dict.fromkeys(names[1:], b"B")})
    before = path.stat()
    read_all(path)
    files = {**dict.fromkeys(names[1:], b"b"), names[0]: b"a" * 600}  # the first is the last now
    other = tar_of(tmp_path / "other.tar", files)
    os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
    other.replace(path)
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    assert read_all(path) == files


def test_what_a_killed_process_left_beside_a_tar_is_removed(tmp_path: Path) -> None:
    path = tar_of(tmp_path / "x.tar", tree())
    left = [tmp_path / f".{name}.0123abcd.tmp" for name in ("x.tar.index", "y.tar.index")]
    for file in left:
        file.touch()
    opened(path)
    assert [file.exists() for file in left] == [False, True]


def test_a_tar_where_nothing_can_be_written_has_its_index_in_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EVALUATOR_CACHE", str(tmp_path / "cache"))
    path = tar_of(tmp_path / "x.tar", tree())
    index_at(path).mkdir()  # root writes into any folder; nobody replaces this one
    (index_at(path) / "file").touch()
    expected = columns(path)
    assert len(list((tmp_path / "cache" / tar_index.INDEXES).iterdir())) == 1
    monkeypatch.setattr(tar_index, "walk", never)
    assert columns(path) == expected


def test_without_any_place_for_the_index_the_tar_is_read_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cache").touch()
    monkeypatch.setenv("EVALUATOR_CACHE", str(tmp_path / "cache"))
    path = tar_of(tmp_path / "x.tar", tree())
    index_at(path).mkdir()
    progress = NullProgress()
    assert len(index_of(OpenTar(path), progress).name) == 3
    assert any("cannot be written" in note for note in progress.notes)


def test_processes_that_begin_at_once_make_one_index(tmp_path: Path) -> None:
    path = tar_of(tmp_path / "x.tar", [f"fog/1/{TENCH}/{n}.JPEG" for n in range(3000)])
    script = """
import sys
from pathlib import Path
from evaluator.contracts import NullProgress
from evaluator.evaluate.sources import tar_index
from evaluator.evaluate.sources.tar_headers import OpenTar
walk = tar_index.walk
def told(*words):
    print("made", flush=True)
    return walk(*words)
tar_index.walk = told
print(len(tar_index.index_of(OpenTar(Path(sys.argv[1])), NullProgress()).name))
"""
    words = [sys.executable, "-c", script, str(path)]
    running = [subprocess.Popen(words, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    said = [process.communicate()[0].split() for process in running]
    assert sorted(word for words in said for word in words) == ["3000"] * 3 + ["made"]
    assert {file.name for file in tmp_path.iterdir()} == {"x.tar", "x.tar.index"}  # and no lock


def test_headers_are_read_and_what_lies_between_is_not(tmp_path: Path) -> None:
    path = tmp_path / "x.tar"
    with tarfile.open(path, "w") as tar:
        for n in range(20):
            info = member(f"fog/1/{TENCH}/{n}.JPEG", size=2**20)
            tar.addfile(info, io.BytesIO(bytes(2**20)))

    class Counted(OpenTar):
        total = 0

        def read(self, offset: int, size: int) -> bytes:
            data = super().read(offset, size)
            self.total += len(data)
            return data

    counted = Counted(path)
    assert len(index_of(counted, NullProgress()).name) == 20
    assert counted.total < 200_000  # of 20 MiB


@pytest.mark.skipif(not hasattr(os, "pread"), reason="needs pread")
@pytest.mark.parametrize(
    ("number", "everywhere", "skippable"),
    [(errno.EIO, False, True), (errno.EIO, True, False), (errno.ESTALE, False, False)],
)
def test_a_bad_place_in_a_tar_is_one_images_and_a_lost_disk_is_not(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    number: int,
    everywhere: bool,
    skippable: bool,
) -> None:
    path = tar_of(tmp_path / "x.tar", tree())
    source = opened(path)
    item, real = source.items(FOG)[1], os.pread
    assert item.extent is not None
    bad = item.extent.offset

    def failing(descriptor: int, size: int, offset: int) -> bytes:
        if everywhere or offset == bad:
            raise OSError(number, os.strerror(number))
        return real(descriptor, size, offset)

    monkeypatch.setattr(os, "pread", failing)
    with pytest.raises(InputError) as raised:
        source.read(item)
    assert isinstance(raised.value, ImageError) == skippable
    assert os.strerror(number) in str(raised.value)
    assert (item.location if skippable else "The data are gone") in str(raised.value)
