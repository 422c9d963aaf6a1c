"""Whether images and videos are whole: by their first and last bytes, or by decoding each.

    JPEG   FF D8 FF ... FF D9      PNG   signature ... IEND      MP4   boxes to the end of the file

The quick check reads small pieces of each file, and decodes those that do not look whole, which
decides. It finds empty and truncated files, pages of a web server that were saved as images, and
zeros at either end. Only decoding every file finds damage in the middle.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from ...contracts import Benchmark, Condition, Extent, Item, Preprocessing, Progress, Source
from ...errors import InputError
from .threads import reader_pool

READERS = 16
"""Items that are checked at once: a network file system serves many as fast as one."""

CHUNK = 256
"""Items of one task."""

_END_BYTES = 64
_JPEG = b"\xff\xd8\xff", b"\xff\xd9"
_PNG = b"\x89PNG\r\n\x1a\n", b"IEND\xaeB\x60\x82"
_ENDS = {".jpg": _JPEG, ".jpeg": _JPEG, ".png": _PNG}
"""The first bytes of a file by its suffix, and bytes among its last ones."""

Damage = tuple[str, str]
"""The id of an item, and what is wrong with it."""


def damaged_items(
    source: Source,
    benchmark: Benchmark,
    items: Mapping[Condition, Sequence[Item]],
    progress: Progress,
    *,
    decode: bool,
) -> dict[Condition, list[Damage]]:
    """The id of each damaged item of each condition, with the reason.

    Args:
        source: Source of the items.
        benchmark: Their benchmark, which decodes them.
        items: Items of each condition to check.
        progress: Progress callback.
        decode: Whether to decode all items; otherwise their first and last bytes are checked.

    Raises:
        UnavailableError: If a package that decodes videos is not installed.
    """
    total, done = sum(map(len, items.values())), 0
    decoder = _Decoder(source, benchmark)
    fault_of = decoder if decode else _QuickCheck(source, decoder)
    damaged: dict[Condition, list[Damage]] = {}
    step = f"{'decoding' if decode else 'checking'} {benchmark.layout.noun}s"
    with reader_pool(READERS) as pool:
        for condition, own in items.items():
            chunks = [own[start : start + CHUNK] for start in range(0, len(own), CHUNK)]
            faults = pool.map(lambda chunk: [(i.id, fault_of(i)) for i in chunk], chunks)
            damaged[condition] = []
            for results in faults:
                done += len(results)
                progress.advance(step, done, total, f"{benchmark.layout.noun}s")
                damaged[condition] += [(id, fault) for id, fault in results if fault is not None]
    return damaged


class _Decoder:
    """Decodes each item as scoring would."""

    def __init__(self, source: Source, benchmark: Benchmark) -> None:
        self._source, self._decode = source, benchmark.decode
        side_px = benchmark.stimuli_px or 224
        self._preprocessing = Preprocessing(256, side_px, "bilinear", (0, 0, 0), (1, 1, 1))

    def __call__(self, item: Item) -> str | None:
        """Why an item cannot be decoded; ``None`` if it can."""
        side_px = self._preprocessing.crop_px
        frames = np.empty((item.frames, side_px, side_px, 3), np.uint8)
        try:
            self._decode(self._source.read(item), item, self._preprocessing, list(frames))
        except InputError as error:
            return str(error)
        return None


@dataclass(frozen=True)
class _QuickCheck:
    """Looks at small pieces of each item, and decodes what does not look whole."""

    source: Source
    decoder: _Decoder

    def __call__(self, item: Item) -> str | None:
        """Why an item cannot be decoded; ``None`` if it looks whole or can."""
        try:
            looks_whole = self._looks_whole(item)
        except (InputError, OSError):
            looks_whole = False
        return None if looks_whole else self.decoder(item)

    def _looks_whole(self, item: Item) -> bool:
        suffix, extent = Path(item.id).suffix.lower(), item.extent
        if extent is None:
            with open(item.location, "rb") as file:
                size = file.seek(0, 2)

                def read_file(offset: int, count: int) -> bytes:
                    file.seek(offset)
                    return file.read(count)

                return _is_whole(suffix, size, read_file)
        if extent.size == 0:  # in a Parquet file, or empty
            data = self.source.read(item)
            return _is_whole(suffix, len(data), lambda at, count: data[at : at + count])

        def read_member(offset: int, count: int) -> bytes:
            count = min(count, extent.size - offset)
            piece = Extent(extent.path, extent.offset + offset, count)
            return self.source.read(replace(item, extent=piece))

        return _is_whole(suffix, extent.size, read_member)


def _is_whole(suffix: str, size: int, read: Callable[[int, int], bytes]) -> bool:
    """Whether a file looks whole, by a few of its bytes.

    Args:
        suffix: Suffix of its name, in lower case.
        size: Its size in bytes.
        read: Function that reads bytes, from an offset and their number.
    """
    if size < _END_BYTES:
        return False
    if suffix == ".mp4":
        return _has_whole_boxes(size, read)
    if suffix not in _ENDS:
        return False
    start, end = _ENDS[suffix]
    return read(0, len(start)) == start and end in read(size - _END_BYTES, _END_BYTES)


def _has_whole_boxes(size: int, read: Callable[[int, int], bytes]) -> bool:
    """Whether an MP4 file starts as one and its boxes end where the file does."""
    position, is_first = 0, True
    while position + 8 <= size:
        header = read(position, 16)
        length, kind = int.from_bytes(header[:4], "big"), header[4:8]
        if is_first and kind != b"ftyp":
            return False
        if length == 1:
            length = int.from_bytes(header[8:16], "big")
        if length < 8:
            return False
        position, is_first = position + length, False
    return position == size
