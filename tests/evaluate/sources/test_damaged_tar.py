import os
import random
import shutil
import sys
import tarfile
from functools import partial
from pathlib import Path

import pytest

from evaluator.contracts import NullProgress
from evaluator.errors import ImageError, InputError
from evaluator.evaluate.benchmarks.imagenet_c import CONDITIONS, IMAGENET_C
from evaluator.tests.evaluate.sources.tars import (
    FOG,
    FORMATS,
    TENCH,
    TISSUE,
    cell,
    extracted,
    opened,
    outcome,
    read_all,
    refusal,
    tar_of,
    tree,
)
from evaluator.workflow.runs.selection import Values, select

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
    progress = NullProgress()
    complete, source = opened(whole), opened(path, damaged_ok=True)
    wanted: Values = {"severity": [1, 2]}
    expected = select(IMAGENET_C, complete, wanted, limit=None, progress=progress)
    selection = select(IMAGENET_C, source, wanted, limit=None, progress=progress, missing_ok=True)
    assert selection.ids_sha256 == expected.ids_sha256
    messages = [outcome(partial(source.read, i))[1] for i in selection.items[cell("fog", 2)]]
    assert messages[0] == ""
    assert "is cut off" in messages[1]
    assert "is missing" in messages[2]
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
