"""SHA-256 of items' bytes: of single files, and of all items of a shard.

Names do not identify images: a folder of denoised photos has the names of the originals. So a run
records the digests of a sample of each condition's files, and one of all files of each shard.
"""

import hashlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from ...contracts import Item, Source
from ...errors import ImageError

Decode = Callable[[bytes, Item], None]
"""Function that raises ``ImageError`` if an item's bytes cannot be decoded."""

READERS = 16
"""Files that are read in parallel: a network file system serves many as fast as one."""


def file_digests(
    source: Source, items: Sequence[Item], decode: Decode | None = None
) -> list[str | None]:
    """SHA-256 of the bytes of each item; ``None`` for one that cannot be read.

    Args:
        source: The source of the items.
        items: The items.
        decode: If given, items that it cannot decode have no digest either.

    Raises:
        InputError: If the data are gone.
    """
    contents = _contents(source, items, decode)
    return [None if content is None else content.hexdigest() for content in contents]


def shard_digest(source: Source, items: Sequence[Item]) -> str:
    """SHA-256 over (id, bytes) of the items, as recorded in the provenance of a shard.

    Raises:
        InputError: If the data are gone.
    """
    digest = hashlib.sha256()
    for item, content in zip(items, _contents(source, items), strict=True):
        digest.update(digest_entry(item, content or hashlib.sha256()))
    return digest.hexdigest()


def digest_entry(item: Item, content: "hashlib._Hash") -> bytes:
    """The part of a shard's digest that comes from one item.

    Args:
        item: The item.
        content: SHA-256 over its bytes; over nothing if it could not be read.
    """
    return item.id.encode() + b"\0" + content.digest()


def _contents(
    source: Source, items: Sequence[Item], decode: Decode | None = None
) -> "list[hashlib._Hash | None]":
    def content(item: Item) -> "hashlib._Hash | None":
        try:
            data = source.read(item)
            if decode is not None:
                decode(data, item)
            return hashlib.sha256(data)
        except ImageError:
            return None

    with ThreadPoolExecutor(READERS) as pool:
        return list(pool.map(content, items))
