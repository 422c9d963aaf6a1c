"""Fetching a public data set: each file once, resumed, checked, and read as it is afterwards.

Tar files stay tar files, since these are scored in place. A tar that is compressed with gzip is
decompressed once: ``NAME.tar.gz`` is fetched and checked, becomes ``NAME.tar``, and is removed.
``NAME.tar.pin.json`` then has the SHA-256 of the result.
"""

import gzip
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ...contracts import NullProgress, Progress, ThreadSafeProgress
from ...errors import InputError, UnavailableError, printable, reason_of
from ...storage.atomic import atomic_write, disk_errors, make_folder, remove, remove_leftovers
from ...storage.digest import Checksum, file_sha256
from ...storage.fetch import fetch, refuse_full_disk, remote_size
from ...storage.hash_pins import PIN_SUFFIX, Pin, pinned_sha256, read_pin, write_pin
from ...storage.lock import locked
from .table import DATA_SETS, IMAGENET, Archive, DataSet, find_data_set

PUBLISHED = "published"
FROM_SERVER = "given by the server"
FIRST_DOWNLOAD = "of the first download"
UNPACKED = "of the unpacked file"

_GZIP_MAGIC = b"\x1f\x8b"
_CHUNK_BYTES = 1 << 20
_MB = 1_000_000


@dataclass(frozen=True)
class FetchedFile:
    """A file of a data set on disk.

    Attributes:
        path: Path of the file.
        size_bytes: Its size.
        checksum: Checksum that it has.
        origin: Where that is from, in words: published, given by the server, or of the first
            download.
        unpacked_from: Name, checksum and origin of the compressed file that it was; else empty.
    """

    path: Path
    size_bytes: int
    checksum: Checksum
    origin: str
    unpacked_from: str = ""


@dataclass(frozen=True)
class FetchedData:
    """A data set on disk.

    Attributes:
        data_set: The data set.
        folder: Folder of its files.
        files: Its files.
    """

    data_set: DataSet
    folder: Path
    files: tuple[FetchedFile, ...]

    @property
    def next_step(self) -> str:
        """What to do with the files, as one or two sentences."""
        benchmark = self.data_set.benchmark
        if benchmark:
            return f"Score it with: evaluator score MODEL {benchmark} --data {self.folder}"
        return self.data_set.usage


def list_data_sets() -> list[DataSet]:
    """The data sets that are known by name, also ImageNet, which is only explained."""
    return list(DATA_SETS.values())


def fetch_data(
    name: str,
    out: str | Path | None = None,
    *,
    mirror: str | None = None,
    progress: Progress | None = None,
) -> FetchedData:
    """Fetch a public data set, or what is missing of it; files that exist are checked.

    After an interruption of any kind the same call continues. Several processes may do it at once.

    Args:
        name: Name of the data set, such as ``imagenet-c``; ``list_data_sets`` has all of them.
        out: Folder for the files; if not given, a folder of that name in the working directory.
        mirror: Address of another server that has the files as ``MIRROR/NAME/FILE``.
        progress: Progress callback.

    Returns:
        The files, with their checksums.

    Raises:
        InputError: If there is no such data set, or a file that exists is damaged or another one.
        UnavailableError: If it may not be fetched, or a download fails.
        OutputError: If the folder cannot be written or the disk is too small.
    """
    progress = ThreadSafeProgress(progress or NullProgress())
    data_set = find_data_set(name)
    if data_set is IMAGENET:
        raise UnavailableError(f"ImageNet is not fetched. {' '.join(how_to_get_imagenet())}")
    folder = Path(out or name)
    make_folder(folder)
    jobs = [_Job(data_set, archive, folder, mirror, progress) for archive in data_set.archives]
    _refuse_small_disk(data_set, folder, jobs)
    files = [job.file(f"{n} of {len(jobs)}") for n, job in enumerate(jobs, start=1)]
    return FetchedData(data_set, folder, tuple(files))


def how_to_get_imagenet() -> list[str]:
    """How a person gets ImageNet's validation images, step by step."""
    images, devkit = IMAGENET.archives
    return [
        "Its terms must be accepted by a person, so no program may fetch it.",
        f"1. Register at {IMAGENET.page} and accept the terms (research, not commercial).",
        f"2. Download {images.name}, the validation images of ILSVRC2012 ({images.checksum}), and "
        f"{devkit.name}, the development kit with the classes ({devkit.checksum}).",
        "3. Put both into one folder, for example /data/imagenet, and unpack the kit only: "
        f"`tar xf {devkit.name}`. The images stay in their tar file.",
        "4. Check it: `evaluator data verify /data/imagenet --benchmark imagenet`.",
        "5. Use it: `evaluator score MODEL imagenet --data /data/imagenet`.",
    ]


def _refuse_small_disk(data_set: DataSet, folder: Path, jobs: "Sequence[_Job]") -> None:
    """Refuse a disk that does not hold what is missing, as far as the servers say its size."""
    needed = 0
    for job in (job for job in jobs if not job.is_finished):
        size = job.archive.size_bytes or remote_size(job.url)
        if size is None:  # a server that does not answer would not answer for the others, too
            break
        needed += max(0, size - job.part_bytes)
    refuse_full_disk(folder, needed, data_set.title)


@dataclass(frozen=True)
class _Job:
    """One file of a data set, and where it goes."""

    data_set: DataSet
    archive: Archive
    folder: Path
    mirror: str | None
    progress: Progress

    @property
    def url(self) -> str:
        if self.mirror is None:
            return self.archive.url
        return f"{self.mirror.rstrip('/')}/{self.data_set.name}/{self.archive.name}"

    @property
    def download(self) -> Path:
        return self.folder / self.archive.name

    @property
    def target(self) -> Path:
        return self.folder / self.archive.final_name

    @property
    def is_finished(self) -> bool:
        return self.target.is_file() or self.download.is_file()

    @property
    def part_bytes(self) -> int:
        part = self.download.with_name(f"{self.download.name}.part")
        return part.stat().st_size if part.is_file() else 0

    def file(self, number: str) -> FetchedFile:
        """The file, fetched and unpacked if it is not there."""
        what = f"the file {self.archive.name} of {self.data_set.title} ({number})"
        if self.target == self.download:
            checksum = self._fetch(what)
            return FetchedFile(self.target, self.target.stat().st_size, checksum, self._origin())
        note = f"Another process fetches {what} now."
        with locked(self.target, waiting=lambda: self.progress.note(note)):
            remove_leftovers(self.target)
            checksum = self._unpacked(what)
        pin, size = read_pin(self.download), self.target.stat().st_size
        of_download = self.archive.checksum or (pin and Checksum("sha256", pin.sha256))
        source = f"{self.archive.name} with {of_download}, {self._origin()}" if of_download else ""
        return FetchedFile(self.target, size, checksum, UNPACKED, source)

    def _origin(self) -> str:
        """Where the checksum of the download is from."""
        if self.archive.checksum is not None:
            return PUBLISHED
        pin = read_pin(self.download)
        return FROM_SERVER if pin is not None and pin.promised else FIRST_DOWNLOAD

    def _fetch(self, what: str) -> Checksum:
        """Fetch and check the file; its checksum, published or pinned."""
        archive, checksum = self.archive, self.archive.checksum
        texts = {
            "what": what,
            "instead": f"Download it elsewhere (see {self.data_set.page}) and save it as "
            f"{printable(self.download)}.",
        }
        if checksum is None:
            sha256 = pinned_sha256(self.url, self.download, progress=self.progress, **texts)
            checksum = Checksum("sha256", sha256)
        digits = {checksum.kind: checksum.digits}
        fetch(
            self.url,
            self.download,
            sha256=digits.get("sha256"),
            md5=digits.get("md5"),
            size=archive.size_bytes,
            progress=self.progress,
            **texts,
        )
        return checksum

    def _unpacked(self, what: str) -> Checksum:
        """Make or check the tar of a ``.tar.gz``; returns its checksum."""
        if self.target.is_file():
            sha256 = self._pinned(self.target)
        else:
            self._fetch(what)
            sha256 = self._unpack()
        if self.download.is_file():
            remove(self.download)
        return Checksum("sha256", sha256)

    def _unpack(self) -> str:
        """Decompress the download; some files of this name are plain tars, which are renamed."""
        with disk_errors(self.download), self.download.open("rb") as file:
            is_gzip = file.read(2) == _GZIP_MAGIC
        if not is_gzip:
            sha256 = self._pinned(self.download)
            with disk_errors(self.target):
                self.download.replace(self.target)
            return sha256
        self.progress.note(f"Decompressing {printable(self.download)} once.")
        with atomic_write(self.target) as temporary:
            with temporary.open("wb") as unpacked:
                for chunk in self._decompressed():
                    unpacked.write(chunk)
            return self._pinned(temporary)

    def _pinned(self, path: Path) -> str:
        """SHA-256 of the unpacked file, which is pinned before it gets its final name.

        Raises:
            InputError: If another one is pinned.
        """
        sha256 = file_sha256(path)
        pin = write_pin(self.target, Pin(sha256, promised=False))
        if pin.sha256 != sha256:
            raise InputError(
                f"{printable(self.target)} is damaged or another file: its SHA-256 starts with "
                f"{sha256[:12]}, {printable(self.target.name)}{PIN_SUFFIX} says {pin.sha256[:12]}. "
                "Remove it and run the command again to download it; if another file is right, "
                f"remove {printable(self.target.name)}{PIN_SUFFIX} only."
            )
        return sha256

    def _decompressed(self) -> Iterator[bytes]:
        total = -(-self.download.stat().st_size // _MB)
        step = f"decompressing {self.download.name}"
        with self._damage_reported(), self.download.open("rb") as raw, gzip.open(raw) as stream:
            while chunk := stream.read(_CHUNK_BYTES):
                yield chunk
                self.progress.advance(step, min(raw.tell() // _MB, total - 1), total, "MB")
        self.progress.advance(step, total, total, "MB")

    @contextmanager
    def _damage_reported(self) -> Iterator[None]:
        try:
            yield
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise UnavailableError(
                f"{printable(self.download)} cannot be decompressed: {reason_of(error)}. Remove it "
                f"and {printable(self.download.name)}{PIN_SUFFIX}, and run the command again."
            ) from error
