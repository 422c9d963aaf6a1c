"""Opening the data that ``--data`` names: folders, tar and Parquet files, or any mixture."""

import re
from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from ...contracts import Condition, DatasetLayout, Item, Progress
from ...errors import InputError, printable
from ..layouts import CORRUPTIONS, EXTRA_CORRUPTIONS, IMAGES_IN_CLASS_FOLDERS, SEVERITY_FOLDERS
from .folder import FolderSource
from .generated_marker import Content, common_marker
from .items import Items, joined_items, read_item_file
from .labels import Labels, read_labels
from .layout_rules import (
    COMPRESSED,
    PARQUET,
    PART_OF_IMAGENET_C,
    TAR,
    LayoutRules,
    condition_folders,
    duplicate,
)
from .listing import entries_of, is_folder
from .parquet import MAGIC, ParquetSource
from .tar import TarSource
from .tar_headers import OpenTar

_SPLIT = re.compile(r"(?:^|[-_.])(train|validation|val|test)[-_]\d+")
"""The part of a data set that a file belongs to, in names such as ``train-00000-of-00294``."""

Part = FolderSource | TarSource | ParquetSource


class MixedSource:
    """Several sources as one: a condition is in one of them, or in several shards of one set."""

    def __init__(
        self, parts: Sequence[Part], conditions: Sequence[Condition], index_places: Set[str]
    ) -> None:
        self._parts = parts
        self._files = {p.path: p for p in parts if not isinstance(p, FolderSource)}
        self._parts_of: dict[Condition, list[Part]] = {}
        self._index_places = index_places
        for condition in conditions:
            holders = [part for part in parts if condition in part.conditions()]
            if len(holders) > 1 and not all(map(_is_shard, holders)):
                remedy = "Keep only one of them, or name the one to use with --data."
                first, second = (part.where(condition) for part in holders[:2])
                raise duplicate(condition, first, second, remedy)
            if holders:
                self._parts_of[condition] = holders

    def conditions(self) -> list[Condition]:
        """The benchmark's conditions that are in one of the parts, in the benchmark's order."""
        return list(self._parts_of)

    def items(self, condition: Condition) -> Items:
        """The items of one condition, sorted by id.

        Raises:
            InputError: If something among them cannot be an item, or there is none at all.
        """
        items = [part.items(condition) for part in self._parts_of[condition]]
        return items[0] if len(items) == 1 else joined_items(items)

    def read(self, item: Item) -> bytes:
        """The bytes of one item.

        Raises:
            ImageError: If it cannot be read.
            InputError: If its tar changed since it was opened, or the data are gone.
        """
        if item.extent is None:
            return read_item_file(item)
        return self._files[item.extent.path].read(item)

    @property
    def index_places(self) -> list[str]:
        """The lists and files whose class indices gave labels, of the items read so far."""
        return sorted(self._index_places)

    @cached_property
    def generated(self) -> Content | None:
        """The content of ``generated.json`` if the data were made by ``evaluator data``.

        Raises:
            InputError: If such a file cannot be read, or the parts were made in different ways.
        """
        used = [part for part in self._parts if part.conditions()]
        markers = {name: content for part in used for name, content in part.markers().items()}
        return common_marker(markers, "The data")


def open_source(
    data: Sequence[Path],
    conditions: Sequence[Condition],
    *,
    progress: Progress,
    layout: DatasetLayout = IMAGES_IN_CLASS_FOLDERS,
    labels: Path | None = None,
    damaged_ok: bool = False,
    problems: list[str] | None = None,
) -> MixedSource:
    """The source of a benchmark's items.

    Args:
        data: Folders, and tar or Parquet files, which are read in place; those in a folder count
            as well.
        conditions: The conditions of the benchmark.
        progress: Progress callback.
        layout: Layout of the benchmark's items.
        labels: A list of the classes of ImageNet's validation images, if these are flat.
        damaged_ok: Whether to take what a truncated or damaged tar still holds.
        problems: List that collects the errors of single files, folders and archives, which are
            left out then; if not given, the first one is raised.

    Raises:
        InputError: If a path does not exist, a condition exists twice, a tar is damaged, or
            corrupted images are given as clean ones.
    """
    if not data:
        raise InputError("No data are given. Give folders or tar files that hold the images.")
    is_clean = not any(condition.values for condition in conditions)
    list_of_classes = None if labels is None else _read_labels(labels, layout, is_clean)
    rules = LayoutRules(layout, list_of_classes, progress.note, problems=problems)
    opening = _Opening(conditions, rules, progress, damaged_ok)
    parts: list[Part] = []
    for path in data:
        new = list(opening.parts(path))
        if len(data) > 1 and not any(part.conditions() for part in new):
            expected = "/".join(condition_folders(conditions[0]))
            raise InputError(
                f"{printable(path)} holds no data of this benchmark. Give the folder or tar that "
                f"holds {expected or f'the {layout.noun}s'}, or omit this path."
            )
        parts += new
    if problems is None and not any(part.conditions() for part in parts):
        reasons = map(_reason_for_nothing, parts)
        if (reason := next(filter(None, reasons), None)) is not None:
            raise reason
    return MixedSource(parts, conditions, rules.index_places)


def _reason_for_nothing(part: Part) -> InputError | None:
    """Why a part holds no items; `None` if nothing in it looks like data."""
    if isinstance(part, TarSource):
        return part.unknown_classes()
    folder = part.archives() if isinstance(part, FolderSource) else None
    if folder is None:
        return None
    return InputError(
        f"{printable(part.path)} holds no data of this benchmark, but {printable(folder)} holds "
        "archives. Did you mean that folder?"
    )


@dataclass(frozen=True)
class _Opening:
    """Opens what a path names; the attributes are as in ``open_source``."""

    conditions: Sequence[Condition]
    rules: LayoutRules
    progress: Progress
    damaged_ok: bool

    def parts(self, path: Path) -> Iterator[Part]:
        """The folder itself, if it may hold items, and the files in it; or the file."""
        if not is_folder(path):
            yield self._file(path)
            return
        names = sorted(entry.name for entry in entries_of(path))
        archives = [n for n in names if n.lower().endswith((TAR, PARQUET)) and (path / n).is_file()]
        names_of_split = self._of_one_split(path, archives)
        files = [file for name in names_of_split for file in self._readable(path / name)]
        is_clean = not any(condition.values for condition in self.conditions)
        if is_clean:
            _refuse_corrupted(path)
        layout, parts = self.rules.layout, list[Part](files)
        holds_items = any(name in layout.folders() or layout.is_item(name) for name in names)
        if not is_clean or holds_items or not files:
            parts.insert(0, FolderSource(path, self.conditions, self.rules))
        compressed = [name for name in names if name.lower().endswith(COMPRESSED)]
        if compressed and not is_clean:
            self._report_compressed(path, compressed, parts)
        elif compressed and not (files or holds_items or any(is_folder(path / n) for n in names)):
            OpenTar(path / compressed[0])  # refuses it, with the command that unpacks it
        yield from parts

    def _report_compressed(self, folder: Path, names: list[str], parts: Sequence[Part]) -> None:
        """Report compressed files beside the data, or refuse them if there are no other data."""
        if not any(part.conditions() for part in parts):
            OpenTar(folder / names[0])  # refuses it, with the command that unpacks it
        more = f" and {len(names) - 1} more" if len(names) > 1 else ""
        self.rules.note(
            f"Not read in {printable(folder)}: {printable(names[0])}{more}, which is compressed."
        )

    def _readable(self, path: Path) -> Iterator[Part]:
        """The file, or none where errors are collected and it cannot be read."""
        try:
            yield self._file(path)
        except InputError as error:
            self.rules.refuse(error)

    def _file(self, path: Path) -> Part:
        if _starts_with(path, MAGIC):
            return ParquetSource(path, self.conditions, self.rules)
        return TarSource(
            path,
            self.conditions,
            progress=self.progress,
            rules=self.rules,
            damaged_ok=self.damaged_ok,
        )

    def _of_one_split(self, folder: Path, names: list[str]) -> list[str]:
        """The names of files, without files of other splits if some are of the validation split."""
        splits = {name: match[1] for name in names if (match := _SPLIT.search(name))}
        others = sorted(name for name, split in splits.items() if not split.startswith("val"))
        if not others or len(others) == len(splits):
            return names
        more = f" and {len(others) - 1} more" if len(others) > 1 else ""
        self.rules.note(
            f"Not read in {printable(folder)}: {printable(others[0])}{more}, which is not of the "
            "validation set."
        )
        return [name for name in names if name not in others]


def _is_shard(part: Part) -> bool:
    return not isinstance(part, FolderSource) and part.is_shard


def _starts_with(path: Path, magic: bytes) -> bool:
    """Whether a regular file starts with these bytes."""
    try:
        if not path.is_file():
            return False
        with path.open("rb") as file:
            return file.read(len(magic)) == magic
    except (OSError, ValueError):
        return False  # opening it as a tar file gives the reason


def _read_labels(path: Path, layout: DatasetLayout, is_clean: bool) -> Labels:
    """The user's list of classes, which must be of use for these items."""
    if not (layout.listed and is_clean):
        raise InputError(
            f"--labels {printable(path)} is for ImageNet's validation images without class "
            f"folders; the class of these {layout.noun}s is known. Leave it out."
        )
    return read_labels(path)


def _refuse_corrupted(folder: Path) -> None:
    """Refuse a cell of ImageNet-C, which has the layout of clean images, by its path."""
    path = folder.resolve()
    if path.name in SEVERITY_FOLDERS and path.parent.name in (*CORRUPTIONS, *EXTRA_CORRUPTIONS):
        raise InputError(
            f"{printable(folder)} is severity {path.name} of {path.parent.name}. "
            f"{PART_OF_IMAGENET_C}"
        )
