"""Opening the data that ``--data`` names: folders, tar files, folders of tars, or any mixture."""

from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path

from ...contracts import Condition, DatasetLayout, Item, Progress
from ...errors import InputError, printable
from ..layouts import CORRUPTIONS, EXTRA_CORRUPTIONS, IMAGES_IN_CLASS_FOLDERS, SEVERITY_FOLDERS
from .folder import FolderSource
from .generated_marker import Content, common_marker
from .items import Items, read_item_file
from .labels import read_labels
from .layout_rules import PART_OF_IMAGENET_C, LayoutRules, condition_folders, duplicate
from .listing import entries_of, is_folder
from .tar import TarSource

TAR = ".tar"

Part = FolderSource | TarSource


class MixedSource:
    """Several sources as one: a condition is in one of them."""

    def __init__(self, parts: Sequence[Part], conditions: Sequence[Condition]) -> None:
        self._parts = parts
        self._tars = {part.path: part for part in parts if isinstance(part, TarSource)}
        self._part_of: dict[Condition, Part] = {}
        for condition in conditions:
            holders = [part for part in parts if condition in part.conditions()]
            if len(holders) > 1:
                remedy = "Keep only one of them, or name the one to use with --data."
                first, second = (part.where(condition) for part in holders[:2])
                raise duplicate(condition, first, second, remedy)
            if holders:
                self._part_of[condition] = holders[0]

    def conditions(self) -> list[Condition]:
        """The benchmark's conditions that are in one of the parts, in the benchmark's order."""
        return list(self._part_of)

    def items(self, condition: Condition) -> Items:
        """The items of one condition, sorted by id.

        Raises:
            InputError: If something among them cannot be an item, or there is none at all.
        """
        return self._part_of[condition].items(condition)

    def read(self, item: Item) -> bytes:
        """The bytes of one item.

        Raises:
            ImageError: If it cannot be read.
            InputError: If its tar changed since it was opened, or the data are gone.
        """
        if item.extent is None:
            return read_item_file(item)
        return self._tars[item.extent.path].read(item)

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
) -> MixedSource:
    """The source of a benchmark's items.

    Args:
        data: Folders, and tar files, which are read in place; tars in a folder count as well.
        conditions: The conditions of the benchmark.
        progress: Progress callback.
        layout: Layout of the benchmark's items.
        labels: A list of the classes of ImageNet's validation images, if these are flat.
        damaged_ok: Whether to take what a truncated or damaged tar still holds.

    Raises:
        InputError: If a path does not exist, a condition exists twice, a tar is damaged, or
            corrupted images are given as clean ones.
    """
    if not data:
        raise InputError("No data are given. Give folders or tar files that hold the images.")
    is_clean = not any(condition.values for condition in conditions)
    if labels is not None and not (layout.listed and is_clean):
        raise InputError(
            f"--labels {printable(labels)} is for ImageNet's validation images without class "
            f"folders; the class of these {layout.noun}s is known. Leave it out."
        )
    rules = LayoutRules(layout, None if labels is None else read_labels(labels))
    parts: list[Part] = []
    for path in data:
        folder, before = is_folder(path), len(parts)
        if folder and is_clean:
            _refuse_corrupted(path)
        if folder and (not is_clean or _holds_more_than_tars(path, layout)):
            parts.append(FolderSource(path, conditions, rules))
        parts += [
            TarSource(tar, conditions, progress=progress, rules=rules, damaged_ok=damaged_ok)
            for tar in (_tars_in(path) if folder else [path])
        ]
        if len(data) > 1 and not any(part.conditions() for part in parts[before:]):
            expected = "/".join(condition_folders(conditions[0]))
            raise InputError(
                f"{printable(path)} holds no data of this benchmark. Give the folder or tar that "
                f"holds {expected or f'the {layout.noun}s'}, or omit this path."
            )
    return MixedSource(parts, conditions)


def _refuse_corrupted(folder: Path) -> None:
    """Refuse a cell of ImageNet-C, which has the layout of clean images, by its path."""
    path = folder.resolve()
    if path.name in SEVERITY_FOLDERS and path.parent.name in (*CORRUPTIONS, *EXTRA_CORRUPTIONS):
        raise InputError(
            f"{printable(folder)} is severity {path.name} of {path.parent.name}. "
            f"{PART_OF_IMAGENET_C}"
        )


def _tars_in(folder: Path) -> Iterator[Path]:
    names = sorted(entry.name for entry in entries_of(folder) if entry.is_file())
    return (folder / name for name in names if name.lower().endswith(TAR))


def _holds_more_than_tars(folder: Path, layout: DatasetLayout) -> bool:
    """Whether clean items are looked for in the folder itself, as well as in its tars."""
    names = [entry.name for entry in entries_of(folder)]
    has_items = any(name in layout.folders() or layout.is_item(name) for name in names)
    return has_items or not any(_tars_in(folder))
