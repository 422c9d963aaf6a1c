"""Making tar files for the tests, by ``tarfile`` and by GNU tar."""

import io
import shutil
import subprocess
import tarfile
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import pytest

from evaluator.contracts import Condition, NullProgress
from evaluator.errors import InputError
from evaluator.evaluate.benchmarks.imagenet_c import CONDITIONS
from evaluator.evaluate.sources.open_source import MixedSource, open_source

T = TypeVar("T")

GNU_TAR = shutil.which("tar")
needs_tar = pytest.mark.skipif(GNU_TAR is None, reason="needs the command tar")

CLEAN = Condition()
TENCH, DALMATIAN, TISSUE = "n01440764", "n02110341", "n15075141"  # classes 0, 251, 999


def cell(corruption: str, severity: int) -> Condition:
    return Condition((("corruption", corruption), ("severity", severity)))


def member(name: str, **attributes: object) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    for key, value in attributes.items():
        setattr(info, key, value)
    return info


def tar_of(
    path: Path,
    files: Mapping[str, bytes] | Iterable[str],
    *,
    others: Iterable[tarfile.TarInfo] = (),
    format: int = tarfile.USTAR_FORMAT,
) -> Path:
    """A tar; of mere names, each file holds its own. ``others`` come last, without content."""
    contents = (
        dict(files) if isinstance(files, Mapping) else {name: name.encode() for name in files}
    )
    with tarfile.open(path, "w", format=format) as tar:
        for name, data in contents.items():
            tar.addfile(member(name, size=len(data)), io.BytesIO(data))
        for info in others:
            tar.addfile(info)
    return path


def gnu_tar(path: Path, folder: Path, *words: str) -> Path:
    """What the command packs of a folder; words are its options, and what is packed."""
    assert GNU_TAR is not None
    subprocess.run([GNU_TAR, "-cf", str(path), *words], cwd=folder, check=True)
    return path


def opened(*data: Path, labels: Path | None = None, damaged_ok: bool = False) -> MixedSource:
    """The source of ImageNet-C."""
    assert labels is None
    return open_source(data, CONDITIONS, progress=NullProgress(), damaged_ok=damaged_ok)


def clean(*data: Path, labels: Path | None = None) -> MixedSource:
    """The source of ImageNet's validation set."""
    return open_source(data, [CLEAN], progress=NullProgress(), labels=labels)


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
