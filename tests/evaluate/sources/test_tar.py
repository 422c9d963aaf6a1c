import errno
import io
import os
import random
import shutil
import subprocess
import sys
import tarfile
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TypeVar

import pytest

from evaluator.contracts import Silence
from evaluator.errors import ImageError, InputError
from evaluator.evaluate.benchmarks.imagenet_c import CONDITIONS, IMAGENET_C
from evaluator.evaluate.sources import tar_index
from evaluator.evaluate.sources.items import shared_items
from evaluator.evaluate.sources.tar_headers import OpenTar
from evaluator.evaluate.sources.tar_index import index_of
from evaluator.tests.evaluate.sources.tars import (
    CLEAN,
    DALMATIAN,
    TENCH,
    TISSUE,
    cell,
    clean,
    gnu_tar,
    member,
    needs_tar,
    opened,
    tar_of,
)
from evaluator.workflow.selection import Wanted, select

FOG = cell("fog", 1)
FORMATS = {"ustar": tarfile.USTAR_FORMAT, "gnu": tarfile.GNU_FORMAT, "pax": tarfile.PAX_FORMAT}


def tree(*extra: str, prefix: str = "") -> list[str]:
    """Names of three images under fog at severity 1."""
    images = (f"{TENCH}/a.JPEG", f"{TENCH}/b.JPEG", f"{TISSUE}/c.JPEG")
    return [f"{prefix}fog/1/{image}" for image in images] + list(extra)


def refusal(work: Callable[[], object], *named: str | Path) -> str:
    """The message of the InputError that this raises: one line that names all of these."""
    with pytest.raises(InputError) as raised:
        work()
    message = str(raised.value)
    assert message.isprintable()
    for name in named:
        assert str(name) in message
    return message


T = TypeVar("T")


def outcome(work: Callable[[], T]) -> tuple[T | None, str]:
    """What this gives, or the message of its InputError."""
    try:
        return work(), ""
    except InputError as error:
        return None, str(error)


def read_all(path: Path, *, damaged_ok: bool = False) -> dict[str, bytes]:
    """The bytes of every item of the tar, by condition and id."""
    source = opened(path, damaged_ok=damaged_ok)
    return {
        f"{condition['corruption']}/{condition['severity']}/{item.id}": source.read(item)
        for condition in source.conditions()
        for item in source.items(condition)
    }


def extracted(path: Path) -> dict[str, bytes]:
    """The same by ``tarfile``, up to where it finds something wrong."""
    found = {}
    with suppress(tarfile.TarError, ValueError, OverflowError), tarfile.open(path) as tar:
        for info in tar:
            fits = 0 <= info.size <= path.stat().st_size
            file = tar.extractfile(info) if fits else None
            if file is not None:
                found[info.name.lstrip("/").removeprefix("./")] = file.read()
    return found


# ----------------------------------------------------------------------------- reading in place


@pytest.mark.parametrize("format", FORMATS)
def test_items_have_the_ids_labels_and_bytes_that_tarfile_extracts(
    tmp_path: Path, format: str
) -> None:
    numbers = random.Random(5)
    files = {name: numbers.randbytes(numbers.randrange(3000)) for name in tree()}
    files[f"fog/1/{TISSUE}/{'long' * 20}.JPEG"] = b"a name beyond 100 bytes"
    if format != "ustar":
        files[f"fog/1/{TISSUE}/{'very long' * 27}.JPEG"] = b"and beyond 255"
        files[f"fog/1/{TISSUE}/🐟 \u202e.JPEG"] = b"a fish"
    path = tar_of(tmp_path / "weather.tar", files, format=FORMATS[format])
    assert read_all(path) == files == extracted(path)
    items = opened(path).items(FOG)
    assert [item.id for item in items] == sorted(name.removeprefix("fog/1/") for name in files)
    assert [item.label for item in items] == [0, 0] + [999] * (len(files) - 2)
    assert items[0].location == f"{path}: fog/1/{TENCH}/a.JPEG"


@needs_tar
@pytest.mark.parametrize("format", ["v7", "oldgnu", "gnu", "ustar", "pax"])
@pytest.mark.parametrize("packed", [["."], ["fog"], ["--blocking-factor=1", "fog"]])
def test_tars_of_gnu_tar_are_read(tmp_path: Path, format: str, packed: list[str]) -> None:
    for name in tree():
        (tmp_path / "tree" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "tree" / name).write_bytes(name.encode())
    path = gnu_tar(tmp_path / "x.tar", tmp_path / "tree", f"--format={format}", *packed)
    assert read_all(path) == {name: name.encode() for name in tree()}


@pytest.mark.parametrize("prefix", ["", "./", "/", "imagenet-c/noise/", "./a/b/c/", "//a/./b/"])
def test_a_condition_is_found_behind_any_prefix(tmp_path: Path, prefix: str) -> None:
    path = tar_of(tmp_path / "weather.tar", tree(prefix=prefix))
    source = opened(path)
    assert source.conditions() == [FOG]
    assert [source.read(i) for i in source.items(FOG)] == [n.encode() for n in tree(prefix=prefix)]


def test_conditions_come_in_the_benchmarks_order_and_share_their_ids(tmp_path: Path) -> None:
    cells = ["snow/3", "fog/2", "gaussian_noise/5"]
    names = [f"{where}/{TENCH}/{image}.JPEG" for image in "ba" for where in cells]
    source = opened(tar_of(tmp_path / "x.tar", [*names, f"speckle_noise/1/{TENCH}/z.JPEG"]))
    assert source.conditions() == [cell("gaussian_noise", 5), cell("snow", 3), cell("fog", 2)]
    found = shared_items(source, source.conditions())
    assert len({id(items.ids) for items in found.values()}) == 1
    assert source.read(found[cell("fog", 2)][1]) == f"fog/2/{TENCH}/b.JPEG".encode()


def test_the_classes_of_a_clean_tar_are_found(tmp_path: Path) -> None:
    names = [f"val/{DALMATIAN}/b.JPEG", f"val/{TENCH}/a.JPEG", "val/LICENSE", "readme.txt"]
    source = clean(tar_of(tmp_path / "val.tar", names))
    assert [(i.id, i.label) for i in source.items(CLEAN)] == [
        (f"{TENCH}/a.JPEG", 0),
        (f"{DALMATIAN}/b.JPEG", 251),
    ]


def test_an_empty_image_is_read_as_such(tmp_path: Path) -> None:
    path = tar_of(tmp_path / "x.tar", {f"fog/1/{TENCH}/a.JPEG": b""})
    assert read_all(path) == {f"fog/1/{TENCH}/a.JPEG": b""}


def test_many_threads_read_at_once(tmp_path: Path) -> None:
    numbers = random.Random(1)
    files = {f"fog/1/{TENCH}/{n:03}.JPEG": numbers.randbytes(5000) for n in range(200)}
    source = opened(tar_of(tmp_path / "x.tar", files))
    items = [item for _ in range(5) for item in source.items(FOG)]
    numbers.shuffle(items)
    started = threading.Barrier(8)

    def work(part: int) -> bool:
        started.wait()
        return all(source.read(i) == files[f"fog/1/{i.id}"] for i in items[part::8])

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(8)))


def test_without_pread_reading_is_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "pread")  # as on Windows
    path = tar_of(tmp_path / "x.tar", tree())
    assert read_all(path) == {name: name.encode() for name in tree()}


# ----------------------------------------------------------------------------- odd tars


def test_of_members_with_one_name_the_last_counts_as_when_unpacked(tmp_path: Path) -> None:
    path = tar_of(tmp_path / "x.tar", tree())
    with tarfile.open(path, "a") as tar:
        tar.addfile(member(f"./fog/1/{TENCH}/a.JPEG", size=3), io.BytesIO(b"new"))
    assert read_all(path)[f"fog/1/{TENCH}/a.JPEG"] == b"new"
    assert len(read_all(path)) == 3


@pytest.mark.parametrize(
    "name",
    [
        f"fog/1/{TENCH}/._a.JPEG",
        f"fog/1/._{TENCH}",
        "._fog",
        f"__MACOSX/fog/1/{TENCH}/._a.JPEG",
        f".Trash/fog/1/{TENCH}/a.JPEG",
        f"fog/1/@eaDir/{TENCH}/a.JPEG",
        f"fog/1/{TENCH}/@eaDir/a.JPEG",
        f"fog/1/{TENCH}/Thumbs.db",
        "fog/1/LICENSE",
        "fog/readme.txt",
        "n01440764.tar",
        "other/deep/down/x.JPEG",
    ],
)
def test_what_is_no_image_of_a_condition_is_passed_over(tmp_path: Path, name: str) -> None:
    path = tar_of(tmp_path / "x.tar", tree(name))
    assert sorted(read_all(path)) == tree()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("fog/1/n02084071/b.JPEG", "no ImageNet class"),
        ("fog/1/notes/list.txt", "no ImageNet class"),
        ("fog/1/n02084071/deep/b.JPEG", "no ImageNet class"),
        (f"fog/1/{TENCH}/../b.JPEG", "no ImageNet class|holds folders among"),
        ("fog/1/stray.JPEG", "beside the class folders"),
        (f"fog/1/{TENCH}/notes.txt", "no image by its name"),
        (f"fog/1/{TENCH}/b.JPEG/c.JPEG", "folders among the images"),
    ],
)
def test_what_could_be_an_image_and_is_not_is_named(
    tmp_path: Path, name: str, message: str
) -> None:
    path = tar_of(tmp_path / "x.tar", tree(name))
    with pytest.raises(InputError, match=message):
        opened(path).items(FOG)
    refusal(lambda: opened(path).items(FOG), path)


@pytest.mark.parametrize("prefix", ["../", "a/../"])
def test_a_condition_in_a_folder_that_leads_out_of_the_tar_is_refused(
    tmp_path: Path, prefix: str
) -> None:
    path = tar_of(tmp_path / "x.tar", tree(prefix=prefix))
    assert "leads out" in refusal(lambda: opened(path).items(FOG), f"{path}: {prefix}fog/1")


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        (tarfile.SYMTYPE, "is a link"),
        (tarfile.LNKTYPE, "is a link"),
        (tarfile.CHRTYPE, "is no file"),
        (tarfile.FIFOTYPE, "is no file"),
        (b"Z", "is no file"),
    ],
)
def test_what_is_no_file_among_the_images_is_named(
    tmp_path: Path, kind: bytes, message: str
) -> None:
    odd = member(f"fog/1/{TENCH}/odd.JPEG", type=kind, linkname="nowhere")
    path = tar_of(tmp_path / "x.tar", tree(), others=[odd])
    assert message in refusal(lambda: opened(path).items(FOG), f"{path}: {odd.name}")


def test_a_link_in_place_of_a_class_folder_is_named(tmp_path: Path) -> None:
    link = member(f"fog/1/{DALMATIAN}", type=tarfile.SYMTYPE, linkname="elsewhere")
    path = tar_of(tmp_path / "x.tar", tree(), others=[link])
    assert "--dereference" in refusal(lambda: opened(path).items(FOG), f"{path}: {link.name}")


def test_a_hard_link_is_the_member_before_it(tmp_path: Path) -> None:
    names = [f"fog/2/{TENCH}/a.JPEG", f"fog/3/{TENCH}/a.JPEG"]
    links = [
        member(names[0], type=tarfile.LNKTYPE, linkname=f"fog/1/{TENCH}/a.JPEG"),
        member(names[1], type=tarfile.LNKTYPE, linkname=names[0]),
    ]
    path = tar_of(tmp_path / "x.tar", tree(), others=links)
    assert read_all(path) == extracted(path)
    assert read_all(path)[names[1]] == f"fog/1/{TENCH}/a.JPEG".encode()


@needs_tar
def test_hard_links_as_gnu_tar_packs_them_are_read(tmp_path: Path) -> None:
    first = tmp_path / "tree" / "fog" / "1" / TENCH / "a.JPEG"
    for severity in range(2, 6):
        first.parent.mkdir(parents=True, exist_ok=True)
        first.write_bytes(b"one file")
        other = tmp_path / "tree" / "fog" / str(severity) / TENCH / "a.JPEG"
        other.parent.mkdir(parents=True)
        other.hardlink_to(first)
    path = gnu_tar(tmp_path / "x.tar", tmp_path / "tree", "fog")
    assert list(read_all(path).values()) == [b"one file"] * 5


@needs_tar
@pytest.mark.parametrize("format", ["gnu", "pax"])
def test_a_file_that_is_stored_with_holes_is_named(tmp_path: Path, format: str) -> None:
    holed = tmp_path / "fog" / "1" / TENCH / "a.JPEG"
    holed.parent.mkdir(parents=True)
    with holed.open("wb") as file:
        file.truncate(2**20)
        file.seek(2**19)
        file.write(b"middle")
    path = gnu_tar(tmp_path / "x.tar", tmp_path, f"--format={format}", "--sparse", "fog")
    assert "--sparse" in refusal(lambda: opened(path).items(FOG), f"{path}: fog/1/{TENCH}/a.JPEG")


@pytest.mark.parametrize("format", ["ustar", "gnu", "pax"])
def test_a_name_that_is_not_utf_8_is_refused_and_shown(tmp_path: Path, format: str) -> None:
    path = tmp_path / "x.tar"
    with tarfile.open(path, "w", format=FORMATS[format], encoding="latin-1") as tar:
        tar.addfile(member(f"fog/1/{TENCH}/\xff.JPEG"))
    if format == "pax":  # where it is recorded as UTF-8, it is a name as any other
        assert [item.id for item in opened(path).items(FOG)] == [f"{TENCH}/\xff.JPEG"]
    else:
        assert "UTF-8" in refusal(lambda: opened(path).items(FOG), r"\udcff.JPEG")


def test_a_tar_without_the_benchmark_has_no_conditions(tmp_path: Path) -> None:
    path = tar_of(tmp_path / "x.tar", ["readme.txt", "fog/severity_1/x.JPEG"])
    assert opened(path).conditions() == []
    assert clean(path).conditions() == []
    assert opened(tar_of(tmp_path / "empty.tar", [])).conditions() == []


@pytest.mark.parametrize("other", ["b/fog/1", "weather/fog/1"])
def test_a_condition_that_is_twice_in_a_tar_is_refused_with_both_places(
    tmp_path: Path, other: str
) -> None:
    path = tar_of(tmp_path / "x.tar", tree(f"{other}/{TENCH}/a.JPEG", prefix="a/"))
    refusal(lambda: opened(path), f"{path}: a/fog/1", f"{path}: {other}", "fog, severity=1")


@pytest.mark.parametrize("prefix", ["", "./weather/"])
@pytest.mark.parametrize("other", [(), (f"fog/2/{TENCH}/a.JPEG",)])
def test_a_tar_of_imagenet_c_is_known_for_what_it_is(
    tmp_path: Path, prefix: str, other: tuple[str, ...]
) -> None:
    path = tar_of(tmp_path / "x.tar", tree(*other, prefix=prefix))
    assert "scored as `imagenet-c`" in refusal(lambda: clean(path), path, "fog/")


def test_a_cell_of_imagenet_c_is_not_clean_and_any_other_folder_may_be(tmp_path: Path) -> None:
    for folder in ("fog/3", "spatter/1", "val/3", "fog"):
        (tmp_path / folder / TENCH).mkdir(parents=True, exist_ok=True)
        (tmp_path / folder / TENCH / "a.JPEG").write_bytes(b"")
    for folder in ("fog/3", "spatter/1"):
        message = refusal(lambda folder=folder: clean(tmp_path / folder), tmp_path / folder)  # type: ignore[misc]
        assert "scored as `imagenet-c`" in message
    assert clean(tmp_path / "val" / "3").conditions() == [CLEAN]
    assert clean(tmp_path / "fog").conditions() == [CLEAN]


# ----------------------------------------------------------------------------- no tar at all


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"x", "no tar file"),
        (b"\xff\xd8\xff" * 999, "no tar file"),
        (bytes(100), "no tar file"),
        (b"\x1f\x8b\x08" + bytes(999), "gunzip"),
        (b"BZh9" + bytes(999), "bunzip2"),
        (b"\xfd7zXZ\0" + bytes(999), "unxz"),
        (b"\x28\xb5\x2f\xfd" + bytes(999), "unzstd"),
        (b"PK\x03\x04" + bytes(999), "unzip"),
    ],
)
def test_what_is_no_tar_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "x.tar"
    path.write_bytes(content)
    assert message in refusal(lambda: opened(path), path)


def test_what_is_not_there_is_refused(tmp_path: Path) -> None:
    assert "Give folders or tar files" in refusal(lambda: opened(tmp_path / "x.tar"), "x.tar")
    refusal(lambda: opened(tmp_path / "a\0b"), tmp_path)
    refusal(lambda: opened())


@pytest.mark.skipif(sys.platform == "win32", reason="needs pipes with names")
def test_a_pipe_is_refused_without_waiting_for_it(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x.tar")
    assert "no regular file" in refusal(lambda: opened(tmp_path / "x.tar"), "x.tar")


# ----------------------------------------------------------------------------- damaged tars


def test_a_tar_cut_anywhere_is_named_or_gives_what_is_whole(tmp_path: Path) -> None:
    whole = tar_of(tmp_path / "whole.tar", {name: name.encode() * 40 for name in tree()})
    content, expected = whole.read_bytes(), extracted(whole)
    end = len(content.rstrip(b"\0")) // 512 * 512 + 512  # of the last member
    path = tmp_path / "x.tar"
    for length in [*range(0, end + 512, 128), end - 1, end + 1, end + 511]:
        path.write_bytes(content[:length])
        refusal(lambda: opened(path), path)
        if length < 512:
            continue
        source = opened(path, damaged_ok=True)
        for item in source.items(FOG) if source.conditions() else ():
            data, message = outcome(partial(source.read, item))
            assert data == expected[f"fog/1/{item.id}"] or "truncated" in message
            assert data is not None or item.id in message
    path.write_bytes(content[: end + 512])  # one of the two last blocks is enough
    assert read_all(path) == expected


def test_where_a_tar_is_cut_is_said(tmp_path: Path) -> None:
    whole = tar_of(tmp_path / "x.tar", {name: bytes(1000) for name in tree()}).read_bytes()
    path = tmp_path / "x.tar"
    for length, message in (
        (1536 + 512 + 300, f"ends inside fog/1/{TENCH}/b.JPEG, of which 300 of 1,000 bytes"),
        (1536 + 200, "ends inside a header, at byte 1,736"),
        (2 * 1536, "without the two blocks that end an archive, at byte 3,072"),
    ):
        path.write_bytes(whole[:length])
        assert "--on-error skip" in refusal(lambda: opened(path), path, message)


def test_a_tar_that_is_filled_with_zeros_is_damaged(tmp_path: Path) -> None:
    path = tar_of(tmp_path / "x.tar", tree())  # as by a download that made room first
    with path.open("r+b") as file:
        file.truncate(3 * 2**20)
    assert "filled with zeros" in refusal(lambda: opened(path), path)


def test_of_a_truncated_tar_the_rest_is_missing_item_by_item(tmp_path: Path) -> None:
    names = [f"fog/{severity}/{TENCH}/{image}.JPEG" for severity in (1, 2, 3) for image in "abc"]
    whole = tar_of(tmp_path / "whole.tar", names)
    path = tmp_path / "x.tar"
    path.write_bytes(whole.read_bytes()[: 4 * 1024 + 512 + 5])  # inside the fifth of nine
    progress = Silence()
    complete, source = opened(whole), opened(path, damaged_ok=True)
    wanted: Wanted = {"severity": [1, 2]}
    expected = select(IMAGENET_C, complete, wanted, limit=None, progress=progress)
    selection = select(IMAGENET_C, source, wanted, limit=None, progress=progress, missing_ok=True)
    assert selection.ids_sha256 == expected.ids_sha256
    messages = [outcome(partial(source.read, i))[1] for i in selection.items[cell("fog", 2)]]
    assert messages[0] == ""
    assert "is cut off" in messages[1]
    assert "is not there" in messages[2]
    assert all(f"{path}: fog/2/{TENCH}/" in message for message in messages[1:])


@pytest.mark.skipif(sys.platform != "linux", reason="needs a file that fails when it is read")
def test_a_tar_that_the_disk_cannot_give_is_named() -> None:
    assert "Input/output error" in refusal(lambda: opened(Path("/proc/self/mem")), "/proc/self/mem")


def test_two_tars_in_one_file_are_refused(tmp_path: Path) -> None:
    path = tar_of(tmp_path / "x.tar", tree())
    path.write_bytes(path.read_bytes() * 2)
    assert "more data follow" in refusal(lambda: opened(path), path)


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("seed", range(6))
def test_a_damaged_tar_gives_the_originals_bytes_or_is_named(
    tmp_path: Path, format: str, seed: int
) -> None:
    numbers = random.Random(seed)
    sizes = [numbers.choice((0, 9, 600, 1024)) for _ in range(6)]
    files = {f"fog/1/{TENCH}/{n}.JPEG": numbers.randbytes(size) for n, size in enumerate(sizes)}
    files |= {f"fog/1/{TISSUE}/{'long name ' * 8}{n}.JPEG": b"long" for n in range(2)}
    whole = tar_of(tmp_path / "whole.tar", files, format=FORMATS[format])
    original = whole.read_bytes()
    with tarfile.open(whole) as tar:
        extents = {i.name: slice(i.offset_data, i.offset_data + i.size) for i in tar}
    named = 0
    for number in range(25):
        damaged, in_place = damage(bytearray(original), numbers)
        path = tmp_path / f"{number}.tar"
        path.write_bytes(damaged)
        there = extracted(path)
        for damaged_ok in (False, True):
            found, message = outcome(partial(read_all, path, damaged_ok=damaged_ok))
            if found is None:
                named += 1
                assert message.isprintable()
                assert str(path) in message
                continue
            assert found.items() <= there.items()
            if in_place and format == "ustar" and not damaged_ok:
                # Every header has a checksum there; what lies between them has none in any tar.
                assert found == {name: damaged[extents[name]] for name in files}
    assert named > 8


def damage(content: bytearray, numbers: random.Random) -> tuple[bytes, bool]:
    """Bytes changed, blocks lost or doubled, the end cut off; whether all is still in its place."""
    at = numbers.randrange(len(content) // 512 - 4) * 512
    match numbers.randrange(7):
        case 0:
            del content[at : at + 512 * numbers.randrange(1, 4)]
            return bytes(content), False
        case 1:
            content[at:at] = content[at : at + 512]
            return bytes(content), False
        case 2:
            del content[at + numbers.randrange(512) :]
        case 3:
            content[at : at + 512] = bytes(512)
        case 4:
            content[at : at + 512] = numbers.randbytes(512)
        case 5:
            size = numbers.choice((b"77777777777\0", b"\x80" + b"\x7f" * 11, b"\xff" * 12))
            content[at + 124 : at + 136] = size
            content[at + 148 : at + 156] = checksum(content[at : at + 512])
        case _:
            for _ in range(numbers.randrange(1, 9)):
                content[at + numbers.randrange(512)] ^= numbers.randrange(1, 256)
    return bytes(content), True


def checksum(header: bytearray) -> bytes:
    """As a header holds it: its size was changed by somebody who knew how."""
    return b"%06o\0 " % (sum(header[:148]) + 8 * 32 + sum(header[156:512]))


# ----------------------------------------------------------------------------- the index


def index_at(path: Path) -> Path:
    return path.with_name(f"{path.name}.index")


def columns(path: Path) -> list[object]:
    index = index_of(OpenTar(path), Silence())
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
def test_an_index_that_is_not_of_this_tar_is_made_again(tmp_path: Path, harm: str) -> None:
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
    else:
        data = data.replace(b'"format": 2', b'"format": 1')
    index.write_bytes(data)
    if harm == "folder":
        index.unlink()
        index.mkdir()
    progress = Silence()
    found = index_of(OpenTar(path), progress)
    assert [found.folders, found.names] == expected[:2]
    assert columns(path) == expected
    assert any("made again" in note for note in progress.notes) == (harm != "folder")


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
    progress = Silence()
    assert len(index_of(OpenTar(path), progress).name) == 3
    assert any("cannot be kept" in note for note in progress.notes)


def test_processes_that_begin_at_once_make_one_index(tmp_path: Path) -> None:
    path = tar_of(tmp_path / "x.tar", [f"fog/1/{TENCH}/{n}.JPEG" for n in range(3000)])
    script = """
import sys
from pathlib import Path
from evaluator.contracts import Silence
from evaluator.evaluate.sources import tar_index
from evaluator.evaluate.sources.tar_headers import OpenTar
walk = tar_index.walk
def told(*words):
    print("made", flush=True)
    return walk(*words)
tar_index.walk = told
print(len(tar_index.index_of(OpenTar(Path(sys.argv[1])), Silence()).name))
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
    assert len(index_of(counted, Silence()).name) == 20
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


# ----------------------------------------------------------------------------- a tar that changes


def test_a_tar_that_grows_while_it_is_read_is_named(tmp_path: Path) -> None:
    path = tar_of(tmp_path / "x.tar", tree())
    source = opened(path)
    item = source.items(FOG)[0]
    source.read(item)
    with path.open("ab") as file:
        file.write(b"more")
    with pytest.raises(
        InputError, match="changed while it was read, from 10,240 to 10,244"
    ) as raised:
        source.read(item)
    assert not isinstance(raised.value, ImageError)  # skipping one image would not help
    assert str(path) in str(raised.value)


def test_a_tar_that_is_written_to_in_place_is_named(tmp_path: Path) -> None:
    path = tar_of(tmp_path / "x.tar", tree())
    source = opened(path)
    item = source.items(FOG)[0]
    os.utime(path, ns=(1, 1))
    with pytest.raises(InputError, match="changed while it was read, in its time"):
        source.read(item)


def test_a_tar_that_is_cut_while_it_is_read_is_named(tmp_path: Path) -> None:
    path = tar_of(tmp_path / "x.tar", tree())
    source = opened(path)
    item = source.items(FOG)[2]
    with path.open("r+b") as file:
        file.truncate(600)
    with pytest.raises(InputError, match="changed while it was read"):
        source.read(item)


@pytest.mark.skipif(sys.platform == "win32", reason="an open file cannot be replaced there")
def test_a_tar_that_is_replaced_or_removed_is_read_on(tmp_path: Path) -> None:
    path = tar_of(tmp_path / "x.tar", tree())
    source = opened(path)
    shutil.copy(path, tmp_path / "other.tar")
    (tmp_path / "other.tar").replace(path)
    path.unlink()
    assert [source.read(i) for i in source.items(FOG)] == [name.encode() for name in tree()]


def test_all_conditions_of_the_benchmark_are_found_in_one_tar(tmp_path: Path) -> None:
    names = [f"{c['corruption']}/{c['severity']}/{TENCH}/a.JPEG" for c in CONDITIONS]
    source = opened(tar_of(tmp_path / "all.tar", names))
    assert source.conditions() == list(CONDITIONS)
    assert [source.read(source.items(c)[0]).decode() for c in CONDITIONS] == names
