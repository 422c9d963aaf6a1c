"""Adversarial images on disk, so that further models can classify them later.

A folder of them is a run of the source under its own attack, whose report is that of a white-box
attack, with the images next to the records:

    DIR/run.json  records/...                 as in any run
    DIR/images/epsilon=0.06/part-00012.arrow  for each adversarial image handed on: id, attempt,
                                              image, 3 S S float32 in [0, 1], exactly as made

An Arrow file is read in one line: ``pyarrow.feather.read_table(path)``. The images of a shard are
renamed into place before its records are, so if the records exist, the images do too.
"""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from ..contracts import Item, Progress, Provenance, Run, Shard
from ..errors import InputError, printable, reason_of
from ..records.shards import read_provenance, read_records, shard_path
from ..storage.atomic import atomic_write, make_folder
from .pgd.attempts import CleanImage

IMAGES = "images"
CHUNK = 32
"""Images that are written or read at once."""


@dataclass(frozen=True)
class SavedImages:
    """A folder of adversarial images.

    Attributes:
        run: Run of the source under its own attack.
        provenance: Fields that the provenances of all shards share.
        side: Side of the images, in pixels.
    """

    run: Run
    provenance: Provenance
    side: int

    @contextmanager
    def begin(self, shard: Shard) -> "Iterator[ShardOfImages]":
        """Save the images of a shard; they are renamed into place if the block raises nothing."""
        path, image = self._path(shard), pa.list_(pa.float32(), 3 * self.side**2)
        schema = pa.schema([("id", pa.string()), ("attempt", pa.int16()), ("image", image)])
        make_folder(path.parent)
        with atomic_write(path) as temporary, pa.ipc.new_file(str(temporary), schema) as writer:
            images = ShardOfImages(self.run, self.provenance, writer, schema)
            yield images
            images.write()

    def stop(self) -> None:
        """Do nothing: no work needs to be ended."""

    def has(self, shard: Shard) -> bool:
        """Whether the images of a shard are saved."""
        return shard_path(self.run, shard).is_file()

    def records(self, shard: Shard) -> tuple[pa.RecordBatch, Provenance]:
        """Records of a shard, and their provenance."""
        table = read_records(self.run, shard)
        return table.combine_chunks().to_batches()[0], read_provenance(self.run, shard)

    def images(self, shard: Shard) -> Iterator[tuple[str, int, Any]]:
        """The images of a shard, each with its id and attempt: (3, S, S).

        Raises:
            InputError: If the file is damaged.
        """
        path, shape = self._path(shard), (3, self.side, self.side)
        try:
            with pa.memory_map(str(path)) as mapped, pa.ipc.open_file(mapped) as file:
                for index in range(file.num_record_batches):
                    batch = file.get_batch(index)
                    values = batch["image"].flatten().to_numpy()
                    rows = values.reshape(len(batch), *shape)
                    ids, attempts = batch["id"].to_pylist(), batch["attempt"].to_pylist()
                    yield from zip(ids, attempts, rows, strict=True)
        except (OSError, ValueError, KeyError, pa.ArrowException) as error:
            raise InputError(
                f"{printable(path)} is damaged: {reason_of(error)}. Remove it and "
                f"{printable(shard_path(self.run, shard))}; the same command makes both again."
            ) from error

    def _path(self, shard: Shard) -> Path:
        folder = self.run.folder / IMAGES / shard.condition.folder
        return folder / f"part-{shard.index:05d}.arrow"


@dataclass
class ShardOfImages:
    """Writes the images of one shard as they are made.

    Attributes:
        run: Run that the images belong to.
        provenance: Fields that the provenances of all shards share.
        writer: Writer of the Arrow file.
        schema: Columns of the file.
        waiting: Rows that are not written yet.
    """

    run: Run
    provenance: Provenance
    writer: pa.RecordBatchFileWriter
    schema: pa.Schema
    waiting: list[dict[str, Any]] = field(default_factory=list)

    def clean(self, image: CleanImage) -> None:
        """Do nothing: clean images are in the data."""

    def consume(self, item: Item, attempt: int, image: Any) -> None:
        """Take the image that an attempt hands on."""
        self.waiting.append({"id": item.id, "attempt": attempt, "image": np.ravel(image)})
        if len(self.waiting) == CHUNK:
            self.write()

    def records(self, attack: pa.RecordBatch) -> pa.Table:
        """The records of the attack."""
        return pa.Table.from_batches([attack])

    def write(self) -> None:
        """Write the rows that are not written yet."""
        self.writer.write_batch(pa.RecordBatch.from_pylist(self.waiting, self.schema))
        self.waiting = []


def announce_size(folder: Path, images: int, side: int, progress: Progress) -> None:
    """Report how much disk space the images need, before they are made.

    Args:
        folder: Folder of the images.
        images: Largest possible number of images.
        side: Side of an image, in pixels.
        progress: Progress callback.

    Raises:
        InputError: If there is not enough disk space.
    """
    needed = images * 3 * side**2 * 4
    existing = next(p for p in (folder, *folder.absolute().parents) if p.exists())
    free = shutil.disk_usage(existing).free
    size = f"up to {images:,} images, {needed / 1e9:.3g} GB, in {printable(folder)}"
    if needed > free:
        raise InputError(
            f"Saving {size}: only {free / 1e9:.3g} GB are free. Attack fewer images with --limit "
            "or --epsilon, or omit --keep: one command can attack for several models without it."
        )
    progress.note(f"Saving {size}; {free / 1e9:.3g} GB are free.")
