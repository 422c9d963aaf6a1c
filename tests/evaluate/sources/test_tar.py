import io
import os
import random
import sys
import tarfile
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from evaluator.errors import InputError
from evaluator.evaluate.sources.items import shared_items
from evaluator.tests.evaluate.sources.tars import (
    CLEAN,
    DALMATIAN,
    FOG,
    FORMATS,
    TENCH,
    TISSUE,
    cell,
    clean,
    extracted,
    gnu_tar,
    member,
    needs_tar,
    opened,
    read_all,
    refusal,
    tar_of,
    tree,
)

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
        ("fog/1/n02084071/b.JPEG", "not a class folder"),
        ("fog/1/notes/list.txt", "not a class folder.*Pack the class folders again without it"),
        ("fog/1/n02084071/deep/b.JPEG", "not a class folder"),
        (f"fog/1/{TENCH}/../b.JPEG", "not a class folder|holds folders among"),
        ("fog/1/stray.JPEG", "is not in a class folder"),
        (f"fog/1/{TENCH}/notes.txt", "is not an image"),
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
        (tarfile.CHRTYPE, "is not a file"),
        (tarfile.FIFOTYPE, "is not a file"),
        (b"Z", "is not a file"),
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
    refusal(lambda: clean(path), f"{path}: fog/severity_1/x.JPEG", "Give --labels FILE")
    assert clean(tar_of(tmp_path / "texts.tar", ["readme.txt"])).conditions() == []
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
        (b"x", "not a tar file"),
        (b"\xff\xd8\xff" * 999, "not a tar file"),
        (bytes(100), "not a tar file"),
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
    assert "not a regular file" in refusal(lambda: opened(tmp_path / "x.tar"), "x.tar")
