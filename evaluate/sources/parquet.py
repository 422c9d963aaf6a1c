"""Images in Parquet files, as Hugging Face's hub has data sets: a row holds an image and its class.

Parquet has no access to single images: the group of rows around one is read and decompressed, and
a few groups stay in memory.
"""

import json
import os
import threading
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...contracts import Condition, Item
from ...errors import ImageError, InputError, printable, reported_as
from ..classes import class_index, wnids
from .generated_marker import Content, marker_beside
from .items import Items, Place, refuse_missing
from .labels import FlatImages
from .layout_rules import LayoutRules, duplicate

if TYPE_CHECKING:
    import pyarrow as pa

MAGIC = b"PAR1"

IMAGE_COLUMNS = ("image", "img", "jpg", "jpeg", "png")
LABEL_COLUMNS = ("label", "labels", "cls", "class")
LARGE_GROUP_BYTES = 2**27
GROUPS_BYTES = 2**29
"""Memory for groups of rows, of all files together."""


class ParquetSource:
    """ImageNet's validation images in a Parquet file.

    Args:
        path: The file.
        conditions: The conditions of the benchmark.
        rules: The layout of the items.

    Attributes:
        path: Path of the file, as the extents of items have it. An offset is the number of a row.
    """

    is_shard = True
    """Other files may hold more images of the same condition."""

    def __init__(self, path: Path, conditions: Sequence[Condition], rules: LayoutRules) -> None:
        self.path = str(path)
        self._rules = rules
        self._holds_clean = rules.layout.listed and Condition() in conditions
        self._state = self._current_state()
        with self._open() as file:
            self._metadata, self._schema = file.metadata, file.schema_arrow
        groups = [self._metadata.row_group(i) for i in range(self._metadata.num_row_groups)]
        self._starts = np.cumsum([0, *(group.num_rows for group in groups)])
        self._image, self._label = self._columns()
        largest = max((group.total_byte_size for group in groups), default=0)
        if largest > LARGE_GROUP_BYTES and self._holds_clean:
            rules.note(
                f"{printable(path)} has groups of rows of {largest / 2**20:,.0f} MiB, and one is "
                "read for each image. Class folders or a tar file are much faster."
            )

    def conditions(self) -> list[Condition]:
        """The clean condition, if the benchmark's images may be in such files."""
        return [Condition()] if self._holds_clean else []

    def where(self, condition: Condition) -> str:
        """The file, for messages."""
        return printable(self.path)

    def items(self, condition: Condition) -> Items:
        """The items, sorted by id.

        Raises:
            InputError: If the class of an image is not known, or its name exists twice.
        """
        rows: dict[str, int] = {}
        for row, name in enumerate(self._names()):
            if rows.setdefault(name, row) != row:
                raise duplicate(name, f"{self._where('')} row {rows[name]}", f"row {row}")
        images = FlatImages(list(rows), Path(self.path).parent, self._classes(list(rows)))
        ids, paths = self._rules.ids_and_paths(images, self._where)
        numbers = np.array([rows[path] for path in paths.values()], np.int64)
        place = Place(f"{self.path}: ", paths, self.path, numbers, np.zeros_like(numbers))
        return Items(ids, place, self._rules.layout)

    def read(self, item: Item) -> bytes:
        """The bytes of the image in one row.

        Raises:
            ImageError: If the row holds none.
            InputError: If the file changed since it was opened, or cannot be read.
        """
        refuse_missing(item)
        assert item.extent is not None
        group = bisect_right(self._starts, item.extent.offset) - 1
        images = _GROUPS.get((self.path, self._state, group), lambda: self._images(group))
        data: bytes | None = images[item.extent.offset - int(self._starts[group])].as_py()
        if data is None:
            raise ImageError(f"{printable(item.location)} has no bytes in the file.")
        return data

    def markers(self) -> dict[str, Content | None]:
        """The content of the ``generated.json`` next to the file, by its path."""
        return dict([marker_beside(Path(self.path))])

    def _columns(self) -> tuple[str, str | None]:
        """The columns of the images and of their classes."""
        names = self._schema.names
        image = next((name for name in IMAGE_COLUMNS if name in names), None)
        if image is None:
            raise InputError(
                f"{printable(self.path)} has no column of images: it has "
                f"{', '.join(map(printable, names))}. Expected {' or '.join(IMAGE_COLUMNS)}, or "
                "class folders."
            )
        return image, next((name for name in LABEL_COLUMNS if name in names), None)

    @property
    def _is_struct(self) -> bool:
        """Whether an image is stored together with its path."""
        import pyarrow as pa

        return bool(pa.types.is_struct(self._schema.field(self._image).type))

    def _names(self) -> list[str]:
        """The name of each image: that of its path, or its row."""
        stem, count = Path(self.path).stem, self._metadata.num_rows
        paths: list[str | None] = [None] * count
        if self._is_struct:
            paths = [image["path"] for image in self._read([f"{self._image}.path"])[self._image]]
        return [
            os.path.basename(path) if path else f"{stem}-{row:06}" for row, path in enumerate(paths)
        ]

    def _classes(self, names: Sequence[str]) -> dict[str, str]:
        """The class that is stored with each image."""
        if self._label is None:
            return {}
        words = [str(label) for label in self._read([self._label])[self._label]]
        class_names = self._class_names
        if class_names is not None and class_index().keys() >= set(class_names):
            words = [class_names[int(word)] for word in words]
        elif class_names is not None and len(class_names) != len(wnids()):
            raise InputError(
                f"{printable(self.path)} has {len(class_names):,} classes, expected ImageNet's "
                f"{len(wnids()):,}: its class indices are others. Give class folders, or --labels."
            )
        return dict(zip(names, words, strict=True))

    @cached_property
    def _class_names(self) -> list[str] | None:
        """Names of the classes that the hub stores with the schema; ``None`` if there are none."""
        try:
            content = json.loads(self._schema.metadata[b"huggingface"])
            names = content["info"]["features"][self._label]["names"]
        except (KeyError, TypeError, ValueError):
            return None
        return [str(name) for name in names]

    def _read(self, columns: list[str]) -> dict[str, list[Any]]:
        with self._open() as file, self._reading():
            return dict(file.read(columns).to_pydict())

    def _images(self, group: int) -> "pa.ChunkedArray":
        """The images of a group of rows."""
        import pyarrow.compute as pc

        if self._current_state() != self._state:
            raise InputError(
                f"{printable(self.path)} changed while it was read. Start again when nothing "
                "writes to it any more."
            )
        column = f"{self._image}.bytes" if self._is_struct else self._image
        with self._open() as file, self._reading():
            images = file.read_row_group(group, [column], use_threads=False)[self._image]
        return pc.struct_field(images, "bytes") if self._is_struct else images

    def _open(self) -> Any:
        import pyarrow.parquet as pq

        with self._reading():
            return pq.ParquetFile(self.path, metadata=getattr(self, "_metadata", None))

    def _reading(self) -> Any:
        advice = "Download it again, or give another file."
        return reported_as(f"{printable(self.path)} cannot be read", advice=advice)

    def _current_state(self) -> tuple[int, int]:
        with self._reading():
            state = os.stat(self.path)
        return state.st_size, state.st_mtime_ns

    def _where(self, path: str) -> str:
        return printable(f"{self.path}: {path}" if path else self.path)


class _Groups:
    """The groups of rows that were read last, up to a number of bytes."""

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes, self._bytes = most_bytes, 0
        self._groups: OrderedDict[object, pa.ChunkedArray] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: object, read: "Callable[[], pa.ChunkedArray]") -> "pa.ChunkedArray":
        with self._lock:
            if key in self._groups:
                self._groups.move_to_end(key)
                return self._groups[key]
        group = read()
        with self._lock:
            if key not in self._groups:
                self._groups[key] = group
                self._bytes += group.nbytes
            while self._bytes > self._most_bytes and len(self._groups) > 1:
                self._bytes -= self._groups.popitem(last=False)[1].nbytes
        return group


_GROUPS = _Groups(GROUPS_BYTES)
