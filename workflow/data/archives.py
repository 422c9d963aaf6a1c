"""Archives on disk, compared with their published or pinned checksums."""

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ...contracts import Progress
from ...errors import InputError, printable
from ...storage.digest import Checksum
from ...storage.hash_pins import read_pin
from .table import DATA_SETS, Archive, DataSet
from .threads import reader_pool

READERS = 4
"""Archives that are hashed at once: more would make a hard disk seek."""

_MB = 1_000_000


@dataclass(frozen=True)
class ArchiveCheck:
    """An archive that was compared with its checksum.

    Attributes:
        path: Path of the file.
        data_set: Name of its data set.
        verdict: What the comparison showed, in words.
        passed: Whether nothing speaks against the file; also if no checksum is known.
    """

    path: Path
    data_set: str
    verdict: str
    passed: bool


@dataclass(frozen=True)
class KnownArchive:
    """A file on disk with the name of a published one.

    Attributes:
        path: Path of the file.
        data_set: Data set that it is of.
        archive: Its row in the table.
    """

    path: Path
    data_set: DataSet
    archive: Archive

    @property
    def checksum(self) -> Checksum | None:
        """Checksum that the file must have; `None` if neither is one published nor pinned."""
        if self.archive.checksum is not None and self.path.name == self.archive.name:
            return self.archive.checksum
        pin = read_pin(self.path)
        return None if pin is None else Checksum("sha256", pin.sha256)


def known_archives(path: Path, benchmark: str) -> list[KnownArchive]:
    """The files of published names at a path: itself, or those in the folder.

    ImageNet-C and ImageNet-P have files of the same names, so a benchmark is needed.

    Args:
        path: A file or a folder.
        benchmark: Benchmark of the data; empty for data sets that are not scored.
    """
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    rows = {
        name: (data_set, archive)
        for data_set in DATA_SETS.values()
        for archive in data_set.archives
        for name in (archive.final_name, archive.name)
        if data_set.benchmark in (benchmark, "")
    }
    return [KnownArchive(file, *rows[file.name]) for file in files if file.name in rows]


def absent_archives(archives: Sequence[KnownArchive]) -> Iterator[str]:
    """A note for each scored data set of which some archives are on disk and others are not."""
    folders = {known.data_set.name: known.path.parent for known in archives}
    for name, folder in folders.items():
        data_set = DATA_SETS[name]
        if not data_set.benchmark or not all(archive.url for archive in data_set.archives):
            continue
        names = [archive.final_name for archive in data_set.archives]
        absent = [other for other in names if not (folder / other).is_file()]
        if absent:
            yield (
                f"{', '.join(absent)} of {data_set.title} are not in {printable(folder)}; "
                f"`evaluator data fetch {name} --out {printable(folder)}` fetches what is missing"
            )


def unfinished_downloads(path: Path) -> Iterator[str]:
    """A problem for each download in a folder that is not finished."""
    for part in sorted(path.glob("*.part")) if path.is_dir() else ():
        yield (
            f"{printable(part)} is a download that is not finished. Run `evaluator data fetch` "
            f"with --out {printable(path)} again."
        )


def check_archives(archives: Sequence[KnownArchive], progress: Progress) -> list[ArchiveCheck]:
    """Compare archives with their checksums, several at once."""
    hashed = [known for known in archives if known.checksum is not None]
    total = sum(known.path.stat().st_size for known in hashed)
    done, lock = 0, threading.Lock()

    def report(size: int) -> None:
        nonlocal done
        with lock:
            before, done = done, done + size
            if done // _MB > before // _MB:
                step = min(done // _MB, total // _MB)
                progress.advance("checksums", step, max(1, total // _MB), "MB")

    def check(known: KnownArchive) -> ArchiveCheck:
        passed, verdict = _verdict(known, report)
        return ArchiveCheck(known.path, known.data_set.name, verdict, passed)

    with reader_pool(READERS) as pool:
        return list(pool.map(check, archives))


def _verdict(known: KnownArchive, report: Callable[[int], None]) -> tuple[bool, str]:
    checksum, size = known.checksum, known.path.stat().st_size
    advice = (
        f"Remove it and run `evaluator data fetch {known.data_set.name} --out "
        f"{printable(known.path.parent)}`; if you packed it yourself, use --no-sums"
    )
    if checksum is None:
        return True, "no checksum is published or pinned"
    is_published = checksum == known.archive.checksum
    expected = known.archive.size_bytes if is_published else None
    if expected is not None and size != expected:
        return False, f"has {size:,} bytes, published are {expected:,}. {advice}"
    try:
        digits = checksum.of(known.path, report)
    except InputError as error:
        return False, str(error)
    source = "published" if is_published else "pinned"
    if digits.startswith(checksum.digits):
        return True, f"{checksum.title} as {source}"
    return False, (
        f"{checksum.title} starts with {digits[:12]}, {source} is {checksum.digits[:12]}: it is "
        f"damaged or another file. {advice}"
    )
